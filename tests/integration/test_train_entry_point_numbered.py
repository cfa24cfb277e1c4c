"""Whole jobs on images with numbered classes, in File mode: RecordIO, and a list of files."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import safetensors.torch
import torch

from sagemaker_sift.trainer import load_model
from sagemaker_sift.trainer.main import main
from tests.supports.pipes import Labelled, describe_channels, label_images
from tests.supports.recordio import write_image_records
from tests.supports.trainer_data import SIFTING, configure

pytestmark = pytest.mark.usefixtures("one_thread")

IMAGES = sorted(label_images(36), key=lambda pair: str(pair[0]))
OTHERS = sorted(label_images(11, seed=1), key=lambda pair: str(pair[0]))


def write_folders(root: Path, name: str, images: Sequence[Labelled]) -> None:
    for idx, (label, image) in enumerate(images):
        path = root / f"input/data/{name}/class{label}/{idx:04d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image)


def write_recordio(root: Path, name: str, images: Sequence[Labelled]) -> None:
    write_image_records(root / f"input/data/{name}/images.rec", images)


def write_list(root: Path, name: str, images: Sequence[Labelled]) -> None:
    folder, list_folder = (root / f"input/data/{suffix}" for suffix in (name, f"{name}_lst"))
    for path in (folder / "pictures", list_folder):
        path.mkdir(parents=True)
    lines = []
    for idx, (labels, image) in enumerate(images):
        (folder / f"pictures/{idx}.jpg").write_bytes(image)
        columns = labels if isinstance(labels, Sequence) else [labels]
        lines.append("\t".join([str(idx), *map(str, columns), f"pictures/{idx}.jpg"]) + "\n")
    (list_folder / "images.lst").write_text("".join(lines))


FORMS = {"folders": write_folders, "recordio": write_recordio, "list": write_list}


def train(
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    form: str,
    images: Sequence[Labelled] = IMAGES,
    others: Sequence[Labelled] = OTHERS,
    **hyperparameters: str,
) -> dict[str, torch.Tensor]:
    """Run a job and return its weights."""
    configure(root, **({"num_training_samples": "36"} | hyperparameters))
    FORMS[form](root, "train", images)
    FORMS[form](root, "validation", others)
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(root))
    assert main([]) == 0
    [path] = (root / "model").glob("*.safetensors")
    return safetensors.torch.load_file(path)


@pytest.mark.parametrize("sifting", [{}, SIFTING | {"scoring": "last_visit"}])
def test_folders_recordio_and_a_list_of_the_same_images_train_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sifting: dict[str, str]
) -> None:
    given = {"augmentation_type": "crop_color_transform"} | sifting
    models = [train(tmp_path / form, monkeypatch, form, **given) for form in FORMS]
    for model in models[1:]:
        assert model.keys() == models[0].keys()
        assert all(torch.equal(model[name], value) for name, value in models[0].items())
    assert load_model(tmp_path / "folders/model").classes == ("class0", "class1")
    assert load_model(tmp_path / "recordio/model").classes == ("0", "1")


@pytest.mark.parametrize("weighted", ["0", "1"])
def test_several_labels_of_an_image_train_the_same_from_recordio_and_a_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weighted: str
) -> None:
    rows = [[1, 0, 1], [0, 1, 0], [0, 0, 0], [1, 1, 1]] * 9
    images = [(row, image) for row, (_, image) in zip(rows, IMAGES, strict=True)]
    given = {"multi_label": "1", "num_classes": "3", "use_weighted_loss": weighted}
    given |= SIFTING | {"scoring": "last_visit", "weighting": "inverse"}
    first, second = (
        train(tmp_path / form, monkeypatch, form, images, images[:10], **given)
        for form in ("recordio", "list")
    )
    assert all(torch.equal(first[name], value) for name, value in second.items())
    assert load_model(tmp_path / "list/model").classes == ("0", "1", "2")


def test_weighting_the_loss_changes_what_is_learned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [[1, 0, 1], [0, 0, 0], [0, 0, 0], [0, 1, 0]] * 9
    images = [(row, image) for row, (_, image) in zip(rows, IMAGES, strict=True)]
    plain, weighted = (
        train(
            tmp_path / value, monkeypatch, "recordio", images, images[:10],
            multi_label="1", num_classes="3", use_weighted_loss=value,
        )
        for value in ("0", "1")
    )  # fmt: skip
    assert any(not torch.equal(plain[name], value) for name, value in weighted.items())


def test_a_named_mode_and_content_type_are_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"TrainingInputMode": "FastFile", "ContentType": "application/x-recordio"}
    describe_channels(tmp_path, {"train": settings, "validation": settings})
    assert train(tmp_path, monkeypatch, "recordio", epochs="1")
