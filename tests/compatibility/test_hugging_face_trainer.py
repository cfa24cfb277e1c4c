"""Epochs, steps and weights of a Hugging Face Trainer that sifts."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from smart_sifting import LossImplementationNotProvidedException
from smart_sifting.integrations.trainer import enable_sifting
from tests.conformance.loader_suite import make_config
from tests.supports.hugging_face import (
    Classifier,
    ClassifierLoss,
    Recorder,
    find_loader,
    make_sifting_trainer,
    make_trainer,
    read_learning_rates,
)


def train(folder: Path, **arguments: Any) -> tuple[Any, Recorder]:
    recorder = Recorder()
    trainer = make_sifting_trainer(folder, callbacks=[recorder], **arguments)
    before = trainer.model.head.weight.detach().clone()
    trainer.train()
    assert not torch.equal(before, trainer.model.head.weight)
    return trainer, recorder


def test_two_epochs_are_two_epochs(tmp_path: Path) -> None:
    trainer, recorder = train(tmp_path, num_train_epochs=2)
    statistics = find_loader(trainer).statistics
    assert [epoch.samples_seen for epoch in statistics.epochs] == [64, 64]
    assert statistics.samples_sifted_out > 0
    assert trainer.state.global_step == statistics.num_batches < 16
    assert trainer.state.epoch == 2.0
    assert trainer.state.log_history[-1]["epoch"] == 2.0
    first = statistics.epochs[0].num_batches
    assert recorder.named("epoch") == [(first, 1.0), (statistics.num_batches, 2.0)]
    done = [epoch for _, epoch in recorder.named("step")]
    assert done == sorted(done)
    assert max(done[:first]) <= 1.0 < min(done[first:])


@pytest.mark.parametrize("drops_last", [False, True])
def test_evaluation_and_saving_by_epoch_happen_once_per_epoch(
    drops_last: bool, tmp_path: Path
) -> None:
    settings = {"eval_strategy": "epoch", "save_strategy": "epoch", "eval_delay": 1}
    trainer, recorder = train(
        tmp_path, num_train_epochs=3, dataloader_drop_last=drops_last, **settings
    )
    assert trainer.state.epoch == 3.0
    assert (find_loader(trainer).statistics.epochs[0].samples_dropped_last > 0) == drops_last
    assert [epoch for _, epoch in recorder.named("evaluate")] == [1.0, 2.0, 3.0]
    assert [epoch for _, epoch in recorder.named("save")] == [1.0, 2.0, 3.0]


def test_evaluation_and_saving_by_step_happen_at_the_end_too(tmp_path: Path) -> None:
    settings = {"eval_strategy": "steps", "save_strategy": "steps"}
    trainer, recorder = train(
        tmp_path, num_train_epochs=1, eval_steps=4, save_steps=1000, delay=2, **settings
    )
    last = trainer.state.global_step
    assert last % 4
    assert last < trainer.state.max_steps == 8
    assert [step for step, _ in recorder.named("evaluate")] == [4, last]
    assert [step for step, _ in recorder.named("save")] == [last]


@pytest.mark.parametrize("drops_last", [False, True])
@pytest.mark.parametrize("accumulation_steps", [2, 4])
def test_what_is_accumulated_at_an_epochs_end_is_applied(
    accumulation_steps: int, drops_last: bool, tmp_path: Path
) -> None:
    gradients: list[bool] = []

    class Watch(transformers.TrainerCallback):
        def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            gradients.append(kwargs["model"].head.weight.grad is not None)

    trainer = make_sifting_trainer(
        tmp_path,
        num_samples=100,
        num_train_epochs=4,
        gradient_accumulation_steps=accumulation_steps,
        dataloader_drop_last=drops_last,
        callbacks=[Watch()],
    )
    trainer.train()
    num_batches = [epoch.num_batches for epoch in find_loader(trainer).statistics.epochs]
    assert any(number % accumulation_steps for number in num_batches)
    num_steps = sum(math.ceil(number / accumulation_steps) for number in num_batches)
    assert trainer.state.global_step == num_steps
    assert gradients == [False] * 4
    assert trainer.state.epoch == 4.0


def test_an_epoch_in_the_delay_is_the_trainers_own(tmp_path: Path) -> None:
    settings = {"num_samples": 60, "num_train_epochs": 2, "gradient_accumulation_steps": 3}
    trainer, _ = train(tmp_path / "sifted", delay=1000, **settings)
    plain = make_trainer(tmp_path / "plain", **settings)
    plain.train()
    assert torch.equal(trainer.model.head.weight, plain.model.head.weight)
    assert trainer.state.global_step == plain.state.global_step == trainer.state.max_steps
    assert read_learning_rates(trainer) == read_learning_rates(plain)
    for sifted_log, log in zip(
        trainer.state.log_history[:-1], plain.state.log_history[:-1], strict=True
    ):
        assert sifted_log == pytest.approx(log)


def test_max_steps_are_reached_over_as_many_epochs_as_it_takes(tmp_path: Path) -> None:
    trainer, recorder = train(tmp_path, max_steps=12)
    statistics = find_loader(trainer).statistics
    assert trainer.state.global_step == 12
    assert len(statistics.epochs) > 12 * 8 // 64
    assert len(statistics.epochs) - 1 < trainer.state.epoch <= len(statistics.epochs)
    assert trainer.state.num_train_epochs == 3
    decay = [0.1 * (12 - step) / 12 for step in range(12)]
    assert read_learning_rates(trainer) == pytest.approx(decay)
    assert recorder.named("epoch")[0] == (statistics.epochs[0].num_batches, 1.0)


@pytest.mark.parametrize("set_epochs", [2, True])
def test_set_epochs_goes_before_max_steps(set_epochs: Any, tmp_path: Path) -> None:
    trainer, _ = train(tmp_path, max_steps=10_000, num_train_epochs=2, set_epochs=set_epochs)
    assert len(find_loader(trainer).statistics.epochs) == 2
    assert trainer.args.num_train_epochs == 2


def test_a_fraction_of_an_epoch_is_that_share_of_its_data(tmp_path: Path) -> None:
    trainer, recorder = train(
        tmp_path, num_samples=256, set_epochs=1.5, save_strategy="steps", save_steps=1000
    )
    counts = find_loader(trainer).statistics.epochs
    assert [epoch.samples_seen for epoch in counts] == [256, pytest.approx(128, abs=24)]
    assert 1.5 <= trainer.state.epoch < 1.6
    assert [step for step, _ in recorder.named("save")] == [trainer.state.global_step]


def test_an_epoch_that_a_callback_leaves_is_over(tmp_path: Path) -> None:
    class Leave(transformers.TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            control.should_epoch_stop = state.global_step == 2

    trainer = make_sifting_trainer(tmp_path, num_train_epochs=2, callbacks=[Leave()])
    trainer.train()
    counts = find_loader(trainer).statistics.epochs
    assert counts[0].num_batches == 2
    assert counts[0].samples_seen < 64 == counts[1].samples_seen
    assert trainer.state.epoch == 2.0


def test_scoring_is_in_the_precision_of_training(tmp_path: Path) -> None:
    dtypes: dict[bool, set[torch.dtype]] = {True: set(), False: set()}

    class Watched(Classifier):
        def forward(self, inputs: torch.Tensor, labels: torch.Tensor) -> Any:
            logits = self.head(self.dropout(inputs))
            dtypes[self.training].add(logits.dtype)
            return super().forward(inputs, labels)

    train(tmp_path, model=Watched(), num_train_epochs=1, bf16=True)
    assert dtypes == {True: {torch.bfloat16}, False: {torch.bfloat16}}


def test_one_trainer_trains_twice(tmp_path: Path) -> None:
    trainer, _ = train(tmp_path, num_train_epochs=1)
    trainer.train()
    assert [epoch.samples_seen for epoch in find_loader(trainer).statistics.epochs] == [64]
    assert trainer.state.epoch == 1.0


def test_importing_the_integration_loads_no_transformers() -> None:
    probe = "import smart_sifting.integrations.trainer, sys; print('transformers' in sys.modules)"
    command = [sys.executable, "-c", probe]
    loaded = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert loaded.strip() == "False"


def test_mistakes_show_at_once(tmp_path: Path) -> None:
    trainer, config, loss = make_trainer(tmp_path), make_config(), ClassifierLoss()
    with pytest.raises(LossImplementationNotProvidedException, match="`loss` is None"):
        enable_sifting(trainer, config)
    with pytest.raises(ValueError, match="`set_epochs` is 0, but must be a positive"):
        enable_sifting(trainer, config, loss=loss, set_epochs=0)
    with pytest.raises(TypeError, match=r"`trainer` is a dict without .*get_train_dataloader"):
        enable_sifting({}, config, loss=loss)
    enable_sifting(trainer, config, loss=loss)
    with pytest.raises(ValueError, match="`trainer` sifts already"):
        enable_sifting(trainer, config, loss=loss)
