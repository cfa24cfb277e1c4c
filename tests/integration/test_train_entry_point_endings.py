"""The ways in which a job ends, and what it leaves behind; in one process."""

import json
import math
import re
from pathlib import Path

import pytest
import safetensors.torch
import torch

from sagemaker_sift.contract.metrics import VALIDATION_ACCURACY, read_batch_line, read_line
from sagemaker_sift.trainer import load_model
from sagemaker_sift.trainer.main import main
from sagemaker_sift.trainer.schedule import EarlyStopping
from sagemaker_sift.trainer.stop import StopRequest
from tests.supports.trainer_data import (
    SIFTING,
    configure,
    make_image,
    make_root,
    read_weights,
)
from tests.supports.trainer_job import run

pytestmark = pytest.mark.usefixtures("one_thread")

LINE = re.compile(r"\[\d\d/\d\d/\d{4} \d\d:\d\d:\d\d (INFO|WARNING|ERROR) \d+\] .*")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path))
    return make_root(tmp_path)


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
    configure(root, **(SIFTING | {"beta_value": "3", "epochs": "3"}))
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


def test_the_same_seed_gives_the_same_model_and_another_one_does_not(tmp_path: Path) -> None:
    models = []
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        folder = make_root(
            tmp_path / name,
            hyperparameters=SIFTING | {"seed": seed, "augmentation_type": "crop"},
        )
        torch.manual_seed(len(models))
        run(folder, StopRequest(), lambda: 0.0)
        models.append(read_weights(folder))
    assert models[0] == models[1]
    assert list(models[2].values()) != list(models[0].values())


@pytest.mark.parametrize("sifting", [{}, SIFTING | {"loss_history_length": "100"}])
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
