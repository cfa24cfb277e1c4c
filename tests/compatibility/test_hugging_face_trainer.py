from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from smart_sifting import LossImplementationNotProvidedException, SiftingDataloader
from smart_sifting.integrations.trainer import enable_sifting

CONFIG = {
    "beta_value": 1,
    "loss_history_length": 100,
    "loss_based_sift_config": {"sift_config": {"sift_delay": 0}},
}


class Classifier(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.head = torch.nn.Linear(4, 2)

    def forward(self, inputs: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        logits = self.head(inputs)
        return {"loss": torch.nn.functional.cross_entropy(logits, labels), "logits": logits}


class ClassifierLoss:
    def loss(self, model: Any, transformed_batch: Any, original_batch: Any = None) -> torch.Tensor:
        logits = model(**original_batch)["logits"]
        return torch.nn.functional.cross_entropy(
            logits, original_batch.get("labels"), reduction="none"
        )


def make_trainer(folder: Path, **arguments: Any) -> Any:
    generator = torch.Generator().manual_seed(0)
    dataset = [{"inputs": torch.randn(4, generator=generator), "labels": i % 2} for i in range(64)]
    args = transformers.TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=8,
        report_to=[],
        save_strategy="no",
        logging_steps=1,
        learning_rate=0.1,
        disable_tqdm=True,
        use_cpu=True,
        dataloader_pin_memory=False,
        **arguments,
    )
    return transformers.Trainer(model=Classifier(), args=args, train_dataset=dataset)


def train(trainer: Any) -> tuple[SiftingDataloader, list[float]]:
    before = trainer.model.head.weight.detach().clone()
    trainer.train()
    assert not torch.equal(before, trainer.model.head.weight)
    loader = trainer.callback_handler.train_dataloader
    assert isinstance(loader, SiftingDataloader)
    return loader, [log["learning_rate"] for log in trainer.state.log_history if "loss" in log]


def test_two_epochs_are_two_epochs_and_the_learning_rate_is_not_zero(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, num_train_epochs=2)
    enable_sifting(trainer, CONFIG, loss=ClassifierLoss())
    loader, learning_rates = train(trainer)
    assert len(loader.statistics.epochs) == 2
    assert [epoch.samples_seen for epoch in loader.statistics.epochs] == [64, 64]
    assert loader.statistics.samples_sifted_out > 0
    assert trainer.state.global_step == loader.statistics.num_batches < 16
    assert min(learning_rates) > 0


def test_max_steps_are_reached_over_as_many_epochs_as_it_takes(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, max_steps=12)
    enable_sifting(trainer, CONFIG, loss=ClassifierLoss())
    loader, learning_rates = train(trainer)
    assert trainer.state.global_step == 12
    assert len(loader.statistics.epochs) > 12 * 8 // 64
    assert min(learning_rates) > 0


def test_set_epochs_goes_before_max_steps(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, max_steps=10_000)
    enable_sifting(trainer, CONFIG, loss=ClassifierLoss(), set_epochs=2)
    loader, _ = train(trainer)
    assert len(loader.statistics.epochs) == 2
    assert trainer.args.num_train_epochs == 2


def test_mistakes_show_at_once(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path)
    with pytest.raises(LossImplementationNotProvidedException, match="`loss` is None"):
        enable_sifting(trainer, CONFIG)
    with pytest.raises(ValueError, match="`set_epochs` is 0, but must be a positive"):
        enable_sifting(trainer, CONFIG, loss=ClassifierLoss(), set_epochs=0)
