"""Writes MXNet's parameter container, in each of its versions, and models of the built-in.

Source: apache/mxnet v1.9 ``src/ndarray/ndarray.cc``.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sagemaker_sift.trainer.model import BATCH_NORM_MOMENTUM, ResNet, build_model

_TYPES = {"float32": 0, "float64": 1, "float16": 2, "int64": 6}


def write_array(values: np.ndarray[Any, Any], version: int = 2) -> bytes:
    """Return one array as ``version`` 1, 2 or 3 stores it, or 0 for the oldest form."""
    magics = {1: 0xF993FAC8, 2: 0xF993FAC9, 3: 0xF993FACA}
    start = struct.pack("<I", magics[version]) if version else b""
    if version >= 2:
        start += struct.pack("<i", 0)
    side = "q" if version else "I"
    start += struct.pack(f"<i{values.ndim}{side}", values.ndim, *values.shape)
    return start + struct.pack("<iii", 1, 0, _TYPES[values.dtype.name]) + values.tobytes()


def write_params(arrays: Mapping[str, np.ndarray[Any, Any]], version: int = 2) -> bytes:
    """Return the bytes of a ``.params`` file."""
    pieces = [struct.pack("<QQQ", 0x112, 0, len(arrays))]
    pieces += [write_array(values, version) for values in arrays.values()]
    pieces.append(struct.pack("<Q", len(arrays)))
    pieces += [struct.pack("<Q", len(name.encode())) + name.encode() for name in arrays]
    return b"".join(pieces)


def mxnet_arrays(
    num_layers: int, image_shape: tuple[int, int, int], num_classes: int
) -> dict[str, np.ndarray[Any, Any]]:
    """Return the parameters of our freshly initialised network under MXNet's names."""
    return network_arrays(build_model(num_layers, image_shape, num_classes))


def network_arrays(network: ResNet) -> dict[str, np.ndarray[Any, Any]]:
    """Return the parameters of a network under MXNet's names."""
    quantities = {"running_mean": "moving_mean", "running_var": "moving_var"}
    arrays = {}
    for name, value in network.state_dict().items():
        layer, _, quantity = name.rpartition(".")
        if quantity == "num_batches_tracked":
            continue
        if "bn" in layer and quantity in ("weight", "bias"):
            quantity = {"weight": "gamma", "bias": "beta"}[quantity]
        kind = "aux" if quantity.startswith("running") else "arg"
        own = f"{kind}:{layer.replace('.', '_')}_{quantities.get(quantity, quantity)}"
        arrays[own] = value.numpy().copy()
    return arrays


def write_mxnet_model(
    folder: Path,
    network: ResNet,
    image_shape: tuple[int, int, int],
    *,
    epoch: int = 1,
    operator: str | None = "SoftmaxOutput",
) -> Path:
    """Write a network as the built-in algorithm does, without a symbol for no operator."""
    folder.mkdir(parents=True, exist_ok=True)
    params = folder / f"image-classification-{epoch:04d}.params"
    params.write_bytes(write_params(network_arrays(network)))
    shapes = [{"name": "data", "shape": [1, *image_shape]}]
    (folder / "model-shapes.json").write_text(json.dumps(shapes))
    if operator is not None:
        nodes = [{"op": "null", "name": "data"}, {"op": operator, "name": "softmax"}]
        symbol = json.dumps({"nodes": nodes})
        (folder / "image-classification-symbol.json").write_text(symbol)
    return folder


def make_network(
    num_layers: int, image_shape: tuple[int, int, int], num_classes: int, *, seed: int = 5
) -> ResNet:
    """Return a network whose normalisations fit random images, in evaluation mode."""
    generator = torch.Generator().manual_seed(seed)
    network = build_model(num_layers, image_shape, num_classes, generator=generator)
    images_BCHW = torch.randint(0, 256, (4, *image_shape), generator=generator).float()
    norms = [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    with torch.no_grad():
        for norm in norms:
            norm.momentum = 1.0
            norm.bias.uniform_(-0.2, 0.2, generator=generator)
        network.train()(images_BCHW)
    for norm in norms:
        norm.momentum = BATCH_NORM_MOMENTUM
    return network.eval()
