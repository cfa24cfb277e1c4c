"""Which weights a job starts from, and every reason to refuse them."""

import json
import logging
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch

from sagemaker_sift.contract.container import ContainerPaths
from sagemaker_sift.contract.hyperparameters import Hyperparameters
from sagemaker_sift.trainer.artifacts import ModelFolder
from sagemaker_sift.trainer.config import read_config
from sagemaker_sift.trainer.errors import TrainingError
from sagemaker_sift.trainer.initial_weights import read_initial_weights
from sagemaker_sift.trainer.model import ResNet
from tests.supports.mxnet_writer import (
    make_network,
    network_arrays,
    write_mxnet_model,
    write_params,
)
from tests.supports.trainer_data import TINY, configure

CLASSES = ("class0", "class1")
NUMBERS = ("0", "1")
SHAPE = (3, 8, 8)
LARGE_SHAPE = (3, 224, 224)
PRETRAINED = {"use_pretrained_model": "1", "num_layers": "18", "image_shape": "3,224,224"}

Weights = dict[str, torch.Tensor]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "input/data/train/class0").mkdir(parents=True)
    return tmp_path


def read(root: Path, classes: tuple[str, ...] = CLASSES, **given: str) -> Weights | None:
    configure(root, **given)
    return read_initial_weights(read_config(ContainerPaths(root), {}), classes)


def channel(root: Path, name: str = "model") -> Path:
    return root / "input/data" / name


def write_own_model(
    folder: Path, network: ResNet, *, classes: tuple[str, ...] = CLASSES, **given: str
) -> Path:
    hyperparameters = Hyperparameters.from_strings(TINY | given)
    model_folder = ModelFolder(folder, classes=classes, hyperparameters=hyperparameters)
    model_folder.keep(network, epoch=2, metrics={"validation:accuracy": 0.5})
    return folder


def pack(folder: Path, name: str = "model.tar.gz") -> Path:
    files = sorted(folder.iterdir())
    with tarfile.open(folder / name, "w:gz", compresslevel=1) as tar:
        for path in files:
            tar.add(path, path.name)
    for path in files:
        path.unlink()
    return folder


def leave(folder: Path) -> Path:
    return folder


def check_weights(found: Weights | None, network: ResNet, *, without: str = "none") -> None:
    expected = {
        name: value
        for name, value in network.state_dict().items()
        if not name.startswith(without) and not name.endswith("num_batches_tracked")
    }
    assert found is not None
    assert sorted(found) == sorted(expected)
    assert all(value.equal(expected[name]) for name, value in found.items())
    assert {value.dtype for value in found.values()} == {torch.float32}


def check_refused(root: Path, message: str, **given: str) -> None:
    with pytest.raises(TrainingError, match=message) as caught:
        read(root, CLASSES, **given)
    text = str(caught.value)
    assert "\n" not in text
    assert len(text.replace(str(root), "/opt/ml")) < 700


def test_without_a_channel_all_weights_are_drawn(root: Path) -> None:
    assert read(root) is None


@pytest.mark.parametrize("finish", [leave, pack])
def test_all_weights_of_an_own_model_are_taken(
    root: Path, finish: Callable[[Path], Path], caplog: pytest.LogCaptureFixture
) -> None:
    network = make_network(20, SHAPE, 2)
    finish(write_own_model(channel(root), network))
    with caplog.at_level(logging.INFO):
        check_weights(read(root), network)
    assert "Starting from the weights of epoch 3: image-classification-0003.saf" in caplog.text


@pytest.mark.parametrize("operator", ["SoftmaxOutput", None])
@pytest.mark.parametrize("finish", [leave, pack])
def test_all_weights_of_a_built_in_model_are_taken(
    root: Path, finish: Callable[[Path], Path], operator: str | None
) -> None:
    network = make_network(20, SHAPE, 2)
    write_mxnet_model(channel(root), make_network(20, SHAPE, 2, seed=1), SHAPE, epoch=9)
    finish(write_mxnet_model(channel(root), network, SHAPE, epoch=10, operator=operator))
    check_weights(read(root, NUMBERS), network)


def test_a_channel_that_is_one_file_or_a_link_is_read(root: Path) -> None:
    network = make_network(20, SHAPE, 2)
    packed = pack(write_own_model(root / "elsewhere", network))
    channel(root).symlink_to(packed / "model.tar.gz")
    check_weights(read(root), network)
    channel(root).unlink()
    channel(root).symlink_to(packed)
    (packed / "output.tar.gz").write_bytes(b"what SageMaker lays beside the model")
    check_weights(read(root), network)


def test_the_model_channel_goes_before_use_pretrained_model(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    network = make_network(18, LARGE_SHAPE, 2)
    write_mxnet_model(channel(root), network, LARGE_SHAPE)
    with caplog.at_level(logging.INFO):
        check_weights(read(root, NUMBERS, **PRETRAINED), network)
    assert "No effect: use_pretrained_model is 1, but the job has a channel 'model'" in caplog.text


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"num_layers": "32"}, r"num_layers 20 \(.*, but this job has num_layers 32\. Use the m"),
        ({"image_shape": "3,9,8"}, r"image_shape 3,8,8 \(.*, but this job has image_shape 3,9,8"),
        ({"num_classes": "3"}, r"num_classes 2 \(.*, but this job has num_classes 3\."),
        ({"multi_label": "1"}, r"multi_label 0 \(.*, but this job has multi_label 1\."),
        (
            {"num_layers": "44", "num_classes": "3"},
            r"num_layers 20, num_classes 2 \(.*has num_layers 44, num_classes 3\.",
        ),
    ],
)
@pytest.mark.parametrize("is_own", [True, False])
def test_a_model_of_another_network_is_refused(
    root: Path, given: dict[str, str], message: str, is_own: bool
) -> None:
    network = make_network(20, SHAPE, 2)
    if is_own:
        write_own_model(channel(root), network)
    else:
        write_mxnet_model(channel(root), network, SHAPE)
    check_refused(root, "^Channel 'model' holds a model with " + message, **given)


def test_without_a_symbol_nothing_is_said_about_several_labels(root: Path) -> None:
    network = make_network(20, SHAPE, 2)
    write_mxnet_model(channel(root), network, SHAPE, operator=None)
    check_weights(read(root, NUMBERS, multi_label="1"), network)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (("cat", "dog"), ("cat", "cow")),
        (("a", "b", "c"), ("b", "c", "d")),
        (tuple(map(str, range(11))), tuple(sorted(map(str, range(11))))),
        (tuple(sorted(map(str, range(11)))), tuple(map(str, range(11)))),
    ],
)
def test_outputs_of_other_classes_are_refused(
    root: Path, theirs: tuple[str, ...], ours: tuple[str, ...]
) -> None:
    given = {"num_classes": str(len(ours))}
    network = make_network(20, SHAPE, len(ours))
    write_own_model(channel(root), network, classes=theirs, **given)
    idx = next(idx for idx, name in enumerate(ours) if theirs[idx] != name)
    with pytest.raises(
        TrainingError, match=f"output {idx} is of '{theirs[idx]}' in the .* of '{ours[idx]}' here"
    ):
        read(root, ours, **given)


@pytest.mark.parametrize(("theirs", "ours"), [(CLASSES, NUMBERS), (NUMBERS, CLASSES)])
def test_numbers_go_with_any_names_and_the_log_says_so(
    root: Path,
    theirs: tuple[str, ...],
    ours: tuple[str, ...],
    caplog: pytest.LogCaptureFixture,
) -> None:
    network = make_network(20, SHAPE, 2)
    write_own_model(channel(root), network, classes=theirs)
    check_weights(read(root, ours), network)
    assert f"classes ({', '.join(map(repr, theirs))}) are taken for the job's (" in caplog.text


def test_a_channel_without_a_model_or_with_two_is_refused(root: Path) -> None:
    folder = channel(root)
    folder.mkdir()
    (folder / ".cache").touch()
    check_refused(root, "^Channel 'model' is empty")
    (folder / "output.tar.gz").touch()
    check_refused(root, r"^Channel 'model' holds no model to go on from: .* 'output\.tar\.gz'")
    (folder / "readme.txt").touch()
    check_refused(root, r"holds no model\.json, nor .*'readme\.txt'\. Give a model folder")
    network = make_network(20, SHAPE, 2)
    write_own_model(folder, network)
    write_mxnet_model(folder, network, SHAPE)
    check_refused(root, r"both model\.json of this algorithm and image-classification-0001\.param")
    (folder / "a.tar.gz").touch()
    check_refused(root, r"^Channel 'model' holds more than one model: it has 'a\.tar\.gz', 'image")
    shutil.rmtree(folder)
    pack(write_own_model(folder, network), "a.tar.gz")
    shutil.copy(folder / "a.tar.gz", folder / "b.tar.gz")
    check_refused(root, r"more than one model: it has 'a\.tar\.gz', 'b\.tar\.gz' in .* Keep one")


def test_a_damaged_model_is_refused(root: Path) -> None:
    folder = pack(write_own_model(channel(root), make_network(20, SHAPE, 2)))
    path = folder / "model.tar.gz"
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    check_refused(
        root, r"^Channel 'model' holds no .*model\.tar\.gz cannot be read as a tar archi"
    )
    path.write_bytes(b"")
    check_refused(root, "cannot be read as a tar archive")
    with tarfile.open(path, "w:gz") as tar:
        link = tarfile.TarInfo("model.json")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    check_refused(root, r"is refused: its entry 'model\.json' is a link")


def test_pretrained_weights_need_their_channel(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    check_refused(
        root,
        r"^`use_pretrained_model` is 1, but the job has no channel 'pretrained', and a training "
        r"container cannot fetch .* from the internet\. Add .*such as MXNet's resnet-50-0000\.par",
        **PRETRAINED,
    )
    channel(root, "pretrained").mkdir()
    check_refused(root, "^Channel 'pretrained' is empty", **PRETRAINED)
    with caplog.at_level(logging.INFO):
        assert read(root) is None
    assert "channel 'pretrained', but use_pretrained_model is 0" in caplog.text


@pytest.fixture(scope="module")
def imagenet() -> ResNet:
    return make_network(18, (3, 64, 64), 50)


def as_own_model(folder: Path, network: ResNet) -> None:
    given = {"num_layers": "18", "image_shape": "3,64,64", "num_classes": "50"}
    write_own_model(folder, network, classes=tuple(map(str, range(50))), **given)


def as_own_archive(folder: Path, network: ResNet) -> None:
    as_own_model(folder, network)
    pack(folder)


def as_built_in_model(folder: Path, network: ResNet) -> None:
    write_mxnet_model(folder, make_network(18, (3, 64, 64), 2), (3, 64, 64), epoch=3)
    write_mxnet_model(folder, network, (3, 64, 64), epoch=4)


def as_params(folder: Path, network: ResNet) -> None:
    folder.mkdir()
    (folder / "resnet-18-0000.params").write_bytes(write_params(network_arrays(network), 0))
    (folder / "resnet-18-symbol.json").write_text("{}")


def as_packed_params(folder: Path, network: ResNet) -> None:
    as_params(folder, network)
    pack(folder, "resnet-18.tar.gz")


def as_tensors(folder: Path, network: ResNet) -> None:
    folder.mkdir()
    safetensors.torch.save_file(network.state_dict(), folder / "any name.safetensors")


def as_one_file(folder: Path, network: ResNet) -> None:
    as_tensors(folder.parent / "x", network)
    folder.symlink_to(folder.parent / "x/any name.safetensors")


@pytest.mark.parametrize(
    "write",
    [
        as_own_model,
        as_own_archive,
        as_built_in_model,
        as_params,
        as_packed_params,
        as_tensors,
        as_one_file,
    ],
)
def test_pretrained_weights_are_taken_without_the_classifier(
    root: Path,
    imagenet: ResNet,
    write: Callable[[Path, ResNet], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    write(channel(root, "pretrained"), imagenet)
    with caplog.at_level(logging.INFO):
        check_weights(read(root, CLASSES, **PRETRAINED), imagenet, without="fc1.")
    assert "Starting from the pretrained weights" in caplog.text
    assert "the classifier is new" in caplog.text


def test_weights_without_a_classifier_do_too(root: Path, imagenet: ResNet) -> None:
    folder = channel(root, "pretrained")
    folder.mkdir()
    arrays = network_arrays(imagenet)
    body = {name: values for name, values in arrays.items() if "fc1" not in name}
    (folder / "w.params").write_bytes(write_params(body))
    check_weights(read(root, CLASSES, **PRETRAINED), imagenet, without="fc1.")


def test_pretrained_weights_of_another_network_are_refused(root: Path, imagenet: ResNet) -> None:
    folder = channel(root, "pretrained")
    as_params(folder, imagenet)
    start = "^Channel 'pretrained' holds "
    check_refused(
        root,
        start + r"the .* num_layers 18 \('resnet-18-0000\.params'\), but this job has num_layers "
        r"50\. Set num_layers to 18, or",
        **PRETRAINED | {"num_layers": "50"},
    )
    path = folder / "resnet-18-0000.params"
    small = make_network(18, (3, 32, 32), 2)
    path.write_bytes(write_params(network_arrays(small)))
    check_refused(
        root, start + r"no .*'conv0\.weight' has the shape \(64, 3, 3, 3\)", **PRETRAINED
    )
    path.write_bytes(write_params(network_arrays(make_network(18, (1, 64, 64), 2))))
    check_refused(root, start + r"no .*'bn_data\.weight' has the shape \(1,\), but", **PRETRAINED)
    path.unlink()
    safetensors.torch.save_file({"layer1.0.weight": torch.zeros(2)}, folder / "timm.safetensors")
    check_refused(root, start + "no .*lack 'stage1_unit1_conv1_weight' and all", **PRETRAINED)
    broken = imagenet.state_dict() | {"conv0.weight": torch.full((64, 3, 7, 7), torch.nan)}
    safetensors.torch.save_file(broken, folder / "timm.safetensors")
    check_refused(
        root, start + r"no .*'conv0\.weight' holds values that are no finite", **PRETRAINED
    )


def test_unclear_pretrained_weights_are_refused(root: Path) -> None:
    folder = channel(root, "pretrained")
    folder.mkdir()
    start = "^Channel 'pretrained' holds "
    (folder / "readme.txt").touch()
    check_refused(root, start + r"no .*neither model\.json nor a \.params or \.saf", **PRETRAINED)
    (folder / "a-0001.params").write_bytes(b"nonsense")
    (folder / "a-0002.params").write_bytes(b"")
    check_refused(root, r"a-0002\.params in .*: At byte 0", **PRETRAINED)
    (folder / "b.safetensors").write_bytes(b"nonsense")
    check_refused(
        root,
        r"several files of weights: it has 'a-0001\.params', 'a-0002\.params', 'b\.saf.* Keep one",
        **PRETRAINED,
    )
    (folder / "a-0001.params").unlink()
    (folder / "a-0002.params").unlink()
    check_refused(root, r"b\.safetensors in .*: it cannot be read as safetensors", **PRETRAINED)
    (folder / "a-0001.params").touch()
    (folder / "model.json").write_text(json.dumps({}))
    check_refused(root, r"both model\.json of this algorithm and a-0001\.params", **PRETRAINED)
    (folder / "x.tar").touch()
    check_refused(root, start + r"more than one model: it has 'x\.tar', 'a-0001", **PRETRAINED)
