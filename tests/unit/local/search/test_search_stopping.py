from __future__ import annotations

import math
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagemaker_sift.backends.local.search.stopping import (
    Curve,
    HyperbandRule,
    MedianRule,
    read_resources,
)
from sagemaker_sift.exceptions import InvalidRequestError

NAN = math.nan


def ended(name: str, *values: float, idx: int = 0) -> Curve:
    return Curve(name=name, idx=idx, values=values, is_running=False)


def running(name: str, *values: float, idx: int = 0) -> Curve:
    return Curve(name=name, idx=idx, values=values, is_running=True)


def test_a_job_below_the_median_of_the_running_averages_is_stopped() -> None:
    # Means of the first 3 values: 0.4, 0.5, 0.8; the fourth values play no part.
    others = [
        ended("a", 0.2, 0.4, 0.6, 9),
        ended("b", 0.5, 0.5, 0.5, 9),
        ended("c", 0.9, 0.8, 0.7),
    ]
    rule = MedianRule(maximize=True)
    assert rule.find_hopeless([*others, running("d", 0.9, 0.9, 0.49)]) == {
        "d": "report 3 is 0.49, worse than 0.5, the median of the others up to there"
    }
    assert rule.find_hopeless([*others, running("d", 0.0, 0.0, 0.51)]) == {}


def test_an_even_number_of_others_has_its_median_between() -> None:
    others = [ended("a", 0.2), ended("b", 0.6)]
    rule = MedianRule(maximize=True)
    assert set(rule.find_hopeless([*others, running("c", 0.39)])) == {"c"}
    assert rule.find_hopeless([*others, running("c", 0.4)]) == {}


def test_when_minimizing_the_larger_value_is_worse() -> None:
    others = [ended("a", 3.0, 1.0), ended("b", 4.0, 2.0)]
    rule = MedianRule(maximize=False)
    assert set(rule.find_hopeless([*others, running("c", 1.0, 2.6)])) == {"c"}
    assert rule.find_hopeless([*others, running("c", 9.0, 2.4)]) == {}


def test_jobs_that_have_not_come_as_far_do_not_count() -> None:
    rule = MedianRule(maximize=True)
    assert rule.find_hopeless([ended("a", 0.9), running("b", 0.1, 0.1)]) == {}
    assert rule.find_hopeless([running("b", 0.1), running("c")]) == {}
    assert set(rule.find_hopeless([running("b", 0.1), running("c", 0.5)])) == {"b"}


def test_a_job_as_good_as_all_others_goes_on_in_spite_of_rounding() -> None:
    others = [ended(name, *[0.1] * 3) for name in "abc"]
    assert sum([0.1] * 3) / 3 > 0.1
    assert MedianRule(maximize=True).find_hopeless([*others, running("d", *[0.1] * 3)]) == {}


def test_a_job_that_has_ended_is_never_named() -> None:
    curves = [ended("a", 0.9), ended("b", 0.1)]
    assert MedianRule(maximize=True).find_hopeless(curves) == {}


def test_nan_is_worse_than_any_number_and_left_out_of_means() -> None:
    rule = MedianRule(maximize=False)
    assert set(rule.find_hopeless([ended("a", 5.0), running("b", NAN)])) == {"b"}
    assert rule.find_hopeless([ended("a", NAN), running("b", 7.0)]) == {}
    # The mean of NaN and 3.0 is 3.0.
    assert set(rule.find_hopeless([ended("a", NAN, 3.0), running("b", 1.0, 3.1)])) == {"b"}
    assert rule.find_hopeless([ended("a", NAN, 3.0), running("b", 1.0, 2.9)]) == {}


def test_an_infinite_loss_is_stopped_and_an_infinite_mean_is_none() -> None:
    rule = MedianRule(maximize=False)
    assert set(rule.find_hopeless([ended("a", 5.0), running("b", math.inf)])) == {"b"}
    assert rule.find_hopeless([ended("a", -math.inf), running("b", 7.0)]) == {}


def build_rule(low: int = 1, high: int = 9, *, maximize: bool = True) -> HyperbandRule:
    return HyperbandRule(maximize=maximize, min_resource=low, max_resource=high)


def test_rungs_are_powers_of_three_and_brackets_start_later_and_later() -> None:
    rule = build_rule(2, 55)
    assert {tuple(rule.find_rungs(idx)) for idx in range(100)} == {
        (2, 6, 18, 54),
        (6, 18, 54),
        (18, 54),
        (54,),
        (),
    }
    assert build_rule(5, 5).find_rungs(0) == []
    assert build_rule(1, 3).find_rungs(0) == [1]


def test_brackets_get_jobs_in_the_proportions_of_hyperband() -> None:
    # Hyperband with R = 27, eta = 3 starts 27, 12, 6 and 4 configurations.
    rule = build_rule(1, 27)
    counts = Counter(len(rule.find_rungs(idx)) for idx in range(490))
    assert counts == {3: 270, 2: 120, 1: 60, 0: 40}
    assert {len(rule.find_rungs(idx)) for idx in range(8)} == {0, 1, 2, 3}
    again = build_rule(1, 27)
    assert [again.find_rungs(idx) for idx in (30, 2)] == [rule.find_rungs(30), rule.find_rungs(2)]


def find_idxs(rule: HyperbandRule, rungs: list[int], num: int) -> list[int]:
    return [idx for idx in range(200) if rule.find_rungs(idx) == rungs][:num]


def test_the_best_third_goes_on_and_the_rest_is_stopped() -> None:
    rule = build_rule()
    a, b, c, d = find_idxs(rule, [1, 3], 4)
    first = [ended("a", 0.5, idx=a), running("b", 0.4, idx=b)]
    assert rule.find_hopeless(first) == {}
    three = [*first, running("c", 0.6, idx=c), running("d", idx=d)]
    assert rule.find_hopeless(three) == {}
    four = [*first, running("c", 0.6, idx=c), running("d", 0.55, idx=d)]
    assert rule.find_hopeless(four) == {"d": "report 1 is 0.55, number 2 of 4; the best 1 go on"}


def test_each_rung_is_judged_with_its_own_values_and_only_once() -> None:
    rule = build_rule(maximize=False)
    idxs = find_idxs(rule, [1, 3], 4)
    slow = running("slow", 0.1, 9.0, 9.0, idx=idxs[0])
    others = [ended(f"o{idx}", 0.5, 0.5, 0.5, idx=idx) for idx in idxs[1:3]]
    early = running("early", 0.9, idx=idxs[3])
    assert rule.find_hopeless([early]) == {}
    found = rule.find_hopeless([slow, *others, early])
    assert found == {"slow": "report 3 is 9, number 3 of 3; the best 1 go on"}
    # It is named again for as long as it runs, so that a stop that got lost is repeated.
    assert rule.find_hopeless([slow, *others, early]) == found
    assert rule.find_hopeless([ended("slow", 0.1, 9.0, 9.0, idx=idxs[0]), *others]) == {}
    # A new rule, after a restart, judges by all that is known.
    assert set(build_rule(maximize=False).find_hopeless([slow, *others, early])) == {
        "slow",
        "early",
    }


def test_brackets_do_not_compete() -> None:
    rule = build_rule()
    full, late = find_idxs(rule, [1, 3], 4), find_idxs(rule, [3], 1)
    others = [ended(f"o{idx}", 0.9, 0.9, 0.9, idx=idx) for idx in full]
    assert rule.find_hopeless([*others, running("late", 0.1, 0.1, 0.1, idx=late[0])]) == {}
    free = find_idxs(rule, [], 3)
    ends = [running(f"f{idx}", *[float(idx)] * 9, idx=idx) for idx in free]
    assert rule.find_hopeless(ends) == {}


def test_ties_at_a_rung_share_the_better_rank() -> None:
    rule = build_rule()
    curves = [running(f"j{idx}", 0.5, idx=idx) for idx in find_idxs(rule, [1, 3], 4)]
    assert rule.find_hopeless(curves) == {}


def test_nan_at_a_rung_is_the_worst() -> None:
    rule = build_rule(maximize=False)
    a, b, c = find_idxs(rule, [1, 3], 3)
    curves = [ended("a", 5.0, idx=a), ended("b", math.inf, idx=b), running("c", NAN, idx=c)]
    assert set(rule.find_hopeless(curves)) == {"c"}


def test_a_job_that_goes_on_after_max_resource_is_stopped() -> None:
    rule = build_rule(1, 4)
    last = find_idxs(rule, [], 1)[0]
    assert rule.find_hopeless([running("a", *[0.5] * 4, idx=last)]) == {}
    assert rule.find_hopeless([running("a", *[0.5] * 5, idx=last)]) == {
        "a": "it has used up max_resource, 4 reports"
    }


@given(st.lists(st.lists(st.floats(0, 1), max_size=12), max_size=30))
def test_at_every_rung_the_best_of_those_known_goes_on(values: list[list[float]]) -> None:
    rule = build_rule()
    curves = [running(f"j{idx}", *one[:9], idx=idx) for idx, one in enumerate(values)]
    stopped = rule.find_hopeless(curves)
    for rungs in ([1, 3], [3], []):
        seen = [curve for curve in curves if rule.find_rungs(curve.idx) == rungs]
        reached = [curve for curve in seen if rungs and len(curve.values) >= rungs[-1]]
        if reached and rungs == [3]:
            assert max(reached, key=lambda curve: curve.values[2]).name not in stopped
        if not rungs:
            assert not {curve.name for curve in seen} & {*stopped}


@pytest.mark.parametrize(
    ("config", "static", "expected"),
    [
        ({"MinResource": 2, "MaxResource": 9}, {"epochs": "30"}, (2, 9)),
        ({"MaxResource": 9}, {}, (1, 9)),
        (None, {"epochs": "30", "num_epochs": "5"}, (1, 30)),
        ({}, {"num_epochs": "5", "n-epochs": "7.0"}, (1, 7)),
        ({"MinResource": 3}, {"numepochs": "3"}, (3, 3)),
        ({}, {"n_epochs": "4"}, (1, 4)),
    ],
)
def test_resources_are_those_given_or_the_epochs(
    config: dict[str, Any] | None, static: dict[str, str], expected: tuple[int, int]
) -> None:
    assert read_resources(config, static) == expected


@pytest.mark.parametrize(
    ("config", "static", "message"),
    [
        ({}, {"batch": "3"}, "lacks max_resource, and no static .*epochs, numepochs"),
        ({}, {"epochs": "ten"}, "`epochs` is 'ten', but must be a whole number"),
        ({}, {"epochs": "1.5"}, "'1.5'"),
        ({}, {"epochs": "inf"}, "'inf'"),
        ({}, {"epochs": "0"}, "'0'"),
        ({"MinResource": 10}, {"epochs": "9"}, "min_resource 10 and max_resource 9"),
    ],
)
def test_resources_that_cannot_be_are_refused(
    config: dict[str, Any], static: dict[str, str], message: str
) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        read_resources(config, static)


def test_a_rule_without_room_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="1 <= min <= max"):
        build_rule(0, 3)
