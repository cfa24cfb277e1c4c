"""Weights that undo the bias of the selection, and the upper cut of noisy losses."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from smart_sifting import Loss, SiftingDataloader
from smart_sifting._core.relative_probability import mean_keep_probability
from smart_sifting._core.sample_marks import SampleMarks
from smart_sifting._core.selection import Selector
from smart_sifting._core.weigher import Weigher
from tests.conformance.loader_suite import make_config, sample_loss
from tests.supports.sifted_training import SiftedTraining, assert_resumed_equals_uninterrupted
from tests.supports.sifting_loader import make_batches, make_loader, read_ids

NUM_SAMPLES, NUM_DRAWS = 400, 300


def weigh_often(
    losses: torch.Tensor, *, beta: float, max_percentile: float = 1.0, max_weight: float = 1e9
) -> tuple[float, float]:
    """Return, over many draws, the mean weight of the kept and their weighted mean loss."""
    weigher = Weigher(beta=beta, max_weight=max_weight, max_percentile=max_percentile)
    num_kept, sum_of_weights, sum_of_losses = 0, 0.0, 0.0
    for seed in range(NUM_DRAWS):
        selector = Selector(
            beta=beta, history_length=len(losses), seed=seed, max_percentile=max_percentile
        )
        selection = selector.select(losses)
        weights = weigher.weigh(selection)[selection.is_kept]
        num_kept += selection.num_kept
        sum_of_weights += float(weights.sum())
        sum_of_losses += float((weights * losses[selection.is_kept]).sum())
    return sum_of_weights / num_kept, sum_of_losses / num_kept


@pytest.mark.parametrize("beta", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("has_ties", [False, True])
def test_the_weighted_mean_of_the_kept_is_that_of_all(beta: float, has_ties: bool) -> None:
    losses = torch.rand(NUM_SAMPLES, generator=torch.Generator().manual_seed(1))
    losses = (4 * losses).round() if has_ties else losses**3
    mean_weight, mean_loss = weigh_often(losses, beta=beta)
    assert mean_weight == pytest.approx(1.0, abs=0.05)
    assert mean_loss == pytest.approx(float(losses.mean()), rel=0.02)


@pytest.mark.parametrize("cut", [0.9, 0.5])
def test_with_an_upper_cut_it_is_that_of_those_below(cut: float) -> None:
    losses = torch.rand(NUM_SAMPLES, generator=torch.Generator().manual_seed(1)) ** 3
    below = losses.sort().values[: int(cut * NUM_SAMPLES)]
    mean_weight, mean_loss = weigh_often(losses, beta=1.0, max_percentile=cut)
    assert mean_weight == pytest.approx(1.0, abs=0.05)
    assert mean_loss == pytest.approx(float(below.mean()), rel=0.03)


@pytest.mark.parametrize(("beta", "cut"), [(1.0, 1.0), (3.0, 1.0), (1.0, 0.9), (2.0, 0.3)])
def test_the_kept_share_with_a_cut_is_as_expected(beta: float, cut: float) -> None:
    losses = torch.rand(100_000, generator=torch.Generator().manual_seed(2))
    selector = Selector(beta=beta, history_length=100_000, seed=0, max_percentile=cut)
    expected = mean_keep_probability(beta, max_percentile=cut)
    assert selector.select(losses).num_kept / 100_000 == pytest.approx(expected, abs=0.006)


def test_the_limit_and_losses_that_are_not_finite() -> None:
    weigher = Weigher(beta=1.0, max_weight=3.0)
    selection: Any = SimpleNamespace(probabilities=torch.tensor([1.0, 0.5, 0.2, 1e-30, 0.0]))
    assert weigher.weigh(selection).tolist() == pytest.approx([0.5, 1.0, 2.5, 3.0, 3.0])
    losses = torch.tensor([math.nan, math.inf, 0.0, 1.0])
    selection = Selector(beta=1.0, history_length=9, seed=0).select(losses)
    assert weigher.weigh(selection)[:2].tolist() == [0.5, 0.5]


class TestALoader:
    @pytest.mark.parametrize("delay", [0, 3])
    def test_weights_belong_to_the_samples_of_the_batch(self, delay: int) -> None:
        """What was drawn is drawn again beside the loader."""
        config = make_config(beta=2.0, delay=delay, history=200)
        weighted = make_weighted(config)
        selector = Selector(beta=2.0, history_length=200, seed=0)
        weigher = Weigher(beta=2.0, max_weight=5.0)
        expected = {}
        for idx, batch in enumerate(make_batches(30)):
            if idx < delay:
                expected |= dict.fromkeys(read_ids(batch), 1.0)
                continue
            selection = selector.select(sample_loss(batch[0]))
            weights = weigher.weigh(selection)
            for sample_idx in selection.kept_idx:
                expected[read_ids(batch)[sample_idx]] = float(weights[sample_idx])
        yielded = {}
        for batch in weighted:
            assert weighted.weights.shape == (len(batch[0]),)
            assert weighted.weights.dtype == torch.float32
            yielded |= dict(zip(read_ids(batch), weighted.weights.tolist(), strict=True))
        assert yielded == expected
        assert len(set(yielded.values())) > 10

    def test_the_same_samples_are_yielded_as_without(self) -> None:
        config = make_config(beta=2.0)
        plain = make_loader(make_batches(30), config=config)
        weighted = make_weighted(config)
        for _ in range(2):
            assert [read_ids(b) for b in weighted] == [read_ids(b) for b in plain]
        assert torch.equal(plain.weights, torch.ones(len(plain.weights)))

    def test_without_they_are_ones_for_every_batch(self) -> None:
        loader = make_loader(make_batches(10), config=make_config(delay=3))
        assert loader.weights.shape == (0,)
        for batch in loader:
            assert torch.equal(loader.weights, torch.ones(len(batch[0])))

    @pytest.mark.parametrize("max_weight", [1, 1.5])
    def test_no_weight_is_above_the_limit(self, max_weight: float) -> None:
        config = make_config(beta=2.0) | {"max_weight": max_weight}
        loader = make_weighted(config)
        weights = torch.cat([loader.weights for _ in loader])
        assert float(weights.max()) == max_weight
        assert float(weights.min()) == pytest.approx(1 / 3, abs=0.02)

    def test_a_cut_drops_exactly_those_above_it(self) -> None:
        losses = torch.rand(300, generator=torch.Generator().manual_seed(0))

        class Given(Loss):
            def loss(
                self, model: Any, transformed_batch: Any, original_batch: Any = None
            ) -> torch.Tensor:
                return losses[original_batch[0]]

        def make(cut: float) -> SiftingDataloader:
            ids = torch.arange(300)
            config = make_config(beta=1e-9, history=300) | {"max_percentile": cut}
            return make_loader(DataLoader(TensorDataset(ids, ids), 300), Given(), config=config)

        kept = [i for batch in make(0.8) for i in read_ids(batch)]
        assert kept == sorted(losses.argsort()[:240].tolist())
        assert [i for batch in make(1.0) for i in read_ids(batch)] == list(range(300))


def make_weighted(config: dict[str, Any]) -> SiftingDataloader:
    return make_loader(make_batches(30), config=config | {"weighting": "inverse"})


def test_marks_are_selected_and_joined_in_order() -> None:
    first = SampleMarks(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([7, 8, 9]))
    second = SampleMarks(torch.tensor([4.0]), torch.tensor([5]))
    joined = first.select([2, 0]).concatenate([second, first.select(range(1, 2))])
    assert joined.weights.tolist() == [3.0, 1.0, 4.0, 2.0]
    assert joined.ids is not None
    assert joined.ids.tolist() == [9, 7, 5, 8]
    assert first.concatenate([SampleMarks.of_unsifted(2, None)]).ids is None
    assert len(first.select([])) == 0
    restored = SampleMarks.from_state(joined.state_dict())
    assert torch.equal(restored.weights, joined.weights)


def test_a_resumed_training_equals_an_uninterrupted_one() -> None:
    config = make_config(beta=2.0, delay=4) | {"weighting": "inverse", "max_percentile": 0.95}
    training = assert_resumed_equals_uninterrupted(
        lambda: SiftedTraining(config, has_ids=False, tells_losses=False)
    )
    assert training.loader.statistics.samples_sifted_out
