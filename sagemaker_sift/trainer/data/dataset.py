"""Samples by index, a batch at a time.

Shape suffixes in this file: N = images of the channel, B = images in the batch, C = channels,
H = height, W = width, K = classes, M = chances of a sample.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from sagemaker_sift.trainer.data.augmentation import augment, crop_and_flip_batch
from sagemaker_sift.trainer.data.image import (
    Image,
    TooSmall,
    Unreadable,
    decode_image,
    has_room,
)
from sagemaker_sift.trainer.data.image_set import ImageSet


class Draws(NamedTuple):
    """Which images a batch takes, and the chances of their augmentation.

    Attributes:
        indices: Of the images in their set, shape ``(B,)``, int64.
        chances: Uniform in [0, 1), shape ``(B, M)``, float64.
    """

    indices: NDArray[np.int64]
    chances: NDArray[np.float64]


class RawBatch(NamedTuple):
    """What a worker hands to the main process.

    Attributes:
        images: Shape ``(B, C, H, W)``, uint8; unusable images are left out, so B may be below the
            batch size, or 0.
        labels: Class indices, int64, shape ``(B,)``; with ``multi_label`` uint8, ``(B, K)``.
        indices: Of these images in their set, int64, shape ``(B,)``; None where they have none.
        unreadable: Images that could not be decoded.
        too_small: Images that the crop does not fit into.
    """

    images: torch.Tensor
    labels: torch.Tensor
    indices: torch.Tensor | None = None
    unreadable: tuple[Unreadable, ...] = ()
    too_small: tuple[TooSmall, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageDataset(Dataset[RawBatch]):
    """The samples of a channel, from memory or from files.

    Attributes:
        source: Where the images are.
        image_shape: Channels, height and width of a sample, in pixels.
        resize: Length of the shorter side before the crop, in pixels, or ``None``.
        augmentation_type: As the hyperparameter; ``None`` takes the middle.
        decoded: The decoded (and resized) images, each ``(H, W, C)`` or all of one size as
            ``(N, H, W, C)``; ``None`` to read and decode them each time.
    """

    source: ImageSet
    image_shape: tuple[int, int, int]
    resize: int | None
    augmentation_type: str | None
    decoded: tuple[Image, ...] | NDArray[np.uint8] | None = None

    def __len__(self) -> int:
        return len(self.source)

    def __getitems__(self, draws: Draws) -> RawBatch:
        """Return the batch of one draw; it depends on nothing else."""
        labels = torch.from_numpy(self.source.labels[draws.indices])
        indices = torch.from_numpy(draws.indices)
        if isinstance(self.decoded, np.ndarray) and self.augmentation_type in {None, "crop"}:
            return RawBatch(self._crop_together(self.decoded, draws), labels, indices)
        found = [
            self._sample(int(idx), chances)
            for idx, chances in zip(draws.indices, draws.chances, strict=True)
        ]
        usable = [place for place, item in enumerate(found) if isinstance(item, np.ndarray)]
        return RawBatch(
            images=_stack([found[place] for place in usable], self.image_shape),
            labels=labels[usable],
            indices=indices[usable],
            unreadable=tuple(item for item in found if isinstance(item, Unreadable)),
            too_small=tuple(item for item in found if isinstance(item, TooSmall)),
        )

    def _sample(self, idx: int, chances: NDArray[np.float64]) -> Image | Unreadable | TooSmall:
        image_HWC = self._decode(idx) if self.decoded is None else self.decoded[idx]
        if isinstance(image_HWC, Unreadable):
            return image_HWC
        _, height, width = self.image_shape
        if not has_room(image_HWC, height, width):
            name = self.source.reader.name(idx)
            return TooSmall(name, image_HWC.shape[0], image_HWC.shape[1])
        return augment(
            image_HWC,
            height,
            width,
            augmentation_type=self.augmentation_type,
            chances=chances.tolist(),
        )

    def _decode(self, idx: int) -> Image | Unreadable:
        return read_encoded(self.source, idx, num_channels=self.image_shape[0], resize=self.resize)

    def _crop_together(self, images_NHWC: NDArray[np.uint8], draws: Draws) -> torch.Tensor:
        """Return the crops of a batch, with no Python step an image."""
        _, height, width = self.image_shape
        if self.augmentation_type is None:
            top = (images_NHWC.shape[1] - height) // 2
            left = (images_NHWC.shape[2] - width) // 2
            middle_NHWC = images_NHWC[:, top : top + height, left : left + width]
            images_BHWC = middle_NHWC[draws.indices]
        else:
            tops, lefts, flips = draws.chances[:, :3].T
            images_BHWC = crop_and_flip_batch(
                images_NHWC, draws.indices, tops, lefts, flips, height, width
            )
        return _to_channels_first(images_BHWC)


def read_encoded(
    source: ImageSet, idx: int, *, num_channels: int, resize: int | None
) -> Image | Unreadable:
    """Return one image of a set, decoded and resized, or why there is none."""
    name = source.reader.name(idx)
    try:
        data = source.reader.read(idx)
    except OSError as error:
        return Unreadable(name, error.strerror or str(error))
    except ValueError as error:
        return Unreadable(name, str(error))
    return decode_image(data, name=name, num_channels=num_channels, resize=resize)


def collate(batch: RawBatch) -> RawBatch:
    """Return the batch: the dataset has put it together."""
    return batch


def _stack(
    images: list[Image | Unreadable | TooSmall], shape: tuple[int, int, int]
) -> torch.Tensor:
    if not images:
        return torch.empty((0, *shape), dtype=torch.uint8)
    return _to_channels_first(np.stack([np.asarray(image) for image in images]))


def _to_channels_first(images_BHWC: NDArray[np.uint8]) -> torch.Tensor:
    """Return ``(B, C, H, W)``, a view: channels stay last in memory, as the network wants them."""
    return torch.from_numpy(np.ascontiguousarray(images_BHWC)).permute(0, 3, 1, 2)
