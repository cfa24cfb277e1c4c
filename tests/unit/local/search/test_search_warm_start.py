from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from sagemaker_sift.backends.local.search.history import Observation, pool_observations
from sagemaker_sift.backends.local.search.searcher import build_searcher
from sagemaker_sift.backends.local.search.trial import Trial

RANGES: dict[str, Any] = {
    "ContinuousParameterRanges": [
        {"Name": name, "MinValue": "0", "MaxValue": "1", "ScalingType": "Linear"} for name in "xy"
    ]
}
SEEDS = range(15)
NEAR = 0.003
NUM_JOBS = 30


def bowl(values: Mapping[str, str]) -> float:
    return (float(values["x"]) - 0.7) ** 2 + (float(values["y"]) - 0.3) ** 2


def search(
    seed: int,
    parents: Sequence[Sequence[Trial]] = (),
    *,
    scale: float = 1.0,
    shift: float = 0.0,
    is_whole: bool = False,
    **given: Any,
) -> list[Trial]:
    """Search until a job lies near the optimum, or for all jobs."""
    searcher = build_searcher(
        "Bayesian", RANGES, maximize=False, seed=seed, parents=parents, **given
    )
    trials: list[Trial] = []
    for idx in range(NUM_JOBS):
        values = searcher.suggest(idx, trials) or {}
        trials.append(Trial(values=values, objective=shift + scale * bowl(values)))
        if bowl(values) < NEAR and not is_whole:
            break
    return trials


@pytest.fixture(scope="module")
def parents() -> dict[int, list[Trial]]:
    return {seed: search(100 + seed, is_whole=True) for seed in SEEDS}


@pytest.fixture(scope="module")
def num_cold_jobs() -> float:
    return statistics.median(len(search(seed)) for seed in SEEDS)


@pytest.mark.parametrize(
    "given",
    [
        {"is_same_data": True},
        {"is_same_data": False, "scale": 20.0, "shift": 5.0},
        {"is_same_data": False, "scale": 0.2, "shift": -50.0},
    ],
    ids=["identical", "transfer, worse level", "transfer, better level"],
)
def test_a_warm_search_comes_near_the_optimum_in_fewer_jobs(
    given: dict[str, Any], parents: dict[int, list[Trial]], num_cold_jobs: float
) -> None:
    warm = [len(search(seed, [parents[seed]], **given)) for seed in SEEDS]
    assert statistics.median(warm) <= 0.6 * num_cold_jobs


def test_objectives_of_other_data_taken_as_they_are_would_mislead(
    parents: dict[int, list[Trial]],
) -> None:
    # The own job is so much better that all of it looks best: the parents' lesson is lost.
    given = {"scale": 0.2, "shift": -50.0}
    raw = [len(search(seed, [parents[seed]], **given)) for seed in SEEDS]
    pooled = [len(search(seed, [parents[seed]], is_same_data=False, **given)) for seed in SEEDS]
    assert statistics.median(pooled) < statistics.median(raw)


def test_parents_count_for_the_start_up() -> None:
    parent = [
        Trial(values={"x": repr(0.2 + idx / 100), "y": "0.8"}, objective=idx / 100)
        for idx in range(5)
    ]
    cold = build_searcher("Bayesian", RANGES, maximize=False, seed=0)
    warm = build_searcher("Bayesian", RANGES, maximize=False, seed=0, parents=[parent])
    assert warm.suggest(0, []) != cold.suggest(0, [])
    few = build_searcher("Bayesian", RANGES, maximize=False, seed=0, parents=[parent[:4]])
    assert few.suggest(0, []) == cold.suggest(0, [])
    halves = [parent[:2], parent[2:]]
    split = build_searcher("Bayesian", RANGES, maximize=False, seed=0, parents=halves)
    assert split.suggest(0, []) == warm.suggest(0, [])


@pytest.mark.parametrize(
    "changed",
    [{"x": "1.5"}, {"x": "-0.1"}, {"x": "fast"}, {"x": None}],
    ids=["above", "below", "no number", "missing"],
)
@pytest.mark.parametrize("is_same_data", [True, False])
def test_what_does_not_fit_today_is_dropped(
    changed: dict[str, str | None], is_same_data: bool
) -> None:
    fit = [
        Trial(values={"x": repr(idx / 10), "y": "0.8", "static": "1"}, objective=idx)
        for idx in range(6)
    ]
    texts = {"x": "0.5", "y": "0.5"} | changed
    misfit = Trial(
        values={name: text for name, text in texts.items() if text is not None}, objective=-9.0
    )
    failed = Trial(values={"x": "0.1", "y": "0.1"})

    def suggest(parent: list[Trial]) -> dict[str, str] | None:
        searcher = build_searcher(
            "Bayesian", RANGES, maximize=False, seed=0, parents=[parent], is_same_data=is_same_data
        )
        return searcher.suggest(0, [])

    assert suggest([misfit, *fit, failed]) == suggest(fit)


def observe(*objectives: float) -> list[Observation]:
    return [Observation((idx / 10,), value) for idx, value in enumerate(objectives)]


def test_each_job_is_set_to_its_median_and_deviation() -> None:
    pooled = pool_observations(
        [observe(10, 20, 40), observe()], observe(0.5, 0.5, 0.5, 0.75), is_same_data=False
    )
    # Deviations from 20 are 10, 0, 20 with median 10; more than half of the own ones are 0.
    assert [seen.objective for seen in pooled] == [-1, 0, 2, 0, 0, 0, 1]
    assert [seen.units for seen in pooled] == [(0,), (0.1,), (0.2,), (0,), (0.1,), (0.2,), (0.3,)]


def test_objectives_stay_as_they_are_on_the_same_data_or_without_parents() -> None:
    parent, own = observe(10, 20), observe(5)
    assert pool_observations([parent], own, is_same_data=True) == [*parent, *own]
    assert pool_observations([[]], own, is_same_data=False) == own


def test_equal_and_enormous_objectives_stay_numbers() -> None:
    pooled = pool_observations(
        [observe(7, 7, 7), observe(-1.7e308, 1.6e308, 1.7e308)], observe(3), is_same_data=False
    )
    assert [seen.objective for seen in pooled] == pytest.approx([0, 0, 0, -33, 0, 1, 0])
    assert not any(math.isnan(seen.objective) for seen in pooled)
