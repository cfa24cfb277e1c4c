"""In which order the records of a stream are taken."""

from __future__ import annotations

from collections.abc import Generator, Iterator

import torch

from sagemaker_sift.trainer.data.image_set import Record

SHUFFLE_BYTES = 1 << 28
"""Encoded images that wait in a shuffle's buffer: 256 MiB."""


def shuffle_records(
    records: Iterator[Record],
    buffer_size: int,
    generator: torch.Generator,
    *,
    max_bytes: int = SHUFFLE_BYTES,
) -> Iterator[Record]:
    """Yield all records, each drawn at random from a buffer of those that wait.

    A record moves forward by less than ``buffer_size`` places, and backward by any number.

    Args:
        records: In the order of the stream; closed with this iterator.
        buffer_size: Records that wait, ``>= 1``; 1 keeps the order.
        generator: CPU generator; it alone decides the order.
        max_bytes: Encoded images that wait; where they are large, fewer do. One always may.

    Example:
        >>> import numpy as np
        >>> images = (Record(str(idx), np.zeros(9, np.uint8), 0) for idx in range(6))
        >>> shuffled = shuffle_records(images, 3, torch.Generator().manual_seed(0))
        >>> sorted(record.name for record in shuffled)
        ['0', '1', '2', '3', '4', '5']
    """
    buffer: list[Record] = []
    num_bytes = 0
    try:
        for record in records:
            num_bytes += record.data.nbytes
            while len(buffer) >= buffer_size or (buffer and num_bytes > max_bytes):
                drawn = _draw(buffer, generator)
                num_bytes -= drawn.data.nbytes
                yield drawn
            buffer.append(record)
        while buffer:
            yield _draw(buffer, generator)
    finally:
        _close(records)


def _draw(buffer: list[Record], generator: torch.Generator) -> Record:
    idx = int(torch.randint(len(buffer), (1,), generator=generator))
    buffer[idx], buffer[-1] = buffer[-1], buffer[idx]
    return buffer.pop()


def _close(records: Iterator[Record]) -> None:
    if isinstance(records, Generator):
        records.close()
