"""Writes RecordIO and image records from their specification, and MXNet's parameters.

Source: dmlc/dmlc-core ``include/dmlc/recordio.h``; apache/mxnet v1.9 ``src/io/image_recordio.h``.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from pathlib import Path

MAGIC_BYTES = struct.pack("<I", 0xCED7230A)


def write_part(kind: int, data: bytes) -> bytes:
    """Return one part: header, data, padding."""
    packed = struct.pack("<I", kind << 29 | len(data))
    return MAGIC_BYTES + packed + data + bytes(-len(data) % 4)


def write_record(payload: bytes) -> bytes:
    """Return a record, cut wherever the magic number stands at an aligned place."""
    pieces, start = [], 0
    for place in range(0, len(payload) - len(payload) % 4, 4):
        if payload[place : place + 4] == MAGIC_BYTES:
            pieces.append(payload[start:place])
            start = place + 4
    pieces.append(payload[start:])
    if len(pieces) == 1:
        return write_part(0, payload)
    kinds = [1, *[2] * (len(pieces) - 2), 3]
    return b"".join(write_part(*pair) for pair in zip(kinds, pieces, strict=True))


def image_payload(labels: Sequence[float] | float, image: bytes, idx: int = 0) -> bytes:
    """Return the payload of an image record; one number is a label in the header."""
    if isinstance(labels, int | float):
        return struct.pack("<IfQQ", 0, labels, idx, 0) + image
    values = struct.pack(f"<{len(labels)}f", *labels)
    return struct.pack("<IfQQ", len(labels), 0.0, idx, 0) + values + image


def write_image_records(
    path: Path, images: Iterable[tuple[Sequence[float] | float, bytes]]
) -> Path:
    """Write labels and encoded images as a ``.rec`` file, and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        for idx, (labels, image) in enumerate(images):
            file.write(write_record(image_payload(labels, image, idx)))
    return path
