import struct
from pathlib import Path

import cv2
import numpy as np
import pytest

from sagemaker_sift.trainer.data import image
from sagemaker_sift.trainer.data.image import (
    Unreadable,
    crop_center,
    decode_image,
    read_image,
    resize_shorter_side,
)
from tests.supports.trainer_data import write_image


def gradient(height: int, width: int) -> np.ndarray:
    rows, columns = np.mgrid[0:height, 0:width]
    return np.stack([rows, columns, rows + columns], axis=2).astype(np.uint8)


def read(path: Path, *, num_channels: int = 3, resize: int | None = None) -> np.ndarray:
    image_HWC = read_image(path, num_channels=num_channels, resize=resize)
    assert not isinstance(image_HWC, Unreadable), image_HWC
    return image_HWC


def test_a_png_is_read_as_rgb_pixel_for_pixel(tmp_path: Path) -> None:
    image_HWC = gradient(5, 7)
    assert np.array_equal(read(write_image(tmp_path / "x.png", image_HWC)), image_HWC)


def test_one_channel_gives_gray(tmp_path: Path) -> None:
    path = write_image(tmp_path / "x.png", np.full((4, 6, 3), 90, np.uint8))
    gray_HWC = read(path, num_channels=1)
    assert gray_HWC.shape == (4, 6, 1)
    assert set(gray_HWC.flatten().tolist()) == {90}


def test_transparency_and_16_bits_become_8_bit_rgb(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "alpha.png"), np.full((4, 4, 4), 10, np.uint8))
    cv2.imwrite(str(tmp_path / "deep.png"), np.full((4, 4), 10 * 257, np.uint16))
    for name in ("alpha.png", "deep.png"):
        image_HWC = read(tmp_path / name)
        assert image_HWC.dtype == np.uint8
        assert image_HWC.shape == (4, 4, 3)


def test_the_exif_orientation_is_ignored(tmp_path: Path) -> None:
    jpeg = write_image(tmp_path / "x.jpg", gradient(8, 20)).read_bytes()
    tiff = b"MM\x00\x2a\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00\x06\x00\x00"
    exif = b"Exif\x00\x00" + tiff + b"\x00\x00\x00\x00"
    segment = b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif
    (tmp_path / "turned.jpg").write_bytes(jpeg[:2] + segment + jpeg[2:])
    turned = cv2.imread(str(tmp_path / "turned.jpg"), cv2.IMREAD_COLOR)
    assert turned.shape == (20, 8, 3)
    assert read(tmp_path / "turned.jpg").shape == (8, 20, 3)


@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.5, 0.95])
@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_a_truncated_image_is_unreadable(tmp_path: Path, suffix: str, fraction: float) -> None:
    path = write_image(tmp_path / f"x{suffix}", gradient(40, 60))
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * fraction)])
    result = read_image(path, num_channels=3, resize=None)
    assert isinstance(result, Unreadable)
    assert result.name == str(path)


def test_a_text_file_and_a_missing_file_are_unreadable(tmp_path: Path) -> None:
    (tmp_path / "x.jpg").write_text("this is no image" * 100)
    for name in ("x.jpg", "missing.jpg"):
        assert isinstance(read_image(tmp_path / name, num_channels=3, resize=None), Unreadable)


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [(20, 30, (10, 15)), (30, 20, (15, 10)), (333, 500, (10, 15)), (7, 5, (14, 10))],
)
def test_the_shorter_side_is_resized_and_the_longer_truncated(
    tmp_path: Path, height: int, width: int, expected: tuple[int, int]
) -> None:
    path = write_image(tmp_path / "x.png", np.zeros((height, width, 3), np.uint8))
    assert read(path, resize=10).shape == (*expected, 3)


def test_resizing_is_bilinear_without_antialiasing() -> None:
    image_HWC = np.zeros((4, 4, 1), np.uint8)
    image_HWC[:, 0] = 200
    assert resize_shorter_side(image_HWC, 2)[0, :, 0].tolist() == [100, 0]
    assert resize_shorter_side(image_HWC, 1)[0, :, 0].tolist() == [0]


def test_the_centre_crop_is_in_the_middle() -> None:
    crop_HWC = crop_center(gradient(10, 13), 4, 4)
    assert crop_HWC[0, 0].tolist() == [3, 4, 7]


def test_an_image_whose_sides_are_too_unequal_to_resize_is_unreadable() -> None:
    is_encoded, data = cv2.imencode(".png", np.zeros((1, 60_000, 3), np.uint8))
    assert is_encoded
    result = decode_image(data, name="thin", num_channels=3, resize=224)
    assert result == Unreadable("thin", "1 x 60000 pixels are too elongated to resize")
    whole = decode_image(data, name="thin", num_channels=3, resize=None)
    assert not isinstance(whole, Unreadable)


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_a_header_that_claims_too_many_pixels_is_not_believed(suffix: str) -> None:
    _, encoded = cv2.imencode(suffix, gradient(40, 60))
    assert image.read_size(encoded) == (40, 60)
    old, new = (
        (struct.pack(">HH", 40, 60), struct.pack(">HH", 65500, 65500))
        if suffix == ".jpg"
        else (struct.pack(">II", 60, 40), struct.pack(">II", 65500, 65500))
    )
    data = np.frombuffer(encoded.tobytes().replace(old, new, 1), np.uint8)
    result = decode_image(data, name="x", num_channels=3, resize=None)
    assert result == Unreadable("x", "65500 x 65500 pixels are more than 134217728")


@pytest.mark.parametrize("quality", [30, 95])
@pytest.mark.parametrize("sampling", [cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420, None])
def test_the_faster_decoder_gives_the_same_pixels(
    monkeypatch: pytest.MonkeyPatch, quality: int, sampling: int | None
) -> None:
    assert image.simplejpeg is not None
    options = [cv2.IMWRITE_JPEG_QUALITY, quality]
    if sampling is not None:
        options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling]
    noise_HWC = np.random.default_rng(3).integers(0, 256, (45, 61, 3), dtype=np.uint8)
    _, data = cv2.imencode(".jpg", cv2.GaussianBlur(noise_HWC, (5, 5), 0), options)
    fast = decode_image(data, name="x", num_channels=3, resize=None)
    monkeypatch.setattr(image, "simplejpeg", None)
    plain = decode_image(data, name="x", num_channels=3, resize=None)
    assert np.array_equal(np.asarray(fast), np.asarray(plain))
