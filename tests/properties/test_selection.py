from __future__ import annotations

import math
import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from smart_sifting._core import loss_history
from smart_sifting._core.loss_history import LossHistory, replace_in_sorted
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
@given(
    values=st.lists(st.tuples(st.integers(0, 6), st.none() | st.integers(0, 6)), min_size=1),
    order=st.randoms(use_true_random=False),
)
def test_replacing_in_a_sorted_tensor_is_as_sorting_anew(
    values: list[tuple[int, int | None]], order: random.Random
) -> None:
    before = torch.tensor([float(old) for old, _ in values]).sort().values
    replaced = [(old, new) for old, new in values if new is not None]
    expected = sorted(old if new is None else new for old, new in values)
    old_N = torch.tensor([old for old, _ in replaced], dtype=torch.float32)
    new_N = [float(new) for _, new in replaced]
    order.shuffle(new_N)
    after = replace_in_sorted(before, old_N, torch.tensor(new_N, dtype=torch.float32))
    assert after.tolist() == expected


@PROPERTY
@given(
    batches=st.lists(LOSSES, min_size=1, max_size=12),
    capacity=st.integers(1, 30),
    largest=st.sampled_from([0, 4096]),
)
def test_a_batch_is_ranked_among_the_remembered_losses_or_among_its_own(
    batches: list[list[float]], capacity: int, largest: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loss_history, "LARGEST_SORTED_ANEW", largest)
        history = LossHistory(capacity)
        for idx, losses in enumerate(batches):
            finite = history.push(torch.tensor(losses))
            assert finite.tolist() == [loss for loss in losses if math.isfinite(loss)]
            if idx % 5 == 4:
                history.load(history.losses())
            sorted_H, num_losses = history.reference(finite, batch_size=len(losses))
            among = finite if len(losses) > capacity else history.losses()
            assert num_losses == max(1, among.numel())
            used = sorted_H[: among.numel()]
            assert used.tolist() == sorted(among.tolist())
            assert bool((sorted_H[among.numel() :] == math.inf).all())


def test_a_long_history_stays_sorted_round_after_round(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loss_history, "LARGEST_SORTED_ANEW", 0)
    generator = torch.Generator().manual_seed(4)
    history = LossHistory(40)
    for step in range(60):
        if step == 30:
            history.load(torch.arange(50.0))
        losses = torch.randint(9, (1 + step % 10,), generator=generator).float()
        sorted_H, num_losses = history.reference(history.push(losses), batch_size=losses.numel())
        assert sorted_H[:num_losses].tolist() == sorted(history.losses().tolist())


@PROPERTY
@given(losses=FINITE_LOSSES, beta=st.sampled_from([0.1, 0.5, 1.0, 3.0, 10.0]))
def test_expected_kept_fraction_is_exact_however_many_losses_are_equal(
    losses: list[float], beta: float
) -> None:
    # The mean over uniform positions, by the midpoint rule: all ties included, it must be the
    # integral of u ** beta over 0..1.
    num_positions = 400
    history = torch.tensor(losses).sort().values
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
    sorted_H = loss_B.sort().values
    result = percentile(loss_B, sorted_H, len(losses), torch.full_like(loss_B, position))
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


def test_a_seed_draws_what_it_has_always_drawn() -> None:
    selector = Selector(beta=1.0, history_length=30, seed=7)
    losses = torch.tensor([0.5, 2.0, 2.0, math.nan, 0.1, 3.0, 2.0, 1.0, 0.5, 0.5])
    drawn = [selector.select((losses * step) % 1.75).kept_idx for step in range(1, 6)]
    assert drawn == [
        [2, 3, 5, 6],
        [0, 3, 6, 8, 9],
        [0, 1, 3, 4, 6, 8, 9],
        [2, 3, 5],
        [0, 1, 2, 3, 6, 7, 8, 9],
    ]


@PROPERTY
@given(batches=st.lists(LOSSES, min_size=1, max_size=5), max_percentile=st.floats(0.05, 1.0))
def test_probabilities_say_how_likely_each_sample_was_to_be_kept(
    batches: list[list[float]], max_percentile: float
) -> None:
    plain = Selector(beta=2.0, history_length=8, seed=3)
    cut = Selector(beta=2.0, history_length=8, seed=3, max_percentile=max_percentile)
    for losses in batches:
        one, other = plain.select(torch.tensor(losses)), cut.select(torch.tensor(losses))
        assert one.probabilities.dtype == torch.float32
        is_finite = torch.tensor(losses).isfinite()
        assert bool((one.probabilities[~is_finite] == 1).all())
        assert bool(((one.probabilities > 0) & (one.probabilities <= 1)).all())
        is_cut = is_finite & (one.probabilities > max_percentile**2.0)
        expected = one.probabilities.masked_fill(is_cut, 0.0)
        assert torch.allclose(other.probabilities, expected)
        assert torch.equal(other.is_kept, one.is_kept & ~is_cut)
        for selection in (one, other):
            assert selection.is_kept.nonzero().flatten().tolist() == selection.kept_idx
            assert selection.num_kept == len(selection.kept_idx)


def test_samples_are_kept_as_often_as_their_probabilities_say() -> None:
    selector = Selector(beta=0.5, history_length=100, seed=1, max_percentile=0.9)
    losses = torch.arange(10.0).repeat(10)
    selections = [selector.select(losses) for _ in range(300)]
    kept = torch.stack([selection.is_kept.double() for selection in selections]).mean(0)
    probability = torch.stack([selection.probabilities for selection in selections]).double()
    assert float((kept - probability.mean(0)).abs().max()) < 0.12
    assert float(kept.mean()) == pytest.approx(float(probability.mean()), abs=0.01)
    # Of the ten equal highest losses all are above the cut, and of no others any.
    assert float(kept[9::10].max()) == 0
    assert float(probability.mean()) == pytest.approx(0.9**1.5 / 1.5, abs=0.01)


def test_a_selection_stays_as_it_was_when_the_losses_are_overwritten() -> None:
    selector = Selector(beta=1.0, history_length=8, seed=0)
    losses = torch.arange(6.0)
    selection = selector.select(losses)
    losses.fill_(-1.0)
    assert selection.losses.tolist() == list(range(6))
    assert selector.history.losses().tolist() == list(range(6))
