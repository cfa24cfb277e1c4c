"""How many images of a channel could not be read, and when that is too many."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable
from pathlib import Path

from sagemaker_sift.trainer.data.image import TooSmall, Unreadable
from sagemaker_sift.trainer.errors import TrainingError

NUM_NAMED = 5
"""So many unreadable files of a channel are named in the log."""

_LOG = logging.getLogger(__name__)


class UnreadableLedger:
    """Counts the distinct unreadable files of one channel.

    Attributes:
        num_allowed: ``max_fraction`` of the images, rounded up.
    """

    def __init__(self, channel: str, *, num_images: int, max_fraction: float) -> None:
        self.num_allowed = math.ceil(round(max_fraction * num_images, 9))
        self._channel = channel
        self._num_images = num_images
        self._max_fraction = max_fraction
        self._paths: set[Path] = set()

    @property
    def num_unreadable(self) -> int:
        """Number of distinct files recorded so far."""
        return len(self._paths)

    def record(self, found: Iterable[Unreadable]) -> None:
        """Count the files, name the first few in the log.

        Raises:
            TrainingError: If they are more than allowed.
        """
        example = None
        for path, reason in found:
            if path in self._paths:
                continue
            self._paths.add(path)
            example = example or (path, reason)
            if self.num_unreadable <= NUM_NAMED:
                _LOG.warning("Skipping an unreadable image: %s (%s).", path, reason)
        if example and self.num_unreadable > self.num_allowed:
            raise TrainingError(
                f"{self.num_unreadable} of {self._num_images} images in channel "
                f"{self._channel!r} cannot be read, but `max_corrupt_fraction` is "
                f"{self._max_fraction:g}, which allows {self.num_allowed}; one of them is "
                f"{example[0]} ({example[1]}). Replace or remove these files, or raise "
                "max_corrupt_fraction."
            )


def build_too_small_error(
    found: TooSmall, *, image_shape: tuple[int, int, int], resize: int | None
) -> TrainingError:
    """Return the error for an image that is smaller than the network's input."""
    length = max(image_shape[1:])
    shape = ",".join(map(str, image_shape))
    after = "" if resize is None else f" after resize={resize}"
    return TrainingError(
        f"{found.path} is {found.height} x {found.width} pixels (height x width){after}, smaller "
        f"than `image_shape` {shape}. Set resize to {length} or more, use a smaller image_shape, "
        "or remove the image."
    )
