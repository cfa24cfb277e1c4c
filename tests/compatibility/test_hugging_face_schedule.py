"""Learning-rate schedules of a Hugging Face Trainer that sifts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from smart_sifting.integrations._schedule import Pace, set_pace
from tests.supports.hugging_face import (
    Classifier,
    find_loader,
    make_sifting_trainer,
    read_learning_rates,
)

NEVER_RISING = ("linear", "cosine", "cosine_with_restarts", "polynomial", "constant_with_warmup")


def train(folder: Path, **arguments: Any) -> Any:
    settings = {"num_samples": 400, "num_train_epochs": 4, "warmup_steps": 0.2}
    trainer = make_sifting_trainer(folder, **(settings | arguments))
    trainer.train()
    return trainer


@pytest.mark.parametrize("accumulation_steps", [1, 2])
@pytest.mark.parametrize("delay", [0, 70])
@pytest.mark.parametrize("kind", ["linear", "cosine"])
def test_a_decay_ends_where_training_ends(
    kind: str, delay: int, accumulation_steps: int, tmp_path: Path
) -> None:
    trainer = train(
        tmp_path,
        lr_scheduler_type=kind,
        delay=delay,
        gradient_accumulation_steps=accumulation_steps,
    )
    learning_rates = read_learning_rates(trainer)
    num_steps = trainer.state.global_step
    assert len(learning_rates) == num_steps < 0.8 * trainer.state.max_steps
    peak = learning_rates.index(max(learning_rates))
    assert max(learning_rates) == pytest.approx(0.1)
    assert peak == pytest.approx(0.2 * num_steps, abs=1 + 0.05 * num_steps)
    assert 0 <= learning_rates[-1] < 0.1 * 0.1
    assert learning_rates[-1] == min(learning_rates[peak:])


@pytest.mark.parametrize("kind", NEVER_RISING)
def test_a_schedule_never_rises_again_nor_falls_below_zero(kind: str, tmp_path: Path) -> None:
    trainer = train(tmp_path, lr_scheduler_type=kind, warmup_steps=10)
    scheduler = trainer.lr_scheduler
    for _ in range(500):
        scheduler.step()
        assert 0 <= scheduler.get_last_lr()[0] <= 0.1
    rates = [0.1 * scheduler.lr_lambdas[0](step) for step in range(trainer.state.global_step, 900)]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] == pytest.approx(0.1 if kind == "constant_with_warmup" else 0, abs=1e-6)


def test_a_cosine_that_rises_beyond_its_end_is_held(tmp_path: Path) -> None:
    trainer = train(
        tmp_path,
        lr_scheduler_type="cosine_with_min_lr",
        num_train_epochs=1,
        lr_scheduler_kwargs={"min_lr_rate": 0.1},
    )
    factor = trainer.lr_scheduler.lr_lambdas[0]
    assert [factor(step) for step in (60, 75, 100)] == pytest.approx([0.1] * 3)


def test_a_schedule_is_as_long_as_expected_of_the_loader(tmp_path: Path) -> None:
    trainer = train(tmp_path, gradient_accumulation_steps=2, warmup_steps=0, delay=10)
    # 50 batches an epoch: the first 10 pass, of the others one half is kept, in half a batch more
    # because the last one is partial. By two: 30.5 / 2, then 25.5 / 2 each.
    expected = 16 + 3 * 13
    first = read_learning_rates(trainer)[:10]
    assert first == pytest.approx([0.1 * (1 - step / expected) for step in range(10)])


def test_epochs_shorter_than_expected_still_see_the_whole_decay(tmp_path: Path) -> None:
    trainer = make_sifting_trainer(tmp_path, num_samples=400, num_train_epochs=8)
    loader_class = type(trainer.get_train_dataloader())
    expected_len = loader_class.expected_len
    # A third too much is expected, as where losses fall faster than the history forgets.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loader_class, "expected_len", lambda s, n=1: expected_len(s, n) * 4 // 3)
        trainer.train()
    rates = read_learning_rates(trainer)
    assert find_loader(trainer).statistics.kept_fraction < 0.6
    assert rates[-1] < 0.1 * 0.1
    assert rates == sorted(rates, reverse=True)


def test_a_scheduler_of_ones_own_is_left_alone(tmp_path: Path) -> None:
    model = Classifier()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + step))
    factor = scheduler.lr_lambdas[0]
    trainer = train(tmp_path, model=model, optimizers=(optimizer, scheduler), num_train_epochs=1)
    assert scheduler.lr_lambdas[0] is factor
    rates = read_learning_rates(trainer)
    assert rates == pytest.approx([0.1 / (1 + step) for step in range(len(rates))])


def test_a_schedule_by_metrics_is_left_alone() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer)
    before = dict(vars(scheduler))
    set_pace(scheduler, Pace([1]))
    assert vars(scheduler) == before
