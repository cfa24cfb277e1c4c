"""What each augmentation_type does to an image, against the engine's formulas."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from sagemaker_sift.trainer.data.augmentation import (
    FILL_VALUE,
    NUM_CHANCES,
    augment,
    build_transform,
    crop_and_flip_batch,
    draw_shifts,
    shift_colors,
    warp,
)

Image = NDArray[np.uint8]

ALMOST_1 = np.nextafter(1.0, 0.0)
MIDDLE = (0.5,) * 9
"""Chances of no shift of colours and no transform."""


def make_photo(height: int, width: int, num_channels: int = 3, seed: int = 0) -> Image:
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, num_channels))
    return cv2.GaussianBlur(noise.astype(np.uint8), (5, 5), 0).reshape(noise.shape)


def position_of(image_HWC: Image) -> list[int]:
    return image_HWC[0, 0].tolist()


def positions(height: int, width: int) -> Image:
    rows, columns = np.mgrid[0:height, 0:width]
    return np.stack([rows, columns, np.zeros_like(rows)], axis=2).astype(np.uint8)


def test_unset_takes_the_middle_and_needs_no_chances() -> None:
    crop_HWC = augment(positions(10, 13), 4, 4, augmentation_type=None, chances=())
    assert position_of(crop_HWC) == [3, 4, 0]
    assert (crop_HWC[:, -1, 1] > crop_HWC[:, 0, 1]).all()


@pytest.mark.parametrize("augmentation_type", ["crop", "crop_color", "crop_color_transform"])
@pytest.mark.parametrize("num_channels", [1, 3])
def test_chances_in_the_middle_leave_colours_and_form_alone(
    augmentation_type: str, num_channels: int
) -> None:
    # The way to hue and back costs grays nothing.
    image_HWC = np.repeat(make_photo(30, 40, 1), num_channels, axis=2)
    for place, start in ((0.0, (0, 0)), (0.5, (3, 6)), (ALMOST_1, (6, 12))):
        changed_HWC = augment(
            image_HWC, 24, 28, augmentation_type=augmentation_type, chances=(place, place, *MIDDLE,
            0.5),
        )  # fmt: skip
        expected_HWC = image_HWC[start[0] : start[0] + 24, start[1] : start[1] + 28]
        assert np.array_equal(changed_HWC, expected_HWC)


@pytest.mark.parametrize("augmentation_type", ["crop", "crop_color", "crop_color_transform"])
def test_an_image_is_mirrored_below_one_half_only(augmentation_type: str) -> None:
    image_HWC = np.repeat(make_photo(8, 9, 1), 3, axis=2)
    rest = (0.5,) * 9
    kept_HWC, mirrored_HWC = (
        augment(image_HWC, 8, 9, augmentation_type=augmentation_type, chances=(0, 0, flip, *rest))
        for flip in (0.5, np.nextafter(0.5, 0.0))
    )
    assert np.array_equal(kept_HWC, image_HWC)
    assert np.array_equal(mirrored_HWC, image_HWC[:, ::-1])


def test_every_place_is_equally_likely() -> None:
    chances = np.random.default_rng(3).random((20000, 2))
    starts = [
        position_of(augment(positions(6, 5), 4, 4, augmentation_type="crop", chances=(*c, 1)))
        for c in chances.tolist()
    ]
    tops, lefts = np.array(starts)[:, 0], np.array(starts)[:, 1]
    assert (np.bincount(tops) / 20000).tolist() == pytest.approx([1 / 3] * 3, abs=0.02)
    assert (np.bincount(lefts) / 20000).tolist() == pytest.approx([1 / 2] * 2, abs=0.02)


def test_colour_shifts_reach_their_published_limits_and_go_no_further() -> None:
    assert draw_shifts((0,) * 6) == (-36, -50, -50)
    assert draw_shifts((1,) * 6) == (36, 50, 50)
    chances = np.random.default_rng(4).random((50000, 6)).tolist()
    hue, lightness, saturation = np.array([draw_shifts(chance) for chance in chances]).T
    for shifts, most in ((hue, 36), (lightness, 50), (saturation, 50)):
        assert 0.97 * most < shifts.max() <= most
        assert -most <= shifts.min() < -0.97 * most


def test_small_shifts_are_likelier_than_large_ones() -> None:
    """The deviation of (u + 4 v) / 5 is sqrt(17 / 300) of the range, 0.238; 0.289 if uniform."""
    chances = np.random.default_rng(5).random((50000, 6)).tolist()
    shifts_N3 = np.array([draw_shifts(chance) for chance in chances])
    assert shifts_N3.mean(axis=0) == pytest.approx([0, 0, 0], abs=0.4)
    deviation = shifts_N3.std(axis=0) / np.array([72, 100, 100])
    assert deviation == pytest.approx([math.sqrt(17 / 300)] * 3, rel=0.03)
    tails = (np.abs(shifts_N3) > np.array([36, 50, 50]) * 0.8).mean(axis=0)
    assert tails == pytest.approx([2 * 3.125 * 0.01] * 3, abs=0.02)
    in_zero, in_one = (shifts_N3 == 0).sum(), (shifts_N3 == 1).sum()
    assert in_zero == pytest.approx(2 * in_one, rel=0.1)  # cut towards zero


def test_each_shift_has_chances_of_its_own() -> None:
    moved = [
        draw_shifts([0.9 if idx in {k, k + 1} else 0.5 for idx in range(6)]) for k in (0, 2, 4)
    ]
    assert moved == [(28, 0, 0), (0, 40, 0), (0, 0, 40)]
    assert draw_shifts((0.9, 0.5, 0.5, 0.9, 0.5, 0.5)) == (5, 32, 0)


@pytest.mark.parametrize(
    ("color", "shifts", "expected"),
    [
        ((255, 0, 0), (30, 0, 0), (255, 255, 0)),
        ((255, 0, 0), (-30, 0, 0), (255, 0, 0)),  # hue stays at its lower end
        ((255, 0, 128), (36, 0, 0), (255, 0, 0)),  # and at its upper end
        ((100, 100, 100), (20, 40, 0), (140, 140, 140)),
        ((100, 100, 100), (0, -50, 0), (50, 50, 50)),
        ((240, 240, 240), (0, 50, 0), (255, 255, 255)),
        ((20, 20, 20), (0, -50, 0), (0, 0, 0)),
        ((160, 96, 96), (0, 0, 50), (187, 69, 69)),
        ((255, 0, 0), (0, 0, 50), (255, 0, 0)),  # saturation stays at its upper end
        ((140, 120, 120), (0, 0, -50), (130, 130, 130)),
    ],
)
def test_colours_become_what_they_should(
    color: tuple[int, int, int], shifts: tuple[int, int, int], expected: tuple[int, int, int]
) -> None:
    image_HWC = np.full((2, 2, 3), color, np.uint8)
    assert shift_colors(image_HWC, shifts)[0, 0].tolist() == pytest.approx(expected, abs=3)


@pytest.mark.parametrize("shifts", [(36, 50, 50), (-36, -50, -50), (7, -30, 44), (-20, 11, -3)])
def test_colours_are_shifted_as_the_engine_does_pixel_by_pixel(
    shifts: tuple[int, int, int],
) -> None:
    image_HWC = make_photo(20, 30)
    values = cv2.cvtColor(image_HWC, cv2.COLOR_RGB2HLS).astype(int)
    for channel, (shift, limit) in enumerate(zip(shifts, (180, 255, 255), strict=True)):
        values[:, :, channel] = np.maximum(0, np.minimum(limit, values[:, :, channel] + shift))
    expected_HWC = cv2.cvtColor(values.astype(np.uint8), cv2.COLOR_HLS2RGB)
    assert np.array_equal(shift_colors(image_HWC, shifts), expected_HWC)


def test_a_gray_image_gets_the_shift_of_lightness_alone() -> None:
    image_HWC = make_photo(6, 7, 1)
    image_HWC[0, 0], image_HWC[0, 1] = 250, 3
    expected_HWC = np.clip(image_HWC.astype(int) - 20, 0, 255)
    assert np.array_equal(shift_colors(image_HWC, (36, -20, 50)), expected_HWC)
    as_rgb_HWC = shift_colors(np.repeat(image_HWC, 3, axis=2), (0, -20, 0))
    assert np.array_equal(as_rgb_HWC[:, :, :1], expected_HWC)


def engine_transform(
    height: int, width: int, *, s: float, angle: int, ratio: float
) -> NDArray[np.float64]:
    """The matrix as the engine's source builds it, entry by entry."""
    a, b = math.cos(angle / 180 * math.pi), math.sin(angle / 180 * math.pi)
    hs = 2 / (1 + ratio)
    ws = ratio * hs
    m = np.zeros((2, 3))
    m[0, 0], m[1, 0] = hs * a - s * b * ws, -b * ws
    m[0, 1], m[1, 1] = hs * b + s * a * ws, a * ws
    m[0, 2] = (width - (m[0, 0] * width + m[0, 1] * height)) / 2
    m[1, 2] = (height - (m[1, 0] * width + m[1, 1] * height)) / 2
    return m


@pytest.mark.parametrize(
    ("chances", "s", "angle", "ratio"),
    [
        ((0.5, 0.5, 0.5), 0.0, 0, 1.0),
        ((0.0, 0.5, 0.5), -0.1, 0, 1.0),
        ((ALMOST_1, 0.5, 0.5), 0.1, 0, 1.0),
        ((0.5, 0.0, 0.5), 0.0, -10, 1.0),
        ((0.5, ALMOST_1, 0.5), 0.0, 10, 1.0),
        ((0.5, 0.5, 0.0), 0.0, 0, 0.75),
        ((0.5, 0.5, ALMOST_1), 0.0, 0, 1.25),
        ((0.25, 0.1, 0.9), -0.05, -8, 1.2),
    ],
)
def test_the_transform_is_the_engines_within_the_published_limits(
    chances: tuple[float, float, float], s: float, angle: int, ratio: float
) -> None:
    found = build_transform(30, 50, *chances)
    expected = engine_transform(30, 50, s=s, angle=angle, ratio=ratio)
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_all_whole_angles_are_equally_likely() -> None:
    chances = np.random.default_rng(6).random(21000).tolist()
    angles = [
        math.degrees(math.atan2(-transform[1, 0], transform[1, 1]))
        for transform in (build_transform(9, 9, 0.5, chance, 0.5) for chance in chances)
    ]
    values, counts = np.unique(np.round(angles, 6), return_counts=True)
    assert values.tolist() == list(range(-10, 11))
    assert counts.tolist() == pytest.approx([1000] * 21, rel=0.15)


def test_the_centre_stays_where_it_is() -> None:
    for chances in np.random.default_rng(7).random((50, 3)).tolist():
        moved = build_transform(30, 50, *chances) @ np.array([25, 15, 1])
        assert moved.tolist() == pytest.approx([25, 15])


def test_corners_that_a_rotation_uncovers_become_127() -> None:
    white_HWC = np.full((40, 40, 3), 255, np.uint8)
    turned_HWC = warp(white_HWC, build_transform(40, 40, 0.5, 0, 0.5), bottom=40, right=40)
    for corner_C in (turned_HWC[0, 0], turned_HWC[0, -1], turned_HWC[-1, 0], turned_HWC[-1, -1]):
        assert corner_C.tolist() == [127, 127, 127]
    assert FILL_VALUE == 127
    assert (turned_HWC[10:30, 10:30] == 255).all()


@pytest.mark.parametrize("num_channels", [1, 3])
def test_warping_what_the_crop_needs_equals_warping_the_whole_first(num_channels: int) -> None:
    generator = np.random.default_rng(8)
    for _ in range(200):
        height, width = (int(side) for side in generator.integers(20, 200, 2))
        bottom, right = (
            int(generator.integers(1, height + 1)),
            int(generator.integers(1, width + 1)),
        )
        image_HWC = make_photo(height, width, num_channels)
        transform = build_transform(height, width, *generator.random(3).tolist())
        whole_HWC = cv2.warpAffine(
            image_HWC, transform, (width, height), borderValue=(127, 127, 127)
        ).reshape(image_HWC.shape)
        needed_HWC = warp(image_HWC, transform, bottom=bottom, right=right)
        assert needed_HWC.shape[0] == bottom
        assert np.array_equal(needed_HWC[:, :right], whole_HWC[:bottom, :right])


def test_the_transform_comes_before_the_crop_and_colours_after_it() -> None:
    image_HWC = make_photo(40, 50)
    chances = np.random.default_rng(9).random(12).tolist()
    chances[2] = 0.9
    warped_HWC = warp(image_HWC, build_transform(40, 50, *chances[9:]), bottom=40, right=50)
    top, left = int(chances[0] * 13), int(chances[1] * 21)
    expected_HWC = shift_colors(
        warped_HWC[top : top + 28, left : left + 30], draw_shifts(chances[3:9])
    )
    found_HWC = augment(
        image_HWC, 28, 30, augmentation_type="crop_color_transform", chances=chances
    )
    assert np.array_equal(found_HWC, expected_HWC)


def test_each_type_reads_as_many_chances_as_it_says() -> None:
    image_HWC = make_photo(20, 20)
    assert list(NUM_CHANCES) == [None, "crop", "crop_color", "crop_color_transform"]
    for augmentation_type, number in NUM_CHANCES.items():
        chances = np.random.default_rng(10).random(number).tolist()
        changed_HWC = augment(
            image_HWC, 8, 8, augmentation_type=augmentation_type, chances=chances
        )
        assert changed_HWC.shape == (8, 8, 3)
        if number:
            with pytest.raises((IndexError, ValueError, TypeError)):
                augment(image_HWC, 8, 8, augmentation_type=augmentation_type, chances=chances[:-1])


@pytest.mark.parametrize("num_channels", [1, 3])
@pytest.mark.parametrize(("height", "width"), [(12, 14), (9, 14), (9, 8), (1, 1)])
def test_a_batch_is_cropped_as_its_images_one_by_one(
    num_channels: int, height: int, width: int
) -> None:
    generator = np.random.default_rng(11)
    images_NHWC = generator.integers(0, 256, (6, 12, 14, num_channels)).astype(np.uint8)
    indices = generator.integers(0, 6, 40)
    chances_B3 = generator.random((40, 3))
    chances_B3[0], chances_B3[1], chances_B3[2] = 0.0, ALMOST_1, 0.5
    found_BHWC = crop_and_flip_batch(images_NHWC, indices, *chances_B3.T, height, width)
    expected = [
        augment(images_NHWC[idx], height, width, augmentation_type="crop", chances=chances)
        for idx, chances in zip(indices, chances_B3.tolist(), strict=True)
    ]
    assert found_BHWC.dtype == np.uint8
    assert np.array_equal(found_BHWC, np.stack(expected))


def test_a_batch_of_crops_leaves_the_images_alone() -> None:
    images_NHWC = make_photo(8, 8)[None]
    before = images_NHWC.copy()
    zeros = np.zeros(1)
    crop_and_flip_batch(images_NHWC, np.array([0]), zeros, zeros, zeros, 8, 8)[:] = 0
    assert np.array_equal(images_NHWC, before)


def test_a_batch_may_be_empty() -> None:
    none = np.empty(0)
    found = crop_and_flip_batch(
        make_photo(8, 8)[None], np.empty(0, np.int64), none, none, none, 4, 4
    )
    assert found.shape == (0, 4, 4, 3)


def test_a_batch_is_refused_if_the_crop_does_not_fit_or_rows_are_not_whole() -> None:
    images_NHWC = make_photo(8, 8)[None]
    zeros = np.zeros(1)
    with pytest.raises(ValueError, match="crop is 9 x 8"):
        crop_and_flip_batch(images_NHWC, np.array([0]), zeros, zeros, zeros, 9, 8)
    with pytest.raises(ValueError, match="crop is 8 x 9"):
        crop_and_flip_batch(images_NHWC, np.array([0]), zeros, zeros, zeros, 8, 9)
    with pytest.raises(ValueError, match="ascontiguousarray"):
        crop_and_flip_batch(images_NHWC[:, :, ::2], np.array([0]), zeros, zeros, zeros, 4, 4)
