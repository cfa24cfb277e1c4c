"""What holds for every image, crop and chance of augmentation."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sagemaker_sift.trainer.data.augmentation import (
    NUM_CHANCES,
    augment,
    build_transform,
    crop_and_flip_batch,
    draw_shifts,
)

CHANCE = st.floats(0, 1, exclude_max=True)
SIDE = st.integers(1, 40)
TYPE = st.sampled_from(list(NUM_CHANCES))


@given(
    height=SIDE,
    width=SIDE,
    num_channels=st.sampled_from([1, 3]),
    augmentation_type=TYPE,
    seed=st.integers(0, 99),
    data=st.data(),
)
def test_an_augmented_image_has_the_asked_size_and_depends_on_its_chances_alone(
    height: int,
    width: int,
    num_channels: int,
    augmentation_type: str | None,
    seed: int,
    data: st.DataObject,
) -> None:
    number = NUM_CHANCES[augmentation_type]
    chances = data.draw(st.lists(CHANCE, min_size=number, max_size=number))
    crop_height, crop_width = data.draw(st.integers(1, height)), data.draw(st.integers(1, width))
    image_HWC = (
        np.random.default_rng(seed)
        .integers(0, 256, (height, width, num_channels))
        .astype(np.uint8)
    )
    before = image_HWC.copy()
    first, again = (
        augment(
            image_HWC,
            crop_height,
            crop_width,
            augmentation_type=augmentation_type,
            chances=chances,
        )
        for _ in range(2)
    )
    assert first.shape == (crop_height, crop_width, num_channels)
    assert first.dtype == np.uint8
    assert np.array_equal(first, again)
    assert np.array_equal(image_HWC, before)


@given(height=SIDE, width=SIDE, chances=st.lists(CHANCE, min_size=3, max_size=3), data=st.data())
def test_a_crop_is_a_part_of_the_image_mirrored_or_not(
    height: int, width: int, chances: list[float], data: st.DataObject
) -> None:
    crop_height, crop_width = data.draw(st.integers(1, height)), data.draw(st.integers(1, width))
    rows, columns = np.mgrid[0:height, 0:width]
    image_HWC = np.stack([rows, columns, rows], axis=2).astype(np.uint8)
    crop_HWC = augment(
        image_HWC, crop_height, crop_width, augmentation_type="crop", chances=chances
    ).astype(int)
    direction = -1 if chances[2] < 0.5 else 1
    assert (np.diff(crop_HWC[:, :, 0], axis=0) == 1).all()
    assert (np.diff(crop_HWC[:, :, 1], axis=1) == direction).all()


@given(st.lists(CHANCE, min_size=6, max_size=6))
def test_colour_shifts_stay_in_their_ranges(chances: list[float]) -> None:
    hue, lightness, saturation = draw_shifts(chances)
    assert abs(hue) <= 36
    assert max(abs(lightness), abs(saturation)) <= 50


@given(height=SIDE, width=SIDE, chances=st.lists(CHANCE, min_size=3, max_size=3))
def test_a_transform_keeps_orientation_and_changes_area_by_little(
    height: int, width: int, chances: list[float]
) -> None:
    """The determinant is the product of both stretches, 2 / (1 + r) and 2 r / (1 + r)."""
    area = np.linalg.det(build_transform(height, width, *chances)[:, :2])
    assert 4 * 0.75 / 1.75**2 - 1e-9 <= area <= 1 + 1e-9


@given(
    height=SIDE,
    width=SIDE,
    num_channels=st.sampled_from([1, 3]),
    num_images=st.integers(1, 4),
    batch=st.lists(st.tuples(st.integers(0, 3), CHANCE, CHANCE, CHANCE), max_size=6),
    data=st.data(),
)
def test_a_batch_is_cropped_as_its_images_one_by_one(
    height: int,
    width: int,
    num_channels: int,
    num_images: int,
    batch: list[tuple[int, float, float, float]],
    data: st.DataObject,
) -> None:
    crop_height, crop_width = data.draw(st.integers(1, height)), data.draw(st.integers(1, width))
    size = num_images * height * width * num_channels
    images_NHWC = (
        (np.arange(size) % 251).astype(np.uint8).reshape(num_images, height, width, num_channels)
    )
    indices = np.array([idx % num_images for idx, *_ in batch], dtype=np.int64)
    chances_B3 = np.array([chances for _, *chances in batch]).reshape(-1, 3)
    found_BHWC = crop_and_flip_batch(images_NHWC, indices, *chances_B3.T, crop_height, crop_width)
    assert found_BHWC.shape == (len(batch), crop_height, crop_width, num_channels)
    for crop_HWC, idx, chances in zip(found_BHWC, indices, chances_B3.tolist(), strict=True):
        expected_HWC = augment(
            images_NHWC[idx], crop_height, crop_width, augmentation_type="crop", chances=chances
        )
        assert np.array_equal(crop_HWC, expected_HWC)
