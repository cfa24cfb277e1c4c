"""One image: decode, resize, crop, flip, as the built-in algorithm's engine does.

Source: apache/mxnet v1.9 ``src/io/image_aug_default.cc``: OpenCV's decoder, bilinear resize of
the shorter side without antialiasing, crop, horizontal flip, in this order.

Shape suffixes in this file: H = height, W = width, C = channels; images are uint8 RGB or gray.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]


class Unreadable(NamedTuple):
    """A file that gives no image.

    Attributes:
        path: The file.
        reason: Why, in a few words.
    """

    path: Path
    reason: str


class TooSmall(NamedTuple):
    """An image that the crop does not fit into.

    Attributes:
        path: The file.
        height: In pixels, after resizing.
        width: In pixels, after resizing.
    """

    path: Path
    height: int
    width: int


class Draw(NamedTuple):
    """Which image to take, and the chances of its augmentation.

    Attributes:
        idx: Index of the image in its folder.
        top: Uniform in [0, 1): where the crop starts, from the top.
        left: Uniform in [0, 1): where the crop starts, from the left.
        flip: Uniform in [0, 1): below one half the image is mirrored.
    """

    idx: int
    top: float = 0.0
    left: float = 0.0
    flip: float = 1.0


def read_image(path: Path, *, num_channels: int, resize: int | None) -> Image | Unreadable:
    """Return the decoded image, its shorter side resized.

    The EXIF orientation is ignored. An image with a palette, an alpha channel or 16 bits a channel
    becomes plain 8-bit RGB, or gray if ``num_channels`` is 1.

    Args:
        path: A JPEG or PNG file.
        num_channels: 3 for RGB, 1 for gray.
        resize: Length of the shorter side in pixels, or ``None`` to keep the size.

    Returns:
        Shape ``(H, W, C)``, uint8; or why there is none. A truncated file is unreadable.
    """
    color = cv2.IMREAD_GRAYSCALE if num_channels == 1 else cv2.IMREAD_COLOR_RGB
    try:
        data = np.fromfile(path, dtype=np.uint8)
    except OSError as error:
        return Unreadable(path, error.strerror or str(error))
    if data.size == 0:
        return Unreadable(path, "empty file")
    try:
        decoded = cv2.imdecode(data, color | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        return Unreadable(path, f"refused by the decoder ({error.err})")
    if decoded is None:
        return Unreadable(path, "not a complete JPEG or PNG image")
    image_HWC: Image = decoded.reshape(*decoded.shape[:2], num_channels).astype(np.uint8)
    return image_HWC if resize is None else resize_shorter_side(image_HWC, resize)


def resize_shorter_side(image_HWC: Image, length: int) -> Image:
    """Return the image with its shorter side ``length`` pixels long.

    The longer side becomes ``length * longer // shorter``, so the aspect is kept up to one pixel.

    Args:
        image_HWC: Shape ``(H, W, C)``, uint8.
        length: In pixels, ``>= 1``.

    Returns:
        Shape ``(H', W', C)``, uint8.

    Example:
        >>> resize_shorter_side(np.zeros((20, 30, 3), np.uint8), 10).shape
        (10, 15, 3)
    """
    height, width, num_channels = image_HWC.shape
    if min(height, width) == length:
        return image_HWC
    if height > width:
        size = (length, length * height // width)
    else:
        size = (length * width // height, length)
    resized = cv2.resize(image_HWC, size, interpolation=cv2.INTER_LINEAR)
    return resized.reshape(size[1], size[0], num_channels).astype(np.uint8)


def stretch(image_HWC: Image, height: int, width: int) -> Image:
    """Return the image at another size, its aspect not kept, shape ``(height, width, C)``.

    Example:
        >>> stretch(np.zeros((20, 30, 3), np.uint8), 8, 4).shape
        (8, 4, 3)
    """
    resized = cv2.resize(image_HWC, (width, height), interpolation=cv2.INTER_LINEAR)
    return resized.reshape(height, width, image_HWC.shape[2]).astype(np.uint8)


def has_room(image_HWC: Image, height: int, width: int) -> bool:
    """Return whether a crop of ``height`` by ``width`` pixels fits into the image."""
    return bool(image_HWC.shape[0] >= height and image_HWC.shape[1] >= width)


def crop_center(image_HWC: Image, height: int, width: int) -> Image:
    """Return the middle of the image, shape ``(height, width, C)``.

    An odd margin leaves the extra pixel at the bottom and at the right.

    Example:
        >>> crop_center(np.arange(5, dtype=np.uint8).reshape(5, 1, 1), 2, 1)[:, 0, 0].tolist()
        [1, 2]
    """
    top = (image_HWC.shape[0] - height) // 2
    left = (image_HWC.shape[1] - width) // 2
    return image_HWC[top : top + height, left : left + width]


def crop_and_flip(image_HWC: Image, height: int, width: int, draw: Draw) -> Image:
    """Return a crop at a random place, mirrored left to right half of the time.

    Every place at which the crop fits is equally likely.

    Args:
        image_HWC: Shape ``(H, W, C)``, uint8, ``H >= height`` and ``W >= width``.
        height: Of the crop, in pixels.
        width: Of the crop, in pixels.
        draw: The chances.

    Returns:
        Shape ``(height, width, C)``, uint8, a view of the image.

    Example:
        >>> image = np.arange(4, dtype=np.uint8).reshape(1, 4, 1)
        >>> crop_and_flip(image, 1, 2, Draw(0, left=0.99, flip=0.2))[0, :, 0].tolist()
        [3, 2]
    """
    top = int(draw.top * (image_HWC.shape[0] - height + 1))
    left = int(draw.left * (image_HWC.shape[1] - width + 1))
    crop_HWC = image_HWC[top : top + height, left : left + width]
    return crop_HWC[:, ::-1] if draw.flip < 0.5 else crop_HWC
