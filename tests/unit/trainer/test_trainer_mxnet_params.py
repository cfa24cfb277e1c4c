import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from sagemaker_sift.trainer import mxnet_params
from sagemaker_sift.trainer.model import build_model
from sagemaker_sift.trainer.mxnet_network import (
    describe_network,
    read_image_shape,
    read_symbol_kind,
    to_state_dict,
)
from sagemaker_sift.trainer.mxnet_params import parse_params, read_params
from tests.supports.mxnet_writer import mxnet_arrays, write_array, write_params

ARRAYS = {
    "arg:a_weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "aux:b_moving_mean": np.array([7.5], np.float32),
}
SHAPES = '[{"name": "data", "shape": [1, 3, 28, 28]}]'


@pytest.mark.parametrize("version", [0, 1, 2, 3])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_every_version_and_precision_is_read(tmp_path: Path, version: int, dtype: type) -> None:
    arrays = {name: values.astype(dtype) for name, values in ARRAYS.items()}
    path = tmp_path / "x.params"
    path.write_bytes(write_params(arrays, version))
    found = read_params(path)
    assert list(found) == list(arrays)
    for name, values in arrays.items():
        assert found[name].dtype == values.dtype
        assert (found[name] == values).all()


GOOD = write_params(ARRAYS)
ARRAY = write_array(ARRAYS["arg:a_weight"])
BROKEN = {
    "empty": (b"", "At byte 0: the file ends within 8 bytes"),
    "no list": (struct.pack("<QQQ", 1, 0, 0), "At byte 0: the file does not begin as MXNet's"),
    "reserved": (struct.pack("<QQQ", 0x112, 1, 0), "At byte 0: the file does not begin as"),
    "lying count": (struct.pack("<QQQ", 0x112, 0, 2**64 - 1), "At byte 24: the file ends"),
    "sparse": (GOOD[:28] + struct.pack("<i", 1) + GOOD[32:], "At byte 24: the array is sparse"),
    "no array": (GOOD[:24] + b"RIFF" + GOOD[28:], "At byte 24: 0x46464952 begins no array"),
    "dimensions": (GOOD[:32] + struct.pack("<i", -1) + GOOD[36:], "array of -1 dimensions; it"),
    "huge": (GOOD[:36] + struct.pack("<qq", 2**62, 2**62) + GOOD[52:], "ends within 8507059173"),
    "negative": (GOOD[:36] + struct.pack("<q", -2) + GOOD[44:], r"an array of shape \(-2, 3\)"),
    "integers": (GOOD[:60] + struct.pack("<i", 6) + GOOD[64:], "an array of type 6, but it may"),
    "cut off": (GOOD[:-1], "ends within 17 bytes"),
    "more": (GOOD + b"x", "1 bytes are left over"),
    "names": (struct.pack("<QQQ", 0x112, 0, 0) + struct.pack("<Q", 5), "5 names for 0 arrays"),
    "long name": (
        struct.pack("<QQQ", 0x112, 0, 1) + ARRAY + struct.pack("<QQ", 1, 2**60),
        "a name of 1152921504606846976 bytes",
    ),
    "no text": (
        struct.pack("<QQQ", 0x112, 0, 1) + ARRAY + struct.pack("<QQ", 1, 1) + b"\xff",
        "a name that is no UTF-8",
    ),
    "twice": (
        struct.pack("<QQQ", 0x112, 0, 2)
        + ARRAY * 2
        + struct.pack("<QQ2sQ2s", 2, 2, b"ab", 2, b"ab"),
        "the name 'ab' occurs twice",
    ),
}


@pytest.mark.parametrize(("data", "message"), BROKEN.values(), ids=BROKEN)
def test_anything_else_is_a_value_error_that_names_the_byte(data: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=r"^At byte \d+: .*\.$") as caught:
        parse_params(data)
    with pytest.raises(ValueError, match=message):
        raise caught.value


def test_a_huge_file_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mxnet_params, "MAX_PARAMS_BYTES", 100)
    (tmp_path / "x.params").write_bytes(bytes(101))
    with pytest.raises(ValueError, match="more than 100 bytes"):
        read_params(tmp_path / "x.params")


@pytest.mark.parametrize(
    ("num_layers", "image_shape"),
    [
        (20, (3, 28, 28)),
        (110, (1, 32, 20)),
        (18, (3, 64, 64)),
        (34, (3, 40, 33)),
        (50, (3, 32, 32)),
        (152, (3, 224, 224)),
        (200, (3, 64, 64)),
    ],
)
def test_a_network_is_recognised_and_loaded(
    num_layers: int, image_shape: tuple[int, int, int]
) -> None:
    arrays = mxnet_arrays(num_layers, image_shape, 4)
    shapes = f'[{{"name": "data", "shape": [1, {", ".join(map(str, image_shape))}]}}]'
    found = describe_network(arrays, shapes)
    assert (found.num_layers, found.image_shape, found.num_classes) == (num_layers, image_shape, 4)
    model = build_model(num_layers, image_shape, 4, generator=torch.Generator().manual_seed(1))
    model.load_state_dict(to_state_dict(arrays))
    expected = build_model(num_layers, image_shape, 4).state_dict()
    assert all(value.equal(expected[name]) for name, value in model.state_dict().items())


def test_values_become_float32_and_the_fixed_gamma_one() -> None:
    state = to_state_dict(
        {
            "arg:bn_data_gamma": np.full(3, 9, np.float32),
            "arg:stage2_unit10_sc_weight": np.ones((1, 2), np.float64),
            "aux:bn0_moving_var": np.ones(2, np.float16),
        }
    )
    assert list(state) == ["bn_data.weight", "stage2.unit10.sc.weight", "bn0.running_var"]
    assert {value.dtype for value in state.values()} == {torch.float32}
    assert state["bn_data.weight"].tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"conv0_weight": np.ones(1)}, "'conv0_weight' is the name of no parameter of a ResNet"),
        ({"aux:conv0_weight": np.ones(1)}, "'aux:conv0_weight' is there a second time"),
        ({"arg:fc1_bias": np.array([np.nan] * 4)}, "'arg:fc1_bias' holds .* no finite numbers"),
        ({"arg:fc1_bias": np.array([1e300] * 4)}, "'arg:fc1_bias' holds .* no finite numbers"),
        ({"arg:fc1_weight": None}, "lack 'fc1_weight', the classifier"),
        ({"arg:fc1_bias": None}, r"lack 'fc1.bias', which a ResNet of 20 layers .* has"),
        ({"arg:extra_weight": np.ones(1)}, "have 'extra.weight', which .* has not"),
        ({"arg:fc1_bias": np.ones(5)}, r"'fc1.bias' has the shape \(5,\), but \(4,\) in a ResNet"),
        ({"arg:stage1_unit3_conv1_weight": None}, r"have \(2, 3, 3\) units of two convolutions"),
        ({"arg:stage1_unit1_conv3_weight": np.ones(1)}, r"\(3, 3, 3\) units of three conv"),
    ],
)
def test_parameters_of_another_network_are_refused(
    changes: dict[str, np.ndarray | None], message: str
) -> None:
    arrays = mxnet_arrays(20, (3, 28, 28), 4) | changes
    with pytest.raises(ValueError, match=message):
        describe_network({k: v for k, v in arrays.items() if v is not None}, SHAPES)


def test_no_units_and_other_stems_are_refused() -> None:
    with pytest.raises(ValueError, match="lack 'stage1_unit1_conv1_weight' and all other units"):
        describe_network({"arg:fc1_weight": np.ones((2, 2))}, SHAPES)
    with pytest.raises(ValueError, match=r"'conv0\.weight' has the .* but \(16, 3, 7, 7\)"):
        describe_network(mxnet_arrays(20, (3, 28, 28), 4), SHAPES.replace("28", "40"))
    with pytest.raises(ValueError, match=r"'bn_data\.weight' has the shape"):
        describe_network(mxnet_arrays(20, (3, 28, 28), 4), SHAPES.replace(" 3,", " 1,"))


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "{}",
        "[1]",
        '[{"name": "data"}]',
        '[{"name": "softmax", "shape": [1, 3, 28, 28]}]',
        '[{"name": "data", "shape": [1, 3, 28]}]',
        '[{"name": "data", "shape": [1, 3, 28, 0]}]',
        '[{"name": "data", "shape": [1, 3, 28, 1e3]}]',
        '[{"name": "data", "shape": [1, 3, 28, true]}]',
        '[{"name": "data", "shape": [1, 3, 28, 99999]}]',
        "nonsense",
        "[" * 99_999,
        b"\xff",
    ],
)
def test_other_shapes_are_refused(text: str | bytes) -> None:
    with pytest.raises(ValueError, match=r"model-shapes\.json (does not give|cannot be read)"):
        read_image_shape(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, None),
        ('{"nodes": [{"op": "null"}, {"op": "SoftmaxOutput"}], "heads": [[1, 0, 0]]}', "softmax"),
        ('{"nodes": [{"op": "LogisticRegressionOutput"}]}', "sigmoid"),
        ('{"nodes": [{"op": "Activation", "attrs": {"act_type": "relu"}}]}', None),
        ('{"nodes": [{"op": "Activation", "attrs": {"act_type": "sigmoid"}}]}', "sigmoid"),
        ('{"nodes": [{"op": "Activation", "param": {"act_type": "sigmoid"}}]}', "sigmoid"),
        ('{"nodes": [{"op": "sigmoid"}, {"op": "softmax"}]}', None),
        ('{"nodes": [1, {}, {"op": {}}, {"op": "Activation", "attrs": 3}]}', None),
        ('{"nodes": 3}', None),
        ("[]", None),
    ],
)
def test_the_end_of_a_symbol_is_read(text: str | None, expected: str | None) -> None:
    assert read_symbol_kind(text) == expected


def test_a_symbol_that_is_no_json_is_refused() -> None:
    with pytest.raises(ValueError, match="The symbol file cannot be read as JSON"):
        read_symbol_kind("{")
