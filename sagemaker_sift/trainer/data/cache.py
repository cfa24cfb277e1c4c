"""Small image sets, decoded once and kept in memory."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from sagemaker_sift.trainer.data.folder import ImageFolder
from sagemaker_sift.trainer.data.image import Image, Unreadable, read_image

NUM_PROBES = 32
"""Images that are decoded to estimate the size of the whole set."""

_CHUNK = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodedFolder:
    """A folder whose images lie in memory.

    Attributes:
        folder: The readable images only.
        images: Shape ``(H, W, C)`` each, uint8, as long as ``folder``; sizes may differ.
        unreadable: The files that gave no image.
        size_bytes: Memory that the images take.
    """

    folder: ImageFolder
    images: tuple[Image, ...]
    unreadable: tuple[Unreadable, ...]
    size_bytes: int


def decode_folder(
    folder: ImageFolder,
    *,
    num_channels: int,
    resize: int | None,
    budget_bytes: int,
    num_threads: int,
    is_stopping: Callable[[], bool],
) -> DecodedFolder | None:
    """Return the decoded images, or ``None`` if they would not fit.

    A few images spread over the folder are decoded first, and if their mean size says that the
    whole does not fit, nothing else is.

    Args:
        folder: What to decode.
        num_channels: 3 for RGB, 1 for gray.
        resize: Length of the shorter side in pixels, or ``None``.
        budget_bytes: Memory that the images may take.
        num_threads: Threads that decode, ``>= 1``; OpenCV releases the interpreter lock.
        is_stopping: Asked now and then; decoding ends early with ``None`` when it says so.
    """
    read = partial(read_image, num_channels=num_channels, resize=resize)
    step = max(1, len(folder) // NUM_PROBES)
    probes = [read(path) for path in folder.paths[::step]]
    sizes = [probe.nbytes for probe in probes if not isinstance(probe, Unreadable)]
    if sizes and sum(sizes) / len(sizes) * len(folder) > budget_bytes:
        return None
    images: list[Image] = []
    indices: list[int] = []
    unreadable: list[Unreadable] = []
    size_bytes = 0
    with ThreadPoolExecutor(num_threads) as pool:
        for start in range(0, len(folder), _CHUNK):
            if is_stopping() or size_bytes > budget_bytes:
                return None
            chunk = folder.paths[start : start + _CHUNK]
            for idx, result in enumerate(pool.map(read, chunk), start):
                if isinstance(result, Unreadable):
                    unreadable.append(result)
                    continue
                images.append(result)
                indices.append(idx)
                size_bytes += result.nbytes
    return DecodedFolder(
        folder=folder.select(indices),
        images=tuple(images),
        unreadable=tuple(unreadable),
        size_bytes=size_bytes,
    )
