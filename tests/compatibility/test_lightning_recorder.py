from __future__ import annotations

import importlib
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from smart_sifting import Loss, SiftingDataloader
from tests.conformance.loader_suite import make_config

LINES = (
    r"train step count: ([0-9.]+)",
    r"train forward pass latency: ([0-9.e+\-]+)",
    r"train backprop latency: ([0-9.e+\-]+)",
    r"train optimizer step latency: ([0-9.e+\-]+)",
    r"train total step latency: ([0-9.e+\-]+)",
)


class ModuleLoss(Loss):
    def loss(self, model: Any, transformed_batch: Any, original_batch: Any = None) -> torch.Tensor:
        inputs, labels = original_batch
        return torch.nn.functional.cross_entropy(model(inputs), labels, reduction="none")


def make_module(package: Any) -> Any:
    class Classifier(package.LightningModule):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.head = torch.nn.Linear(4, 2)

        def forward(self, inputs: torch.Tensor) -> Any:
            return self.head(inputs)

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            inputs, labels = batch
            return torch.nn.functional.cross_entropy(self(inputs), labels)

        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.SGD(self.parameters(), lr=0.1)
            # The published scripts size their schedule so: without a length it would be -1 steps.
            num_steps = self.trainer.estimated_stepping_batches
            decay: Callable[[int], float] = lambda step: max(0.0, 1 - step / num_steps)  # noqa: E731
            scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, decay)
            return [optimizer], [{"scheduler": scheduler, "interval": "step"}]

    return Classifier()


@pytest.mark.filterwarnings("ignore:.isinstance.treespec, LeafSpec:FutureWarning")
@pytest.mark.parametrize("name", ["lightning.pytorch", "pytorch_lightning"])
def test_lightning_trains_sifted_and_logs_its_timings(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    package = importlib.import_module(name)
    from smart_sifting.metrics.lightning import TrainingMetricsRecorder

    module = make_module(package)
    before = module.head.weight.detach().clone()
    torch.manual_seed(1)
    dataset = TensorDataset(torch.randn(64, 4), torch.arange(64) % 2)
    wrapped = DataLoader(dataset, batch_size=8, shuffle=True)
    loader = SiftingDataloader(make_config(), wrapped, None, ModuleLoss(), module, seed=0)
    recorder = TrainingMetricsRecorder()
    trainer = package.Trainer(
        max_epochs=2,
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
        callbacks=[recorder],
    )
    with caplog.at_level(logging.INFO, "smart_sifting.metrics.lightning"):
        trainer.fit(module, train_dataloaders=loader)
    assert not torch.equal(before, module.head.weight)
    assert [epoch.samples_seen for epoch in loader.statistics.epochs] == [64, 64]
    assert trainer.global_step == loader.statistics.num_batches < 16
    assert module.training
    values = {}
    for line in LINES:
        found = [re.search(line, record.getMessage()) for record in caplog.records]
        values[line] = [float(match[1]) for match in found if match]
        assert len(values[line]) == trainer.global_step, line
    assert values[LINES[0]] == list(range(1, trainer.global_step + 1))
    for *parts, total in zip(*(values[line] for line in LINES[1:]), strict=True):
        assert 0 < sum(parts) <= total * 1.0001


def test_a_recorder_is_silent_without_a_logging_configuration(
    capfd: pytest.CaptureFixture[str],
) -> None:
    from smart_sifting.metrics.lightning import TrainingMetricsRecorder

    recorder = TrainingMetricsRecorder()
    recorder.on_train_batch_start()
    recorder.on_train_batch_end()
    assert capfd.readouterr() == ("", "")


def test_a_step_that_applies_no_gradients_logs_no_optimizer_time(
    caplog: pytest.LogCaptureFixture,
) -> None:
    from smart_sifting.metrics.lightning import TrainingMetricsRecorder

    recorder = TrainingMetricsRecorder()
    with caplog.at_level(logging.INFO, "smart_sifting.metrics.lightning"):
        for applies_gradients in (True, False):
            recorder.on_train_batch_start()
            recorder.on_before_backward()
            recorder.on_after_backward()
            if applies_gradients:
                recorder.on_before_optimizer_step()
            recorder.on_train_batch_end()
    lines = [record.getMessage().partition(":")[0] for record in caplog.records]
    assert lines.count("train optimizer step latency") == 1
    assert lines.count("train total step latency") == 2
