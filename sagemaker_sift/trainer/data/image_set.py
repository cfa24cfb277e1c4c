"""The images of a channel, whatever form they come in.

Two kinds: an :class:`ImageSet` is known as a whole and read by index, an :class:`ImageStream`
passes by once an epoch. The readers of each form make one of the two.

Shape suffixes in this file: N = images of the channel, K = classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Encoded = NDArray[np.uint8]
"""The bytes of one JPEG or PNG file, shape ``(num_bytes,)``, possibly read-only."""

Labels = NDArray[np.int64] | NDArray[np.uint8]
"""Class indices, int64, shape ``(N,)``; or with ``multi_label`` 0 and 1, uint8, ``(N, K)``."""


class ImageReader(Protocol):
    """Encoded images by index. A copy for another process opens its own files."""

    def __len__(self) -> int:
        """Return the number of images."""
        ...

    def read(self, idx: int) -> Encoded:
        """Return the bytes of one image.

        Raises:
            OSError: If they cannot be read.
            ValueError: If the place where they should be holds something else.
        """
        ...

    def name(self, idx: int) -> str:
        """Return where the image comes from, for people: ``.../a.jpg``, ``x.rec record 7``.

        Records are counted from 0.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSet:
    """Images that can be read in any order.

    Attributes:
        channel: Name of the channel, for messages.
        classes: Class names; a label is an index into them.
        reader: The encoded images.
        labels: As long as ``reader``.
    """

    channel: str
    classes: tuple[str, ...]
    reader: ImageReader
    labels: Labels

    def __len__(self) -> int:
        return len(self.reader)

    def select(self, indices: Sequence[int]) -> ImageSet:
        """Return a set of only the images at ``indices``, in that order."""
        chosen = np.asarray(indices, dtype=np.int64)
        return ImageSet(
            channel=self.channel,
            classes=self.classes,
            reader=SelectedImages(self.reader, chosen),
            labels=self.labels[chosen],
        )


class SelectedImages:
    """Some images of another reader."""

    def __init__(self, reader: ImageReader, indices: NDArray[np.int64]) -> None:
        self._reader = reader
        self._indices = indices

    def __len__(self) -> int:
        return len(self._indices)

    def read(self, idx: int) -> Encoded:
        """Return the bytes of one of the chosen images."""
        return self._reader.read(int(self._indices[idx]))

    def name(self, idx: int) -> str:
        """Return where one of the chosen images comes from."""
        return self._reader.name(int(self._indices[idx]))


class Record(NamedTuple):
    """One image as it passes by.

    Attributes:
        name: Where it comes from: ``train_0 record 17``, counted from 0.
        data: The encoded image.
        label: Class index, or with ``multi_label`` 0 and 1, uint8, shape ``(K,)``.
    """

    name: str
    data: Encoded
    label: int | NDArray[np.uint8]


class ImageStream(Protocol):
    """Images that pass by once an epoch (Pipe mode).

    Attributes:
        channel: Name of the channel, for messages.
        classes: Class names; a label is an index into them.
    """

    channel: str
    classes: tuple[str, ...]

    def records(self, number: int) -> Iterator[Record]:
        """Yield the records of a pipe as they arrive; closing the iterator closes the pipe.

        Args:
            number: Of the pipe: 0 for the first one that the job opens.

        Raises:
            TrainingError: If the pipe never appears, or holds something else.
        """
        ...
