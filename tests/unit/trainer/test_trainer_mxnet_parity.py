"""Our network is the same function as MXNet's: its parameters give its probabilities."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from sagemaker_sift.trainer.loop import to_input
from sagemaker_sift.trainer.model import build_model
from sagemaker_sift.trainer.mxnet_network import (
    describe_network,
    read_symbol_kind,
    to_state_dict,
)
from sagemaker_sift.trainer.mxnet_params import read_params
from tests.supports.trainer_data import REPOSITORY

DATA = Path(os.environ.get("SIFT_DATA") or REPOSITORY.parent / "shared/data")

pytestmark = pytest.mark.skipif(
    not (DATA / "mxnet").is_dir(),
    reason="the folder with parameters written by MXNet is absent (SIFT_DATA names it)",
)


@pytest.mark.parametrize(
    ("folder", "num_layers", "image_shape", "num_classes"),
    [
        ("resnet20_3x28x28_10classes", 20, (3, 28, 28), 10),
        ("resnet18_3x64x64_7classes", 18, (3, 64, 64), 7),
    ],
)
def test_mxnet_parameters_give_mxnet_probabilities(
    folder: str, num_layers: int, image_shape: tuple[int, int, int], num_classes: int
) -> None:
    params = read_params(DATA / "mxnet" / folder / "image-classification-0001.params")
    expected = np.load(DATA / "mxnet" / folder / "expected.npz")
    shapes = (DATA / "mxnet" / folder / "model-shapes.json").read_text()
    found = describe_network(params, shapes)
    assert (found.num_layers, found.image_shape) == (num_layers, image_shape)
    assert found.num_classes == num_classes
    symbol = (DATA / "mxnet" / folder / "image-classification-symbol.json").read_text()
    assert read_symbol_kind(symbol) == "softmax"
    model = build_model(num_layers, image_shape, num_classes)
    model.load_state_dict(to_state_dict(params))
    with torch.inference_mode():
        probabilities = model.eval()(to_input(torch.from_numpy(expected["images"]))).softmax(1)
    num_arguments = sum(v.size for name, v in params.items() if name.startswith("arg:"))
    assert num_arguments == sum(p.numel() for p in model.parameters())
    np.testing.assert_allclose(probabilities.numpy(), expected["probabilities"], atol=1e-4)
