"""The published table: beta_value -> share of samples kept, by the real loader."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from smart_sifting import SiftingDataloader
from tests.conformance.loader_suite import make_config

PUBLISHED_KEPT_PERCENT = {
    0.1: 90.91,
    0.25: 80.0,
    0.5: 66.67,
    1: 50.0,
    2: 33.33,
    3: 25.0,
    10: 9.09,
    100: 0.99,
}
NUM_SAMPLES = 40_000


class LossIsTheSample:
    def loss(self, model: Any, transformed_batch: Any, original_batch: Any = None) -> Any:
        return original_batch


def make_losses(kind: str) -> torch.Tensor:
    generator = torch.Generator().manual_seed(17)
    loss_N = torch.rand(NUM_SAMPLES, generator=generator)
    if kind == "mostly equal":
        return torch.where(loss_N < 0.9, 0.25, loss_N)
    if kind == "mostly zero":
        return torch.where(loss_N < 0.95, 0.0, loss_N)
    return torch.zeros(NUM_SAMPLES) if kind == "all zero" else loss_N


@pytest.mark.parametrize("kind", ["distinct", "mostly equal", "mostly zero", "all zero"])
@pytest.mark.parametrize(("beta", "kept_percent"), PUBLISHED_KEPT_PERCENT.items())
def test_the_loader_keeps_the_published_share(beta: float, kept_percent: float, kind: str) -> None:
    batches = make_losses(kind).split(200)
    config = make_config(beta=beta, history=500)
    loader = SiftingDataloader(
        config, batches, None, LossIsTheSample(), torch.nn.Identity(), seed=0
    )
    num_yielded = sum(len(batch) for batch in loader)
    probability = kept_percent / 100
    sampling_error = math.sqrt(probability * (1 - probability) / NUM_SAMPLES)
    assert num_yielded / NUM_SAMPLES == pytest.approx(probability, abs=4 * sampling_error + 5e-5)
    assert loader.statistics.kept_fraction == num_yielded / NUM_SAMPLES


@pytest.mark.parametrize("history", [1, 10, 100_000])
def test_the_share_holds_from_the_first_batch_on_and_for_any_history_length(history: int) -> None:
    num_kept = 0
    for seed in range(100):
        generator = torch.Generator().manual_seed(seed)
        batches = torch.rand(80, generator=generator).split(40)
        loader = SiftingDataloader(
            make_config(beta=3, history=history),
            batches,
            None,
            LossIsTheSample(),
            torch.nn.Identity(),
            seed=seed,
        )
        num_kept += sum(len(batch) for batch in loader)
    assert num_kept / 8000 == pytest.approx(0.25, abs=4 * math.sqrt(0.25 * 0.75 / 8000))
