"""Images for the benchmarks, as arrays in memory: generated ones, or folders of one class each.

Shape suffixes in this file: N = images, C = channels, H = height, W = width.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch

SIDE = 32
"""Pixels of a stored image; training takes crops of ``CROP``."""

CROP = 28


@dataclass(frozen=True)
class ImageSet:
    """A data set, split.

    Attributes:
        name: Of the set.
        train_images: uint8, shape ``(N, 3, SIDE, SIDE)``.
        train_labels: int64, shape ``(N,)``.
        test_images: As the training images.
        test_labels: As the training labels.
    """

    name: str
    train_images: torch.Tensor
    train_labels: torch.Tensor
    test_images: torch.Tensor
    test_labels: torch.Tensor

    @property
    def num_classes(self) -> int:
        """How many classes there are."""
        return int(self.train_labels.max()) + 1


def read_folders(folder: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the images of one folder a class, resized to ``SIDE``, and their labels."""
    images, labels = [], []
    for label, class_folder in enumerate(sorted(p for p in folder.iterdir() if p.is_dir())):
        for file in sorted(class_folder.iterdir()):
            image_HWC = cv2.imread(str(file))
            if image_HWC is None:
                continue
            if image_HWC.shape[:2] != (SIDE, SIDE):
                image_HWC = cv2.resize(image_HWC, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
            images.append(cv2.cvtColor(image_HWC, cv2.COLOR_BGR2RGB).transpose(2, 0, 1))
            labels.append(label)
    return torch.from_numpy(np.stack(images)), torch.tensor(labels)


def read_sign_digits(data: Path) -> ImageSet:
    """Return hand signs of ten digits: every fifth image of each class is for testing."""
    images, labels = read_folders(data / "sign-digits")
    place = torch.cat([torch.arange(int(count)) for count in labels.bincount()])
    is_test = place % 5 == 4
    return ImageSet(
        "sign-digits", images[~is_test], labels[~is_test], images[is_test], labels[is_test]
    )


def read_cifar10(data: Path, num_training: int) -> ImageSet:
    """Return CIFAR-10 as JPEG, the same number of training images of every class."""
    images, labels = read_folders(data / "train")
    num_of_class = num_training // 10
    place = torch.cat([torch.arange(int(count)) for count in labels.bincount()])
    chosen = place < num_of_class
    name = f"CIFAR-10 as JPEG, {int(chosen.sum()):,} images"
    return ImageSet(name, images[chosen], labels[chosen], *read_folders(data / "test"))


def generate(num_training: int = 512, num_testing: int = 256, seed: int = 0) -> ImageSet:
    """Return images of four classes: a bright square in one corner, under noise."""
    generator = torch.Generator().manual_seed(seed)
    num_images = num_training + num_testing
    labels = torch.randint(0, 4, (num_images,), generator=generator)
    images = torch.randint(0, 160, (num_images, 3, SIDE, SIDE), generator=generator)
    half = SIDE // 2
    for corner in range(4):
        rows = slice(half * (corner // 2), half * (corner // 2) + half)
        columns = slice(half * (corner % 2), half * (corner % 2) + half)
        images[labels == corner, :, rows, columns] += 60
    images = images.to(torch.uint8)
    return ImageSet(
        "generated corners",
        images[:num_training],
        labels[:num_training],
        images[num_training:],
        labels[num_training:],
    )
