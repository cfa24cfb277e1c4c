"""A tiny model for the Hugging Face Trainer, and a Trainer that sifts it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers

from smart_sifting import SiftingDataloader
from smart_sifting.integrations.trainer import enable_sifting
from tests.conformance.loader_suite import make_config


class Classifier(torch.nn.Module):
    """A classifier with dropout, so that its training depends on the random state."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.head = torch.nn.Linear(4, 2)
        self.dropout = torch.nn.Dropout(0.2)

    def forward(self, inputs: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        logits = self.head(self.dropout(inputs))
        return {"loss": torch.nn.functional.cross_entropy(logits, labels), "logits": logits}


class ClassifierLoss:
    """One loss per sample; no subclass of Loss, as in a published script."""

    def loss(self, model: Any, transformed_batch: Any, original_batch: Any = None) -> torch.Tensor:
        logits = model(**original_batch)["logits"]
        return torch.nn.functional.cross_entropy(
            logits, original_batch.get("labels"), reduction="none"
        )


class Recorder(transformers.TrainerCallback):
    """Notes which events came at which step and epoch; may interrupt the training."""

    def __init__(self, *, stop_at: int | None = None, fail_at: int | None = None) -> None:
        self.events: list[tuple[str, int, float]] = []
        self._stop_at, self._fail_at = stop_at, fail_at

    def _note(self, event: str, state: Any) -> None:
        self.events.append((event, state.global_step, state.epoch))

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._note("step", state)

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._note("epoch", state)

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._note("evaluate", state)

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._note("save", state)
        if state.global_step == self._fail_at:
            raise KeyboardInterrupt
        if state.global_step == self._stop_at:
            control.should_training_stop = True

    def named(self, event: str) -> list[tuple[int, float]]:
        """Return the steps and epochs of the events of one name."""
        return [(step, epoch) for name, step, epoch in self.events if name == event]


def make_dataset(num_samples: int, *, seed: int = 0) -> list[dict[str, Any]]:
    """Return samples whose labels are noisy, so that their losses differ and stay."""
    generator = torch.Generator().manual_seed(seed)
    return [
        {"inputs": torch.randn(4, generator=generator), "labels": i % 2}
        for i in range(num_samples)
    ]


def make_trainer(folder: Path, *, num_samples: int = 64, **arguments: Any) -> Any:
    """Return a Trainer that does not sift yet; everything about it is always made alike."""
    settings = {
        "output_dir": str(folder),
        "per_device_train_batch_size": 8,
        "report_to": [],
        "save_strategy": "no",
        "logging_steps": 1,
        "learning_rate": 0.1,
        "disable_tqdm": True,
        "use_cpu": True,
        "dataloader_pin_memory": False,
    }
    others = {
        name: arguments.pop(name)
        for name in ("callbacks", "optimizers", "data_collator")
        if name in arguments
    }
    return transformers.Trainer(
        model=arguments.pop("model", None) or Classifier(),
        args=transformers.TrainingArguments(**(settings | arguments)),
        train_dataset=make_dataset(num_samples),
        eval_dataset=make_dataset(16, seed=1),
        **others,
    )


def make_sifting_trainer(
    folder: Path, *, beta: float = 1.0, delay: int = 0, set_epochs: Any = None, **arguments: Any
) -> Any:
    """Return a Trainer that sifts."""
    trainer = make_trainer(folder, **arguments)
    config = make_config(beta=beta, history=100, delay=delay)
    enable_sifting(trainer, config, loss=ClassifierLoss(), set_epochs=set_epochs)
    return trainer


def find_loader(trainer: Any) -> SiftingDataloader:
    """Return the loader of the training that took place."""
    loader = trainer.callback_handler.train_dataloader
    assert isinstance(loader, SiftingDataloader)
    return loader


def read_learning_rates(trainer: Any) -> list[float]:
    """Return the learning rate of every optimizer step, in order."""
    return [log["learning_rate"] for log in trainer.state.log_history if "loss" in log]


def read_counts(trainer: Any) -> list[dict[str, Any]]:
    """Return the statistics by epoch, without the seconds."""
    epochs = find_loader(trainer).statistics.epochs
    return [epoch.as_dict() | {"seconds": None} for epoch in epochs]
