"""The ways in which a job ends, and what it leaves behind; in one process."""

import dataclasses
import json
import math
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch

from sagemaker_sift.contract.container import ContainerPaths
from sagemaker_sift.contract.metrics import VALIDATION_ACCURACY, read_batch_line, read_line
from sagemaker_sift.trainer import load_model
from sagemaker_sift.trainer.config import read_config
from sagemaker_sift.trainer.job import run_job
from sagemaker_sift.trainer.main import main
from sagemaker_sift.trainer.schedule import EarlyStopping
from sagemaker_sift.trainer.stop import StopRequest
from tests.supports.trainer_data import (
    configure,
    make_image,
    make_root,
    read_failure,
    read_weights,
)

pytestmark = pytest.mark.usefixtures("one_thread")

LINE = re.compile(r"\[\d\d/\d\d/\d{4} \d\d:\d\d:\d\d (INFO|WARNING|ERROR) \d+\] .*")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path))
    return make_root(tmp_path)


def run(root: Path, stop: StopRequest, clock: Callable[[], float]) -> None:
    config = dataclasses.replace(
        read_config(ContainerPaths(root), {"OMP_NUM_THREADS": "1"}), num_cpus=1
    )
    run_job(config, stop=stop, clock=clock)


def test_the_log_has_the_built_in_form_and_order(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    configure(root, top_k="2", beta_value="1", epochs="1")
    assert main(["train"]) == 0
    log = capsys.readouterr().out.splitlines()
    assert all(LINE.fullmatch(line) for line in log)
    messages = [line.partition("] ")[2] for line in log]
    first = next(idx for idx, text in enumerate(messages) if "Train-accuracy" in text)
    forms = [re.sub(r"\d+\.\d+|/.*/", "#", text) for text in messages[first : first + 10]]
    assert forms == [
        "Epoch[0] Train-accuracy=#",
        "Epoch[0] Train-top_k_accuracy_2=#",
        "Epoch[0] Train-loss=#",
        "Epoch[0] Sifting-samples_seen=32",
        "Epoch[0] Sifting-samples_kept=32",
        "Epoch[0] Sifting-kept_fraction=#",
        "Epoch[0] Time cost=#",
        "Epoch[0] Validation-accuracy=#",
        "Storing the best model with validation accuracy: #",
        'Saved checkpoint to "#image-classification-0001.safetensors"',
    ]
    assert len([text for text in messages if read_line(text)]) == 8
    start = "\n".join(messages[:first])
    for expected in ("torch 2", "Device: ", '"top_k": "2"', "'train': 32 images, 2 classes"):
        assert expected in start


def test_a_completed_job_leaves_its_best_model_and_the_totals_of_sifting(root: Path) -> None:
    configure(root, beta_value="3", epochs="3", sift_delay="2")
    assert main([]) == 0
    totals = json.loads((root / "output/data/sifting.json").read_text())
    assert len(read_weights(root)) == 1
    assert (root / "model/model-shapes.json").exists()
    assert (totals["beta_value"], totals["expected_fraction"]) == (3.0, 0.25)
    assert totals["samples_seen"] == 96
    assert totals["samples_scored"] == 96 - 2 * 8
    assert totals["samples_kept"] == 16 + totals["samples_scored_kept"]
    assert totals["kept_fraction"] == totals["samples_kept"] / 96


def test_a_job_without_sifting_says_nothing_of_it(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([]) == 0
    assert "Sifting-" not in capsys.readouterr().out
    assert list((root / "output/data").iterdir()) == []


def test_without_validation_the_last_epoch_is_kept_and_the_log_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path))
    make_root(tmp_path, validation=False, hyperparameters={"epochs": "3"})
    assert main([]) == 0
    log = capsys.readouterr().out
    assert "the model of the last epoch is kept" in log
    assert "Validation-accuracy" not in log
    assert list(read_weights(tmp_path)) == ["image-classification-0003.safetensors"]


def test_checkpoint_frequency_keeps_those_epochs(root: Path) -> None:
    configure(root, epochs="5", checkpoint_frequency="2")
    assert main([]) == 0
    assert sorted(read_weights(root)) == [
        "image-classification-0002.safetensors",
        "image-classification-0004.safetensors",
    ]


def test_the_learning_rate_of_the_schedule_is_the_one_that_trains(root: Path) -> None:
    configure(
        root,
        epochs="3",
        checkpoint_frequency="1",
        lr_scheduler_step="2",
        lr_scheduler_factor="0",
        momentum="0",
    )
    assert main([]) == 0
    first, second, third = (
        safetensors.torch.load_file(path)["fc1.weight"]
        for path in sorted((root / "model").glob("*.safetensors"))
    )
    assert not torch.equal(first, second)
    assert torch.equal(second, third)


def test_a_job_stops_early_once_accuracy_no_longer_improves(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    configure(
        root, epochs="50", early_stopping="True", early_stopping_min_epochs="3",
        early_stopping_patience="2", learning_rate="0",
    )  # fmt: skip
    assert main([]) == 0
    log = capsys.readouterr().out
    rule = EarlyStopping(min_epochs=3, patience=2, tolerance=0.0)
    read = [read_line(line) for line in log.splitlines()]
    curve = [line[2] for line in read if line and line[1] is VALIDATION_ACCURACY]
    decisions = [rule.should_stop(epoch, accuracy) for epoch, accuracy in enumerate(curve)]
    assert decisions == [False] * (len(curve) - 1) + [True]
    assert len(curve) < 50
    assert f"Stopped early after {len(curve)} epochs" in log


@pytest.mark.parametrize("epochs_before", [0, 1])
def test_a_stopped_job_saves_the_best_model_so_far_or_the_current_one(
    root: Path, epochs_before: int
) -> None:
    configure(root, epochs="9", beta_value="1")
    stop = StopRequest()
    steps_left = epochs_before * 5 + 3

    def clock() -> float:
        nonlocal steps_left
        steps_left -= 1
        if steps_left < 0:
            stop.set("SIGTERM")
        return 0.0

    run(root, stop, clock)
    assert list(read_weights(root)) == ["image-classification-0001.safetensors"]
    has_accuracy = "validation:accuracy" in load_model(root / "model").metrics
    assert has_accuracy == (epochs_before > 0)
    totals = json.loads((root / "output/data/sifting.json").read_text())
    assert 0 < totals["batches_trained"] < 9 * 4


def test_a_job_that_is_stopped_before_it_trains_leaves_a_model(root: Path) -> None:
    stop = StopRequest()
    stop.set("SIGTERM")
    run(root, stop, lambda: 0.0)
    assert load_model(root / "model").metrics == {}


def test_progress_is_logged_about_once_a_second(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    configure(root, epochs="1", num_training_samples="32", mini_batch_size="2")
    times = iter(number * 0.3 for number in range(10_000))
    with caplog.at_level("INFO"):
        run(root, StopRequest(), lambda: next(times))
    lines = [read_batch_line(record.getMessage()) for record in caplog.records]
    batches = [line for line in lines if line]
    assert [line.batch for line in batches] == [4, 8, 12, 16]
    assert batches[0].samples_per_second == pytest.approx(8 / 1.2, abs=0.01)


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
        {"beta_value": "2", "sift_delay": "1", "augmentation_type": "crop"},
        {"beta_value": "1", "repeat_delay_per_epoch": "True", "sift_delay": "2", "top_k": "2"},
        {"optimizer": "adam", "learning_rate": "0.001", "lr_scheduler_step": "1"},
        {"optimizer": "nag", "lr_scheduler_step": "1", "checkpoint_frequency": "1"},
        {"optimizer": "rmsprop", "learning_rate": "0.001", "beta_value": "1"},
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
    "changed",
    [
        {"mini_batch_size": "4"},
        {"seed": "9"},
        {"sifting": "True"},
        {"top_k": "2"},
        {"optimizer": "nag"},
    ],
)
def test_within_an_epoch_a_job_goes_on_only_with_the_same_batches(
    root: Path, changed: dict[str, str]
) -> None:
    (root / "checkpoints").mkdir()
    run(root, StopAfter(5), lambda: 0.0)
    configure(root, **changed)
    assert main([]) == 1
    assert re.search(r"was made with \w+ .*, but this job has", read_failure(root))


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
        {"augmentation_type": "crop", "beta_value": "1"},
        {"beta_value": "2", "sift_delay": "1", "checkpoint_frequency": "1"},
        {"beta_value": "1", "repeat_delay_per_epoch": "True", "sift_delay": "2"},
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
        configure(folder, epochs="4", beta_value="1")
    run(second, StopRequest(), lambda: 0.0)
    configure(first, epochs="3", beta_value="1")
    run(first, StopRequest(), lambda: 0.0)
    path = first / "checkpoints/checkpoint-0003.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    configure(first, epochs="4", beta_value="1")
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


def test_the_same_seed_gives_the_same_model_and_another_one_does_not(tmp_path: Path) -> None:
    models = []
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        folder = make_root(
            tmp_path / name,
            hyperparameters={"seed": seed, "beta_value": "1", "augmentation_type": "crop"},
        )
        torch.manual_seed(len(models))
        run(folder, StopRequest(), lambda: 0.0)
        models.append(read_weights(folder))
    assert models[0] == models[1]
    assert list(models[2].values()) != list(models[0].values())


@pytest.mark.parametrize("sifting", [{}, {"beta_value": "1", "loss_history_length": "100"}])
def test_a_small_job_learns(tmp_path: Path, sifting: dict[str, str]) -> None:
    root = make_root(
        tmp_path,
        num_images=64,
        hyperparameters={"num_training_samples": "128", "epochs": "10", **sifting},
    )
    run(root, StopRequest(), lambda: 0.0)
    model = load_model(root / "model")
    images_NHWC = torch.stack(
        [
            torch.from_numpy(make_image(class_idx, num_classes=2, size=8, seed=777 + idx))
            for class_idx in (0, 1)
            for idx in range(50)
        ]
    )
    probabilities_NK = model.probabilities(images_NHWC.permute(0, 3, 1, 2))
    correct = probabilities_NK.argmax(1) == torch.arange(2).repeat_interleave(50)
    assert model.metrics["validation:accuracy"] > 0.9
    assert float(correct.float().mean()) > 0.9
    if sifting:
        totals = json.loads((root / "output/data/sifting.json").read_text())
        deviation = math.sqrt(0.25 / totals["samples_scored"])
        assert totals["scored_kept_fraction"] == pytest.approx(0.5, abs=5 * deviation)


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
