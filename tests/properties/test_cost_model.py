from __future__ import annotations

import re

from hypothesis import assume, given
from hypothesis import strategies as st

from smart_sifting._core.cost_model import SiftingCosts, round_up

SECONDS = st.floats(min_value=1e-6, max_value=1e3)
MAYBE = st.just(0.0) | SECONDS
COSTS = st.builds(SiftingCosts, MAYBE, SECONDS, SECONDS, st.booleans(), MAYBE)
SHARES = st.floats(min_value=0.01, max_value=0.999)
BETAS = st.floats(min_value=1e-3, max_value=1e3)


def is_resolvable(costs: SiftingCosts) -> bool:
    """Whether training makes a difference that floats can tell from loading."""
    return costs.loading_s < 1e4 * costs.training_s


@given(COSTS)
def test_just_above_the_break_even_time_is_saved_and_just_below_it_is_lost(
    costs: SiftingCosts,
) -> None:
    break_even = costs.break_even_beta()
    assume(break_even is not None and 1e-3 < break_even < 1e3 and is_resolvable(costs))
    assert break_even is not None
    assert costs.relative_time(1.001 * break_even) < 1
    assert costs.relative_time(0.999 * break_even) > 1


@given(COSTS, BETAS)
def test_without_a_break_even_no_selectivity_saves_time(costs: SiftingCosts, beta: float) -> None:
    assume(costs.break_even_beta() is None)
    assert costs.relative_time(beta) >= 1


@given(COSTS, BETAS, BETAS)
def test_a_larger_selectivity_never_takes_more_time(
    costs: SiftingCosts, one: float, other: float
) -> None:
    small, large = sorted((one, other))
    assert costs.relative_time(large) <= costs.relative_time(small)


@given(COSTS, BETAS)
def test_a_verdict_promises_time_exactly_where_time_is_saved(
    costs: SiftingCosts, beta: float
) -> None:
    is_promised = "is expected to" in costs.verdict(beta)
    assume(is_resolvable(costs) and abs(costs.relative_time(beta) - 1) > 1e-9)
    assert is_promised == (costs.relative_time(beta) < 1)


@given(
    SECONDS,
    st.floats(min_value=0.01, max_value=0.99),
    SHARES,
    SHARES,
    st.booleans(),
    st.just(0.0) | SHARES,
)
def test_the_break_even_that_is_shown_holds(
    training_s: float,
    scoring: float,
    loading: float,
    below: float,
    is_overlapped: bool,
    pooling: float,
) -> None:
    costs = SiftingCosts(
        loading * training_s,
        scoring * training_s,
        training_s,
        is_overlapped,
        pooling_s=pooling * training_s,
    )
    beta = below * (scoring + pooling) / (1 - scoring)
    found = re.search(r"from beta_value=(\S+) on it does", costs.verdict(beta))
    assert found is not None
    assert beta < float(found[1])
    assert costs.relative_time(float(found[1])) < 1


@given(st.floats(min_value=0, max_value=1e12))
def test_rounding_up_is_up_and_by_less_than_a_tenth(value: float) -> None:
    assert value < round_up(value) <= max(0.0101, 1.1001 * value)
