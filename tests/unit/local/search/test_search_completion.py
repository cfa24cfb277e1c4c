from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagemaker_sift.backends.local.search.completion import Completion

NOT_IMPROVING = {"BestObjectiveNotImproving": {"MaxNumberOfTrainingJobsNotImproving": 3}}
CONVERGENCE = {"ConvergenceDetected": {"CompleteOnConvergence": "Enabled"}}
UP = [0.1 * k for k in range(1, 11)]


@pytest.mark.parametrize("criteria", [None, {}, {"ConvergenceDetected": {}}])
def test_without_criteria_a_job_goes_on_to_its_limits(criteria: dict[str, object] | None) -> None:
    assert Completion(criteria, maximize=True).find_reason([0.5] * 100) is None


def test_the_target_is_reached_from_the_right_side() -> None:
    target = {"TargetObjectiveMetricValue": 0.5}
    up, down = Completion(target, maximize=True), Completion(target, maximize=False)
    assert up.find_reason([0.5]) == "objective 0.5 reached the target, 0.5"
    assert up.find_reason([0.6, 0.1]) == "objective 0.6 reached the target, 0.5"
    assert up.find_reason([0.49, None, math.nan, math.inf]) is None
    assert down.find_reason([0.9, 0.4]) == "objective 0.4 reached the target, 0.5"
    assert down.find_reason([0.51]) is None
    assert down.find_reason([]) is None
    assert Completion({"TargetObjectiveMetricValue": 0.0}, maximize=False).find_reason([0.0])


@pytest.mark.parametrize(
    ("objectives", "expected"),
    [
        ([], 0),
        ([0.5], 0),
        ([0.5, 0.5], 1),
        ([0.5, 0.504], 1),
        ([0.5, 0.5051], 0),
        ([0.5, 0.4, 0.3, 0.6], 0),
        ([0.5, 0.4, 0.3], 2),
        ([0.5, 0.4, 0.45], 2),
        ([0.5, None, math.nan, 0.4], 1),
        ([None], 0),
        ([0.0, 0.0], 1),
        ([0.0, 1e-9], 0),
        ([-1.0, -0.995], 1),
        ([-1.0, -0.98], 0),
        ([0.5, 0.504, 0.508], 2),
    ],
)
def test_jobs_in_a_row_that_do_not_improve_by_one_percent(
    objectives: list[float | None], expected: int
) -> None:
    up, down = Completion(None, maximize=True), Completion(None, maximize=False)
    assert up.count_not_improving(objectives) == expected
    mirrored = [None if value is None else -value for value in objectives]
    assert down.count_not_improving(mirrored) == expected


def test_three_jobs_in_a_row_without_improvement_are_enough() -> None:
    completion = Completion(NOT_IMPROVING, maximize=True)
    assert completion.find_reason([0.5, 0.4, 0.4]) is None
    assert completion.find_reason([0.5, 0.4, 0.4, None, 0.4]) == (
        "the last 3 training jobs did not improve the best by 1%"
    )
    assert completion.find_reason([0.5, 0.4, 0.4, None, 0.6]) is None


@pytest.mark.parametrize(
    ("objectives", "expected"),
    [
        ([1.0] * 19, False),
        ([1.0] * 20, True),
        ([*UP, *[1.0] * 10], True),
        ([*UP, *[1.0] * 9], False),
        ([*UP, *[1.0] * 9, 1.009], True),
        ([*UP, *[1.0] * 9, 1.011], False),
        ([*UP, *[0.5] * 9, 1.011], False),
        ([*UP, *[None] * 20], False),
        # Of 60, the latest 20 count: an improvement at 41 is recent, at 40 it is not.
        ([*[1.0] * 40, 2.0, *[1.0] * 19], False),
        ([*[1.0] * 39, 2.0, *[1.0] * 20], True),
    ],
)
def test_a_search_has_converged_when_its_latest_jobs_gain_less_than_one_percent(
    objectives: list[float | None], expected: bool
) -> None:
    enabled = Completion(CONVERGENCE, maximize=True)
    assert enabled.has_converged(objectives) == expected
    assert (enabled.find_reason(objectives) is not None) == expected
    disabled = Completion(
        {"ConvergenceDetected": {"CompleteOnConvergence": "Disabled"}}, maximize=True
    )
    assert disabled.has_converged(objectives) == expected
    assert disabled.find_reason(objectives) is None


@given(st.lists(st.none() | st.floats(), max_size=40), st.booleans())
def test_any_objectives_have_an_answer(objectives: list[float | None], maximize: bool) -> None:
    criteria = NOT_IMPROVING | CONVERGENCE | {"TargetObjectiveMetricValue": 0.5}
    completion = Completion(criteria, maximize=maximize)
    count = completion.count_not_improving(objectives)
    assert 0 <= count <= len(objectives)
    reason = completion.find_reason(objectives)
    assert reason is not None or count < 3
