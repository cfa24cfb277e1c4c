"""Jobs that were cut off, and go on as if they had not been; in one process."""

import itertools
import json
import re
from pathlib import Path
from typing import Any

import pytest

from sagemaker_sift.trainer.checkpoint import CheckpointFolder
from sagemaker_sift.trainer.main import main
from sagemaker_sift.trainer.ranks import Ranks
from sagemaker_sift.trainer.stop import StopRequest
from tests.supports.trainer_data import (
    SIFTING,
    configure,
    make_root,
    read_failure,
    read_weights,
)
from tests.supports.trainer_job import run

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path))
    return make_root(tmp_path)


class StopAfter(StopRequest):
    """A stop that comes when it has been looked at so many times."""

    def __init__(self, num_looks: int) -> None:
        super().__init__()
        self.num_looks_left = num_looks

    def is_set(self) -> bool:
        self.num_looks_left -= 1
        if self.num_looks_left < 0:
            self.set("SIGTERM")
        return super().is_set()


@pytest.mark.parametrize(
    "hyperparameters",
    [
        {"augmentation_type": "crop_color_transform", "lr_scheduler_step": "1"},
        SIFTING | {"beta_value": "2", "sift_delay": "1", "augmentation_type": "crop"},
        SIFTING | {"scoring": "last_visit", "weighting": "inverse", "sift_delay": "1"},
        {"optimizer": "adam", "learning_rate": "0.001", "lr_scheduler_step": "1"},
        {"optimizer": "nag", "lr_scheduler_step": "1", "checkpoint_frequency": "1"},
        SIFTING
        | {"repeat_delay_per_epoch": "True", "optimizer": "rmsprop", "learning_rate": "0.001"},
    ],
)
def test_a_job_stopped_at_any_moment_goes_on_to_the_result_of_an_uninterrupted_one(
    tmp_path: Path, hyperparameters: dict[str, str]
) -> None:
    given = hyperparameters | {"epochs": "2"}
    whole = make_root(tmp_path / "whole", hyperparameters=given)
    (whole / "checkpoints").mkdir()
    looks = StopAfter(10_000)
    run(whole, looks, lambda: 0.0)
    num_looks = 10_000 - looks.num_looks_left
    for moment in range(0, num_looks, 2):
        parts = make_root(tmp_path / f"{moment}", hyperparameters=given)
        (parts / "checkpoints").mkdir()
        run(parts, StopAfter(moment), lambda: 0.0)
        assert list((parts / "model").glob("*.safetensors"))
        run(parts, StopRequest(), lambda: 0.0)
        assert read_weights(parts) == read_weights(whole), moment
        name = "checkpoints/checkpoint-0002.safetensors"
        assert (parts / name).read_bytes() == (whole / name).read_bytes(), moment


def test_a_job_that_was_stopped_early_goes_on_without_early_stopping(root: Path) -> None:
    (root / "checkpoints").mkdir()
    early = {"early_stopping": "True", "early_stopping_min_epochs": "1"}
    configure(root, epochs="9", learning_rate="0", **early, early_stopping_patience="1")
    assert main([]) == 0
    configure(root, epochs="9", learning_rate="0")
    assert main([]) == 0
    assert (root / "checkpoints/checkpoint-0009.json").exists()


def test_a_timed_checkpoint_is_written_once_though_the_answer_of_the_ranks_comes_a_step_late(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [[False, False]]
    saved = []

    def exchange(_: Ranks, wishes: list[bool]) -> list[bool]:
        answers.append(list(wishes))
        return answers[-2]

    def save(_: CheckpointFolder, position: tuple[int, int], *__: Any, **___: Any) -> None:
        saved.append(position)

    monkeypatch.setattr(Ranks, "exchange", exchange)
    monkeypatch.setattr(CheckpointFolder, "save", save)
    (root / "checkpoints").mkdir()
    configure(root, epochs="1", mini_batch_size="2")
    times = iter(range(0, 10**9, 60))
    run(root, StopRequest(), lambda: float(next(times)))
    within = [position[1] for position in saved if position[1]]
    assert len(within) >= 2
    assert all(later - earlier > 1 for earlier, later in itertools.pairwise(within))


def test_a_long_epoch_has_checkpoints_within(root: Path) -> None:
    (root / "checkpoints").mkdir()
    configure(root, epochs="1", mini_batch_size="2", num_training_samples="32")
    times = iter(range(0, 10**9, 200))
    names: list[str] = []
    stop = StopRequest()
    is_set = stop.is_set

    def look() -> bool:
        names.extend(path.stem for path in (root / "checkpoints").glob("*-*-*.json"))
        return is_set()

    stop.is_set = look  # type: ignore[method-assign]
    run(root, stop, lambda: float(next(times)))
    assert len(set(names)) >= 3
    assert all(re.fullmatch(r"checkpoint-0000-000000\d\d", name) for name in names)
    assert not list((root / "checkpoints").glob("*-*-*.json"))[1:]


@pytest.mark.parametrize(
    ("given", "changed"),
    [
        ({}, {"mini_batch_size": "4"}),
        ({}, {"seed": "9"}),
        ({}, {"sifting": "True"}),
        ({}, {"top_k": "2"}),
        ({}, {"optimizer": "nag"}),
        (SIFTING, {"scoring": "last_visit"}),
        (SIFTING, {"weighting": "inverse"}),
    ],
)
def test_within_an_epoch_a_job_goes_on_only_with_the_same_batches(
    root: Path, given: dict[str, str], changed: dict[str, str]
) -> None:
    (root / "checkpoints").mkdir()
    configure(root, **given)
    run(root, StopAfter(5), lambda: 0.0)
    configure(root, **(given | changed))
    assert main([]) == 1
    [name] = changed
    assert re.search(rf"was made with {name} .*, but this job has", read_failure(root))


def test_between_epochs_a_job_may_change_how_it_sifts(root: Path) -> None:
    (root / "checkpoints").mkdir()
    for epochs, scoring in enumerate(("plain", "fresh", "last_visit", "plain"), start=1):
        configure(root, **(SIFTING | {"epochs": str(epochs), "scoring": scoring}))
        assert main([]) == 0
    assert (root / "checkpoints/checkpoint-0004.json").exists()


def test_a_state_of_sifting_of_another_version_is_refused_in_one_sentence(root: Path) -> None:
    (root / "checkpoints").mkdir()
    configure(root, **SIFTING)
    run(root, StopAfter(5), lambda: 0.0)
    [path] = (root / "checkpoints").glob("*.json")
    description = json.loads(path.read_text())
    description["state"]["training"]["ranks"][0]["sifting"]["version"] = 2
    path.write_text(json.dumps(description))
    assert main([]) == 1
    failure = read_failure(root)
    assert re.match(r"The checkpoint in .* holds a state of sifting of version 2, but", failure)
    assert failure.endswith("or give it another checkpoint location.")


def resume_equals_uninterrupted(root: Path, other: Path, **hyperparameters: str) -> None:
    for folder in (root, other):
        (folder / "checkpoints").mkdir()
        configure(folder, **(hyperparameters | {"epochs": "5"}))
    configure(root, **(hyperparameters | {"epochs": "2"}))
    run(root, StopRequest(), lambda: 0.0)
    for path in (root / "model").iterdir():
        path.unlink()
    configure(root, **(hyperparameters | {"epochs": "5"}))
    run(root, StopRequest(), lambda: 0.0)
    run(other, StopRequest(), lambda: 0.0)
    assert read_weights(root) == read_weights(other)
    name = "checkpoints/checkpoint-0005.safetensors"
    assert (root / name).read_bytes() == (other / name).read_bytes()


@pytest.mark.parametrize(
    "hyperparameters",
    [
        {"augmentation_type": "crop", "lr_scheduler_step": "1,3"},
        SIFTING | {"augmentation_type": "crop", "beta_value": "0.1", "sift_delay": "0"},
        SIFTING | {"scoring": "last_visit", "max_score_age": "1", "checkpoint_frequency": "1"},
        {"augmentation_type": "crop", "beta_value": "1"},
    ],
)
def test_a_resumed_job_equals_an_uninterrupted_one_bit_for_bit(
    tmp_path: Path, hyperparameters: dict[str, str]
) -> None:
    resume_equals_uninterrupted(
        make_root(tmp_path / "a"), make_root(tmp_path / "b"), **hyperparameters
    )


def test_a_damaged_checkpoint_costs_one_epoch_and_nothing_else(tmp_path: Path) -> None:
    first, second = (make_root(tmp_path / name) for name in "ab")
    for folder in (first, second):
        (folder / "checkpoints").mkdir()
        configure(folder, epochs="4", **SIFTING)
    run(second, StopRequest(), lambda: 0.0)
    configure(first, epochs="3", **SIFTING)
    run(first, StopRequest(), lambda: 0.0)
    path = first / "checkpoints/checkpoint-0003.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    configure(first, epochs="4", **SIFTING)
    run(first, StopRequest(), lambda: 0.0)
    assert read_weights(first) == read_weights(second)


def test_a_job_that_is_done_trains_no_further(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / "checkpoints").mkdir()
    assert main([]) == 0
    before = read_weights(root)
    capsys.readouterr()
    assert main([]) == 0
    log = capsys.readouterr().out
    assert "Resuming from a checkpoint after 2 epochs" in log
    assert "Train-accuracy" not in log
    assert read_weights(root) == before


def test_the_checkpoint_of_another_network_is_refused(root: Path) -> None:
    (root / "checkpoints").mkdir()
    assert main([]) == 0
    configure(root, num_layers="32")
    assert main([]) == 1
    assert "was made with num_layers 20, but this job has 32" in read_failure(root)


def test_the_patience_of_early_stopping_outlasts_an_interruption(tmp_path: Path) -> None:
    patient = {
        "early_stopping": "True",
        "early_stopping_min_epochs": "1",
        "early_stopping_patience": "3",
        "learning_rate": "0",
    }
    last_checkpoints = []
    for name, parts in (("whole", ["40"]), ("parts", [str(number) for number in range(1, 41)])):
        root = make_root(tmp_path / name)
        (root / "checkpoints").mkdir()
        for epochs in parts:
            configure(root, **(patient | {"epochs": epochs}))
            run(root, StopRequest(), lambda: 0.0)
        last_checkpoints.append(max(path.name for path in (root / "checkpoints").glob("*.json")))
    assert last_checkpoints[0] == last_checkpoints[1] < "checkpoint-0040.json"
