from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sagemaker_sift.backends.local.search.searcher import Searcher, build_searcher
from sagemaker_sift.backends.local.search.trial import Trial
from sagemaker_sift.exceptions import InvalidRequestError

FINITE: dict[str, Any] = {
    "IntegerParameterRanges": [{"Name": "depth", "MinValue": "1", "MaxValue": "3"}],
    "CategoricalParameterRanges": [{"Name": "optimizer", "Values": ["sgd", "adam"]}],
}
LOG: dict[str, Any] = {
    "ContinuousParameterRanges": [
        {"Name": "rate", "MinValue": "0.0001", "MaxValue": "1", "ScalingType": "Logarithmic"},
        {"Name": "momentum", "MinValue": "0", "MaxValue": "1", "ScalingType": "Linear"},
        {
            "Name": "decay",
            "MinValue": "0",
            "MaxValue": "0.999",
            "ScalingType": "ReverseLogarithmic",
        },
    ]
}


def exhaust(searcher: Searcher, is_running: bool = False) -> list[dict[str, str]]:
    trials: list[Trial] = []
    for idx in range(100):
        values = searcher.suggest(idx, trials)
        if values is None:
            return [dict(trial.values) for trial in trials]
        trials.append(Trial(values=values, is_running=is_running))
    raise AssertionError("the space is not exhausted")


@pytest.mark.parametrize("strategy", ["Random", "Hyperband", "Grid", "Bayesian"])
@pytest.mark.parametrize("is_running", [True, False])
@pytest.mark.parametrize("seed", [0, 1, 2**63])
def test_a_finite_space_is_tried_whole_and_nothing_twice(
    strategy: str, is_running: bool, seed: int
) -> None:
    searcher = build_searcher(strategy, FINITE, maximize=True, seed=seed)
    tried = exhaust(searcher, is_running)
    assert len(tried) == 6
    assert len({tuple(values.items()) for values in tried}) == 6


@pytest.mark.parametrize("strategy", ["Random", "Bayesian"])
def test_a_point_is_known_again_however_it_is_written(strategy: str) -> None:
    one = {"IntegerParameterRanges": [{"Name": "depth", "MinValue": "5", "MaxValue": "5"}]}
    searcher = build_searcher(strategy, one, maximize=True, seed=0)
    assert searcher.suggest(0, []) == {"depth": "5"}
    assert searcher.suggest(1, [Trial(values={"depth": "5.0", "more": "1"})]) is None
    assert searcher.suggest(1, [Trial(values={"depth": "6"})]) == {"depth": "5"}


def test_few_points_left_of_many_are_found_each_as_often() -> None:
    many = {"IntegerParameterRanges": [{"Name": "n", "MinValue": "0", "MaxValue": "19999"}]}
    searcher = build_searcher("Random", many, maximize=True, seed=3)
    left = {"17", "18", "19999"}
    trials = [Trial(values={"n": str(n)}) for n in range(20_000) if str(n) not in left]
    drawn = [searcher.suggest(idx, trials) or {} for idx in range(9)]
    assert {values["n"] for values in drawn} == left
    few = build_searcher("Random", FINITE, maximize=True, seed=3)
    known = [Trial(values={"depth": depth, "optimizer": "sgd"}) for depth in ("1", "2", "3")]
    counts = Counter((few.suggest(idx, known) or {})["depth"] for idx in range(600))
    assert all(count == pytest.approx(200, abs=40) for count in counts.values())
    assert len(counts) == 3


def test_a_range_of_two_floats_ends_after_two() -> None:
    two = {"Name": "x", "MinValue": "1.0", "MaxValue": repr(math.nextafter(1, 2))}
    ranges = {"ContinuousParameterRanges": [two]}
    assert len(exhaust(build_searcher("Random", ranges, maximize=True, seed=0))) == 2


def draw(num: int, seed: int = 0, trials: Sequence[Trial] = ()) -> list[dict[str, str]]:
    searcher = build_searcher("Random", LOG, maximize=True, seed=seed)
    return [searcher.suggest(idx, trials) or {} for idx in range(num)]


def test_a_job_has_draws_of_its_own_whatever_came_before() -> None:
    forward = draw(20)
    searcher = build_searcher("Hyperband", LOG, maximize=False, seed=0)
    known = [Trial(values=values, objective=1.0) for values in draw(9, seed=5)]
    backward = [searcher.suggest(idx, known) for idx in reversed(range(20))]
    assert list(reversed(backward)) == forward
    assert forward != draw(20, seed=1)
    assert len({values["rate"] for values in forward + draw(20, seed=1)}) == 40


def test_the_draws_are_the_same_in_every_version() -> None:
    (values,) = draw(1, seed=7)
    assert values["momentum"] == "0.1727578698230463"
    assert float(values["rate"]) == pytest.approx(0.784455671280135, rel=1e-12)
    assert float(values["decay"]) == pytest.approx(0.48589558338166267, rel=1e-12)


def test_draws_are_uniform_on_each_scale_and_independent() -> None:
    drawn = draw(3000)
    positions = [
        [math.log10(float(values["rate"])) / 4 + 1 for values in drawn],
        [float(values["momentum"]) for values in drawn],
        [-math.log10(1 - float(values["decay"])) / 3 for values in drawn],
    ]
    for column in positions:
        cuts = statistics.quantiles(column, n=10)
        assert cuts == pytest.approx([0.1 * k for k in range(1, 10)], abs=0.03)
    pairs = [(0, 1), (0, 2), (1, 2)]
    for one, other in pairs:
        assert abs(statistics.correlation(positions[one], positions[other])) < 0.05
    for column in positions:
        assert abs(statistics.correlation(column[1:], column[:-1])) < 0.05


@settings(max_examples=50)
@given(st.permutations(range(6)), st.integers(0, 2**64))
def test_a_suggestion_does_not_depend_on_the_order_of_what_was_tried(
    order: list[int], seed: int
) -> None:
    searcher = build_searcher("Random", FINITE, maximize=True, seed=seed)
    grid = build_searcher("Grid", FINITE, maximize=True, seed=seed)
    points = [Trial(values=grid.suggest(idx, []) or {}) for idx in range(4)]
    shuffled = [points[idx] for idx in order if idx < 4]
    assert searcher.suggest(9, points) == searcher.suggest(9, shuffled)


def test_grid_goes_through_the_points_in_order_after_a_restart_too() -> None:
    searcher = build_searcher("Grid", FINITE, maximize=True, seed=0)
    assert searcher.suggest(5, []) == {"depth": "3", "optimizer": "adam"}
    assert searcher.suggest(1, []) == {"depth": "1", "optimizer": "adam"}
    assert searcher.suggest(6, []) is None


def test_grid_refuses_what_has_no_countable_points() -> None:
    with pytest.raises(InvalidRequestError, match="'Grid', but rate, momentum, decay can take"):
        build_searcher("Grid", LOG, maximize=True, seed=0)


def test_an_unknown_strategy_is_refused_with_a_hint() -> None:
    with pytest.raises(InvalidRequestError, match="Did you mean 'Bayesian'"):
        build_searcher("bayesian", FINITE, maximize=True, seed=0)


@pytest.mark.parametrize("strategy", ["Random", "Bayesian"])
def test_what_a_parent_tried_on_the_same_data_is_not_tried_again(strategy: str) -> None:
    parent = [Trial(values={"depth": "2", "optimizer": "sgd"}, objective=1.0), Trial(values={})]
    same = build_searcher(strategy, FINITE, maximize=True, seed=0, parents=[parent])
    assert {"depth": "2", "optimizer": "sgd"} not in exhaust(same)
    other = build_searcher(
        strategy, FINITE, maximize=True, seed=0, parents=[parent], is_same_data=False
    )
    assert {"depth": "2", "optimizer": "sgd"} in exhaust(other)
    assert (len(exhaust(same)), len(exhaust(other))) == (5, 6)
