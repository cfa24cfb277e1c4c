"""Whatever bytes pass for a model, they are one of its weights or one documented error."""

import gzip
import io
import json
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sagemaker_sift.contract.container import ContainerPaths
from sagemaker_sift.contract.hyperparameters import Hyperparameters
from sagemaker_sift.trainer import TrainedModel, TrainingError, load_model
from sagemaker_sift.trainer.artifacts import ModelFolder
from sagemaker_sift.trainer.config import read_config
from sagemaker_sift.trainer.initial_weights import read_initial_weights
from sagemaker_sift.trainer.model_description import parse_description
from sagemaker_sift.trainer.tar import list_tar_files
from tests.supports.mxnet_writer import make_network, write_mxnet_model
from tests.supports.trainer_data import TINY, configure

SHAPE = (3, 8, 8)
CLASSES = ("a", "b")
WEIGHTS = "image-classification-0001.safetensors"
PARAMS = "image-classification-0001.params"
HEAD_BYTES = 6000  # so far reach the headers, where damage has many forms

Edit = tuple[int, int, bytes]
EDITS = st.lists(
    st.tuples(
        st.integers(0, HEAD_BYTES),
        st.integers(0, 9),
        st.binary(max_size=9) | st.sampled_from([b"9", b"-1", b"null", b"[", b'"', b"\xff" * 8]),
    ),
    min_size=1,
    max_size=3,
)


@pytest.fixture(scope="module")
def own() -> dict[str, bytes]:
    """The files of a model of this algorithm."""
    with tempfile.TemporaryDirectory() as folder:
        model = ModelFolder(
            Path(folder), classes=CLASSES, hyperparameters=Hyperparameters.from_strings(TINY)
        )
        model.keep(make_network(20, SHAPE, 2), epoch=0, metrics={"validation:accuracy": 0.5})
        return {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}


@pytest.fixture(scope="module")
def built_in() -> dict[str, bytes]:
    """The files of a model of the built-in algorithm."""
    with tempfile.TemporaryDirectory() as folder:
        write_mxnet_model(Path(folder), make_network(20, SHAPE, 2), SHAPE)
        return {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}


def damage(data: bytes, edits: list[Edit]) -> bytes:
    changed = bytearray(data)
    for position, length, replacement in edits:
        start = position % (min(len(changed), HEAD_BYTES) + 1)
        changed[start : start + length] = replacement
    return bytes(changed)


def pack(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mtime = len(content), 1.5
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def attempt(call: Callable[[], Any], kinds: Any, limit: int = 1024) -> tuple[Any, str]:
    """Return what ``call`` returns, or ``None`` and the text of its error of these kinds."""
    try:
        return call(), ""
    except kinds as error:
        text = str(error)
    assert 0 < len(text) < limit
    return None, text


def check_load(files: dict[str, bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            (Path(folder) / name).write_bytes(content)
        check_model(attempt(lambda: load_model(folder), ValueError)[0])


def check_model(model: TrainedModel | None) -> None:
    if model is not None:
        images = torch.zeros(1, *model.image_shape, dtype=torch.uint8)
        assert model.probabilities(images).shape == (1, len(model.classes))


@settings(max_examples=60)
@given(edits=EDITS, is_gzip=st.booleans(), damages_gzip=st.booleans())
def test_any_archive_is_a_model_or_a_value_error(
    own: dict[str, bytes], edits: list[Edit], is_gzip: bool, damages_gzip: bool
) -> None:
    files = {name: own[name] for name in ("model.json", "model-shapes.json", WEIGHTS)}
    data = pack(files)
    data = data if damages_gzip else damage(data, edits)
    data = gzip.compress(data, 1) if is_gzip else data
    data = damage(data, edits) if damages_gzip else data
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tar.gz"
        path.write_bytes(data)
        check_model(attempt(lambda: load_model(path), ValueError)[0])


@settings(max_examples=300)
@given(edits=EDITS)
def test_any_tar_is_files_within_it_or_an_error(edits: list[Edit]) -> None:
    data = damage(pack({"a": b"x" * 700, "b" * 120: b"y", "c/d": b""}), edits)
    kinds = (ValueError, tarfile.TarError)
    files, _ = attempt(lambda: list(list_tar_files(io.BytesIO(data))), kinds)
    for file in files or []:
        assert 0 <= file.size_bytes <= len(data)
        assert not file.path.startswith("/")
        assert ".." not in file.path.split("/")


@given(data=st.binary(max_size=2000))
@example(data=b"\x1f\x8b\x08\x00")
@example(data=bytes(1024))
def test_random_bytes_are_no_archive(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tar.gz"
        path.write_bytes(data)
        assert attempt(lambda: load_model(path), ValueError)[1]


@settings(max_examples=60)
@given(edits=EDITS)
def test_any_weights_are_a_model_or_a_value_error(
    own: dict[str, bytes], built_in: dict[str, bytes], edits: list[Edit]
) -> None:
    check_load(own | {WEIGHTS: damage(own[WEIGHTS], edits)})
    check_load(built_in | {PARAMS: damage(built_in[PARAMS], edits)})


@settings(max_examples=40)
@given(
    edits=EDITS, name=st.sampled_from(["model-shapes.json", "image-classification-symbol.json"])
)
def test_any_json_of_the_built_in_is_a_model_or_a_value_error(
    built_in: dict[str, bytes], edits: list[Edit], name: str
) -> None:
    check_load(built_in | {name: damage(built_in[name], edits)})


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)


@settings(max_examples=300)
@given(edits=EDITS)
def test_any_text_is_a_description_or_a_value_error(
    own: dict[str, bytes], edits: list[Edit]
) -> None:
    attempt(lambda: parse_description(damage(own["model.json"], edits)), ValueError, 3000)


@settings(max_examples=300)
@given(
    key=st.sampled_from(["format_version", "weights", "epoch", "metrics", "classes", "saved"])
    | st.sampled_from(["hyperparameters"]),
    inner=st.sampled_from(["", "num_layers", "num_classes", "image_shape", "epoch", "file"]),
    value=JSON,
)
def test_any_value_is_a_description_or_a_value_error(
    own: dict[str, bytes], key: str, inner: str, value: Any
) -> None:
    raw = json.loads(own["model.json"])
    if inner and isinstance(raw[key], dict):
        raw[key][inner] = value
    elif inner and isinstance(raw[key], list) and isinstance(raw[key][0], dict):
        raw[key][0][inner] = value
    else:
        raw[key] = value
    description, _ = attempt(lambda: parse_description(json.dumps(raw)), ValueError, 3000)
    if description is not None:
        assert len(description.classes) == description.hyperparameters.num_classes


DTYPES = [torch.float64, torch.bfloat16, torch.int32, torch.bool, torch.complex64, torch.float16]


@given(dtype=st.sampled_from(DTYPES))
def test_weights_of_any_type_are_read_or_refused(
    own: dict[str, bytes], dtype: torch.dtype
) -> None:
    tensors = safetensors.torch.load(own[WEIGHTS])
    tensors["fc1.bias"] = tensors["fc1.bias"].to(dtype)
    check_load(own | {WEIGHTS: safetensors.torch.save(tensors)})


@settings(max_examples=60)
@given(
    edits=EDITS,
    name=st.sampled_from(["model.json", WEIGHTS, PARAMS, "model-shapes.json", "model.tar.gz"]),
    uses_pretrained=st.booleans(),
)
def test_any_channel_gives_weights_or_an_error_that_names_it(
    own: dict[str, bytes],
    built_in: dict[str, bytes],
    edits: list[Edit],
    name: str,
    uses_pretrained: bool,
) -> None:
    files = own if name in own and name != "model-shapes.json" else built_in
    if name == "model.tar.gz":
        files = {name: pack(own)}
    channel = "pretrained" if uses_pretrained else "model"
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "input/data/train/a").mkdir(parents=True)
        (root / "input/data" / channel).mkdir()
        for file, content in files.items():
            changed = damage(content, edits) if file == name else content
            (root / "input/data" / channel / file).write_bytes(changed)
        shape = {"num_layers": "18", "image_shape": "3,224,224", "use_pretrained_model": "1"}
        configure(root, **(shape if uses_pretrained else {}))
        config = read_config(ContainerPaths(root), {})
        weights, text = attempt(lambda: read_initial_weights(config, CLASSES), TrainingError)
        assert (weights is None) == text.startswith(f"Channel {channel!r} holds ")
        assert not (weights and uses_pretrained)
