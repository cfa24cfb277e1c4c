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

from sagemaker_sift.trainer.data.image_set import Encoded

try:
    import simplejpeg
except ImportError:
    simplejpeg = None

Image = NDArray[np.uint8]
"""Pixels, shape ``(H, W, C)``, uint8, RGB or gray."""

MAX_PIXELS = 1 << 27
"""An image with more pixels, as it is or resized, counts as unreadable: 400 MB of RGB."""

_JPEG_START = b"\xff\xd8"
_PNG_START = b"\x89PNG\r\n\x1a\n"
_FRAME_STARTS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


class Unreadable(NamedTuple):
    """A file or record that gives no image.

    Attributes:
        name: Which one.
        reason: Why, in a few words.
    """

    name: str
    reason: str


class TooSmall(NamedTuple):
    """An image that the crop does not fit into.

    Attributes:
        name: Which file or record.
        height: In pixels, after resizing.
        width: In pixels, after resizing.
    """

    name: str
    height: int
    width: int


def read_image(path: Path, *, num_channels: int, resize: int | None) -> Image | Unreadable:
    """Return the image of a file; see :func:`decode_image`."""
    try:
        data = np.fromfile(path, dtype=np.uint8)
    except OSError as error:
        return Unreadable(str(path), error.strerror or str(error))
    return decode_image(data, name=str(path), num_channels=num_channels, resize=resize)


def decode_image(
    data: Encoded, *, name: str, num_channels: int, resize: int | None
) -> Image | Unreadable:
    """Return a decoded image, its shorter side resized.

    The EXIF orientation is ignored. An image with a palette, an alpha channel or 16 bits a channel
    becomes plain 8-bit RGB, or gray if ``num_channels`` is 1.

    Args:
        data: The bytes of a JPEG or PNG file.
        name: Where they come from, for people.
        num_channels: 3 for RGB, 1 for gray.
        resize: Length of the shorter side in pixels, or ``None`` to keep the size.

    Returns:
        Shape ``(H, W, C)``, uint8; or why there is none. A truncated file is unreadable, and so
        is one that would be larger than ``MAX_PIXELS``.
    """
    if data.size == 0:
        return Unreadable(name, "empty file")
    height, width = read_size(data)
    if height * width > MAX_PIXELS:
        return Unreadable(name, f"{height} x {width} pixels are more than {MAX_PIXELS}")
    try:
        image_HWC = _decode_jpeg(data) if num_channels == 3 else None
        if image_HWC is None:
            image_HWC = _decode_any(data, num_channels)
    except cv2.error as error:
        return Unreadable(name, f"refused by the decoder ({error.err})")
    if image_HWC is None:
        return Unreadable(name, "not a complete JPEG or PNG image")
    if resize is None:
        return image_HWC
    height, width = image_HWC.shape[:2]
    if resize * resize * max(height, width) // min(height, width) > MAX_PIXELS:
        return Unreadable(name, f"{height} x {width} pixels are too elongated to resize")
    return resize_shorter_side(image_HWC, resize)


def read_size(data: Encoded) -> tuple[int, int]:
    """Return the height and width that the header of a file claims, or zeros if it has none.

    Source: PNG specification, section 11.2.2 (IHDR); ITU-T T.81, table B.1 (start of frame).

    Args:
        data: The bytes of a JPEG or PNG file.

    Example:
        >>> read_size(cv2.imencode(".png", np.zeros((3, 5), np.uint8))[1])
        (3, 5)
    """
    view = memoryview(data)  # type: ignore[arg-type]
    if bytes(view[:8]) == _PNG_START:
        return int.from_bytes(view[20:24], "big"), int.from_bytes(view[16:20], "big")
    position = 2 if bytes(view[:2]) == _JPEG_START else len(view)
    while position + 9 <= len(view) and view[position] == 0xFF:
        marker = view[position + 1]
        if marker in _FRAME_STARTS:
            return (
                int.from_bytes(view[position + 5 : position + 7], "big"),
                int.from_bytes(view[position + 7 : position + 9], "big"),
            )
        is_bare = marker == 0x01 or 0xD0 <= marker <= 0xD8
        length = 0 if is_bare else int.from_bytes(view[position + 2 : position + 4], "big")
        position += 1 if marker == 0xFF else 2 + length
    return 0, 0


def _decode_jpeg(data: Encoded) -> Image | None:
    """Return what simplejpeg decodes, the same pixels in less time; ``None`` if it does not."""
    if simplejpeg is None or data[:2].tobytes() != _JPEG_START:
        return None
    try:
        image_HWC: Image = simplejpeg.decode_jpeg(data, colorspace="RGB")
    except ValueError:
        return None
    return image_HWC


def _decode_any(data: Encoded, num_channels: int) -> Image | None:
    color = cv2.IMREAD_GRAYSCALE if num_channels == 1 else cv2.IMREAD_COLOR_RGB
    decoded = cv2.imdecode(data, color | cv2.IMREAD_IGNORE_ORIENTATION)
    if decoded is None:
        return None
    return decoded.reshape(*decoded.shape[:2], num_channels).astype(np.uint8, copy=False)


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
