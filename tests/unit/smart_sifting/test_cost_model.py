from __future__ import annotations

import math

import pytest

from smart_sifting._core.cost_model import SiftingCosts, kept_fraction, round_up


def costs(
    loading: float = 0.0,
    scoring: float = 1.0,
    training: float = 3.0,
    *,
    pooling: float = 0.0,
    overlapped: bool = False,
) -> SiftingCosts:
    return SiftingCosts(
        loading, scoring, training, is_loading_overlapped=overlapped, pooling_s=pooling
    )


@pytest.mark.parametrize(
    ("beta", "published"),
    [(0.1, 1.24), (0.25, 1.13), (0.5, 1.00), (1, 0.83), (2, 0.67), (3, 0.58), (10, 0.42)],
)
def test_a_backward_of_two_forwards_gives_the_known_table(beta: float, published: float) -> None:
    assert costs().relative_time(beta) == pytest.approx(published, abs=0.005)


def test_loading_is_paid_with_and_without_sifting() -> None:
    assert costs(loading=5.0).relative_time(1) == pytest.approx((5 + 1 + 1.5) / 8)


def test_overlapped_loading_counts_only_where_it_is_slower() -> None:
    assert costs(2.0, overlapped=True).relative_time(1) == pytest.approx(2.5 / 3)
    assert costs(2.8, overlapped=True).relative_time(1) == pytest.approx(2.8 / 3)
    assert costs(4.0, overlapped=True).relative_time(1) == 1.0
    assert costs(4.0, 3.0, overlapped=True).relative_time(1) == pytest.approx(4.5 / 4)


def test_pooling_is_paid_for_kept_samples_only() -> None:
    assert costs(pooling=1.0).relative_time(1) == pytest.approx((1 + 2) / 3)
    assert costs(pooling=1.0).relative_time(3) == pytest.approx((1 + 1) / 3)
    assert costs(5.0, pooling=1.0).relative_time(1) == pytest.approx((5 + 1 + 2) / 8)
    assert costs(2.1, pooling=1.0, overlapped=True).relative_time(3) == pytest.approx(2.1 / 3)
    assert costs(1.9, pooling=1.0, overlapped=True).relative_time(3) == pytest.approx(2 / 3)


def test_with_pooling_the_break_even_is_where_it_and_scoring_equal_the_training_spared() -> None:
    assert costs(pooling=1.0).break_even_beta() == pytest.approx(1.0)
    assert costs(2.9, pooling=3.0, overlapped=True).break_even_beta() == pytest.approx(2.0)
    assert costs(scoring=0.0, pooling=3.0).break_even_beta() == pytest.approx(1.0)
    assert costs(pooling=300.0).break_even_beta() == pytest.approx(150.5)


@pytest.mark.parametrize(
    ("pooling", "beta", "says"),
    [
        (0.6, 0.25, "a step, putting a kept sample into a new batch 20 %, and 80.0 % of the"),
        (0.6, 3, "a step, putting a kept sample into a new batch 20 %, and 25.0 % of the"),
        (0.6, 100, "a step and 1.0 % of the samples are trained"),
        (0.03, 0.25, "a step and 80.0 % of the samples are still trained"),
    ],
)
def test_pooling_is_mentioned_where_it_makes_a_difference(
    pooling: float, beta: float, says: str
) -> None:
    assert f"scoring costs 33 % of {says}" in costs(pooling=pooling).verdict(beta)


def test_break_even_is_where_scoring_equals_the_training_spared() -> None:
    assert costs().scoring_share == pytest.approx(1 / 3)
    assert costs().break_even_beta() == pytest.approx(0.5)
    assert costs(9.0).break_even_beta() == pytest.approx(0.5)
    assert costs(2.9, overlapped=True).break_even_beta() == pytest.approx(0.5)
    assert costs(scoring=0.0).break_even_beta() == 0.0


@pytest.mark.parametrize(
    "hopeless",
    [
        costs(scoring=3.0),
        costs(scoring=4.0),
        costs(scoring=3.0, pooling=1.0),
        costs(3.0, overlapped=True),
    ],
)
def test_there_is_no_break_even_where_no_selectivity_pays(hopeless: SiftingCosts) -> None:
    assert hopeless.break_even_beta() is None
    assert min(hopeless.relative_time(10.0**power) for power in range(-3, 12)) >= 1


def test_a_beta_that_does_not_pay_is_told_which_one_does() -> None:
    assert costs(scoring=1.02).verdict(0.5) == (
        "beta_value=0.5 will not save time on this model: scoring costs 34 % of a step and 66.7 % "
        "of the samples are still trained; from beta_value=0.52 on it does."
    )


def test_a_beta_that_pays_is_told_how_much() -> None:
    assert costs(scoring=1.02).verdict(3) == (
        "beta_value=3 is expected to take 0.59 of the time per epoch: scoring costs 34 % of a "
        "step and 25.0 % of the samples are trained."
    )


def test_at_the_break_even_itself_nothing_is_promised() -> None:
    assert costs(0.0, 1.0, 2.0).verdict(1) == (
        "beta_value=1 will not save time on this model: scoring costs 50 % of a step and 50.0 % "
        "of the samples are still trained; from beta_value=1.1 on it does."
    )


def test_a_saving_too_small_to_name_is_not_called_none() -> None:
    text = costs(scoring=1.02).verdict(0.53)
    assert "is expected to save less than 1 % of the time per epoch" in text


def test_scoring_dearer_than_training_is_said_to_be_hopeless() -> None:
    assert costs(scoring=3.6, training=3.0).verdict(100) == (
        "beta_value=100 will not save time on this model: scoring costs 120 % of a step, so that "
        "no beta_value saves any."
    )


def test_loading_as_the_bottleneck_is_named_and_so_is_the_way_out() -> None:
    slow = SiftingCosts(0.004, 0.001, 0.003, is_loading_overlapped=True)
    assert slow.verdict(1) == (
        "beta_value=1 will not save time: loading takes longer than training (4 ms and 3 ms per "
        "sample), so that no beta_value saves any. Load faster first, such as by more worker "
        "processes."
    )
    slower = SiftingCosts(0.004, 0.004, 0.003, is_loading_overlapped=True)
    assert "and this one takes 1.38 of the time per epoch." in slower.verdict(1)


@pytest.mark.parametrize(
    ("loading", "overlapped", "says"),
    [
        (1.0, False, "; loading, 25 % of the time without sifting, stays what it is."),
        (0.1, False, "50.0 % of the samples are trained."),
        (2.6, True, "; loading takes as long, so that a larger beta_value saves no more."),
        (2.4, True, "50.0 % of the samples are trained."),
    ],
)
def test_loading_is_mentioned_where_it_limits_the_saving(
    loading: float, overlapped: bool, says: str
) -> None:
    assert costs(loading, overlapped=overlapped).verdict(1).endswith(says)


@pytest.mark.parametrize("name", ["loading_s", "scoring_s", "training_s", "pooling_s"])
@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf])
def test_impossible_seconds_are_refused(name: str, value: float) -> None:
    seconds = {"loading_s": 1.0, "scoring_s": 1.0, "training_s": 1.0}
    with pytest.raises(ValueError, match=rf"`{name}` is {value}, but must be"):
        SiftingCosts(**(seconds | {name: value}))


def test_training_takes_some_time() -> None:
    with pytest.raises(ValueError, match=r"`training_s` is 0\.0, but must be positive"):
        SiftingCosts(loading_s=0.0, scoring_s=0.0, training_s=0.0)


@pytest.mark.parametrize("beta", [0, -1, math.nan, math.inf])
def test_an_impossible_selectivity_is_refused(beta: float) -> None:
    for method in (kept_fraction, costs().relative_time, costs().verdict):
        with pytest.raises(ValueError, match=rf"`beta_value` is {beta}, but must be positive"):
            method(beta)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, 0.01),
        (0.0099, 0.01),
        (0.01, 0.011),
        (0.49999999999999994, 0.51),
        (0.515, 0.52),
        (0.52, 0.53),
        (1, 1.1),
        (9.95, 10),
        (12.01, 13),
        (13, 14),
        (1234, 1300),
    ],
)
def test_break_evens_are_rounded_up(value: float, shown: float) -> None:
    assert round_up(value) == shown
