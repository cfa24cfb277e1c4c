"""Small image sets, decoded once and kept in memory.

Shape suffixes in this file: N = images of the set, C = channels, H = height, W = width.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sagemaker_sift.trainer.data.dataset import read_encoded
from sagemaker_sift.trainer.data.image import Image, Unreadable
from sagemaker_sift.trainer.data.image_set import ImageSet

NUM_PROBES = 32
"""Images that are decoded to estimate the size of the whole set."""

_CHUNK = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodedSet:
    """A set whose images lie in memory.

    Attributes:
        source: The readable images only.
        images: As long as ``source``, uint8: ``(N, H, W, C)`` if all have one size, else a tuple
            of ``(H, W, C)``.
        unreadable: The images that could not be decoded.
        size_bytes: Memory that the images take.
    """

    source: ImageSet
    images: tuple[Image, ...] | NDArray[np.uint8]
    unreadable: tuple[Unreadable, ...]
    size_bytes: int


def decode_set(
    source: ImageSet,
    *,
    num_channels: int,
    resize: int | None,
    budget_bytes: int,
    num_threads: int,
    is_stopping: Callable[[], bool],
) -> DecodedSet | None:
    """Return the decoded images, or ``None`` if they would not fit.

    A few images spread over the set are decoded first, and if their mean size says that the
    whole does not fit, nothing else is.

    Args:
        source: What to decode.
        num_channels: 3 for RGB, 1 for gray.
        resize: Length of the shorter side in pixels, or ``None``.
        budget_bytes: Memory that the images may take.
        num_threads: Threads that decode, ``>= 1``; OpenCV releases the interpreter lock.
        is_stopping: Asked now and then; decoding ends early with ``None`` when it says so.
    """

    def read(idx: int) -> Image | Unreadable:
        return read_encoded(source, idx, num_channels=num_channels, resize=resize)

    step = max(1, len(source) // NUM_PROBES)
    probes = [read(idx) for idx in range(0, len(source), step)]
    sizes = [probe.nbytes for probe in probes if not isinstance(probe, Unreadable)]
    if sizes and sum(sizes) / len(sizes) * len(source) > budget_bytes:
        return None
    shapes = {probe.shape for probe in probes if not isinstance(probe, Unreadable)}
    images = _ImageStack(len(source) if len(shapes) == 1 else 0)
    indices: list[int] = []
    unreadable: list[Unreadable] = []
    with ThreadPoolExecutor(num_threads) as pool:
        for start in range(0, len(source), _CHUNK):
            if is_stopping() or images.size_bytes > budget_bytes:
                return None
            chunk = range(start, min(start + _CHUNK, len(source)))
            for idx, result in zip(chunk, pool.map(read, chunk), strict=True):
                if isinstance(result, Unreadable):
                    unreadable.append(result)
                    continue
                images.append(result)
                indices.append(idx)
    return DecodedSet(
        source=source.select(indices) if unreadable else source,
        images=images.close(),
        unreadable=tuple(unreadable),
        size_bytes=images.size_bytes,
    )


class _ImageStack:
    """Images one after the other, in a single array as long as all have the size of the first.

    Args:
        capacity: Images to come if they seem to be of one size, else 0.
    """

    def __init__(self, capacity: int) -> None:
        self.size_bytes = 0
        self._capacity = capacity
        self._num_images = 0
        self._stack: NDArray[np.uint8] | None = None
        self._singles: list[Image] = []

    def append(self, image_HWC: Image) -> None:
        self.size_bytes += image_HWC.nbytes
        if self._num_images == 0 and self._capacity:
            self._stack = np.empty((self._capacity, *image_HWC.shape), dtype=np.uint8)
        if self._stack is not None and self._stack.shape[1:] == image_HWC.shape:
            self._stack[self._num_images] = image_HWC
        else:
            if self._stack is not None:
                self._singles = [image.copy() for image in self._stack[: self._num_images]]
                self._stack = None
            self._singles.append(image_HWC)
        self._num_images += 1

    def close(self) -> tuple[Image, ...] | NDArray[np.uint8]:
        """Return the images; nothing may be appended afterwards."""
        if self._stack is None:
            return tuple(self._singles)
        return self._stack[: self._num_images]
