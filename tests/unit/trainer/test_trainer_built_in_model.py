"""Models of the built-in algorithm, opened as our own."""

import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch

from sagemaker_sift.trainer import load_model
from sagemaker_sift.trainer.loop import to_input
from tests.supports.mxnet_writer import make_network, write_mxnet_model
from tests.supports.trainer_data import REPOSITORY

DATA = Path(os.environ.get("SIFT_DATA") or REPOSITORY.parent / "shared/data")
SHAPE = (3, 8, 8)


def pack(folder: Path, target: Path) -> Path:
    with tarfile.open(target, "w:gz", compresslevel=1) as tar:
        for path in sorted(folder.iterdir()):
            tar.add(path, path.name)
    return target


def make_images(number: int, shape: tuple[int, int, int]) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (number, *shape), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("is_packed", [False, True])
@pytest.mark.parametrize(
    ("num_layers", "shape"),
    [
        (20, (3, 28, 28)),
        (44, (1, 12, 20)),
        (18, (3, 64, 48)),
        (34, (3, 32, 32)),
        (50, (3, 40, 40)),
    ],
)
def test_our_network_in_the_files_of_mxnet_is_the_same_function(
    tmp_path: Path, num_layers: int, shape: tuple[int, int, int], is_packed: bool
) -> None:
    network = make_network(num_layers, shape, 3)
    folder = write_mxnet_model(tmp_path / "model", network, shape, epoch=7)
    model = load_model(pack(folder, tmp_path / "model.tar.gz") if is_packed else folder)
    images = make_images(2, shape)
    with torch.inference_mode():
        expected = network(to_input(images)).softmax(1)
    torch.testing.assert_close(model.probabilities(images), expected)
    assert (model.num_layers, tuple(model.image_shape), model.epoch) == (num_layers, shape, 7)
    assert model.classes == ("0", "1", "2")
    assert (model.hyperparameters, model.metrics) == (None, {})


def test_the_symbol_says_how_probabilities_are_made(tmp_path: Path) -> None:
    network = make_network(20, SHAPE, 3)
    images = make_images(4, SHAPE)
    with torch.inference_mode():
        logits = network(to_input(images))
    for operator, expected in [
        ("LogisticRegressionOutput", logits.sigmoid()),
        ("SoftmaxOutput", logits.softmax(1)),
        (None, logits.softmax(1)),
    ]:
        folder = write_mxnet_model(tmp_path / str(operator), network, SHAPE, operator=operator)
        model = load_model(folder)
        assert model.is_multi_label == (operator == "LogisticRegressionOutput")
        torch.testing.assert_close(model.probabilities(images), expected)


def test_a_symbol_of_neither_kind_is_refused(tmp_path: Path) -> None:
    network = make_network(20, SHAPE, 3)
    folder = write_mxnet_model(tmp_path, network, SHAPE, operator="MakeLoss")
    with pytest.raises(
        ValueError, match=r"symbol\.json in .* ends neither in softmax nor in sigmoid"
    ):
        load_model(folder)


def test_of_several_epochs_the_newest_or_the_one_asked_for_is_loaded(tmp_path: Path) -> None:
    for epoch in (2, 10000, 4):
        write_mxnet_model(tmp_path, make_network(20, SHAPE, 2, seed=epoch), SHAPE, epoch=epoch)
    images = make_images(1, SHAPE)
    for epoch, model in [(10000, load_model(tmp_path)), (4, load_model(tmp_path, epoch=4))]:
        with torch.inference_mode():
            expected = make_network(20, SHAPE, 2, seed=epoch)(to_input(images)).softmax(1)
        torch.testing.assert_close(model.probabilities(images), expected)
        assert model.epoch == epoch
    with pytest.raises(ValueError, match=r"`epoch` is 3, but .* has weights of 2, 4, 10000 only"):
        load_model(tmp_path, epoch=3)


def test_a_built_in_model_that_is_not_whole_is_refused(tmp_path: Path) -> None:
    folder = write_mxnet_model(tmp_path, make_network(20, SHAPE, 2), SHAPE)
    params = folder / "image-classification-0001.params"
    content = params.read_bytes()
    params.write_bytes(content[:-1])
    with pytest.raises(
        ValueError, match=r"0001\.params in .* does not hold the weights of a network .*: At byte"
    ):
        load_model(folder)
    params.write_bytes(content)
    (folder / "model-shapes.json").write_text('[{"name": "data", "shape": [1, 3, 64, 64]}]')
    with pytest.raises(ValueError, match=r"'conv0\.weight' has the shape .* \(3, 64, 64\)"):
        load_model(folder)
    (folder / "model-shapes.json").unlink()
    with pytest.raises(ValueError, match=r"holds no model-shapes\.json"):
        load_model(folder)
    with pytest.raises(ValueError, match=r"holds no model-shapes\.json"):
        load_model(params)
    params.rename(folder / "resnet-20-0001.params")
    with pytest.raises(ValueError, match=r"holds no model\.json, nor .*it has 'image-cl.*'resnet"):
        load_model(folder)


def test_a_folder_of_both_kinds_is_refused(tmp_path: Path) -> None:
    folder = write_mxnet_model(tmp_path, make_network(20, SHAPE, 2), SHAPE)
    (folder / "model.json").write_text("{}")
    with pytest.raises(ValueError, match=r"both model\.json .* and image-classification-0001\.p"):
        load_model(folder)


@pytest.mark.skipif(
    not (DATA / "mxnet").is_dir(),
    reason="the folder with parameters written by MXNet is absent (SIFT_DATA names it)",
)
@pytest.mark.parametrize("is_packed", [False, True])
@pytest.mark.parametrize("name", ["resnet20_3x28x28_10classes", "resnet18_3x64x64_7classes"])
def test_a_model_that_mxnet_wrote_gives_the_probabilities_of_mxnet(
    tmp_path: Path, name: str, is_packed: bool
) -> None:
    folder = DATA / "mxnet" / name
    expected = np.load(folder / "expected.npz")
    model = load_model(pack(folder, tmp_path / "model.tar.gz") if is_packed else folder)
    probabilities = model.probabilities(torch.from_numpy(expected["images"]))
    np.testing.assert_allclose(probabilities.numpy(), expected["probabilities"], atol=1e-4)
    assert not model.is_multi_label
