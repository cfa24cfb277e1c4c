from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from smart_sifting._core.loss_history import LossHistory
from smart_sifting._core.relative_probability import keep_probability, percentile
from smart_sifting._core.selection import Selector

PROPERTY = settings(max_examples=80, deadline=None, derandomize=True, database=None)
LOSSES = st.lists(
    st.sampled_from([0.0, 0.5, 1.0, 1.5, 7.0, math.nan, math.inf]), min_size=1, max_size=9
)
FINITE_LOSSES = st.lists(st.sampled_from([0.0, 0.0, 1.0, 2.5, 1e-30, 1e30]), min_size=1)


@PROPERTY
@given(batches=st.lists(LOSSES, max_size=8), capacity=st.integers(1, 12))
def test_the_history_is_the_latest_finite_losses_in_order(
    batches: list[list[float]], capacity: int
) -> None:
    history = LossHistory(capacity)
    expected: list[float] = []
    for losses in batches:
        history.push(torch.tensor(losses))
        expected = (expected + [loss for loss in losses if math.isfinite(loss)])[-capacity:]
        assert history.losses().tolist() == expected
        restored = LossHistory(capacity)
        restored.load(history.losses())
        assert restored.losses().tolist() == expected


@PROPERTY
@given(losses=FINITE_LOSSES, beta=st.sampled_from([0.1, 0.5, 1.0, 3.0, 10.0]))
def test_expected_kept_fraction_is_exact_however_many_losses_are_equal(
    losses: list[float], beta: float
) -> None:
    # The mean over uniform positions, by the midpoint rule: all ties included, it must be the
    # integral of u ** beta over 0..1.
    num_positions = 400
    history = torch.tensor(losses)
    probability = 0.0
    for position in (torch.arange(num_positions) + 0.5) / num_positions:
        percentiles = percentile(history, history, len(losses), position.expand(len(losses)))
        probability += float(keep_probability(percentiles, beta=beta).mean()) / num_positions
    assert probability == pytest.approx(1 / (1 + beta), abs=0.003)


@PROPERTY
@given(losses=FINITE_LOSSES, position=st.floats(0, 1, width=32))
def test_percentiles_lie_between_the_share_below_and_the_share_not_above(
    losses: list[float], position: float
) -> None:
    loss_B = torch.tensor(losses)
    result = percentile(loss_B, loss_B, len(losses), torch.full_like(loss_B, position))
    for value, loss in zip(result.tolist(), loss_B.tolist(), strict=True):
        below = sum(other < loss for other in loss_B.tolist()) / len(losses)
        not_above = sum(other <= loss for other in loss_B.tolist()) / len(losses)
        assert below - 1e-6 <= value <= not_above + 1e-6
        assert value == pytest.approx(below + position * (not_above - below), abs=1e-6)


@PROPERTY
@given(batches=st.lists(LOSSES, min_size=1, max_size=6), seed=st.integers(0, 99))
def test_a_sample_without_finite_loss_is_kept_and_counted(
    batches: list[list[float]], seed: int
) -> None:
    selector = Selector(beta=100.0, history_length=8, seed=seed)
    for losses in batches:
        selection = selector.select(torch.tensor(losses))
        nonfinite = [idx for idx, loss in enumerate(losses) if not math.isfinite(loss)]
        assert set(nonfinite) <= set(selection.kept_idx)
        assert selection.num_nonfinite == len(nonfinite)
        everyone = sorted(selection.kept_idx + selection.sifted_out_idx)
        assert everyone == list(range(len(losses)))


@PROPERTY
@given(losses=FINITE_LOSSES, seed=st.integers(0, 99))
def test_a_tiny_beta_keeps_all_and_a_huge_one_almost_only_the_top(
    losses: list[float], seed: int
) -> None:
    loss_B = torch.tensor(losses)
    keep_all = Selector(beta=1e-12, history_length=500, seed=seed).select(loss_B)
    assert keep_all.kept_idx == list(range(len(losses)))
    keep_few = Selector(beta=1e9, history_length=500, seed=seed).select(loss_B)
    assert keep_few.kept_idx == []


def test_a_larger_loss_is_kept_more_often() -> None:
    selector = Selector(beta=2.0, history_length=100, seed=0)
    loss_B = torch.arange(10.0)
    num_kept = torch.zeros(10)
    for _ in range(3000):
        num_kept[selector.select(loss_B).kept_idx] += 1
    # Ten equally frequent losses: the mean of u ** 2 over each tenth of 0..1.
    edges = torch.arange(11) / 10
    expected = (edges[1:] ** 3 - edges[:-1] ** 3) / 3 * 10
    assert torch.allclose(num_kept / 3000, expected, atol=0.03)


def test_the_seed_decides_and_the_global_random_state_does_not() -> None:
    def draw(seed: int) -> list[list[int]]:
        selector = Selector(beta=1.0, history_length=50, seed=seed)
        torch.rand(seed + 1)
        return [selector.select(torch.arange(20.0)).kept_idx for _ in range(3)]

    before = torch.get_rng_state()
    assert draw(5) == draw(5)
    assert draw(5) != draw(6)
    torch.set_rng_state(before)
    Selector(beta=1.0, history_length=50, seed=1).select(torch.arange(20.0))
    assert torch.equal(torch.get_rng_state(), before)
