"""Whole jobs on images from pipes: both kinds; stopped, killed, on several processes."""

import json
import os
import shutil
import signal
from pathlib import Path

import pytest
import torch

from sagemaker_sift.contract.metrics import VALIDATION_ACCURACY, read_line
from sagemaker_sift.trainer import load_model
from sagemaker_sift.trainer.main import main
from tests.supports.pipes import (
    PIPE,
    Labelled,
    describe_channels,
    feeding,
    label_images,
    pack_manifest,
    pack_records,
)
from tests.supports.trainer_data import (
    SIFTING,
    configure,
    finish,
    read_failure,
    read_until,
    read_weights,
    start_train,
)

pytestmark = pytest.mark.usefixtures("one_thread")

IMAGES = label_images(36)
OTHERS = label_images(11, seed=1)
MANIFEST = PIPE | {"RecordWrapperType": "RecordIO"}


def make_pipe_root(
    root: Path, settings: dict[str, str] | None = None, **hyperparameters: str
) -> Path:
    configure(root, **({"num_training_samples": "36"} | hyperparameters))
    describe_channels(root, dict.fromkeys(("train", "validation"), settings or PIPE))
    return root


def measure_accuracy(root: Path, images: list[Labelled]) -> float:
    """Return the accuracy of the model over labelled images, by another path."""
    model = load_model(root / "model")
    files = []
    for idx, (_, image) in enumerate(images):
        files.append(root / f"{idx}.jpg")
        files[-1].write_bytes(image)
    found = model.probabilities(model.read_images(files, fit="crop")).argmax(dim=1)
    return float((found == torch.tensor([label for label, _ in images])).float().mean())


@pytest.mark.parametrize("sifting", [{}, SIFTING | {"scoring": "last_visit"}])
@pytest.mark.parametrize("form", ["recordio", "manifest"])
def test_a_job_trains_on_pipes(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    sifting: dict[str, str],
    form: str,
) -> None:
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path))
    is_manifest = form == "manifest"
    make_pipe_root(
        tmp_path,
        MANIFEST if is_manifest else PIPE,
        augmentation_type="crop",
        epochs="3",
        **sifting,
    )
    pack = pack_manifest if is_manifest else pack_records
    with feeding(tmp_path, train=pack(IMAGES), validation=pack(OTHERS)) as feeders:
        assert main(["train"]) == 0
        assert len(feeders["train"].endings) == len(feeders["validation"].endings) == 3
    log = capsys.readouterr().out
    read = [read_line(line) for line in log.splitlines()]
    accuracies = [line[2] for line in read if line and line[1] is VALIDATION_ACCURACY]
    assert len(accuracies) == 3
    assert max(accuracies) == pytest.approx(measure_accuracy(tmp_path, OTHERS), abs=1e-6)
    if sifting:
        assert log.count("scoring is last_visit, but images from a pipe") == 1
        totals = json.loads((tmp_path / "output/data/sifting.json").read_text())
        assert totals["samples_seen"] == 3 * 32
        assert totals["samples_kept"] < 3 * 32


@pytest.mark.parametrize("label_format", ["multi-hot", "class-id"])
def test_a_manifest_of_several_labels_trains_the_same_in_both_formats(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, label_format: str
) -> None:
    labels = [[1, 0, 1], [0, 1, 0], [0, 0, 0], [1, 1, 1]] * 9
    images = [(label, image) for label, (_, image) in zip(labels, IMAGES, strict=True)]

    def describe(found: list[int]) -> str:
        if label_format == "multi-hot":
            return json.dumps(found)
        return json.dumps([idx for idx, value in enumerate(found) if value])

    content_type = f"application/x-recordio; label-format={label_format}"
    given = {"multi_label": "1", "num_classes": "3", "num_layers": "20"}
    models = []
    for name, data, settings in (
        ("manifest", pack_manifest(images, describe), MANIFEST | {"ContentType": content_type}),
        ("records", pack_records(images), PIPE),
    ):
        root = make_pipe_root(tmp_path / name, settings, **given)
        monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(root))
        with feeding(root, train=data, validation=data):
            assert main([]) == 0
        models.append(read_weights(root))
    assert models[0] == models[1]


@pytest.mark.parametrize("sifting", [{}, SIFTING | {"weighting": "inverse"}])
def test_a_killed_job_goes_on_to_the_result_of_an_uninterrupted_one(
    tmp_path: Path, sifting: dict[str, str]
) -> None:
    given = {"epochs": "12", "augmentation_type": "crop"} | sifting
    killed, whole = (make_pipe_root(tmp_path / name, **given) for name in ("killed", "whole"))
    for root in (killed, whole):
        (root / "checkpoints").mkdir()
    data = {"train": pack_records(IMAGES), "validation": pack_records(OTHERS)}
    for number, moment in ((signal.SIGTERM, 1), (signal.SIGKILL, 4)):
        with feeding(killed, **data):
            process = start_train(killed)
            read_until(process, f"Epoch[{moment}] Train-accuracy")
            process.send_signal(number)
            finish(process, expected=-number if number == signal.SIGKILL else 0)
        shutil.rmtree(killed / "model")
    for root in (killed, whole):
        with feeding(root, **data) as feeders:
            log = finish(start_train(root))
            assert ("Resuming from a checkpoint after" in log) == (root is killed)
            assert (len(feeders["validation"].endings) < 12) == (root is killed)
    assert read_weights(killed) == read_weights(whole)
    name = "checkpoints/checkpoint-0012.safetensors"
    assert (killed / name).read_bytes() == (whole / name).read_bytes()


@pytest.mark.parametrize("silent", ["train", "validation"])
def test_a_job_that_is_stopped_while_a_pipe_is_silent_ends_well_and_goes_on(
    tmp_path: Path, silent: str
) -> None:
    root = make_pipe_root(tmp_path)
    (root / "checkpoints").mkdir()
    fed = {"train": pack_records(IMAGES), "validation": pack_records(OTHERS)}
    del fed[silent]
    path = root / "input/data" / f"{silent}_0"
    path.parent.mkdir(parents=True)
    os.mkfifo(path)
    keeper = os.open(path, os.O_RDWR)
    try:
        with feeding(root, **fed):
            process = start_train(root)
            log = read_until(process, "Device: " if silent == "train" else "Epoch[0] Time cost")
            process.send_signal(signal.SIGTERM)
            log += finish(process)
    finally:
        os.close(keeper)
        path.unlink()
    assert "Stopped on SIGTERM" in log
    assert "Validation-accuracy" not in log
    assert not (root / "output/failure").exists()
    shutil.rmtree(root / "model")
    with feeding(root, train=pack_records(IMAGES), validation=pack_records(OTHERS)):
        log = finish(start_train(root))
    assert "Completed 2 epochs" in log
    assert log.count("Validation-accuracy") == 2


@pytest.mark.parametrize("sifting", [{}, SIFTING])
def test_two_processes_of_a_machine_share_its_pipes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sifting: dict[str, str]
) -> None:
    monkeypatch.setenv("SIFT_PROCESSES_PER_HOST", "2")
    root = make_pipe_root(tmp_path, epochs="3", mini_batch_size="7", **sifting)
    train, validation = label_images(40, seed=2), label_images(9, seed=3)
    with feeding(root, train=pack_records(train), validation=pack_records(validation)) as feeders:
        log = finish(start_train(root))
        assert len(feeders["validation"].endings) == 3
    assert "2 processes on 1 machines, batches of 7 images in all" in log
    for epoch in range(3):
        for name in ("Train-accuracy", "Validation-accuracy"):
            assert log.count(f"Epoch[{epoch}] {name}=") == 1, log
    read = [read_line(line) for line in log.splitlines()]
    accuracies = [line[2] for line in read if line and line[1] is VALIDATION_ACCURACY]
    assert max(accuracies) == pytest.approx(measure_accuracy(root, validation), abs=1e-6)
    if sifting:
        totals = json.loads((root / "output/data/sifting.json").read_text())
        assert totals["samples_seen"] == 3 * 35


def test_two_processes_that_are_stopped_go_on_to_the_result_of_uninterrupted_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIFT_PROCESSES_PER_HOST", "2")
    given = SIFTING | {"epochs": "6", "augmentation_type": "crop"}
    parts, whole = (make_pipe_root(tmp_path / name, **given) for name in ("parts", "whole"))
    data = {"train": pack_records(IMAGES), "validation": pack_records(OTHERS)}
    for root in (parts, whole):
        (root / "checkpoints").mkdir()
    with feeding(parts, **data):
        process = start_train(parts)
        read_until(process, "Epoch[1] Train-accuracy")
        process.send_signal(signal.SIGTERM)
        assert "Stopped on SIGTERM" in finish(process)
    for root in (parts, whole):
        with feeding(root, **data):
            assert "Completed 6 epochs" in finish(start_train(root))
    assert read_weights(parts) == read_weights(whole)


def test_data_of_another_kind_fail_the_job_with_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path))
    make_pipe_root(tmp_path)
    with feeding(tmp_path, train=pack_manifest(IMAGES), validation=pack_records(OTHERS)):
        assert main([]) == 1
    assert "train_0, record 0: it begins with an image" in read_failure(tmp_path)
