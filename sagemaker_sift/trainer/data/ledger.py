"""How many images of a channel could not be read, and when that is too many."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable

from sagemaker_sift.trainer.data.image import TooSmall, Unreadable
from sagemaker_sift.trainer.errors import TrainingError
from sagemaker_sift.trainer.ranks import Ranks

NUM_NAMED = 5
"""So many unreadable images of a channel are named in the log."""

_LOG = logging.getLogger(__name__)


class UnreadableLedger:
    """Counts the distinct unreadable images of one channel.

    Attributes:
        num_allowed: ``max_fraction`` of the images, rounded up.
    """

    def __init__(self, channel: str, *, num_images: int, max_fraction: float) -> None:
        self.num_allowed = math.ceil(round(max_fraction * num_images, 9))
        self._channel = channel
        self._num_images = num_images
        self._max_fraction = max_fraction
        self._names: dict[str, str] = {}

    @property
    def num_unreadable(self) -> int:
        """Number of distinct images recorded so far."""
        return len(self._names)

    def record(self, found: Iterable[Unreadable]) -> None:
        """Count the images, name the first few in the log.

        Raises:
            TrainingError: If they are more than allowed.
        """
        example = None
        for name, reason in found:
            if name in self._names:
                continue
            self._names[name] = reason
            example = example or (name, reason)
            if self.num_unreadable <= NUM_NAMED:
                shown = name if name.isprintable() else repr(name)  # a line is a line
                _LOG.warning("Skipping an unreadable image: %s (%s).", shown, reason)
        if example and self.num_unreadable > self.num_allowed:
            raise TrainingError(
                f"{self.num_unreadable} of {self._num_images} images in channel "
                f"{self._channel!r} cannot be read, but `max_corrupt_fraction` is "
                f"{self._max_fraction:g}, which allows {self.num_allowed}; one of them is "
                f"{example[0]} ({example[1]}). Replace or remove these files, or raise "
                "max_corrupt_fraction."
            )

    def report(self) -> None:
        """Log how many images were skipped, if any were."""
        if self._names:
            _LOG.warning(
                "Skipped %d unreadable images of channel %r.", self.num_unreadable, self._channel
            )

    def settle(self, ranks: Ranks) -> None:
        """Count together what each rank has met; all ranks call it together.

        Raises:
            TrainingError: If they are more than allowed, taken together.
        """
        if not ranks.are_many:
            return
        own = [Unreadable(name, reason) for name, reason in self._names.items()]
        everywhere = ranks.share(ranks.gather(own))
        self.record(found for part in everywhere for found in part)


def build_too_small_error(
    found: TooSmall, *, image_shape: tuple[int, int, int], resize: int | None
) -> TrainingError:
    """Return the error for an image that is smaller than the network's input."""
    length = max(image_shape[1:])
    shape = ",".join(map(str, image_shape))
    after = "" if resize is None else f" after resize={resize}"
    return TrainingError(
        f"{found.name} is {found.height} x {found.width} pixels (height x width){after}, smaller "
        f"than `image_shape` {shape}. Set resize to {length} or more, use a smaller image_shape, "
        "or remove the image."
    )
