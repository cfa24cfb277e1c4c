import json
import os
from pathlib import Path

import pytest
import safetensors.torch
import torch

from sagemaker_sift.contract.hyperparameters import Hyperparameters
from sagemaker_sift.trainer.artifacts import ModelFolder
from sagemaker_sift.trainer.errors import TrainingError
from sagemaker_sift.trainer.model import ResNet, build_model
from tests.supports.trainer_data import TINY


def make_folder(path: Path, **hyperparameters: str) -> ModelFolder:
    folder = ModelFolder(
        path,
        classes=("cat", "dog"),
        hyperparameters=Hyperparameters.from_strings(TINY | {"epochs": "9"} | hyperparameters),
    )
    folder.prepare()
    return folder


@pytest.fixture
def model() -> ResNet:
    return build_model(20, (3, 8, 8), 2)


def keep(folder: ModelFolder, model: ResNet, curve: list[float]) -> list[str]:
    for epoch, accuracy in enumerate(curve):
        with torch.no_grad():
            model.fc1.bias.fill_(float(epoch + 1))
        folder.keep(model, epoch=epoch, metrics={"validation:accuracy": accuracy})
    return sorted(p.name for p in folder.path.glob("*.safetensors"))


def test_only_the_best_epoch_stays_and_the_earlier_one_of_two(
    tmp_path: Path, model: ResNet
) -> None:
    folder = make_folder(tmp_path)
    files = keep(folder, model, [0.2, 0.5, 0.5, 0.4])
    description = json.loads((tmp_path / "model.json").read_text())
    tensors = safetensors.torch.load_file(tmp_path / files[0])
    assert files == ["image-classification-0002.safetensors"]
    assert description["weights"] == files[0]
    assert (description["epoch"], description["metrics"]["validation:accuracy"]) == (2, 0.5)
    assert tensors["fc1.bias"].tolist() == [2.0, 2.0]


def test_a_frequency_keeps_every_kth_epoch_and_describes_the_best_of_them(
    tmp_path: Path, model: ResNet
) -> None:
    files = keep(make_folder(tmp_path, checkpoint_frequency="2"), model, [0.9, 0.5, 0.8, 0.4, 0.7])
    description = json.loads((tmp_path / "model.json").read_text())
    assert files == [
        "image-classification-0002.safetensors",
        "image-classification-0004.safetensors",
    ]
    assert description["weights"] == files[0]
    assert [saved["epoch"] for saved in description["saved"]] == [2, 4]


def test_of_epochs_alike_the_earliest_is_the_best(tmp_path: Path, model: ResNet) -> None:
    folder = make_folder(tmp_path, checkpoint_frequency="1")
    keep(folder, model, [0.4, 0.8, 0.8])
    assert folder.best is not None
    assert folder.best.epoch == 2


def test_without_validation_the_last_epoch_stays(tmp_path: Path, model: ResNet) -> None:
    folder = make_folder(tmp_path)
    for epoch in range(3):
        folder.keep(model, epoch=epoch, metrics={"train:accuracy": 1 - epoch / 10})
    assert [saved.epoch for saved in folder.saved] == [3]
    assert len(list(tmp_path.glob("*.safetensors"))) == 1


def test_a_job_that_kept_nothing_saves_what_it_has(tmp_path: Path, model: ResNet) -> None:
    folder = make_folder(tmp_path)
    folder.ensure(model, epoch=0)
    folder.ensure(model, epoch=1)
    assert [saved.file for saved in folder.saved] == ["image-classification-0001.safetensors"]


def test_what_a_model_is_can_be_read_from_its_json(tmp_path: Path, model: ResNet) -> None:
    keep(make_folder(tmp_path), model, [0.5])
    description = json.loads((tmp_path / "model.json").read_text())
    shapes = json.loads((tmp_path / "model-shapes.json").read_text())
    assert description["classes"] == ["cat", "dog"]
    assert description["hyperparameters"]["image_shape"] == "3,8,8"
    assert description["versions"]["torch"] == torch.__version__
    assert shapes == [{"name": "data", "shape": [1, 3, 8, 8]}]
    assert all(path.suffix in {".json", ".safetensors"} for path in tmp_path.iterdir())


def test_a_model_that_cannot_be_described_leaves_the_one_before(
    tmp_path: Path, model: ResNet
) -> None:
    folder = make_folder(tmp_path)
    keep(folder, model, [0.5])
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    (tmp_path / ".model.json.tmp").mkdir()
    with pytest.raises(TrainingError, match=r"cannot be written \(Is a directory\)"):
        folder.keep(model, epoch=1, metrics={"validation:accuracy": 0.9})
    (tmp_path / ".model.json.tmp").rmdir()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert [saved.epoch for saved in folder.saved] == [1]


def test_weights_of_an_earlier_run_are_cleared_away_and_other_files_are_not(
    tmp_path: Path,
) -> None:
    for name in ("image-classification-0009.safetensors", ".model.json.tmp", "notes.txt"):
        (tmp_path / name).touch()
    make_folder(tmp_path)
    assert os.listdir(tmp_path) == ["notes.txt"]
