"""What a record of an image holds: labels, then the encoded image.

Source: apache/mxnet v1.9 ``src/io/image_recordio.h`` and ``python/mxnet/recordio.py``,
little-endian::

    uint32 flag, float32 label, uint64 id, uint64 0, float32 labels[flag], image bytes

The label is in the header if ``flag`` is 0, otherwise there are ``flag`` of them behind it.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sagemaker_sift.trainer.data.image_set import Encoded

HEADER = struct.Struct("<IfQQ")

_LABEL_BYTES = 4
_IMAGE_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG")


class ImageRecord(NamedTuple):
    """The payload of one record, taken apart.

    Attributes:
        labels: As they stand there, float32, one or more.
        data: The encoded image.
    """

    labels: NDArray[np.float32]
    data: Encoded


def measure_header(start: bytes | bytearray | memoryview, num_bytes: int) -> int:
    """Return where the encoded image begins, in bytes.

    Args:
        start: The first 24 bytes of the payload, or more.
        num_bytes: Length of the payload.

    Raises:
        ValueError: If the payload is no image record; the text says why.

    Example:
        >>> measure_header(HEADER.pack(2, 0.0, 7, 0), 100)
        32
    """
    if bytes(start[:4]).startswith(_IMAGE_SIGNATURES):
        raise ValueError(
            "it begins with an image where the labels of an image record belong; records of an "
            "augmented manifest need RecordWrapperType 'RecordIO' and TrainingInputMode 'Pipe'"
        )
    if num_bytes < HEADER.size:
        raise ValueError(f"it has {num_bytes} bytes, but its header alone takes {HEADER.size}")
    num_labels = HEADER.unpack_from(start)[0]
    num_left = num_bytes - HEADER.size
    if num_labels * _LABEL_BYTES > num_left:
        raise ValueError(
            f"its header announces {num_labels} labels, but only {num_left} bytes follow"
        )
    return HEADER.size + _LABEL_BYTES * int(num_labels)


def read_labels(header: bytes | bytearray | memoryview) -> NDArray[np.float32]:
    """Return the labels of a header that :func:`measure_header` has measured.

    Example:
        >>> read_labels(HEADER.pack(0, 3.0, 7, 0)).tolist()
        [3.0]
    """
    if len(header) > HEADER.size:
        return np.frombuffer(header, "<f4", offset=HEADER.size)
    return np.array([HEADER.unpack(header)[1]], np.float32)


def split_record(payload: bytes | bytearray | memoryview) -> ImageRecord:
    """Return labels and image of a payload, without copying the image.

    Raises:
        ValueError: If it is no image record; the text says why.
    """
    size = measure_header(payload, len(payload))
    view = memoryview(payload)
    return ImageRecord(read_labels(view[:size]), np.frombuffer(view[size:], np.uint8))
