"""RecordIO: how records follow one another in a file or a pipe.

Source: dmlc/dmlc-core ``include/dmlc/recordio.h`` and ``src/recordio.cc``. All integers are
little-endian, everything is aligned to 4 bytes::

    record := part+
    part   := uint32 0xced7230a, uint32 kind << 29 | length, data[length], zeros to a multiple of 4
    kind   := 0 a whole record; 1, 2, 3 the first, a middle, the last part of one

A record that holds the magic number at an aligned place is cut there, and the four bytes are left
out; whoever joins the parts puts them back.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Protocol

from sagemaker_sift.trainer.errors import TrainingError

MAGIC = 0xCED7230A
MAGIC_BYTES = struct.pack("<I", MAGIC)
PART_HEADER = struct.Struct("<II")

MAX_RECORD_BYTES = 1 << 28
"""A larger record is refused, 256 MiB: no image is that large, and memory stays bounded."""

WHOLE, FIRST, MIDDLE, LAST = range(4)
"""Kinds of parts."""

_CHUNK_BYTES = 1 << 20


class ByteStream(Protocol):
    """What records are read from: ``io.BytesIO``, an open file, a pipe."""

    def read(self, size: int, /) -> bytes | None:
        """Return up to ``size`` bytes, none at the end."""
        ...


def read_part_header(header: bytes, *, is_inside: bool) -> tuple[int, int]:
    r"""Return kind and length of a part.

    Args:
        header: Its first eight bytes.
        is_inside: Whether a record was begun before it and goes on.

    Raises:
        ValueError: If it cannot stand here; the text says why, to stand behind the place's name.

    Example:
        >>> read_part_header(MAGIC_BYTES + b"\x05\x00\x00\x00", is_inside=False)
        (0, 5)
    """
    if len(header) < PART_HEADER.size:
        raise ValueError(f"the data ends after {len(header)} of the 8 bytes of a header")
    magic, packed = PART_HEADER.unpack(header)
    if magic != MAGIC:
        raise ValueError(f"0x{magic:08x} stands where RecordIO has its magic number 0x{MAGIC:08x}")
    kind, length = packed >> 29, packed & 0x1FFFFFFF
    if kind > LAST:
        raise ValueError(f"a part is of kind {kind}, but there are only 0 to 3")
    if is_inside and kind in (WHOLE, FIRST):
        raise ValueError("a new record begins before the last part of the one before")
    if not is_inside and kind in (MIDDLE, LAST):
        raise ValueError("a record begins with a part that is not its first")
    return kind, length


def align(length: int) -> int:
    """Return how many bytes ``length`` bytes of data take.

    Example:
        >>> align(5)
        8
    """
    return (length + 3) & ~3


def check_size(num_bytes: int) -> None:
    """Refuse a record that is too large.

    Raises:
        ValueError: If it has more than ``MAX_RECORD_BYTES``.
    """
    if num_bytes > MAX_RECORD_BYTES:
        raise ValueError(
            f"a record has {num_bytes} bytes or more, but may have {MAX_RECORD_BYTES}"
        )


def build_record_error(source: str, record_idx: int, offset: int, problem: str) -> TrainingError:
    """Return the error for data that is no RecordIO.

    Args:
        source: Channel and file.
        record_idx: Record, counted from 0.
        offset: Where the wrong part of it begins, in bytes.
        problem: What is wrong.
    """
    return TrainingError(
        f"{source}, record {record_idx}, byte {offset}: {problem}. The data is damaged, cut off "
        "or no RecordIO; write it again (for .rec files: im2rec) and check that it is complete."
    )


def read_records(stream: ByteStream, source: str) -> Iterator[bytes | bytearray]:
    """Yield the payloads of a stream to its end, one in memory at a time.

    Args:
        stream: Positioned at the beginning; it is not closed.
        source: Channel and file, for messages.

    Raises:
        TrainingError: If it holds something else than RecordIO, or ends inside a record.
    """
    record_idx = offset = 0
    joined: bytearray | None = None
    while True:
        header = _read_up_to(stream, PART_HEADER.size)
        if not header and joined is None:
            return
        try:
            kind, length = read_part_header(header, is_inside=joined is not None)
            check_size(length if joined is None else len(joined) + 4 + length)
            data = _read_up_to(stream, align(length))
            if len(data) < align(length):
                raise ValueError(
                    f"the data ends after {len(data)} of the {align(length)} bytes of a part"
                )
        except ValueError as error:
            raise build_record_error(source, record_idx, offset, str(error)) from error
        offset += PART_HEADER.size + len(data)
        data = data[:length]
        if joined is not None:
            joined += MAGIC_BYTES
            joined += data
        elif kind == FIRST:
            joined = bytearray(data)
        if kind in (WHOLE, LAST):
            yield data if joined is None else joined
            joined = None
            record_idx += 1


def join_parts(data: bytes) -> memoryview:
    r"""Return the payload of one record.

    Args:
        data: All parts of the record.

    Returns:
        A view of ``data`` if there is one part only.

    Raises:
        ValueError: If ``data`` is something else.

    Example:
        >>> bytes(join_parts(MAGIC_BYTES + b"\x02\x00\x00\x00ab\x00\x00"))
        b'ab'
    """
    view = memoryview(data)
    kind, length = read_part_header(data[: PART_HEADER.size], is_inside=False)
    start = PART_HEADER.size
    if len(data) < start + length:
        raise ValueError("the data ends inside a record")
    if kind == WHOLE:
        return view[start : start + length]
    joined = bytearray(view[start : start + length])
    while kind != LAST:
        start += align(length)
        header = data[start : start + PART_HEADER.size]
        kind, length = read_part_header(header, is_inside=True)
        start += PART_HEADER.size
        if len(data) < start + length:
            raise ValueError("the data ends inside a record")
        check_size(len(joined) + 4 + length)
        joined += MAGIC_BYTES
        joined += view[start : start + length]
    return memoryview(joined)


def _read_up_to(stream: ByteStream, num_bytes: int) -> bytes:
    """Return ``num_bytes``, or less at the end; never asks for much more than what comes."""
    data = stream.read(min(num_bytes, _CHUNK_BYTES)) or b""
    if len(data) == num_bytes:
        return data
    joined = bytearray(data)
    while data and len(joined) < num_bytes:
        data = stream.read(min(num_bytes - len(joined), _CHUNK_BYTES)) or b""
        joined += data
    return bytes(joined)
