"""Epochs, steps and checkpoints of a Lightning training that sifts."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader, TensorDataset

from smart_sifting import Loss, SiftingDataloader
from smart_sifting.integrations.lightning import SiftingCallback
from smart_sifting.metrics.lightning import TrainingMetricsRecorder
from tests.conformance.loader_suite import make_config

pytestmark = [
    pytest.mark.filterwarnings("ignore:.isinstance.treespec, LeafSpec:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:The dirpath has changed"),
    pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`"),
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),
]


class ModuleLoss(Loss):
    def loss(self, model: Any, transformed_batch: Any, original_batch: Any = None) -> torch.Tensor:
        inputs, labels = original_batch
        return torch.nn.functional.cross_entropy(model(inputs), labels, reduction="none")


class Classifier(lightning.LightningModule):
    def __init__(self, *, schedule_by: str = "epoch") -> None:
        super().__init__()
        torch.manual_seed(0)
        self.head = torch.nn.Linear(4, 2)
        self.schedule_by = schedule_by
        self.learning_rates: list[float] = []
        self.validated_at: list[tuple[int, int]] = []

    def forward(self, inputs: torch.Tensor) -> Any:
        return self.head(inputs)

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        inputs, labels = batch
        return torch.nn.functional.cross_entropy(self(inputs), labels)

    def on_before_optimizer_step(self, optimizer: Any) -> None:
        self.learning_rates.append(optimizer.param_groups[0]["lr"])

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.validated_at.append((self.trainer.current_epoch, self.trainer.global_step))

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), lr=0.1)
        if self.schedule_by == "epoch":
            scheduler: Any = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
        else:
            num_steps = self.trainer.estimated_stepping_batches
            scheduler = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, num_steps)
        return [optimizer], [{"scheduler": scheduler, "interval": self.schedule_by}]


def train(
    folder: Path,
    *,
    callback: Any = None,
    ckpt_path: Path | None = None,
    drops_last: bool = False,
    schedule_by: str = "epoch",
    save: dict[str, Any] | None = None,
    max_epochs: int = 3,
    **settings: Any,
) -> tuple[Classifier, SiftingDataloader, Any]:
    module = Classifier(schedule_by=schedule_by)
    torch.manual_seed(1)
    dataset = TensorDataset(torch.randn(60, 4), torch.arange(60) % 2)
    wrapped = DataLoader(
        dataset,
        batch_size=8,
        shuffle=True,
        drop_last=drops_last,
        generator=torch.Generator().manual_seed(3),
    )
    loader = SiftingDataloader(
        make_config(history=100), wrapped, None, ModuleLoss(), module, seed=0
    )
    checkpoints = ModelCheckpoint(folder, filename="{step}", save_top_k=-1, **(save or {}))
    trainer = lightning.Trainer(
        max_epochs=max_epochs,
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        default_root_dir=folder,
        callbacks=[SiftingCallback() if callback is None else callback, checkpoints],
        **settings,
    )
    trainer.fit(
        module,
        train_dataloaders=loader,
        val_dataloaders=DataLoader(dataset, batch_size=60),
        ckpt_path=ckpt_path,
        weights_only=True if ckpt_path else None,
    )
    return module, loader, trainer


def count_batches(loader: SiftingDataloader) -> list[int]:
    return [epoch.num_batches for epoch in loader.statistics.epochs]


@pytest.mark.parametrize("callback_class", [SiftingCallback, TrainingMetricsRecorder])
def test_every_epoch_is_validated_and_steps_the_schedule(
    callback_class: Any, tmp_path: Path
) -> None:
    module, loader, trainer = train(tmp_path, callback=callback_class())
    num_batches = count_batches(loader)
    assert [epoch.samples_seen for epoch in loader.statistics.epochs] == [60, 60, 60]
    assert max(num_batches) < 8
    ends = [sum(num_batches[: idx + 1]) for idx in range(3)]
    assert trainer.global_step == ends[-1]
    assert module.validated_at == list(enumerate(ends))
    expected = [0.1 * 0.5**idx for idx, number in enumerate(num_batches) for _ in range(number)]
    assert module.learning_rates == pytest.approx(expected)


@pytest.mark.parametrize(
    ("accumulate_grad_batches", "drops_last"), [(3, False), (5, False), (2, True), (5, True)]
)
def test_what_is_accumulated_at_an_epochs_end_is_applied(
    accumulate_grad_batches: int, drops_last: bool, tmp_path: Path
) -> None:
    _, loader, trainer = train(
        tmp_path,
        accumulate_grad_batches=accumulate_grad_batches,
        drops_last=drops_last,
    )
    num_batches = count_batches(loader)
    assert any(number % accumulate_grad_batches for number in num_batches)
    num_steps = sum(math.ceil(number / accumulate_grad_batches) for number in num_batches)
    assert trainer.global_step == num_steps


def test_a_schedule_by_estimated_steps_moves_within_its_bound(tmp_path: Path) -> None:
    module, loader, _ = train(tmp_path, schedule_by="step")
    num_steps = len(module.learning_rates)
    expected = [0.1 * (1 - step / (3 * len(loader))) for step in range(num_steps)]
    assert module.learning_rates == pytest.approx(expected)
    assert min(module.learning_rates) > 0


@pytest.mark.parametrize("schedule_by", ["epoch", "step"])
@pytest.mark.parametrize("accumulate_grad_batches", [1, 2])
def test_resumed_at_any_step_equals_uninterrupted(
    accumulate_grad_batches: int, schedule_by: str, tmp_path: Path
) -> None:
    settings = {
        "accumulate_grad_batches": accumulate_grad_batches,
        "schedule_by": schedule_by,
        "save": {"every_n_train_steps": 1},
    }
    module, loader, trainer = train(tmp_path, **settings)
    for step in range(1, trainer.global_step):
        path = tmp_path / f"step={step}.ckpt"
        resumed, resumed_loader, resumed_trainer = train(
            tmp_path / f"from {step}", ckpt_path=path, **settings
        )
        assert torch.equal(resumed.head.weight, module.head.weight), step
        assert resumed_trainer.global_step == trainer.global_step
        assert resumed_trainer.current_epoch == trainer.current_epoch == 3
        assert count_batches(resumed_loader) == count_batches(loader)
        assert resumed.learning_rates == module.learning_rates[step:]


def test_resumed_at_an_epochs_end_equals_uninterrupted(tmp_path: Path) -> None:
    settings = {"save": {"every_n_epochs": 1, "save_on_train_epoch_end": True}}
    module, loader, _ = train(tmp_path, **settings)
    end = count_batches(loader)[0]
    resumed, resumed_loader, _ = train(
        tmp_path / "resumed", ckpt_path=tmp_path / f"step={end}.ckpt", **settings
    )
    assert torch.equal(resumed.head.weight, module.head.weight)
    assert count_batches(resumed_loader) == count_batches(loader)
    assert resumed.validated_at == module.validated_at[1:]


def test_a_finished_training_is_resumed_for_more_epochs(tmp_path: Path) -> None:
    module, loader, _ = train(tmp_path / "reference")
    _, _, finished = train(tmp_path / "finished", max_epochs=2)
    finished.save_checkpoint(tmp_path / "last.ckpt")
    resumed, resumed_loader, _ = train(tmp_path / "resumed", ckpt_path=tmp_path / "last.ckpt")
    assert torch.equal(resumed.head.weight, module.head.weight)
    assert count_batches(resumed_loader) == count_batches(loader)


def test_a_checkpoint_of_more_processes_is_refused(tmp_path: Path) -> None:
    train(tmp_path, save={"every_n_train_steps": 5})
    path = tmp_path / "step=5.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    # Lightning would keep the state of rank 0, and give it to all.
    assert "combined_loader" not in checkpoint["loops"]["fit_loop"]["state_dict"]
    checkpoint["smart_sifting"] *= 2
    torch.save(checkpoint, path)
    with pytest.raises(ValueError, match="states of 2 processes, but there are 1"):
        train(tmp_path / "resumed", ckpt_path=path)


def test_without_sifting_nothing_changes(tmp_path: Path) -> None:
    weights = []
    for callbacks in ([], [SiftingCallback()]):
        module = Classifier()
        torch.manual_seed(1)
        dataset = TensorDataset(torch.randn(60, 4), torch.arange(60) % 2)
        trainer = lightning.Trainer(
            max_epochs=2,
            accelerator="cpu",
            devices=1,
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=tmp_path,
            callbacks=callbacks,
            enable_checkpointing=False,
        )
        trainer.fit(module, DataLoader(dataset, batch_size=8), DataLoader(dataset, batch_size=60))
        assert trainer.val_check_batch == 8
        trainer.save_checkpoint(tmp_path / "last.ckpt")
        assert "smart_sifting" not in torch.load(tmp_path / "last.ckpt", weights_only=True)
        weights.append(module.head.weight)
    assert torch.equal(*weights)
