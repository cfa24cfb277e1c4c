"""Random changes of an image before training, as the built-in algorithm's engine makes them.

Each ``augmentation_type`` adds to the one before: ``crop`` takes a place and a side at random,
``crop_color`` shifts hue, lightness and saturation, ``crop_color_transform`` rotates, shears and
stretches first. What is random comes in as chances, numbers drawn uniformly from [0, 1), so that
an image and its chances fix the result.

Sources: apache/mxnet v1.9 ``src/io/image_aug_default.cc`` (the operations and their order) and
``example/image-classification/common/data.py`` (the fill value); "Image classification
hyperparameters", SageMaker developer guide (the ranges).

Shape suffixes in this file: N = images in memory, B = images in the batch, H = height, W = width,
C = channels, R = bytes of a row, V = values of a pixel; images are uint8 RGB or gray.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from sagemaker_sift.trainer.data.image import Image, crop_center

NUM_CHANCES: dict[str | None, int] = {
    None: 0,
    "crop": 3,
    "crop_color": 9,
    "crop_color_transform": 12,
}
"""How many chances an image needs, by ``augmentation_type``. In order: top, left, flip; two each
for hue, lightness and saturation; shear, angle, aspect."""

MAX_HUE_SHIFT = 36
"""In OpenCV's unit of hue, two degrees."""

MAX_LIGHTNESS_SHIFT = 50
MAX_SATURATION_SHIFT = 50
"""Of 255."""

MAX_ANGLE = 10
"""In degrees; angles are whole."""

MAX_SHEAR = 0.1
"""Pixels to the side for each pixel down."""

MAX_ASPECT_CHANGE = 0.25
"""Of the ratio between the stretch across and the stretch down, which is 1 without change."""

FILL_VALUE = 127
"""What the corners become that a rotation uncovers."""

_SHIFTS = (MAX_HUE_SHIFT, MAX_LIGHTNESS_SHIFT, MAX_SATURATION_SHIFT)
_LIMITS = np.array([180, 255, 255])
_LEVELS = np.arange(256)[:, None]

_LANES = 64
"""Columns that are warped beyond the crop are a multiple of this, so that no pixel changes between
OpenCV's vector and scalar arithmetic, which differ by one level now and then."""


def augment(
    image_HWC: Image,
    height: int,
    width: int,
    *,
    augmentation_type: str | None,
    chances: Sequence[float],
) -> Image:
    """Return what the network is shown of an image.

    Without a type that is the middle; it is neither mirrored nor otherwise changed. The first
    three chances mean the same for every type.

    Args:
        image_HWC: Shape ``(H, W, C)``, uint8, ``H >= height`` and ``W >= width``, with 3 channels
            or 1. A gray image has no hue and no saturation: of the colour shifts it gets that of
            lightness.
        height: Of the crop, in pixels.
        width: Of the crop, in pixels.
        augmentation_type: As the hyperparameter.
        chances: As ``NUM_CHANCES`` says, each in [0, 1); further ones are not read.

    Returns:
        Shape ``(height, width, C)``, uint8; a view of the image if pixels keep their values.

    Example:
        >>> image = np.arange(4, dtype=np.uint8).reshape(1, 4, 1)
        >>> augment(image, 1, 2, augmentation_type="crop", chances=(0, 0.99, 0.2))[0, :, 0]
        array([3, 2], dtype=uint8)
    """
    if augmentation_type is None:
        return crop_center(image_HWC, height, width)
    top = place_crop(chances[0], image_HWC.shape[0], height)
    left = place_crop(chances[1], image_HWC.shape[1], width)
    if augmentation_type == "crop_color_transform":
        image_HWC = warp(
            image_HWC,
            build_transform(image_HWC.shape[0], image_HWC.shape[1], *chances[9:12]),
            bottom=top + height,
            right=left + width,
        )
    crop_HWC = image_HWC[top : top + height, left : left + width]
    if augmentation_type != "crop":
        crop_HWC = shift_colors(crop_HWC, draw_shifts(chances[3:9]))
    return crop_HWC[:, ::-1] if chances[2] < 0.5 else crop_HWC


def place_crop(chance: float, length: int, crop_length: int) -> int:
    """Return where a crop starts; every place at which it fits is equally likely.

    Args:
        chance: In [0, 1).
        length: Of the image along this side, in pixels.
        crop_length: Of the crop, at most as much.

    Example:
        >>> [place_crop(chance, 10, 8) for chance in (0.0, 0.5, 0.99)]
        [0, 1, 2]
    """
    return int(chance * (length - crop_length + 1))


def draw_shifts(chances: Sequence[float]) -> tuple[int, int, int]:
    """Return the shifts of hue, lightness and saturation.

    Each comes from two chances as ``(first + 4 * second) / 5``, whose density is flat between 0.2
    and 0.8 and falls to nothing at 0 and 1, so that extreme shifts are rare. It is then spread
    over the range and cut towards zero.

    Args:
        chances: Six in [0, 1), two for each shift.

    Returns:
        In ``[-36, 36]``, ``[-50, 50]`` and ``[-50, 50]``.

    Example:
        >>> draw_shifts((0, 0, 0.5, 0.5, 0.9, 0.9))
        (-36, 0, 40)
    """
    hue, lightness, saturation = (
        int((first + 4 * second) / 5 * 2 * most - most)
        for first, second, most in zip(chances[0::2], chances[1::2], _SHIFTS, strict=True)
    )
    return hue, lightness, saturation


def shift_colors(image_HWC: Image, shifts: tuple[int, int, int]) -> Image:
    """Return the image with other colours.

    A channel that would leave its range stays at the end of it. So does hue, as in the engine,
    although it is an angle.

    Args:
        image_HWC: Shape ``(H, W, C)``, uint8, with 3 channels or 1.
        shifts: Of hue, in units of two degrees, of lightness and of saturation, of 255. Gray
            images take that of lightness alone.

    Returns:
        Shape ``(H, W, C)``, uint8.

    Example:
        >>> shift_colors(np.full((1, 1, 1), 240, np.uint8), (0, 20, 0)).item()
        255
    """
    table_VC = np.clip(_LEVELS + np.array(shifts), 0, _LIMITS).astype(np.uint8)
    if image_HWC.shape[2] == 1:
        lighter_HWC: Image = table_VC[:, 1][image_HWC]
        return lighter_HWC
    image_HLS = cv2.cvtColor(image_HWC, cv2.COLOR_RGB2HLS)
    shifted_HLS = cv2.LUT(image_HLS, table_VC[None])
    return cv2.cvtColor(shifted_HLS, cv2.COLOR_HLS2RGB).astype(np.uint8, copy=False)


def build_transform(
    height: int, width: int, shear: float, angle: float, aspect: float
) -> NDArray[np.float64]:
    """Return the affine transform of an image about its centre.

    With angle ``t``, shear ``s`` and ratio ``r`` a pixel goes, in coordinates from the centre,
    from ``(x, y)`` to::

        (x * (h cos t - s w sin t) + y * (h sin t + s w cos t), w * (y cos t - x sin t))
        h = 2 / (1 + r),  w = r h

    Args:
        height: Of the image, in pixels.
        width: Of the image, in pixels.
        shear: A chance; ``s`` is uniform in [-0.1, 0.1).
        angle: A chance; ``t`` is a whole number of degrees in [-10, 10], each equally likely.
        aspect: A chance; ``r`` is uniform in [0.75, 1.25).

    Returns:
        From source to target, shape ``(2, 3)``, float64, for columns ``(x, y, 1)``.

    Example:
        >>> build_transform(10, 20, 0.5, 0.5, 0.5).tolist()
        [[1.0, 0.0, 0.0], [-0.0, 1.0, 0.0]]
    """
    degrees = int(angle * (2 * MAX_ANGLE + 1)) - MAX_ANGLE
    s = (2 * shear - 1) * MAX_SHEAR
    ratio = 1 + (2 * aspect - 1) * MAX_ASPECT_CHANGE
    h = 2 / (1 + ratio)
    w = ratio * h
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    linear = np.array(
        [[h * cosine - s * w * sine, h * sine + s * w * cosine], [-w * sine, w * cosine]]
    )
    size = np.array([width, height])
    return np.column_stack([linear, (size - linear @ size) / 2])


def warp(image_HWC: Image, transform: NDArray[np.float64], *, bottom: int, right: int) -> Image:
    """Return the transformed image as far as it is needed; it has the size of the image at most.

    Pixels between others are interpolated bilinearly; those from outside are ``FILL_VALUE``.

    Args:
        image_HWC: Shape ``(H, W, C)``, uint8.
        transform: From source to target, shape ``(2, 3)``.
        bottom: Rows that are needed, at most ``H``.
        right: Columns that are needed, at most ``W``.

    Returns:
        Shape ``(bottom, W', C)``, uint8, with ``right <= W' <= W``.

    Example:
        >>> image = np.arange(6, dtype=np.uint8).reshape(2, 3, 1)
        >>> warp(image, np.array([[1.0, 0, 1], [0, 1, 0]]), bottom=1, right=3)[0, :, 0]
        array([127,   0,   1], dtype=uint8)
    """
    num_columns = min(image_HWC.shape[1], -(-right // _LANES) * _LANES)
    warped = cv2.warpAffine(
        image_HWC,
        transform,
        (num_columns, bottom),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(FILL_VALUE, FILL_VALUE, FILL_VALUE),
    )
    return warped.reshape(bottom, num_columns, image_HWC.shape[2]).astype(np.uint8, copy=False)


def crop_and_flip_batch(
    images_NHWC: NDArray[np.uint8],
    indices: NDArray[np.int64],
    tops: NDArray[np.float64],
    lefts: NDArray[np.float64],
    flips: NDArray[np.float64],
    height: int,
    width: int,
) -> NDArray[np.uint8]:
    """Return what :func:`augment` makes of a batch with ``crop``, without a step for each image.

    Args:
        images_NHWC: Images of one size, shape ``(N, H, W, C)``, uint8, each image's bytes one
            after the other.
        indices: Which of them, shape ``(B,)``.
        tops: The first chance of each, shape ``(B,)``, in [0, 1).
        lefts: The second chance of each.
        flips: The third chance of each.
        height: Of the crop, ``<= H``, in pixels.
        width: Of the crop, ``<= W``, in pixels.

    Returns:
        Shape ``(B, height, width, C)``, uint8, a copy.

    Raises:
        ValueError: If the crop does not fit, or the images do not lie in memory as described.

    Example:
        >>> images = np.arange(8, dtype=np.uint8).reshape(2, 1, 4, 1)
        >>> zero, one = np.zeros(1), np.full(1, 0.99)
        >>> crop_and_flip_batch(images, np.array([1]), zero, one, zero, 1, 2)[0, 0, :, 0]
        array([7, 6], dtype=uint8)
    """
    num_images, image_height, image_width, num_channels = images_NHWC.shape
    if height > image_height or width > image_width:
        raise ValueError(
            f"`images_NHWC` are {image_height} x {image_width} pixels (height x width), but the "
            f"crop is {height} x {width}."
        )
    stride_N, stride_H, stride_W, stride_C = images_NHWC.strides
    if (stride_W, stride_C) != (num_channels, 1):
        raise ValueError(
            f"`images_NHWC` has strides {images_NHWC.strides}, but the bytes of a row must follow "
            "each other. Use numpy.ascontiguousarray."
        )
    num_tops, num_lefts = image_height - height + 1, image_width - width + 1
    windows = np.lib.stride_tricks.as_strided(
        images_NHWC,
        (num_images, num_tops, num_lefts, height, width * num_channels),
        (stride_N, stride_H, stride_W, stride_H, 1),
        writeable=False,
    )
    top_B = (tops * num_tops).astype(np.int64)
    left_B = (lefts * num_lefts).astype(np.int64)
    rows_BHR = windows[indices, top_B, left_B]
    crops_BHWC: NDArray[np.uint8] = rows_BHR.reshape(-1, height, width, num_channels)
    is_flipped_B = flips < 0.5
    crops_BHWC[is_flipped_B] = crops_BHWC[is_flipped_B, :, ::-1]
    return crops_BHWC
