"""Networks that MXNet has saved: parameters, symbol and shapes of the built-in algorithm's model.

Source: apache/mxnet v1.9 ``src/ndarray/ndarray.cc`` (``NDArray::Save``, ``NDArray::Load``,
``NDArray::LegacyLoad``). All integers are little-endian::

    file   := uint64 0x112, uint64 0, uint64 count, array[count], uint64 count, name[count]
    array  := uint32 0xF993FAC9 or 0xF993FACA, int32 storage (0 dense), shape64, rest
            | uint32 0xF993FAC8, shape64, rest
            | uint32 ndim, uint32 size[ndim], rest                  (before MXNet 0.11)
    shape64:= int32 ndim, int64 size[ndim]
    rest   := int32 device, int32 device number, int32 type, data
    type   := 0 float32, 1 float64, 2 float16
    name   := uint64 length, bytes ("arg:conv0_weight", "aux:bn1_moving_mean")
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

LIST_MAGIC = 0x112
MAGIC_V1, MAGIC_V2, MAGIC_V3 = 0xF993FAC8, 0xF993FAC9, 0xF993FACA

MAX_PARAMS_BYTES = 1 << 30
"""A larger file is refused: the deepest network takes 260 MB in float32."""

MAX_DIMS = 8
"""Arrays of a network have at most four dimensions."""

Arrays = dict[str, NDArray[Any]]

_TYPES = {0: "<f4", 1: "<f8", 2: "<f2"}
_MAX_NAME_BYTES = 1024


def read_params(path: Path) -> Arrays:
    """Return the arrays of a ``.params`` file by name.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it is larger than ``MAX_PARAMS_BYTES``, or :func:`parse_params` refuses it.
    """
    with path.open("rb") as file:
        data = file.read(MAX_PARAMS_BYTES + 1)
    if len(data) > MAX_PARAMS_BYTES:
        raise ValueError(f"{path} has more than {MAX_PARAMS_BYTES} bytes: it is no such network.")
    return parse_params(data)


def parse_params(data: bytes) -> Arrays:
    """Return the arrays in the bytes of a ``.params`` file by name.

    Args:
        data: The whole file.

    Returns:
        Views of ``data``, read-only, float16, float32 or float64, in the file's order; names begin
        with ``arg:`` or ``aux:``.

    Raises:
        ValueError: If they are something else; the text names the byte.

    Example:
        >>> parse_params(b"hello")
        Traceback (most recent call last):
        ValueError: At byte 0: the file ends within 8 bytes that belong there.
    """
    cursor = _Cursor(data)
    magic, reserved = cursor.take("Q"), cursor.take("Q")
    if magic != LIST_MAGIC or reserved != 0:
        cursor.fail("the file does not begin as MXNet's parameters do", 0)
    num_arrays = cursor.take("Q")
    arrays = [_read_array(cursor) for _ in range(num_arrays)]  # ends where the data do
    num_names = cursor.take("Q")
    if num_names != num_arrays:
        cursor.fail(f"there are {num_names} names for {num_arrays} arrays")
    named: Arrays = {}
    for array in arrays:
        start = cursor.position
        name = _read_name(cursor)
        if name in named:
            cursor.fail(f"the name {name!r} occurs twice", start)
        named[name] = array
    if cursor.position != len(data):
        cursor.fail(f"{len(data) - cursor.position} bytes are left over")
    return named


class _Cursor:
    """Reads one value after the other, never beyond the end."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0

    def skip(self, num_bytes: int) -> int:
        """Return where the next ``num_bytes`` begin, and pass over them."""
        if num_bytes > len(self.data) - self.position:
            self.fail(f"the file ends within {num_bytes} bytes that belong there")
        start = self.position
        self.position += num_bytes
        return start

    def take(self, form: str) -> int:
        """Return one integer of a ``struct`` form."""
        form = "<" + form
        value: int = struct.unpack_from(form, self.data, self.skip(struct.calcsize(form)))[0]
        return value

    def fail(self, problem: str, position: int | None = None) -> None:
        """Refuse the file."""
        raise ValueError(f"At byte {self.position if position is None else position}: {problem}.")


def _read_array(cursor: _Cursor) -> NDArray[Any]:
    start = cursor.position
    magic = cursor.take("I")
    if magic in (MAGIC_V2, MAGIC_V3) and cursor.take("i") != 0:
        cursor.fail("the array is sparse, but a network's arrays are dense", start)
    is_legacy = magic not in (MAGIC_V1, MAGIC_V2, MAGIC_V3)
    num_dims = magic if is_legacy else cursor.take("i")
    if not 1 <= num_dims <= MAX_DIMS:
        what = (
            f"0x{magic:08x} begins no array" if is_legacy else f"an array of {num_dims} dimensions"
        )
        cursor.fail(f"{what}; it may have 1 to {MAX_DIMS}", start)
    shape = tuple(cursor.take("I" if is_legacy else "q") for _ in range(num_dims))
    cursor.skip(8)
    kind = cursor.take("i")
    if kind not in _TYPES:
        cursor.fail(f"an array of type {kind}, but it may be of 0, 1 or 2 (floating point)", start)
    if min(shape) < 1:
        cursor.fail(f"an array of shape {shape}", start)
    dtype = np.dtype(_TYPES[kind])
    size = 1
    for length in shape:
        size *= length  # of unbounded integers: nothing overflows
    data_start = cursor.skip(size * dtype.itemsize)
    return np.frombuffer(cursor.data, dtype, size, data_start).reshape(shape)


def _read_name(cursor: _Cursor) -> str:
    length = cursor.take("Q")
    if length > _MAX_NAME_BYTES:
        cursor.fail(f"a name of {length} bytes")
    start = cursor.skip(length)
    try:
        return cursor.data[start : cursor.position].decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"At byte {start}: a name that is no UTF-8.") from error
