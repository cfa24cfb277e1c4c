"""Each mistake in a job's input ends with exit code 1 and one clear sentence."""

import math
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from sagemaker_sift.trainer import job, load_model
from sagemaker_sift.trainer.checkpoint import CheckpointFolder
from sagemaker_sift.trainer.main import main
from tests.supports.trainer_data import (
    configure,
    fill_channel,
    make_root,
    read_failure,
    write_image,
)

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path))
    return make_root(tmp_path, hyperparameters={"epochs": "1"})


def check_failure(root: Path, pattern: str, log: str) -> None:
    """Check that the failure is one readable sentence, and the log has it with a traceback."""
    failure = read_failure(root)
    assert re.search(pattern, failure), failure
    assert "\n" not in failure
    assert "Traceback" not in failure
    assert len(failure) <= 1024
    assert failure in log
    assert "Traceback (most recent call last)" in log


def test_no_images(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(root / "input/data/train")
    (root / "input/data/train").mkdir()
    assert main([]) == 1
    check_failure(root, "Channel 'train' is empty", capsys.readouterr().out)


def test_one_class_only(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(root / "input/data/train/class1")
    assert main([]) == 1
    check_failure(root, "only one class folder, 'class0'", capsys.readouterr().out)


def test_another_number_of_classes(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    configure(root, num_classes="3")
    assert main([]) == 1
    check_failure(
        root,
        r"`num_classes` is 3, but channel 'train' has 2 class folders: 'class0', 'class1'",
        capsys.readouterr().out,
    )


def test_other_classes_in_validation(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "input/data/validation/class1").rename(root / "input/data/validation/klass1")
    assert main([]) == 1
    check_failure(root, "'train' lacks: 'klass1'", capsys.readouterr().out)


def test_a_truncated_image_is_named_and_training_goes_on(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = root / "input/data/train/class0/0003.jpg"
    path.write_bytes(path.read_bytes()[:200])
    assert main([]) == 0
    assert f"Skipping an unreadable image: {path}" in capsys.readouterr().out
    assert not (root / "output/failure").exists()
    assert load_model(root / "model").classes == ("class0", "class1")


def test_too_many_unreadable_images(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for idx in range(2):
        (root / f"input/data/train/class0/{idx:04d}.jpg").write_text("text renamed to .jpg")
    assert main([]) == 1
    check_failure(
        root,
        r"2 of 32 images in channel 'train' cannot be read.* allows 1; one of them is .*0000\.jpg",
        capsys.readouterr().out,
    )


def test_a_text_file_named_jpg(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    configure(root, max_corrupt_fraction="0")
    (root / "input/data/train/class1/0000.jpg").write_text("text")
    assert main([]) == 1
    check_failure(root, r"1 of 32 .*class1/0000\.jpg", capsys.readouterr().out)


def test_only_unreadable_images(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    configure(root, max_corrupt_fraction="1")
    for path in (root / "input/data/validation").rglob("*.jpg"):
        path.write_text("text")
    assert main([]) == 1
    check_failure(root, "None of the 10 images in channel 'validation'", capsys.readouterr().out)


def test_an_image_smaller_than_the_input(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = root / "input/data/train/class1/small.png"
    write_image(path, np.zeros((7, 20, 3), np.uint8))
    assert main([]) == 1
    check_failure(
        root,
        r"small\.png is 7 x 20 pixels \(height x width\), smaller than `image_shape` 3,8,8\. "
        "Set resize to 8 or more",
        capsys.readouterr().out,
    )


def test_early_stopping_without_validation(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(root / "input/data/validation")
    configure(root, early_stopping="True")
    assert main([]) == 1
    check_failure(
        root, "`early_stopping` is True, but the job has no channel", capsys.readouterr().out
    )


def test_no_train_channel(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(root / "input/data/train")
    assert main([]) == 1
    check_failure(root, "has no channel 'train'", capsys.readouterr().out)


def test_wrong_hyperparameters(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    configure(root, epochs="none", optimiser="sgd")
    assert main([]) == 1
    check_failure(root, r"2 hyperparameters are wrong.*'optimizer'", capsys.readouterr().out)


@pytest.mark.parametrize("name", ["model", "output/data", "checkpoints/model"])
def test_a_folder_that_cannot_be_written(
    root: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / name).parent.mkdir(exist_ok=True)
    (root / name).touch()
    assert main([]) == 1
    check_failure(root, rf"{root / name} cannot be written", capsys.readouterr().out)


def test_a_failure_that_cannot_be_written_goes_to_stderr(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / "output").touch()
    assert main([]) == 1
    assert "output/data cannot be written" in capsys.readouterr().err


def test_a_loss_that_is_not_finite(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "checkpoints").mkdir()
    assert main([]) == 0
    checkpoints = CheckpointFolder(root / "checkpoints")
    checkpoint = checkpoints.load()
    assert checkpoint is not None
    checkpoint.state["training"]["model"]["fc1.weight"].fill_(math.inf)
    checkpoints.save(
        (1, 0),
        checkpoint.state | {"num_epochs": 1},
        model_folder=root / "model",
        files=checkpoint.model_files,
    )
    configure(root, epochs="2", learning_rate="0.25")
    assert main([]) == 1
    check_failure(
        root,
        r"training loss is nan in epoch 1, batch 0, at learning rate 0\.25\. Use a smaller",
        capsys.readouterr().out,
    )


def test_a_fault_of_the_program_is_one_line_too(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("division\nby zero")

    monkeypatch.setattr(job, "prepare_data", fail)
    assert main([]) == 1
    check_failure(root, r"^ZeroDivisionError: division by zero", capsys.readouterr().out)


def test_a_batch_of_one_that_cannot_be_normalised(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    configure(root, mini_batch_size="1", num_layers="18")
    assert main([]) == 1
    check_failure(
        root, r"^`mini_batch_size` is 1, which .* Use 2 or more", capsys.readouterr().out
    )
    configure(root, mini_batch_size="1", epochs="1")
    assert main([]) == 0


def test_the_failure_of_an_earlier_run_does_not_stay(root: Path) -> None:
    configure(root, num_classes="3")
    assert main([]) == 1
    configure(root, epochs="1")
    assert main([]) == 0
    assert not (root / "output/failure").exists()


def test_fewer_classes_in_validation_are_allowed(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(root / "input/data/validation")
    fill_channel(root / "input/data/validation", num_classes=1, num_images=2)
    assert main([]) == 0
    assert "Channel 'validation' has no images of: 'class1'" in capsys.readouterr().out
