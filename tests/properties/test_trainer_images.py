"""What holds for every image, every folder and every epoch."""

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sagemaker_sift.trainer.data.augmentation import augment
from sagemaker_sift.trainer.data.folder import list_train_images
from sagemaker_sift.trainer.data.image import crop_center, read_size, resize_shorter_side
from sagemaker_sift.trainer.data.order import BatchShare, SequentialBatches, ShuffledBatches

CHANCES = st.floats(0, 1, exclude_max=True)
SIDES = st.integers(1, 40)
NAMES = st.text("abAB01 .-_", min_size=1, max_size=6).filter(
    lambda name: not name.startswith(".") and name.strip() == name
)


@given(height=SIDES, width=SIDES, length=SIDES)
def test_resizing_makes_the_shorter_side_exact_and_keeps_the_aspect(
    height: int, width: int, length: int
) -> None:
    image_HWC = np.zeros((height, width, 3), np.uint8)
    resized_HWC = resize_shorter_side(image_HWC, length)
    new_height, new_width, num_channels = resized_HWC.shape
    assert min(new_height, new_width) == length
    assert (new_height - new_width) * (height - width) >= 0
    assert max(new_height, new_width) == length * max(height, width) // min(height, width)
    assert (resized_HWC.dtype, num_channels) == (np.uint8, 3)


@given(height=SIDES, width=SIDES, top=CHANCES, left=CHANCES, flip=CHANCES, data=st.data())
def test_a_crop_is_a_part_of_the_image(
    height: int, width: int, top: float, left: float, flip: float, data: st.DataObject
) -> None:
    crop_height = data.draw(st.integers(1, height))
    crop_width = data.draw(st.integers(1, width))
    image_HWC = np.arange(height * width, dtype=np.uint16).reshape(height, width, 1)
    for crop_HWC in (
        augment(
            image_HWC,  # type: ignore[arg-type]
            crop_height,
            crop_width,
            augmentation_type="crop",
            chances=(top, left, flip),
        ),
        crop_center(image_HWC, crop_height, crop_width),  # type: ignore[arg-type]
    ):
        rows, columns = np.divmod(crop_HWC[:, :, 0].astype(int), width)
        assert crop_HWC.shape == (crop_height, crop_width, 1)
        assert (np.diff(rows, axis=0) == 1).all()
        assert (np.abs(np.diff(columns, axis=1)) == 1).all()
        assert len(np.unique(crop_HWC)) == crop_height * crop_width


@given(
    num_images=st.integers(1, 60),
    batch_size=st.integers(1, 20),
    seed=st.integers(0, 2**31 - 1),
    epoch=st.integers(0, 1000),
)
def test_no_image_comes_twice_in_an_epoch_and_validation_misses_none(
    num_images: int, batch_size: int, seed: int, epoch: int
) -> None:
    num_batches = num_images // batch_size
    share = BatchShare(0, batch_size, batch_size)
    shuffled = ShuffledBatches(
        num_images=num_images, num_batches=num_batches, share=share, seed=seed, num_chances=3
    )
    shuffled.set_epoch(epoch)
    indices = [int(idx) for batch in shuffled for idx in batch.indices]
    assert len(indices) == len(set(indices)) == num_batches * batch_size
    assert set(indices) <= set(range(num_images))
    sequential = SequentialBatches(num_images=num_images, share=share)
    assert [idx for batch in sequential for idx in batch.indices] == list(range(num_images))


@given(
    start=st.sampled_from([b"", b"\xff\xd8", b"\x89PNG\r\n\x1a\n"]), rest=st.binary(max_size=60)
)
def test_a_size_is_read_from_any_bytes(start: bytes, rest: bytes) -> None:
    height, width = read_size(np.frombuffer(start + rest, np.uint8))
    assert 0 <= height < 2**32
    assert 0 <= width < 2**32


@settings(max_examples=40, deadline=None)
@given(
    tree=st.dictionaries(
        NAMES, st.sets(st.lists(NAMES, min_size=1, max_size=3).map(tuple), min_size=1, max_size=4),
        min_size=2, max_size=4,
    )
)  # fmt: skip
def test_every_image_is_listed_once_under_its_class_in_a_fixed_order(
    tree: dict[str, set[tuple[str, ...]]],
) -> None:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        expected = set()
        for class_name, files in tree.items():
            for parts in files:
                path = root.joinpath(class_name, *(f"d{part}" for part in parts[:-1]))
                path.mkdir(parents=True, exist_ok=True)
                (path / f"{parts[-1]}.jpg").touch()
                expected.add((class_name, path / f"{parts[-1]}.jpg"))
        folder = list_train_images(root, num_classes=len(tree))
    listed = [
        (folder.classes[label], Path(folder.reader.name(idx)))
        for idx, label in enumerate(folder.labels)
    ]
    assert folder.classes == tuple(sorted(tree))
    assert set(listed) == expected
    assert len(listed) == len(expected)
    assert list(folder.labels) == sorted(folder.labels)
