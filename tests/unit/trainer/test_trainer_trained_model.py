import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import safetensors.torch
import torch

from sagemaker_sift.contract.hyperparameters import Hyperparameters
from sagemaker_sift.trainer import load_model
from sagemaker_sift.trainer.artifacts import ModelFolder
from sagemaker_sift.trainer.loop import to_input
from sagemaker_sift.trainer.model import ResNet
from tests.supports.mxnet_writer import make_network
from tests.supports.trainer_data import TINY


@pytest.fixture
def network() -> ResNet:
    return make_network(20, (3, 8, 8), 2)


@pytest.fixture
def folder(tmp_path: Path, network: ResNet) -> Path:
    model_folder = ModelFolder(
        tmp_path / "model",
        classes=("cat", "dog"),
        hyperparameters=Hyperparameters.from_strings(TINY),
    )
    model_folder.prepare()
    model_folder.keep(network, epoch=0, metrics={"validation:accuracy": 0.75})
    return model_folder.path


def pack(folder: Path, *, prefix: str = "") -> Path:
    archive = folder.parent / "model.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        for path in sorted(folder.iterdir()):
            tar.add(path, prefix + path.name)
    return archive


def make_images(number: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (number, 3, 8, 8), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize(
    "locate",
    [
        lambda folder: folder,
        lambda folder: str(folder),
        lambda folder: folder.as_uri(),
        pack,
        lambda folder: pack(folder, prefix="./"),
        lambda folder: pack(folder).as_uri(),
    ],
)
def test_a_folder_an_archive_and_a_uri_give_the_same_model(
    folder: Path, network: ResNet, locate: Callable[[Path], Path | str]
) -> None:
    model = load_model(locate(folder))
    images = make_images(5)
    with torch.inference_mode():
        expected = network(to_input(images)).softmax(1)
    probabilities = model.probabilities(images)
    torch.testing.assert_close(probabilities, expected)
    assert (probabilities.dtype, probabilities.shape) == (torch.float32, (5, 2))
    assert model.classes == ("cat", "dog")
    assert tuple(model.image_shape) == (3, 8, 8)
    assert (model.num_layers, model.epoch, model.is_multi_label) == (20, 1, False)
    assert model.hyperparameters == Hyperparameters.from_strings(TINY)
    assert model.metrics == {"validation:accuracy": 0.75}


def test_probabilities_sum_to_one_for_any_number_of_images(folder: Path) -> None:
    model = load_model(folder)
    images = make_images(300)
    probabilities = model.probabilities(images)
    torch.testing.assert_close(probabilities.sum(1), torch.ones(300))
    torch.testing.assert_close(probabilities[290:], model.probabilities(images[290:]))
    assert model.probabilities(images[:0]).shape == (0, 2)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(1, 3, 8, 8), r"`images` are torch\.float32, but must be torch\.uint8"),
        (
            torch.zeros(3, 8, 8, dtype=torch.uint8),
            r"shape \(3, 8, 8\), but must have \(N, 3, 8, 8",
        ),
        (torch.zeros(1, 8, 8, 3, dtype=torch.uint8), r"put the channels first"),
    ],
)
def test_images_of_another_kind_are_refused(
    folder: Path, images: torch.Tensor, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        load_model(folder).probabilities(images)


def test_a_path_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nothing does not exist\. Give a model folder"):
        load_model(tmp_path / "nothing")
    with pytest.raises(ValueError, match=r"holds no model\.json"):
        load_model(tmp_path)
    (tmp_path / "model.tar.gz").write_bytes(b"no archive")
    with pytest.raises(ValueError, match="cannot be read as a tar archive"):
        load_model(tmp_path / "model.tar.gz")
    with pytest.raises(ValueError, match="is not on this machine"):
        load_model("s3://bucket/model.tar.gz")


def test_a_cut_off_archive_is_refused(folder: Path) -> None:
    archive = pack(folder)
    archive.write_bytes(archive.read_bytes()[:20_000])
    with pytest.raises(ValueError, match="cannot be read as a tar archive"):
        load_model(archive)


def add(tar: tarfile.TarFile, name: str, *, kind: bytes = tarfile.REGTYPE, link: str = "") -> None:
    member = tarfile.TarInfo(name)
    member.type = kind
    member.linkname = link
    content = b"{}" if kind == tarfile.REGTYPE else b""
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


@pytest.mark.parametrize(
    ("name", "kind", "link"),
    [
        ("../model.json", tarfile.REGTYPE, ""),
        ("a/../../x", tarfile.REGTYPE, ""),
        ("/etc/x", tarfile.REGTYPE, ""),
        ("model.json", tarfile.SYMTYPE, "/etc/passwd"),
        ("x", tarfile.LNKTYPE, "model.json"),
        ("pipe", tarfile.FIFOTYPE, ""),
        ("device", tarfile.CHRTYPE, ""),
    ],
)
def test_an_archive_with_an_unsafe_entry_is_refused(
    folder: Path, name: str, kind: bytes, link: str
) -> None:
    archive = folder.parent / "evil.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        for path in sorted(folder.iterdir()):
            tar.add(path, path.name)
        add(tar, name, kind=kind, link=link)
    with pytest.raises(ValueError, match=r"is refused: its entry .* a source you trust"):
        load_model(archive)


@pytest.mark.parametrize(
    ("name", "size"), [("model.json", 17 << 20), ("weights", 1 << 40), ("padding", 5 << 30)]
)
def test_an_archive_with_an_oversized_entry_is_refused_unread(
    folder: Path, name: str, size: int
) -> None:
    archive = folder.parent / "large.tar"
    weights = "image-classification-0001.safetensors"
    with tarfile.open(archive, "w", format=tarfile.GNU_FORMAT) as tar:
        for path in sorted(folder.iterdir()):
            if path.name not in {name, weights if name == "weights" else name}:
                tar.add(path, path.name)
        member = tarfile.TarInfo(weights if name == "weights" else name)
        member.size = size
        header = member.tobuf(tarfile.GNU_FORMAT)
        assert tar.fileobj is not None
        tar.fileobj.write(header)
        end = tar.fileobj.tell() + size
    with open(archive, "r+b") as file:
        file.truncate(-(-end // 512) * 512 + 1024)
    with pytest.raises(ValueError, match=rf"its entry '.*' has {size} bytes, but can have"):
        load_model(archive)


def test_reading_an_archive_writes_nothing(folder: Path) -> None:
    archive = pack(folder)
    before = sorted(folder.parent.rglob("*"))
    load_model(archive)
    assert sorted(folder.parent.rglob("*")) == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format_version": 2}, "format_version is 2"),
        ({"weights": "../secret.safetensors"}, "weights is"),
        ({"classes": ["cat"]}, "num_classes and classes differ"),
        ({"hyperparameters": {"num_layers": "19"}}, "num_layers"),
        ({"classes": ["cat", 3]}, "classes are not all strings"),
        ({"metrics": 3}, "is not one of this algorithm"),
        ({"metrics": {"a": 10**400}}, "is not one of this algorithm"),
        ({"saved": []}, "weights is 'image-classification-0001.safetensors', which is not in"),
        ({"epoch": 0}, "epoch is 0"),
    ],
)
def test_a_description_that_does_not_fit_is_refused(
    folder: Path, change: dict[str, object], message: str
) -> None:
    path = folder / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ValueError, match=message):
        load_model(folder)


def test_a_description_that_is_no_object_is_refused(folder: Path) -> None:
    for text in ("[" * 99_999, "3", "{}", "", '{"format_version": 1, "hyperparameters": {}}'):
        (folder / "model.json").write_text(text)
        with pytest.raises(ValueError, match=r"model\.json in .* is not one of this algorithm \("):
            load_model(folder)


def test_weights_of_another_network_or_damaged_ones_are_refused(folder: Path) -> None:
    weights = folder / "image-classification-0001.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-100])
    with pytest.raises(ValueError, match="The model is damaged"):
        load_model(folder)
    weights.write_bytes(content)
    path = folder / "model.json"
    text = path.read_text().replace('"num_layers": "20"', '"num_layers": "32"')
    path.write_text(text)
    with pytest.raises(ValueError, match="does not hold the weights"):
        load_model(folder)


def test_weights_that_are_no_finite_numbers_are_refused(folder: Path, network: ResNet) -> None:
    with torch.no_grad():
        network.fc1.bias[1] = torch.inf
    path = folder / "image-classification-0001.safetensors"
    safetensors.torch.save_file(network.state_dict(), path)
    with pytest.raises(ValueError, match=r"'fc1\.bias' holds values that are no finite numbers"):
        load_model(folder)


def test_a_description_of_a_huge_network_takes_no_memory(folder: Path) -> None:
    path = folder / "model.json"
    description = json.loads(path.read_text())
    description["hyperparameters"] |= {"num_classes": "900000", "num_layers": "200"}
    description["classes"] = ["c"] * 900_000
    path.write_text(json.dumps(description))
    with pytest.raises(ValueError, match="does not hold the weights"):
        load_model(folder)


def test_weights_of_each_kept_epoch_can_be_loaded(tmp_path: Path, network: ResNet) -> None:
    given = TINY | {"checkpoint_frequency": "2", "epochs": "6"}
    model_folder = ModelFolder(
        tmp_path, classes=("a", "b"), hyperparameters=Hyperparameters.from_strings(given)
    )
    for epoch, accuracy in enumerate([0.1, 0.9, 0.2, 0.3]):
        with torch.no_grad():
            network.fc1.bias.copy_(torch.tensor([float(epoch), 0.0]))
        model_folder.keep(network, epoch=epoch, metrics={"validation:accuracy": accuracy})
    images = make_images(1)
    assert load_model(tmp_path).epoch == 2
    assert load_model(tmp_path, epoch=4).metrics == {"validation:accuracy": 0.3}
    expected = load_model(tmp_path).probabilities(images)
    assert load_model(tmp_path, epoch=2).probabilities(images).equal(expected)
    assert not load_model(tmp_path, epoch=4).probabilities(images).equal(expected)
    with pytest.raises(ValueError, match=r"`epoch` is 3, but .* has weights of 2, 4 only"):
        load_model(tmp_path, epoch=3)


@pytest.mark.parametrize("num_classes", [1, 2])
def test_several_classes_an_image_have_probabilities_of_their_own(
    tmp_path: Path, num_classes: int
) -> None:
    network = make_network(20, (3, 8, 8), num_classes)
    given = TINY | {"multi_label": "1", "num_classes": str(num_classes), "use_weighted_loss": "1"}
    hyperparameters = Hyperparameters.from_strings(given)
    classes = ("red", "blue")[:num_classes]
    model_folder = ModelFolder(tmp_path, classes=classes, hyperparameters=hyperparameters)
    model_folder.keep(network, epoch=0, metrics={})
    model = load_model(tmp_path)
    assert model.is_multi_label
    assert (model.classes, model.hyperparameters) == (classes, hyperparameters)
    images = make_images(3)
    with torch.inference_mode():
        expected = network(to_input(images)).sigmoid()
    torch.testing.assert_close(model.probabilities(images), expected)


def test_image_files_are_stretched_to_the_input_or_cropped_as_in_validation(
    folder: Path, tmp_path: Path
) -> None:
    model = load_model(folder)
    column = np.arange(16, dtype=np.uint8) * 16
    image_HWC = np.repeat(np.repeat(column[None, :, None], 12, axis=0), 3, axis=2)
    path = tmp_path / "ramp.png"
    cv2.imwrite(str(path), image_HWC)
    stretched_NCHW = model.read_images([path, str(path)])
    assert stretched_NCHW.shape == (2, 3, 8, 8)
    assert stretched_NCHW.dtype == torch.uint8
    assert stretched_NCHW[0, 0, 0].tolist() == [8, 40, 72, 104, 136, 168, 200, 232]
    cropped_NCHW = model.read_images([path], fit="crop")
    assert cropped_NCHW[0, 0, 0].tolist() == [64, 80, 96, 112, 128, 144, 160, 176]
    assert model.read_images([]).shape == (0, 3, 8, 8)


def test_a_file_that_is_no_image_or_too_small_is_named(folder: Path, tmp_path: Path) -> None:
    model = load_model(folder)
    (tmp_path / "text.jpg").write_text("no image")
    cv2.imwrite(str(tmp_path / "small.png"), np.zeros((8, 4, 3), np.uint8))
    with pytest.raises(ValueError, match=r"text\.jpg cannot be read"):
        model.read_images([tmp_path / "text.jpg"])
    with pytest.raises(ValueError, match=r"small\.png has 4 x 8 pixels"):
        model.read_images([tmp_path / "small.png"], fit="crop")
    assert model.read_images([tmp_path / "small.png"]).shape == (1, 3, 8, 8)
