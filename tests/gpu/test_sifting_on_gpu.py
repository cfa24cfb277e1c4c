"""Sifting on a CUDA device: the promises kept on the CPU, and the device's own state and clock."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from smart_sifting import Loss, SiftingDataloader, pilot
from smart_sifting._core.cost_watch import DeviceTimer
from tests.conformance.loader_suite import make_config

pytestmark = pytest.mark.gpu
DEVICE = "cuda"


class CrossEntropy(Loss):
    def loss(self, model: Any, transformed_batch: Any, original_batch: Any = None) -> torch.Tensor:
        inputs, labels = (values.to(DEVICE) for values in original_batch)
        return torch.nn.functional.cross_entropy(model(inputs), labels, reduction="none")


def make_dataset() -> TensorDataset:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(200, 6, generator=generator)
    return TensorDataset(inputs, torch.randint(3, (200,), generator=generator))


def train(beta: float | None, *, uses_amp: bool) -> tuple[dict[str, Any], Any]:
    torch.manual_seed(1)
    model = torch.nn.Sequential(
        torch.nn.Linear(6, 12),
        torch.nn.BatchNorm1d(12),
        torch.nn.Dropout(0.3),
        torch.nn.Linear(12, 3),
    )
    loader: Any = DataLoader(make_dataset(), batch_size=8, shuffle=True)
    if beta is not None:
        config = make_config(beta=beta, delay=2)
        loader = SiftingDataloader(config, loader, loss_impl=CrossEntropy(), model=model, seed=0)
    model.to(DEVICE)  # after the loader was made, as published scripts do
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    scaler = torch.amp.GradScaler(DEVICE, enabled=uses_amp)
    for _ in range(2):
        for inputs, labels in loader:
            optimizer.zero_grad()
            with torch.autocast(DEVICE, torch.float16, enabled=uses_amp):
                logits = model(inputs.to(DEVICE))
            loss = torch.nn.functional.cross_entropy(logits.float(), labels.to(DEVICE))
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
    state = copy.deepcopy(model.state_dict())
    return state | {"random state": torch.cuda.get_rng_state()}, loader


@pytest.mark.parametrize("uses_amp", [False, True])
def test_with_nothing_sifted_out_training_equals_the_plain_loop_bit_for_bit(
    uses_amp: bool,
) -> None:
    plain, _ = train(None, uses_amp=uses_amp)
    sifted, loader = train(1e-9, uses_amp=uses_amp)
    assert loader.statistics.samples_scored == 2 * 200 - 16
    assert all(torch.equal(plain[name], sifted[name]) for name in plain)


def test_half_is_kept_and_the_losses_come_over_to_the_cpu() -> None:
    _, loader = train(1.0, uses_amp=False)
    assert loader.statistics.scored_kept_fraction == pytest.approx(0.5, abs=0.1)
    assert loader._run._pipeline.selector.history.losses().device.type == "cpu"


def test_scoring_is_timed_by_the_device() -> None:
    model = torch.nn.Linear(2048, 2048).to(DEVICE)
    timer = DeviceTimer()
    with timer.measure(model):
        for _ in range(20):
            model(torch.ones(2048, 2048, device=DEVICE))
    timer.collect()
    assert timer.seconds > 0


def test_a_pilot_leaves_the_device_as_it_was() -> None:
    model = torch.nn.Linear(6, 3).to(DEVICE)
    before, random_state = copy.deepcopy(model.state_dict()), torch.cuda.get_rng_state()
    report = pilot(model, CrossEntropy(), DataLoader(make_dataset(), batch_size=8))
    assert report.costs.training_s > 0
    assert torch.equal(torch.cuda.get_rng_state(), random_state)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
