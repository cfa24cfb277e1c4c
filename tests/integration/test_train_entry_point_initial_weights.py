"""Jobs that start from the weights of another: the real program, from channel to artifact."""

import json
import logging
import re
import shutil
import tarfile
from pathlib import Path

import pytest
import torch

from sagemaker_sift.trainer.main import main
from sagemaker_sift.trainer.model_files import StoredModel, read_stored_model
from tests.supports.mxnet_writer import (
    make_network,
    network_arrays,
    write_mxnet_model,
    write_params,
)
from tests.supports.trainer_data import (
    configure,
    fill_channel,
    make_root,
    read_failure,
    start_train,
)

pytestmark = pytest.mark.usefixtures("one_thread")

STILL = {"epochs": "1", "learning_rate": "0", "momentum": "0"}
SHAPE = (3, 8, 8)
STATISTICS = ("running_mean", "running_var")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = make_root(tmp_path / "second", hyperparameters=STILL, validation=False)
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(root))
    return root


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model folder of a job that has trained."""
    root = make_root(tmp_path_factory.mktemp("first"), hyperparameters={"epochs": "1"})
    train(root)
    return root / "model"


def train(root: Path, *, expected: int = 0) -> str:
    process = start_train(root)
    log, _ = process.communicate(timeout=200)
    assert process.returncode == expected, log
    return log


def pack(folder: Path, target: Path) -> Path:
    target.parent.mkdir(parents=True)
    with tarfile.open(target, "w:gz") as tar:
        for path in sorted(folder.iterdir()):
            tar.add(path, path.name)
    return target


def read_model(root: Path) -> StoredModel:
    return read_stored_model(root / "model")


def check_equal(found: StoredModel, expected: dict[str, torch.Tensor], *, but: str) -> None:
    """Check that all weights are the same but those of a name, which all differ."""
    assert set(found.weights) == set(expected)
    for name, value in found.weights.items():
        is_same = value.equal(expected[name])
        assert is_same != bool(re.search(but, name)), name


@pytest.mark.parametrize("is_packed", [True, False])
def test_a_second_job_goes_on_from_the_artifact_of_the_first(
    root: Path, first: Path, is_packed: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    channel = root / "input/data/model"
    if is_packed:
        pack(first, channel / "model.tar.gz")
    else:
        shutil.copytree(first, channel)
    assert main([]) == 0
    assert "Starting from the weights of epoch 1: image-classif" in capsys.readouterr().out
    start = read_stored_model(first)
    check_equal(read_model(root), start.weights, but="running_mean|running_var")
    assert read_model(root).classes == start.classes


def test_two_processes_start_from_the_same_weights_or_fail_together(
    root: Path, first: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIFT_PROCESSES_PER_HOST", "2")
    pack(first, root / "input/data/model/model.tar.gz")
    log = train(root)
    assert log.count("Starting from the weights of epoch 1") == 1
    check_equal(read_model(root), read_stored_model(first).weights, but="running_mean|running_var")
    configure(root, **STILL | {"num_layers": "32"})
    train(root, expected=1)
    assert read_failure(root).startswith("Channel 'model' holds a model with num_layers 20 (")


def test_a_second_job_goes_on_from_a_model_of_the_built_in_algorithm(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = make_network(20, SHAPE, 2)
    folder = write_mxnet_model(root / "built-in", network, SHAPE, epoch=9)
    pack(folder, root / "input/data/model/model.tar.gz")
    (root / "input/config/inputdataconfig.json").write_text(
        json.dumps(
            {
                "train": {"TrainingInputMode": "File"},
                "model": {
                    "TrainingInputMode": "File",
                    "ContentType": "application/x-sagemaker-model",
                },
            }
        )
    )
    assert main([]) == 0
    log = capsys.readouterr().out
    assert "Starting from the weights of epoch 9: image-classification-0009.params in" in log
    assert "classes ('0', '1') are taken for the job's ('class0', 'class1')" in log
    start = read_stored_model(folder)
    check_equal(read_model(root), start.weights, but="running_mean|running_var")


def test_a_checkpoint_goes_before_the_model_channel(root: Path, first: Path) -> None:
    (root / "checkpoints").mkdir()
    configure(root, **STILL | {"learning_rate": "0.05"})
    assert main([]) == 0
    trained = read_model(root).weights
    shutil.copytree(first, root / "input/data/model")
    configure(root, **STILL | {"epochs": "2"})
    assert main([]) == 0
    check_equal(read_model(root), trained, but="running_mean|running_var")


def test_only_the_classifier_is_new_with_pretrained_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "job"
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(root))
    given = {
        "num_layers": "18",
        "image_shape": "3,224,224",
        "num_training_samples": "4",
        "mini_batch_size": "4",
        "use_pretrained_model": "1",
    }
    configure(root, **STILL | given)
    fill_channel(root / "input/data/train", num_images=2, size=224)
    assert main([]) == 1
    assert re.match(r"`use_pretrained_model` is 1, but the job has no ch", read_failure(root))
    network = make_network(18, (3, 64, 64), 1000)
    channel = root / "input/data/pretrained"
    channel.mkdir()
    (channel / "resnet-18-0000.params").write_bytes(write_params(network_arrays(network)))
    assert main([]) == 0
    log = capsys.readouterr().out
    assert "Starting from the pretrained weights resnet-18-0000.params in" in log
    found = read_model(root)
    expected = network.state_dict()
    assert found.weights["fc1.weight"].shape == (2, 512)
    assert not found.weights["fc1.weight"].equal(expected["fc1.weight"][:2])
    assert found.weights["fc1.bias"].tolist() == [0, 0]
    body = {name: value for name, value in found.weights.items() if name[:3] != "fc1"}
    assert len(body) == 97
    for name, value in body.items():
        assert value.equal(expected[name]) != name.endswith(STATISTICS), name


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"num_layers": "32"}, "with num_layers 20 .* this job has num_layers 32"),
        ({"image_shape": "3,10,8"}, "with image_shape 3,8,8 .* this job has image_shape 3,10,8"),
    ],
)
def test_a_job_that_differs_from_its_model_ends_with_one_sentence(
    root: Path, first: Path, given: dict[str, str], message: str
) -> None:
    shutil.copytree(first, root / "input/data/model")
    configure(root, **STILL | given)
    assert main([]) == 1
    failure = read_failure(root)
    assert re.match(rf"Channel 'model' holds a model {message}", failure), failure
    assert len(failure) < 1024


def test_other_numbers_and_names_of_classes_end_with_one_sentence(root: Path, first: Path) -> None:
    shutil.copytree(first, root / "input/data/model")
    train = root / "input/data/train"
    (train / "class1").rename(train / "horse")
    assert main([]) == 1
    assert "output 1 is of 'class1' in the model, but of 'horse' here" in read_failure(root)
    fill_channel(train, num_classes=2, num_images=4)
    configure(root, **STILL | {"num_classes": "3"})
    assert main([]) == 1
    assert "a model with num_classes 2" in read_failure(root)


def test_a_harmful_archive_ends_with_one_sentence(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    channel = root / "input/data/model"
    channel.mkdir()
    with tarfile.open(channel / "model.tar.gz", "w:gz") as tar:
        member = tarfile.TarInfo("../../../../etc/cron.d/x")
        tar.addfile(member)
    with caplog.at_level(logging.INFO):
        assert main([]) == 1
    failure = read_failure(root)
    assert re.match(r"Channel 'model' holds no model .* is refused: its entry '\.\./", failure)
    (channel / "model.tar.gz").write_bytes(b"\x1f\x8b\x08" + bytes(100))
    assert main([]) == 1
    assert "cannot be read as a tar archive" in read_failure(root)
