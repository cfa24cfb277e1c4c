"""Images that lie in files of their own."""

from __future__ import annotations

import os
from collections.abc import Iterable

import numpy as np

from sagemaker_sift.trainer.data.image_set import Encoded


class ImageFiles:
    """One file an image; an :class:`~sagemaker_sift.trainer.data.image_set.ImageReader`.

    The paths are packed into one block of bytes, so that a million of them cost their length,
    and processes that decode share it.

    Args:
        paths: Regular files. Nothing is opened before it is read.

    Example:
        >>> ImageFiles(["a.jpg", "b/c.png"]).name(1)
        'b/c.png'
    """

    def __init__(self, paths: Iterable[str | os.PathLike[str]]) -> None:
        encoded = [os.fsencode(path) for path in paths]
        self._ends = np.cumsum([len(path) for path in encoded], dtype=np.int64)
        self._bytes = b"".join(encoded)

    def __len__(self) -> int:
        return len(self._ends)

    def read(self, idx: int) -> Encoded:
        """Return the bytes of one file, shape ``(num_bytes,)``.

        Raises:
            OSError: If it cannot be read.
        """
        return np.fromfile(self.name(idx), dtype=np.uint8)

    def name(self, idx: int) -> str:
        """Return the path of one file."""
        if not 0 <= idx < len(self):
            raise IndexError(f"There is no image {idx}: there are {len(self)}.")
        start = int(self._ends[idx - 1]) if idx else 0
        return os.fsdecode(self._bytes[start : int(self._ends[idx])])
