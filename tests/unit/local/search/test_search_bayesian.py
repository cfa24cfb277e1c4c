from __future__ import annotations

import logging
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from sagemaker_sift.backends.local.search.bayesian_searcher import NUM_STARTUP
from sagemaker_sift.backends.local.search.searcher import Searcher, build_searcher
from sagemaker_sift.backends.local.search.trial import Trial
from sagemaker_sift.exceptions import MissingDependencyError

SQUARE: dict[str, Any] = {
    "ContinuousParameterRanges": [
        {"Name": name, "MinValue": "0", "MaxValue": "1", "ScalingType": "Linear"} for name in "xy"
    ]
}
MIXED: dict[str, Any] = {
    "ContinuousParameterRanges": [{"Name": "rate", "MinValue": "0.0001", "MaxValue": "1"}],
    "IntegerParameterRanges": [
        {"Name": "batch", "MinValue": "8", "MaxValue": "256", "ScalingType": "Logarithmic"},
        {"Name": "fixed", "MinValue": "3", "MaxValue": "3"},
    ],
    "CategoricalParameterRanges": [{"Name": "optimizer", "Values": ["sgd", "adam", "nag"]}],
}
Objective = Callable[[Mapping[str, str]], float]


def bowl(values: Mapping[str, str]) -> float:
    return (float(values["x"]) - 0.7) ** 2 + (float(values["y"]) - 0.3) ** 2


def training(values: Mapping[str, str]) -> float:
    """Smallest, 0, at a learning rate of 0.01, batches of 32 and adam."""
    rate, batch = math.log10(float(values["rate"])) + 2, math.log2(float(values["batch"])) - 5
    return rate**2 + 0.2 * batch**2 + {"sgd": 0.3, "adam": 0, "nag": 0.2}[values["optimizer"]]


def search(searcher: Searcher, objective: Objective, num: int, parallel: int = 1) -> list[Trial]:
    trials: list[Trial] = []
    for idx in range(num):
        known = trials[: max(0, idx - parallel + 1)]
        known += [Trial(values=one.values, is_running=True) for one in trials[len(known) :]]
        values = searcher.suggest(idx, known)
        assert values is not None
        trials.append(Trial(values=values, objective=objective(values)))
    return trials


def find_best(strategy: str, ranges: dict[str, Any], objective: Objective, **given: int) -> float:
    """Median over seeds of the best objective of 30 jobs."""
    bests = []
    for seed in range(15):
        searcher = build_searcher(strategy, ranges, maximize=False, seed=seed)
        trials = search(searcher, objective, 30, **given)
        bests.append(min(trial.objective or 0.0 for trial in trials))
    return statistics.median(bests)


@pytest.mark.parametrize(
    ("ranges", "objective", "parallel", "share"),
    [(SQUARE, bowl, 1, 0.5), (MIXED, training, 1, 0.7), (SQUARE, bowl, 4, 0.7)],
    ids=["two numbers", "mixed", "four in parallel"],
)
def test_the_model_finds_better_values_than_chance(
    ranges: dict[str, Any], objective: Objective, parallel: int, share: float
) -> None:
    by_chance = find_best("Random", ranges, objective)
    assert find_best("Bayesian", ranges, objective, parallel=parallel) < share * by_chance


def test_maximizing_is_minimizing_the_negative() -> None:
    up = build_searcher("Bayesian", SQUARE, maximize=True, seed=4)
    down = build_searcher("Bayesian", SQUARE, maximize=False, seed=4)
    risen = search(up, lambda values: -bowl(values), 15)
    fallen = search(down, bowl, 15)
    assert [trial.values for trial in risen] == [trial.values for trial in fallen]


def test_the_first_jobs_are_those_of_random_until_enough_have_ended() -> None:
    bayesian = build_searcher("Bayesian", MIXED, maximize=False, seed=1)
    by_chance = build_searcher("Random", MIXED, maximize=False, seed=1)
    trials = search(bayesian, training, NUM_STARTUP)
    assert [trial.values for trial in trials] == [
        trial.values for trial in search(by_chance, training, NUM_STARTUP)
    ]
    useless = [
        Trial(values=trials[0].values, is_running=True),
        Trial(values=trials[1].values, objective=math.nan),
        Trial(values=trials[2].values, objective=math.inf),
        Trial(values=trials[3].values),
        Trial(values=trials[4].values, objective=0.1, is_running=True),
        Trial(values=trials[0].values | {"rate": "2"}, objective=0.1),
    ]
    known = [*trials[:-1], *useless]
    assert bayesian.suggest(9, known) == by_chance.suggest(9, known)
    assert bayesian.suggest(9, trials) != by_chance.suggest(9, trials)


def test_a_suggestion_is_a_function_of_seed_number_and_jobs() -> None:
    searcher = build_searcher("Bayesian", MIXED, maximize=False, seed=1)
    trials = search(searcher, training, 12)
    first = [searcher.suggest(idx, trials) for idx in (12, 13, 40)]
    again = build_searcher("Bayesian", MIXED, maximize=False, seed=1)
    assert [again.suggest(idx, trials) for idx in (40, 13, 12)] == first[::-1]
    assert len({tuple((values or {}).items()) for values in first}) == 3
    other = build_searcher("Bayesian", MIXED, maximize=False, seed=2)
    assert other.suggest(12, trials) != first[0]


def test_another_process_suggests_the_same() -> None:
    program = (
        "from sagemaker_sift.backends.local.search.searcher import build_searcher\n"
        "from sagemaker_sift.backends.local.search.trial import Trial\n"
        f"searcher = build_searcher('Bayesian', {MIXED!r}, maximize=True, seed=3)\n"
        "trials = []\n"
        "for idx in range(12):\n"
        "    values = searcher.suggest(idx, trials)\n"
        "    trials.append(Trial(values=values, objective=float(values['rate'])))\n"
        "print([dict(trial.values) for trial in trials])\n"
    )
    written = [
        subprocess.run(
            [sys.executable, "-W", "error", "-c", program],
            check=True,
            capture_output=True,
            text=True,
            env=os.environ | {"PYTHONHASHSEED": seed},
        )
        for seed in ("1", "2")
    ]
    assert written[0].stdout == written[1].stdout
    assert [one.stderr for one in written] == ["", ""]
    searcher = build_searcher("Bayesian", MIXED, maximize=True, seed=3)
    trials = search(searcher, lambda values: float(values["rate"]), 12)
    assert written[0].stdout == f"{[dict(trial.values) for trial in trials]}\n"


def test_jobs_that_run_push_the_next_one_away() -> None:
    searcher = build_searcher("Bayesian", SQUARE, maximize=False, seed=0)
    trials = search(searcher, bowl, 25)
    crowd = [
        Trial(values={"x": repr(0.7 + shift), "y": "0.3"}, is_running=True)
        for shift in (-0.1, -0.05, 0.0, 0.05, 0.1)
    ]

    def find_distance(known: Sequence[Trial]) -> float:
        points = [searcher.suggest(idx, known) or {} for idx in range(25, 40)]
        return statistics.median(bowl(values) for values in points)

    assert find_distance([*trials, *crowd]) > 2 * find_distance(trials)


def test_of_many_jobs_the_best_are_never_forgotten() -> None:
    by_chance = build_searcher("Random", SQUARE, maximize=False, seed=8)
    old = [
        Trial(values={"x": repr(0.2 + idx / 1000), "y": "0.8"}, objective=0.0) for idx in range(25)
    ]
    new = [
        Trial(values=by_chance.suggest(idx, []) or {}, objective=1.0 + idx) for idx in range(500)
    ]
    searcher = build_searcher("Bayesian", SQUARE, maximize=False, seed=8)
    started = time.process_time()
    points = [searcher.suggest(idx, [*old, *new]) or {} for idx in range(600, 610)]
    elapsed_s = time.process_time() - started
    assert statistics.median(abs(float(values["x"]) - 0.212) for values in points) < 0.05
    assert statistics.median(abs(float(values["y"]) - 0.8) for values in points) < 0.05
    assert elapsed_s / 10 < 0.25, "0.02 s here; ten times that is no longer noise"


def test_fixed_values_are_given_and_all_types_are_read_back() -> None:
    searcher = build_searcher("Bayesian", MIXED, maximize=False, seed=6)
    for trial in search(searcher, training, 20):
        assert trial.values.keys() == {"batch", "fixed", "rate", "optimizer"}
        assert trial.values["fixed"] == "3"
        assert 8 <= int(trial.values["batch"]) <= 256


def test_a_failed_job_is_not_tried_again_in_a_finite_space() -> None:
    ranges = {"IntegerParameterRanges": [{"Name": "n", "MinValue": "0", "MaxValue": "9"}]}
    searcher = build_searcher("Bayesian", ranges, maximize=False, seed=0)
    trials = [
        Trial(values={"n": str(n)}, objective=None if n == 5 else abs(n - 5)) for n in range(1, 9)
    ]
    drawn = {(searcher.suggest(idx, trials) or {})["n"] for idx in range(8, 40)}
    assert drawn == {"0", "9"}


def test_optuna_says_nothing_and_its_level_stays(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.INFO)
    with caplog.at_level(logging.DEBUG):
        search(build_searcher("Bayesian", SQUARE, maximize=False, seed=0), bowl, 8)
    after = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(before)
    assert after == optuna.logging.INFO
    assert caplog.records == []
    assert capfd.readouterr() == ("", "")


def test_without_optuna_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'sagemaker-sift\[local\]'"):
        build_searcher("Bayesian", SQUARE, maximize=False, seed=0)
    build_searcher("Random", SQUARE, maximize=False, seed=0)
