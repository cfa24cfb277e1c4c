from __future__ import annotations

import json
from pathlib import Path

import pytest

from sagemaker_sift.cli.main import main


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for name in ("cat/1.jpg", "cat/2.JPG", "dog/deep/3.png", "dog/notes.txt", ".hidden/4.jpg"):
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return tmp_path / "images"


def test_a_dry_run_prints_the_request_and_starts_nothing(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["train", "--local", str(tmp_path / "jobs"), "--train", str(images), "--dry-run"]
    options = ["--job-name", "dry", "-p", "mini-batch-size=2", "-p", "epochs=1", "-p", "epochs=2"]
    assert main([*command, *options, "--checkpoints", str(tmp_path / "checkpoints")]) == 0
    request = json.loads(capsys.readouterr().out)
    assert request["TrainingJobName"] == "dry"
    assert request["HyperParameters"]["num_classes"] == "2"
    assert request["HyperParameters"]["num_training_samples"] == "3"
    assert request["HyperParameters"]["mini_batch_size"] == "2"
    assert request["HyperParameters"]["epochs"] == "2"
    assert request["CheckpointConfig"] == {"S3Uri": f"file://{tmp_path}/checkpoints"}
    assert [path.name for path in (tmp_path / "jobs").iterdir() if path.is_dir()] == []


def test_further_channels_are_part_of_the_request_and_a_list_is_not_counted(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("list", "old"):
        (tmp_path / name).mkdir()
    command = ["train", "--local", str(tmp_path / "jobs"), "--train", str(images), "--dry-run"]
    channels = ["--channel", f"train_lst={tmp_path}/list", "--channel", f"model={tmp_path}/old"]
    counts = ["-p", "num_classes=7", "-p", "num_training_samples=90"]
    assert main([*command, *channels, *counts]) == 0
    request = json.loads(capsys.readouterr().out)
    names = [channel["ChannelName"] for channel in request["InputDataConfig"]]
    assert sorted(names) == ["model", "train", "train_lst"]
    assert request["HyperParameters"]["num_classes"] == "7"
    assert main([*command, *channels]) == 1
    assert "`num_classes` is required" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["model", "=x", "model="])
def test_a_channel_that_is_no_pair_is_refused(
    images: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["train", "--local", "--train", str(images), "--channel", text])
    assert "must be NAME=DIR" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["-p", "epoch=3"], "`epoch` is not a hyperparameter of this algorithm"),
        (["-p", "epochs=0"], "`epochs` is '0', but must be an integer, 1 or more."),
        (["--instance-type", "ml.none"], "`instance_type` is 'ml.none'"),
        (["--validation", "/nowhere"], "`inputs['validation']` is '/nowhere'"),
        (["--job-name", "a b"], "`job_name` is 'a b'"),
        (["--max-run", "0"], "`max_run` is 0, but must be at least 1."),
    ],
)
def test_a_mistake_is_one_error_message_and_exit_code_1(
    options: list[str],
    says: str,
    images: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = ["train", "--local", str(tmp_path / "jobs"), "--train", str(images)]
    assert main([*command, "-p", "mini_batch_size=2", *options]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("error: ")
    assert says in shown.err
    assert "Traceback" not in shown.err


def test_an_option_that_is_no_pair_is_refused(
    images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["train", "--local", "--train", str(images), "-p", "epochs"])
    assert stopped.value.code == 2
    assert "'epochs' is not NAME=VALUE" in capsys.readouterr().err


def test_a_root_that_cannot_be_written_is_named(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert main(["train", "--local", str(tmp_path / "file"), "--train", str(images)]) == 1
    assert "Give LocalSession a root folder that you may write to" in capsys.readouterr().err
