"""Reads MXNet's parameter container, for comparing networks.

Source: apache/mxnet v1.9 ``src/ndarray/ndarray.cc`` (NDArray::Save, NDArray::Load). All integers
are little-endian:

    uint64 0x112, uint64 0, uint64 count, count arrays, uint64 count, count names
    array := uint32 0xF993FAC9, int32 storage (0 dense), int32 ndim, ndim int64,
             int32 device, int32 device id, int32 type (0 float32), data
    name  := uint64 length, bytes ("arg:conv0_weight", "aux:bn1_moving_mean")
"""

from __future__ import annotations

import re
import struct
from pathlib import Path

import numpy as np
import torch

LIST_MAGIC = 0x112
ARRAY_MAGIC = 0xF993FAC9

_QUANTITIES = {
    "weight": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_var": "running_var",
}
_NAME = re.compile(rf"(?:arg|aux):(.+)_({'|'.join(_QUANTITIES)})")


def read_params(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of a ``.params`` file by name."""
    data = path.read_bytes()
    offset = 0

    def read(form: str) -> tuple[int, ...]:
        nonlocal offset
        values = struct.unpack_from("<" + form, data, offset)
        offset += struct.calcsize("<" + form)
        return values

    magic, _, count = read("QQQ")
    assert magic == LIST_MAGIC
    arrays = []
    for _ in range(count):
        array_magic, storage, num_dims = read("Iii")
        assert (array_magic, storage) == (ARRAY_MAGIC, 0)
        shape = read(f"{num_dims}q")
        _, _, kind = read("iii")
        assert kind == 0
        size = int(np.prod(shape))
        arrays.append(np.frombuffer(data, "<f4", size, offset).reshape(shape))
        offset += 4 * size
    (num_names,) = read("Q")
    assert num_names == count
    names = []
    for _ in range(num_names):
        (length,) = read("Q")
        names.append(data[offset : offset + length].decode())
        offset += length
    assert offset == len(data)
    return dict(zip(names, arrays, strict=True))


def to_state_dict(params: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    """Return the parameters under the names of our network.

    ``arg:stage1_unit1_bn1_gamma`` becomes ``stage1.unit1.bn1.weight``. The gamma of ``bn_data`` is
    fixed to 1 in the symbol, whatever the file says.
    """
    state = {}
    for name, values in params.items():
        match = _NAME.fullmatch(name)
        assert match, name
        layer, quantity = match.groups()
        if layer.startswith("stage"):
            layer = layer.replace("_", ".")
        state[f"{layer}.{_QUANTITIES[quantity]}"] = torch.tensor(values)
    state["bn_data.weight"] = torch.ones_like(state["bn_data.weight"])
    return state
