"""A Hugging Face training, interrupted and resumed, is the uninterrupted one to the bit."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BatchEncoding, TrainerCallback, default_data_collator

from smart_sifting.integrations._checkpoint import read_state, write_state
from tests.supports.hugging_face import (
    Recorder,
    find_loader,
    make_sifting_trainer,
    make_trainer,
    read_counts,
    read_learning_rates,
)

EPOCHS = {"num_train_epochs": 3}
CASES = {
    "by epoch": EPOCHS | {"save_strategy": "epoch"},
    "by step": EPOCHS | {"save_strategy": "steps", "save_steps": 1},
    "accumulated": EPOCHS
    | {"save_strategy": "steps", "save_steps": 1, "gradient_accumulation_steps": 3}
    | {"eval_strategy": "epoch"},
    "evaluated": EPOCHS | {"save_strategy": "epoch", "eval_strategy": "epoch"},
    "delayed": EPOCHS | {"save_strategy": "steps", "save_steps": 1, "delay": 5},
    "in order": EPOCHS
    | {"save_strategy": "steps", "save_steps": 1, "train_sampling_strategy": "sequential"},
    "last dropped": EPOCHS
    | {"save_strategy": "steps", "save_steps": 1, "dataloader_drop_last": True, "beta": 2.0},
    "max_steps": {"max_steps": 13, "save_strategy": "steps", "save_steps": 1},
}


def train(folder: Path, *, resume_from: str | bool | None = None, **arguments: Any) -> Any:
    recorder = Recorder(
        stop_at=arguments.pop("stop_at", None), fail_at=arguments.pop("fail_at", None)
    )
    settings = {"num_samples": 60, "lr_scheduler_type": "cosine", "callbacks": [recorder]}
    trainer = make_sifting_trainer(folder, **(settings | arguments))
    trainer.train(resume_from_checkpoint=resume_from)
    trainer.recorder = recorder
    return trainer


def assert_equal_trainings(resumed: Any, reference: Any) -> None:
    expected = reference.model.state_dict()
    for name, value in resumed.model.state_dict().items():
        assert torch.equal(value, expected[name]), name
    assert resumed.state.global_step == reference.state.global_step
    assert resumed.state.epoch == reference.state.epoch
    assert read_counts(resumed) == read_counts(reference)
    assert read_learning_rates(resumed) == read_learning_rates(reference)
    logs = [
        [{name: log.get(name) for name in ("step", "epoch", "loss", "eval_loss")} for log in logs]
        for logs in (resumed.state.log_history[:-1], reference.state.log_history[:-1])
    ]
    assert logs[0] == logs[1]


@pytest.mark.parametrize("name", CASES)
def test_resumed_at_any_checkpoint_equals_uninterrupted(name: str, tmp_path: Path) -> None:
    reference = train(tmp_path / "reference", **CASES[name])
    ends = reference.recorder.named("epoch")
    steps = [step for step, _ in reference.recorder.named("save")]
    assert len(steps) >= 3
    if name == "accumulated":
        assert any(counts["num_batches"] % 3 for counts in read_counts(reference)[:-1])
    chosen = {*steps[:-1:4], *(step for step, _ in ends[:-1])}
    for step in sorted(chosen):
        resumed = train(
            tmp_path / f"from {step}",
            resume_from=str(tmp_path / f"reference/checkpoint-{step}"),
            **CASES[name],
        )
        assert_equal_trainings(resumed, reference)
        is_boundary = CASES[name]["save_strategy"] == "epoch"
        first = step + 1 if is_boundary else step
        assert resumed.recorder.named("epoch") == [end for end in ends if end[0] >= first]


@pytest.mark.parametrize("way", ["failed", "stopped"])
def test_an_interrupted_training_goes_on_in_the_same_folder(way: str, tmp_path: Path) -> None:
    settings = EPOCHS | {"save_strategy": "steps", "save_steps": 2}
    reference = train(tmp_path / "reference", **settings)
    folder = tmp_path / "interrupted"
    if way == "failed":
        with pytest.raises(KeyboardInterrupt):
            train(folder, fail_at=6, **settings)
    else:
        stopped = train(folder, stop_at=6, **settings)
        assert stopped.state.global_step == 6
        assert not stopped.state.epoch.is_integer()
    resumed = train(folder, resume_from=True, **settings)
    assert_equal_trainings(resumed, reference)


def test_a_finished_training_is_resumed_for_more_epochs(tmp_path: Path) -> None:
    settings = {"save_strategy": "epoch", "lr_scheduler_type": "constant"}
    reference = train(tmp_path / "reference", num_train_epochs=3, **settings)
    train(tmp_path / "longer", num_train_epochs=2, **settings)
    resumed = train(tmp_path / "longer", num_train_epochs=3, resume_from=True, **settings)
    assert_equal_trainings(resumed, reference)


def test_an_epoch_that_a_callback_left_is_not_resumed(tmp_path: Path) -> None:
    class Leave(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            control.should_epoch_stop = state.global_step == 2

    settings = EPOCHS | {"save_strategy": "epoch"}
    trainers = []
    for source in (None, str(tmp_path / "checkpoint-2")):
        trainer = make_sifting_trainer(tmp_path, callbacks=[Leave()], **settings)
        trainer.train(resume_from_checkpoint=source)
        trainers.append(trainer)
    reference, resumed = trainers
    assert find_loader(reference).statistics.epochs[0].num_batches == 2
    assert_equal_trainings(resumed, reference)


def test_batches_of_a_tokenizers_class_are_saved_and_loaded(tmp_path: Path) -> None:
    settings = EPOCHS | {"save_strategy": "steps", "save_steps": 4}
    settings["data_collator"] = lambda samples: BatchEncoding(default_data_collator(samples))
    reference = train(tmp_path / "reference", **settings)
    resumed = train(
        tmp_path / "new", resume_from=str(tmp_path / "reference/checkpoint-4"), **settings
    )
    assert_equal_trainings(resumed, reference)


@pytest.mark.parametrize("delay", [0, 1000])
def test_a_checkpoint_without_sifting_is_continued_with_an_empty_history(
    delay: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    unsifted = make_trainer(tmp_path, num_train_epochs=3, save_strategy="steps", save_steps=12)
    unsifted.train()
    with caplog.at_level(logging.WARNING, "smart_sifting"):
        resumed = train(
            tmp_path / "sifted",
            resume_from=str(tmp_path / "checkpoint-12"),
            num_train_epochs=3,
            delay=delay,
        )
    warnings = [r.getMessage() for r in caplog.records if "without sifting" in r.getMessage()]
    assert len(warnings) == 1
    assert warnings[0].endswith("begins empty, and the epoch under way from its begin.")
    assert [counts["samples_seen"] for counts in read_counts(resumed)] == [60, 60]
    assert resumed.state.epoch == 3.0
    assert (find_loader(resumed).statistics.samples_sifted_out > 0) == (delay == 0)


def test_a_checkpoint_of_other_processes_is_refused(tmp_path: Path) -> None:
    settings = {"num_train_epochs": 1, "save_strategy": "epoch"}
    train(tmp_path, **settings)
    (checkpoint,) = tmp_path.glob("checkpoint-*")
    (checkpoint / "sifting_state_0.pt").rename(checkpoint / "sifting_state_1.pt")
    with pytest.raises(ValueError, match=r"no sifting_state_0.pt .* but has sifting_state_1.pt"):
        train(tmp_path / "new", resume_from=str(checkpoint), **settings)


def test_a_checkpoint_of_the_model_alone_holds_no_sifting_state(tmp_path: Path) -> None:
    train(tmp_path, num_train_epochs=1, save_strategy="epoch", save_only_model=True)
    (checkpoint,) = tmp_path.glob("checkpoint-*")
    assert not list(checkpoint.glob("sifting_state_*"))


def test_a_state_file_is_whole_or_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_state(tmp_path / "checkpoint-1", 0, {"a": 1})
    with pytest.raises(TypeError, match="pickle"):
        write_state(path.parent, 0, {"a": torch.ones(9), "b": (x for x in ())})
    assert [file.name for file in path.parent.iterdir()] == ["sifting_state_0.pt"]
    assert read_state(path.parent, 0) == {"a": 1}
    order: list[str] = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (order.append("fsync"), fsync(fd))[1])
    monkeypatch.setattr(os, "replace", lambda a, b: (order.append("replace"), replace(a, b))[1])
    write_state(path.parent, 0, {"a": 2})
    assert order[:2] == ["fsync", "replace"]
    assert read_state(path.parent, 0) == {"a": 2}
    assert read_state(tmp_path, 0) is None
