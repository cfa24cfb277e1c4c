"""RecordIO around data that passes through a pipe.

Source: dmlc/dmlc-core ``include/dmlc/recordio.h``; API reference, ``Channel``; SageMaker developer
guide, "Augmented manifest files for training jobs".
"""

from __future__ import annotations

import struct

_MAGIC = struct.pack("<I", 0xCED7230A)
_WHOLE, _FIRST, _MIDDLE, _LAST = range(4)
_MAX_BYTES = (1 << 29) - 1


def wrap_record(payload: bytes) -> bytes:
    """Return a payload as a RecordIO record.

    It is cut wherever the magic number stands at a place divisible by four, so that a reader who
    looks for the magic number finds beginnings of parts only.

    Args:
        payload: Below 512 MiB.

    Raises:
        ValueError: If it is larger.

    Example:
        >>> wrap_record(b"abcde").hex(" ", 4)
        '0a23d7ce 05000000 61626364 65000000'
    """
    if len(payload) > _MAX_BYTES:
        raise ValueError(f"is {len(payload)} bytes, but a record holds at most {_MAX_BYTES}.")
    pieces, start, place = [], 0, payload.find(_MAGIC)
    while place >= 0:
        if place % 4 == 0:
            pieces.append(payload[start:place])
            start = place + 4
        place = payload.find(_MAGIC, start if place % 4 == 0 else place + 1)
    pieces.append(payload[start:])
    if len(pieces) == 1:
        return _write_part(_WHOLE, payload)
    kinds = [_FIRST, *[_MIDDLE] * (len(pieces) - 2), _LAST]
    return b"".join(map(_write_part, kinds, pieces))


def _write_part(kind: int, data: bytes) -> bytes:
    return _MAGIC + struct.pack("<I", kind << 29 | len(data)) + data + bytes(-len(data) % 4)
