import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from sagemaker_sift.contract.container import ContainerPaths
from sagemaker_sift.trainer.config import read_config
from sagemaker_sift.trainer.data import stream_loader
from sagemaker_sift.trainer.data.loader import Batch
from sagemaker_sift.trainer.data.preparation import prepare_data
from sagemaker_sift.trainer.data.stream_loader import AgreedStop, StreamLoader
from sagemaker_sift.trainer.errors import TrainingError
from sagemaker_sift.trainer.stop import EpochInterrupted
from tests.supports.pipes import (
    PIPE,
    describe_channels,
    encode_image,
    feeding,
    label_images,
    pack_manifest,
    pack_records,
    write_passes,
)
from tests.supports.stream_loader import CPU, IMAGES, make_pipe_root, never, open_loader
from tests.supports.trainer_data import configure

MANY = IMAGES * 200
"""More than a shuffle's buffer and a pipe hold."""


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


def epoch(loader: StreamLoader, number: int) -> list[Batch]:
    loader.set_epoch(number)
    return list(loader)


def same(left: list[Batch], right: list[Batch]) -> bool:
    return len(left) == len(right) and all(
        torch.equal(a.images, b.images) and torch.equal(a.labels, b.labels)
        for a, b in zip(left, right, strict=True)
    )


def prints(batches: list[Batch]) -> list[bytes]:
    return [image.numpy().tobytes() for batch in batches for image in batch.images]


def test_an_epoch_is_full_batches_of_distinct_images(tmp_path: Path) -> None:
    loader = open_loader(make_pipe_root(tmp_path))
    batches = epoch(loader, 0)
    assert [len(batch.labels) for batch in batches] == [8, 8, 8, 8]
    assert len(set(prints(batches))) == 32
    assert len(loader) == 4
    assert (loader.num_seen, loader.num_batches_seen) == (32, 4)
    assert batches[0].images.shape == (8, 3, 8, 8)
    assert batches[0].images.dtype == torch.uint8
    assert batches[0].labels.dtype == torch.int64
    brightest_B = batches[0].images.float().mean(dim=(2, 3)).argmax(dim=1)
    assert torch.equal(brightest_B, batches[0].labels)


def test_order_and_augmentation_depend_on_seed_and_epoch_alone(tmp_path: Path) -> None:
    given = {"augmentation_type": "crop"}
    first, again, other = (
        open_loader(make_pipe_root(tmp_path / seed / name, seed=seed, **given))
        for name, seed in (("a", "1"), ("b", "1"), ("c", "2"))
    )
    one = epoch(first, 0)
    torch.manual_seed(99)
    assert same(one, epoch(again, 0))
    assert not same(one, epoch(other, 0))
    assert not same(one, epoch(first, 1))


def test_images_left_over_in_one_epoch_are_trained_on_in_others(tmp_path: Path) -> None:
    loader = open_loader(make_pipe_root(tmp_path, num_passes=12))
    seen = {image for number in range(12) for image in prints(epoch(loader, number))}
    assert len(seen) == 36


def test_the_pipes_are_those_of_this_process_whatever_the_epoch(tmp_path: Path) -> None:
    root = make_pipe_root(tmp_path, num_passes=0)
    pipes = tmp_path / "input/data"
    loader = open_loader(root)
    (pipes / "train_0").write_bytes(pack_records(IMAGES))
    from_fifth = epoch(loader, 5)
    (pipes / "train_1").write_bytes(pack_records(IMAGES))
    assert len(epoch(loader, 6)) == 4
    assert same(epoch(open_loader(root), 5), from_fifth)


def test_a_pipe_that_an_epoch_left_unread_is_closed_before_the_next(tmp_path: Path) -> None:
    root = make_pipe_root(tmp_path, num_passes=0)
    with feeding(root, train=pack_records(MANY)) as feeders:
        loader = open_loader(root)
        assert len(epoch(loader, 3)) == 4
        assert len(epoch(loader, 6)) == 4
        assert feeders["train"].endings[:3] == ["closed"] * 3


@pytest.mark.parametrize("num_images", [32, 35, 36, 39, 40, 100])
@pytest.mark.parametrize("num_local", [2, 3])
def test_ranks_have_equally_many_full_batches_of_different_images(
    tmp_path: Path, num_images: int, num_local: int
) -> None:
    images = label_images(num_images)
    root = make_pipe_root(tmp_path, images, num_training_samples="60")
    ranks = [
        epoch(open_loader(root, rank=rank, num_local=num_local), 0) for rank in range(num_local)
    ]
    num_batches = min(num_images, 60) // 8
    assert [len(batches) for batches in ranks] == [num_batches] * num_local
    for batches in zip(*ranks, strict=True):
        assert sum(len(batch.labels) for batch in batches) == 8
    seen = [image for batches in ranks for image in prints(batches)]
    assert len(set(seen)) == len(seen) == 8 * num_batches


def test_ranks_validate_every_image_once(tmp_path: Path) -> None:
    images = label_images(21)
    root = make_pipe_root(tmp_path, images, channel="validation")
    [whole] = [list(open_loader(root, "validation"))]
    assert [len(batch.labels) for batch in whole] == [8, 8, 5]
    ranks = [list(open_loader(root, "validation", rank=rank, num_local=3)) for rank in range(3)]
    assert [[len(batch.labels) for batch in batches] for batches in ranks] == [
        [2, 2, 2],
        [3, 3, 3],
        [3, 3, 0],
    ]
    together = [image for batches in zip(*ranks, strict=True) for image in prints(list(batches))]
    assert together == prints(whole)


def test_validation_is_neither_shuffled_nor_augmented_and_reads_a_pipe_each_time(
    tmp_path: Path,
) -> None:
    root = make_pipe_root(tmp_path, channel="validation", augmentation_type="crop", num_passes=2)
    loader = open_loader(root, "validation")
    first = list(loader)
    assert same(first, list(loader))
    assert [int(label) for batch in first for label in batch.labels] == [
        labels for labels, _ in IMAGES
    ]
    with pytest.raises(TypeError, match="not known"):
        len(loader)


@pytest.mark.parametrize("num_local", [1, 2])
def test_an_epoch_goes_on_at_every_batch(tmp_path: Path, num_local: int) -> None:
    root = make_pipe_root(tmp_path, augmentation_type="crop_color", num_passes=1)
    whole = epoch(open_loader(root, rank=num_local - 1, num_local=num_local), 3)
    for num_read in range(5):
        loader, again = (
            open_loader(root, rank=num_local - 1, num_local=num_local) for _ in range(2)
        )
        loader.set_epoch(3)
        batches = iter(loader)
        read = [next(batches) for _ in range(num_read)]
        state = loader.state_dict()
        batches.close()  # type: ignore[attr-defined]  # it is a generator
        assert state == {"num_batches": num_read, "num_seen": 8 // num_local * num_read}
        again.load_state_dict(state)
        assert again.state_dict() == state
        assert same([*read, *epoch(again, 3)], whole)
        assert (again.num_seen, again.num_batches_seen) == (32 // num_local, 4)


def test_what_was_trained_on_is_not_decoded_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[int] = []
    decode = stream_loader.BatchDecoder.decode

    def count(decoder: stream_loader.BatchDecoder, planned: Any) -> Any:
        decoded.append(len(planned.records))
        return decode(decoder, planned)

    monkeypatch.setattr(stream_loader.BatchDecoder, "decode", count)
    loader = open_loader(make_pipe_root(tmp_path))
    loader.load_state_dict({"num_batches": 3, "num_seen": 24})
    assert len(epoch(loader, 0)) == 1
    assert decoded == [8]


def test_a_stream_longer_than_an_epoch_is_closed_early(tmp_path: Path) -> None:
    root = make_pipe_root(tmp_path, num_passes=0)
    with feeding(root, train=pack_records(MANY)) as feeders:
        loader = open_loader(root)
        for number in range(3):
            assert len(epoch(loader, number)) == 4
        assert feeders["train"].endings[:2] == ["closed", "closed"]


def test_a_shorter_stream_shortens_the_epoch_and_is_warned_of_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    loader = open_loader(make_pipe_root(tmp_path, num_training_samples="1000"))
    assert len(loader) == 125
    for number in (0, 1):
        assert len(epoch(loader, number)) == 4
    message = "num_training_samples is 1000, but the pipe of channel 'train' gave 36 images"
    assert caplog.text.count(message) == 1


def test_less_than_a_batch_is_refused(tmp_path: Path) -> None:
    given = {"num_training_samples": "40", "mini_batch_size": "40"}
    loader = open_loader(make_pipe_root(tmp_path, **given))
    with pytest.raises(TrainingError, match=r"batches of 40 images, but the pipe .* gave only 36"):
        epoch(loader, 0)


def test_unreadable_images_are_left_out_and_counted_a_pass_at_a_time(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broken = [(0, b"no image"), *IMAGES[1:]]
    root = make_pipe_root(tmp_path, broken, max_corrupt_fraction="0.01")
    loader = open_loader(root)
    sizes = [[len(batch.labels) for batch in epoch(loader, number)] for number in range(4)]
    assert {sum(found) for found in sizes} == {31, 32}
    assert loader.ledger.num_unreadable == 1
    assert "Skipping an unreadable image: train_2 record 0 (not a complete" in caplog.text


def test_too_many_unreadable_images_end_the_job(tmp_path: Path) -> None:
    broken = [(0, b"")] * 3 + IMAGES[3:]
    given = {"max_corrupt_fraction": "0.03"}
    loader = open_loader(make_pipe_root(tmp_path / "a", broken * 3, **given))
    with pytest.raises(TrainingError, match=r"3 of 36 images in channel 'train' cannot be read"):
        epoch(loader, 0)
    root = make_pipe_root(tmp_path / "b", broken, channel="validation", **given)
    batches = iter(open_loader(root, "validation"))
    assert [len(next(batches).labels) for _ in range(5)] == [5, 8, 8, 8, 4]
    with pytest.raises(TrainingError, match=r"3 of 36 images in channel 'validation'.*allows 2"):
        next(batches)


@pytest.mark.parametrize("num_local", [1, 2])
def test_a_batch_without_usable_images_is_handed_out_only_to_one_of_many(
    tmp_path: Path, num_local: int
) -> None:
    broken = [(0, b"")] * 8 + IMAGES[:2]
    root = make_pipe_root(tmp_path, broken, channel="validation", max_corrupt_fraction="1")
    loader = open_loader(root, "validation", num_local=num_local)
    assert [len(batch.labels) for batch in loader] == ([2] if num_local == 1 else [0, 2])


def test_an_image_smaller_than_the_crop_is_an_error(tmp_path: Path) -> None:
    small = [*IMAGES, (1, encode_image(1, 7, size=7))]
    root = make_pipe_root(tmp_path, small, channel="validation")
    with pytest.raises(
        TrainingError, match=r"^validation_0 record 36 is 7 x 7 .* Set resize to 8 or more"
    ):
        list(open_loader(root, "validation"))
    configure(root, resize="8")
    assert sum(len(batch.labels) for batch in open_loader(root, "validation")) == 37


def test_several_labels_of_an_image_come_as_zeros_and_ones(tmp_path: Path) -> None:
    labels = [[1, 0, 1], [0, 1, 0], [0, 0, 0], [1, 1, 1]] * 9
    images = [(label, image) for label, (_, image) in zip(labels, IMAGES, strict=True)]
    given = {"multi_label": "1", "num_classes": "3"}
    root = make_pipe_root(tmp_path / "rec", images, channel="validation", **given)
    batches = list(open_loader(root, "validation"))
    assert batches[0].labels.dtype == torch.uint8
    assert torch.cat([batch.labels for batch in batches]).tolist() == labels
    root = make_pipe_root(tmp_path / "manifest", [], channel="validation", **given)
    describe_channels(
        root, {"train": PIPE, "validation": PIPE | {"RecordWrapperType": "RecordIO"}}
    )
    write_passes(root, "validation", pack_manifest(images), num_passes=1)
    assert same(list(open_loader(root, "validation")), batches)


def test_wrong_data_end_the_epoch_where_they_stand(tmp_path: Path) -> None:
    root = make_pipe_root(tmp_path, [*IMAGES[:20], (5, b"x")], channel="validation")
    batches = iter(open_loader(root, "validation"))
    assert [len(next(batches).labels) for _ in range(2)] == [8, 8]
    with pytest.raises(TrainingError, match="validation_0, record 20: label 5 is no class index"):
        next(batches)


@pytest.mark.parametrize("num_read", [0, 1, 3])
def test_leaving_an_epoch_early_ends_its_threads_and_the_pipe(
    tmp_path: Path, num_read: int
) -> None:
    root = make_pipe_root(tmp_path, num_passes=0, num_training_samples="3600")
    with feeding(root, train=pack_records(IMAGES * 100)) as feeders:
        loader = open_loader(root)
        batches = iter(loader)
        for _ in range(num_read + 1):
            next(batches)
        batches.close()  # type: ignore[attr-defined]  # it is a generator
        names = {thread.name for thread in threading.enumerate()}
        assert not any(name.startswith(("decode", "read-ahead")) for name in names)
        assert len(epoch(loader, 1)) == 450
        assert len(feeders["train"].endings) >= 1


def test_a_stop_while_a_pipe_is_silent_is_no_end_of_the_epoch(tmp_path: Path) -> None:
    root = make_pipe_root(tmp_path, num_passes=0)
    path = root / "input/data/train_0"
    os.mkfifo(path)
    keeper = os.open(path, os.O_RDWR)
    stop = threading.Event()
    try:
        os.write(keeper, pack_records(IMAGES))
        loader = open_loader(root, is_stopping=stop.is_set)
        timer = threading.Timer(0.05, stop.set)
        timer.start()
        with pytest.raises(EpochInterrupted):
            list(loader)
        timer.join()
    finally:
        os.close(keeper)
    assert loader.state_dict() == {"num_batches": 0, "num_seen": 0}


def test_a_stop_before_the_pipe_is_there_is_no_end_of_the_epoch(tmp_path: Path) -> None:
    for channel in ("train", "validation"):
        root = make_pipe_root(tmp_path / channel, num_passes=0, channel=channel)
        with pytest.raises(EpochInterrupted):
            list(open_loader(root, channel, is_stopping=lambda: True))


def test_one_of_several_ranks_reads_on_for_a_while_when_asked_to_stop(tmp_path: Path) -> None:
    root = make_pipe_root(tmp_path)
    assert len(list(open_loader(root, num_local=2, is_stopping=lambda: True))) == 4
    now_s = [0.0]
    asked = [False]
    stop = AgreedStop(lambda: asked[0], delay_s=30, clock=lambda: now_s[0])
    assert not stop()
    now_s[0] = 100
    assert not stop()
    asked[0] = True
    assert not stop()
    now_s[0] = 129
    assert not stop()
    now_s[0] = 130
    assert stop()


def test_pipes_and_folders_of_records_may_be_mixed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = make_pipe_root(tmp_path)
    describe_channels(root, {"train": PIPE, "validation": {"TrainingInputMode": "File"}})
    folder = root / "input/data/validation"
    folder.mkdir()
    (folder / "a.rec").write_bytes(pack_records(IMAGES[:10]))
    with caplog.at_level("INFO"):
        data = prepare_data(read_config(ContainerPaths(root), {}), device=CPU, is_stopping=never)
    assert data.classes == ("0", "1")
    assert data.label_counts is None
    assert data.validation is not None
    assert len(list(data.train)) == 4
    assert sum(len(batch.labels) for batch in data.validation) == 10
    assert "Channel 'train': RecordIO through a pipe" in caplog.text


def test_fewer_training_samples_than_a_batch_are_refused(tmp_path: Path) -> None:
    root = make_pipe_root(tmp_path)
    (root / "input/config/resourceconfig.json").write_text(
        '{"current_host": "a", "hosts": ["a", "b", "c", "d", "e"]}'
    )
    with pytest.raises(TrainingError, match="batches of 40 images, but `num_training_samples`"):
        open_loader(root)
