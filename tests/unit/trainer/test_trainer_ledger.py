from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sagemaker_sift.trainer.data.cache import DecodedSet, decode_set
from sagemaker_sift.trainer.data.folder import list_train_images
from sagemaker_sift.trainer.data.image import Unreadable
from sagemaker_sift.trainer.data.image_set import ImageSet
from sagemaker_sift.trainer.data.ledger import NUM_NAMED, UnreadableLedger
from sagemaker_sift.trainer.errors import TrainingError
from sagemaker_sift.trainer.ranks import Ranks
from tests.supports.trainer_data import fill_channel, make_image, write_image


def unreadable(number: int) -> Unreadable:
    return Unreadable(f"train/a/{number}.jpg", "not a complete JPEG or PNG image")


def decode(folder: ImageSet, budget_bytes: int, *, is_stopping: bool) -> DecodedSet | None:
    return decode_set(
        folder,
        num_channels=3,
        resize=None,
        budget_bytes=budget_bytes,
        num_threads=2,
        is_stopping=lambda: is_stopping,
    )


@pytest.mark.parametrize(
    ("num_images", "max_fraction", "allowed"),
    [(100, 0.01, 1), (101, 0.01, 2), (100, 0.07, 7), (5, 0.0, 0), (5, 1.0, 5), (32, 0.01, 1)],
)
def test_the_share_is_rounded_up(num_images: int, max_fraction: float, allowed: int) -> None:
    ledger = UnreadableLedger("train", num_images=num_images, max_fraction=max_fraction)
    assert ledger.num_allowed == allowed


def test_one_more_than_allowed_fails_and_says_how_many() -> None:
    ledger = UnreadableLedger("train", num_images=200, max_fraction=0.01)
    ledger.record([unreadable(0), unreadable(1)])
    with pytest.raises(
        TrainingError,
        match=r"3 of 200 images in channel 'train' .*`max_corrupt_fraction` is 0\.01, which "
        r"allows 2; one of them is train/a/2\.jpg \(not a complete",
    ):
        ledger.record([unreadable(2)])


def test_a_file_met_again_counts_once() -> None:
    ledger = UnreadableLedger("train", num_images=10, max_fraction=0.1)
    for _ in range(3):
        ledger.record([unreadable(0)])
    assert ledger.num_unreadable == 1


def test_only_the_first_few_are_named(caplog: pytest.LogCaptureFixture) -> None:
    ledger = UnreadableLedger("train", num_images=10, max_fraction=1.0)
    ledger.record(unreadable(number) for number in range(8))
    assert len(caplog.records) == NUM_NAMED
    assert "train/a/4.jpg" in caplog.text
    assert "train/a/5.jpg" not in caplog.text


def test_the_number_of_skipped_images_is_told_if_there_are_any(
    caplog: pytest.LogCaptureFixture,
) -> None:
    ledger = UnreadableLedger("train", num_images=10, max_fraction=1.0)
    ledger.report()
    assert caplog.text == ""
    ledger.record(unreadable(number) for number in range(7))
    caplog.clear()
    ledger.report()
    assert "Skipped 7 unreadable images of channel 'train'." in caplog.text


def test_what_ranks_met_counts_together() -> None:
    class Two(Ranks):
        """The first of two ranks, of which the other one met images 1 and 2."""

        def gather(self, value: Any) -> list[Any]:
            return [value, [unreadable(1), unreadable(2)]]

        def share(self, value: Any) -> Any:
            return value

    ledger = UnreadableLedger("train", num_images=10, max_fraction=0.3)
    ledger.record([unreadable(0), unreadable(1)])
    ledger.settle(Two(0, 2))
    assert ledger.num_unreadable == 3
    strict = UnreadableLedger("train", num_images=10, max_fraction=0.2)
    strict.record([unreadable(0)])
    with pytest.raises(TrainingError, match="3 of 10 images"):
        strict.settle(Two(0, 2))


@pytest.mark.parametrize(("budget_bytes", "fits"), [(8 * 300, True), (8 * 300 - 1, False)])
def test_a_folder_is_decoded_if_it_fits_the_budget(
    tmp_path: Path, budget_bytes: int, fits: bool
) -> None:
    folder = list_train_images(fill_channel(tmp_path, num_images=4), num_classes=2)
    decoded = decode(folder, budget_bytes, is_stopping=False)
    assert (decoded is not None) == fits
    if decoded is not None:
        assert decoded.size_bytes == 8 * 10 * 10 * 3
        assert decoded.source is folder
        assert isinstance(decoded.images, np.ndarray)
        assert decoded.images.shape == (8, 10, 10, 3)


def test_decoding_ends_when_the_job_is_asked_to_stop(tmp_path: Path) -> None:
    folder = list_train_images(fill_channel(tmp_path, num_images=4), num_classes=2)
    assert decode(folder, 1 << 20, is_stopping=True) is None


def test_one_large_image_among_small_ones_takes_only_its_own_memory(tmp_path: Path) -> None:
    fill_channel(tmp_path, num_images=300)
    large_HWC = np.zeros((1500, 1500, 3), np.uint8)
    write_image(tmp_path / "class0/0000.jpg", large_HWC)
    folder = list_train_images(tmp_path, num_classes=2)
    decoded = decode(folder, 1 << 31, is_stopping=False)
    assert decoded is not None
    assert isinstance(decoded.images, tuple)
    assert decoded.size_bytes == large_HWC.nbytes + 599 * 300


def test_images_of_several_sizes_are_kept_one_by_one(tmp_path: Path) -> None:
    fill_channel(tmp_path, num_images=3)
    larger_HWC = make_image(1, num_classes=2, size=12, seed=9)
    write_image(tmp_path / "class1/9999.png", larger_HWC)
    folder = list_train_images(tmp_path, num_classes=2)
    decoded = decode(folder, 1 << 20, is_stopping=False)
    assert decoded is not None
    assert isinstance(decoded.images, tuple)
    assert [image.shape[0] for image in decoded.images] == [10] * 6 + [12]
    assert np.array_equal(decoded.images[6], larger_HWC)
    assert decoded.size_bytes == 6 * 300 + 432
