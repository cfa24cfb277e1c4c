"""Writes MXNet's parameter container, in each of its versions.

Source: apache/mxnet v1.9 ``src/ndarray/ndarray.cc``.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

from sagemaker_sift.trainer.model import build_model

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
    data = struct.pack("<QQQ", 0x112, 0, len(arrays))
    data += b"".join(write_array(values, version) for values in arrays.values())
    data += struct.pack("<Q", len(arrays))
    for name in arrays:
        data += struct.pack("<Q", len(name.encode())) + name.encode()
    return data


def mxnet_arrays(
    num_layers: int, image_shape: tuple[int, int, int], num_classes: int
) -> dict[str, np.ndarray[Any, Any]]:
    """Return the parameters of our network under MXNet's names."""
    quantities = {"running_mean": "moving_mean", "running_var": "moving_var"}
    arrays = {}
    for name, value in build_model(num_layers, image_shape, num_classes).state_dict().items():
        layer, _, quantity = name.rpartition(".")
        if quantity == "num_batches_tracked":
            continue
        if "bn" in layer and quantity in ("weight", "bias"):
            quantity = {"weight": "gamma", "bias": "beta"}[quantity]
        kind = "aux" if quantity.startswith("running") else "arg"
        own = f"{kind}:{layer.replace('.', '_')}_{quantities.get(quantity, quantity)}"
        arrays[own] = value.numpy().copy()
    return arrays
