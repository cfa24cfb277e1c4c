"""Samples by index, and how they become a batch.

Shape suffixes in this file: B = images in the batch, C = channels, H = height, W = width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset

from sagemaker_sift.trainer.data.folder import ImageFolder
from sagemaker_sift.trainer.data.image import (
    Draw,
    Image,
    TooSmall,
    Unreadable,
    crop_and_flip,
    crop_center,
    has_room,
    read_image,
)


class Sample(NamedTuple):
    """One cropped image with its class.

    Attributes:
        image: uint8, shape ``(H, W, C)`` with the height and width of ``image_shape``.
        label: Class index.
    """

    image: Image
    label: int


class RawBatch(NamedTuple):
    """What a worker hands to the main process.

    Attributes:
        images: Shape ``(B, C, H, W)``, uint8; unusable images are left out, so B may be below the
            batch size, or 0.
        labels: Class indices, shape ``(B,)``, int64.
        unreadable: Files that gave no image.
        too_small: Images that the crop does not fit into.
    """

    images: torch.Tensor
    labels: torch.Tensor
    unreadable: tuple[Unreadable, ...]
    too_small: tuple[TooSmall, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageDataset(Dataset["Sample | Unreadable | TooSmall"]):
    """The samples of a channel, from memory or from files.

    Attributes:
        folder: Where the images are.
        image_shape: Channels, height and width of a sample, in pixels.
        resize: Length of the shorter side before the crop, in pixels, or ``None``.
        is_augmented: Whether to crop at random and flip; otherwise the middle is taken.
        images: The decoded (and resized) images, or ``None`` to read files.
    """

    folder: ImageFolder
    image_shape: tuple[int, int, int]
    resize: int | None
    is_augmented: bool
    images: tuple[Image, ...] | None = None

    def __len__(self) -> int:
        return len(self.folder)

    def __getitem__(self, draw: Draw) -> Sample | Unreadable | TooSmall:
        """Return the sample of one draw; it depends on nothing else."""
        num_channels, height, width = self.image_shape
        path = self.folder.paths[draw.idx]
        image_HWC = (
            read_image(path, num_channels=num_channels, resize=self.resize)
            if self.images is None
            else self.images[draw.idx]
        )
        if isinstance(image_HWC, Unreadable):
            return image_HWC
        if not has_room(image_HWC, height, width):
            return TooSmall(path, image_HWC.shape[0], image_HWC.shape[1])
        crop_HWC = (
            crop_and_flip(image_HWC, height, width, draw)
            if self.is_augmented
            else crop_center(image_HWC, height, width)
        )
        return Sample(crop_HWC, self.folder.labels[draw.idx])


def collate(items: list[Sample | Unreadable | TooSmall]) -> RawBatch:
    """Return the usable items as one batch, and the others by kind.

    Example:
        >>> image = np.zeros((4, 4, 3), np.uint8)
        >>> collate([Sample(image, 1), Sample(image, 0)]).images.shape
        torch.Size([2, 3, 4, 4])
    """
    samples = [item for item in items if isinstance(item, Sample)]
    images_BHWC = (
        np.stack([sample.image for sample in samples])
        if samples
        else np.zeros((0, 1, 1, 1), np.uint8)
    )
    return RawBatch(
        images=torch.from_numpy(images_BHWC).permute(0, 3, 1, 2).contiguous(),
        labels=torch.tensor([sample.label for sample in samples], dtype=torch.int64),
        unreadable=tuple(item for item in items if isinstance(item, Unreadable)),
        too_small=tuple(item for item in items if isinstance(item, TooSmall)),
    )
