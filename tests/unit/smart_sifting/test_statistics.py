from __future__ import annotations

import math

import pytest
import torch

from smart_sifting._core.loss_sample import LossSample
from tests.conformance.loader_suite import make_config, reload
from tests.supports.sifting_loader import make_batches, make_loader


@pytest.mark.parametrize("part", [1, 7, 64, 5000])
def test_a_sample_of_losses_is_evenly_spaced_however_they_come(part: int) -> None:
    losses, sample = torch.arange(5000.0), LossSample(capacity=100)
    for some in losses.split(part):
        sample.add(some)
    assert sample.values().tolist() == losses[::64].tolist()
    assert sample.percentiles([0, 50, 100]) == [0.0, 2496.0, 4992.0]


def test_a_small_sample_holds_every_loss() -> None:
    sample = LossSample()
    sample.add(torch.tensor([3.0, math.nan, 1.0, math.inf, 2.0]))
    assert sample.values().tolist() == [3.0, 1.0, 2.0]
    assert sample.percentiles((0, 25, 50, 100)) == [1.0, 1.5, 2.0, 3.0]


def test_without_losses_there_are_no_percentiles() -> None:
    assert all(math.isnan(value) for value in LossSample().percentiles())


@pytest.mark.parametrize("percent", [-1.0, 100.5, math.nan])
def test_a_percent_out_of_range_is_told(percent: float) -> None:
    with pytest.raises(ValueError, match=r"must be in 0\.\.100"):
        LossSample().percentiles([percent])


def test_a_state_continues_where_it_was() -> None:
    whole, first, second = (LossSample(capacity=10) for _ in range(3))
    losses = torch.arange(95.0)
    whole.add(losses)
    first.add(losses[:33])
    second.load_state_dict(reload(first.state_dict()))
    second.add(losses[33:])
    assert second.values().tolist() == whole.values().tolist()


def test_the_loader_tells_percentiles_of_all_epochs_and_of_each() -> None:
    loader = make_loader(make_batches(20, 8), config=make_config(delay=10))
    list(loader)
    first = loader.statistics.loss_percentiles()
    list(loader)
    losses = (torch.arange(160) * 7919) % 101
    expected = losses[80:].double().quantile(torch.tensor([0.05, 0.25, 0.5, 0.75, 0.95]).double())
    assert first == pytest.approx(expected.tolist())
    assert loader.statistics.epochs[0].loss_percentiles() == first
    second = losses.double().quantile(0.5).item()
    assert loader.statistics.epoch.loss_percentiles([50]) == [pytest.approx(second)]
    both = torch.cat([losses[80:], losses]).double().quantile(0.5).item()
    assert loader.statistics.loss_percentiles([50]) == [pytest.approx(both)]
    resumed = make_loader(make_batches(20, 8), config=make_config(delay=10))
    resumed.load_state_dict(reload(loader.state_dict()))
    assert resumed.statistics.loss_percentiles() == loader.statistics.loss_percentiles()
    assert resumed.statistics.epochs[0].loss_percentiles() == first
