import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from sagemaker_sift.trainer.data.image_set import ImageStream, Record
from sagemaker_sift.trainer.data.image_stream import (
    MAX_LABEL_BYTES,
    ManifestStream,
    RecordIOStream,
)
from sagemaker_sift.trainer.data.label import LabelRule
from sagemaker_sift.trainer.data.pipe import Patience, PipeStopped, open_pipe
from sagemaker_sift.trainer.data.record_order import shuffle_records
from sagemaker_sift.trainer.errors import TrainingError
from tests.supports.recordio import MAGIC_BYTES, image_payload, write_part, write_record

SINGLE = LabelRule(10, False)
MULTI = LabelRule(3, True)


class Clock:
    """Goes on by a second at every look; calls ``act`` at one of the sleeps."""

    def __init__(self, act: Callable[[], object] = lambda: None, at: int = 3) -> None:
        self.now_s = 0.0
        self.num_sleeps = 0
        self._act = act
        self._at = at

    def read(self) -> float:
        self.now_s += 1
        return self.now_s

    def sleep(self, _: float) -> None:
        self.num_sleeps += 1
        if self.num_sleeps == self._at:
            self._act()

    def patience(self, limit_s: float = 1000) -> Patience:
        return Patience(limit_s=limit_s, poll_s=0.001, clock=self.read, sleep=self.sleep)


def never() -> bool:
    return False


@contextlib.contextmanager
def writing(path: Path, data: bytes) -> Iterator[list[str]]:
    """Write into a pipe from a thread; yields what stopped the writer."""
    endings: list[str] = []

    def write() -> None:
        try:
            with path.open("wb", buffering=0) as pipe:
                view = memoryview(data)
                while view:
                    view = view[pipe.write(view) :]
            endings.append("done")
        except BrokenPipeError:
            endings.append("broken pipe")

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    try:
        yield endings
    finally:
        thread.join(timeout=20)


def pack(records: list[tuple[float, bytes]]) -> bytes:
    return b"".join(write_record(image_payload(label, image)) for label, image in records)


def recordio(
    root: Path, rule: LabelRule = SINGLE, patience: Patience | None = None
) -> ImageStream:
    patience = patience or Patience(limit_s=60, poll_s=0.002)
    return RecordIOStream("train", data=root, rule=rule, is_stopping=never, patience=patience)


def manifest(root: Path, rule: LabelRule = SINGLE, label_format: str = "multi-hot") -> ImageStream:
    return ManifestStream(
        "train",
        data=root,
        rule=rule,
        label_format=label_format,
        is_stopping=never,
        patience=Patience(limit_s=60, poll_s=0.002),
    )


def summarise(records: Iterator[Record]) -> list[tuple[str, bytes, object]]:
    return [
        (r.name, r.data.tobytes(), r.label if isinstance(r.label, int) else r.label.tolist())
        for r in records
    ]


def test_a_pipe_of_records_is_read_to_its_end_in_every_epoch(tmp_path: Path) -> None:
    images = [(idx % 10, bytes([idx]) * 3000 + MAGIC_BYTES) for idx in range(100)]
    stream = recordio(tmp_path)
    for epoch in range(2):
        os.mkfifo(tmp_path / f"train_{epoch}")
        with writing(tmp_path / f"train_{epoch}", pack(images)) as endings:
            found = summarise(stream.records(epoch))
        assert endings == ["done"]
        assert found == [
            (f"train_{epoch} record {idx}", data, label)
            for idx, (label, data) in enumerate(images)
        ]
    assert (stream.channel, stream.classes) == ("train", SINGLE.classes)


def test_a_plain_file_is_read_like_a_pipe(tmp_path: Path) -> None:
    (tmp_path / "train_0").write_bytes(pack([(1, b"a"), (2, b"b")]))
    assert [r.label for r in recordio(tmp_path).records(0)] == [1, 2]


def test_a_pipe_may_appear_late(tmp_path: Path) -> None:
    clock = Clock(lambda: (tmp_path / "train_0").write_bytes(pack([(1, b"a")])))
    records = list(recordio(tmp_path, patience=clock.patience()).records(0))
    assert (len(records), clock.num_sleeps) == (1, 3)


def test_a_writer_may_come_late(tmp_path: Path) -> None:
    path = tmp_path / "train_0"
    os.mkfifo(path)
    with open_pipe(path, channel="train", is_stopping=never) as pipe:
        with writing(path, b"late"):
            assert pipe.read(100) == b"late"
        assert pipe.read(1) == b""


def test_a_pipe_that_never_appears_ends_the_job(tmp_path: Path) -> None:
    clock = Clock()
    with pytest.raises(
        TrainingError,
        match=r"'train': .*train_7 did not appear within 20 s\. .*TrainingInputMode.*'File'",
    ):
        next(recordio(tmp_path, patience=clock.patience(20)).records(7))
    assert 10 <= clock.num_sleeps <= 20


def test_a_pipe_without_a_writer_ends_the_job(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "train_0")
    with pytest.raises(TrainingError, match="train_0 gave no byte for 20 s"):
        next(recordio(tmp_path, patience=Clock().patience(20)).records(0))


def test_a_writer_that_stalls_ends_the_job(tmp_path: Path) -> None:
    path = tmp_path / "train_0"
    os.mkfifo(path)
    keeper = os.open(path, os.O_RDWR)
    try:
        os.write(keeper, pack([(1, b"a")]) + MAGIC_BYTES)
        records = recordio(tmp_path, patience=Clock().patience(20)).records(0)
        with pytest.raises(TrainingError, match="train_0 gave no byte for 20 s"):
            list(records)
    finally:
        os.close(keeper)


def test_a_folder_instead_of_a_pipe_is_refused(tmp_path: Path) -> None:
    (tmp_path / "train_0").mkdir()
    with pytest.raises(TrainingError, match=r"neither a pipe nor a file.*'Pipe'.*'File'"):
        next(recordio(tmp_path).records(0))


def test_a_pipe_that_cannot_be_opened_is_refused(tmp_path: Path) -> None:
    (tmp_path / "train_0").symlink_to(tmp_path / "train_0")
    with pytest.raises(TrainingError, match=r"train_0 cannot be opened \(Too many levels"):
        next(recordio(tmp_path).records(0))


def test_closing_early_closes_the_pipe_and_ends_the_writer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "train_0")
    with writing(tmp_path / "train_0", pack([(1, bytes(10_000))] * 1000)) as endings:
        records = recordio(tmp_path).records(0)
        assert next(records).label == 1
        records.close()  # type: ignore[attr-defined]  # it is a generator
    assert endings == ["broken pipe"]


def test_a_writer_that_dies_inside_a_record_is_an_error(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "train_0")
    data = pack([(1, b"abcd"), (2, bytes(3000))])
    with writing(tmp_path / "train_0", data[:-1000]):
        records = recordio(tmp_path).records(0)
        assert next(records).label == 1
        with pytest.raises(
            TrainingError,
            match=r"'train': .*train_0, record 1, byte 36: the data ends after 2024 of the 3024",
        ):
            next(records)


@pytest.mark.parametrize("make", [recordio, manifest])
def test_a_pipe_that_ends_at_once_is_an_error(
    tmp_path: Path, make: Callable[[Path], ImageStream]
) -> None:
    os.mkfifo(tmp_path / "train_0")
    with (
        writing(tmp_path / "train_0", b""),
        pytest.raises(TrainingError, match="train_0 ended without a record"),
    ):
        list(make(tmp_path).records(0))


def test_being_asked_to_stop_ends_the_waiting(tmp_path: Path) -> None:
    def stop_after(num_looks: int) -> Callable[[], bool]:
        looks = iter([False] * num_looks)
        return lambda: next(looks, True)

    patience = Clock().patience()
    path = tmp_path / "train_0"
    with pytest.raises(PipeStopped):
        open_pipe(path, channel="train", is_stopping=stop_after(5), patience=patience)
    os.mkfifo(path)
    with (
        open_pipe(path, channel="train", is_stopping=stop_after(5), patience=patience) as pipe,
        pytest.raises(PipeStopped),
    ):
        pipe.read(1)
    stream = RecordIOStream(
        "train", data=tmp_path, rule=SINGLE, is_stopping=stop_after(5), patience=patience
    )
    assert list(stream.records(0)) == []


def test_wrong_records_of_a_pipe_are_named(tmp_path: Path) -> None:
    path = tmp_path / "train_0"
    path.write_bytes(pack([(1, b"a"), (10, b"b")]))
    with pytest.raises(TrainingError, match="train_0, record 1: label 10 is no class index"):
        list(recordio(tmp_path).records(0))
    path.write_bytes(write_record(b"short"))
    with pytest.raises(TrainingError, match="train_0, record 0: it has 5 bytes, but its header"):
        list(recordio(tmp_path).records(0))
    path.write_bytes(write_record(b"\x89PNG" + bytes(40)))
    with pytest.raises(TrainingError, match=r"record 0: .*RecordWrapperType 'RecordIO'"):
        list(recordio(tmp_path).records(0))
    path.write_bytes(write_part(2, b""))
    with pytest.raises(TrainingError, match="train_0, record 0, byte 0: a record begins with"):
        list(recordio(tmp_path).records(0))


def wrap(*payloads: bytes) -> bytes:
    return b"".join(map(write_record, payloads))


@pytest.mark.parametrize(
    ("rule", "label_format", "text", "expected"),
    [
        (SINGLE, "multi-hot", "3", 3),
        (SINGLE, "multi-hot", " 3.0\n", 3),
        (SINGLE, "class-id", '"3"', 3),
        (MULTI, "multi-hot", "[1, 0, 1]", [1, 0, 1]),
        (MULTI, "multi-hot", "[1.0, 0, 0]", [1, 0, 0]),
        (MULTI, "class-id", "[0, 2]", [1, 0, 1]),
        (MULTI, "class-id", "[2, 2]", [0, 0, 1]),
        (MULTI, "class-id", "[]", [0, 0, 0]),
    ],
)
def test_manifest_labels_are_read_in_both_formats(
    tmp_path: Path, rule: LabelRule, label_format: str, text: str, expected: object
) -> None:
    os.mkfifo(tmp_path / "train_0")
    data = wrap(b"image", text.encode(), MAGIC_BYTES, text.encode())
    with writing(tmp_path / "train_0", data):
        found = summarise(manifest(tmp_path, rule, label_format).records(0))
    assert found == [
        ("train_0 record 0", b"image", expected),
        ("train_0 record 2", MAGIC_BYTES, expected),
    ]


@pytest.mark.parametrize(
    ("rule", "label_format", "label", "message"),
    [
        (SINGLE, "multi-hot", b"cat", "label 'cat' is neither a number nor a JSON array"),
        (SINGLE, "multi-hot", b"", "label '' is neither a number nor"),
        (SINGLE, "multi-hot", b"NaN", "label 'NaN' is neither a number nor"),
        (SINGLE, "multi-hot", b"10", "label 10 is no class index: with num_classes=10"),
        (SINGLE, "multi-hot", b"1e999", "label inf is no class index"),
        (SINGLE, "multi-hot", b"true", "label 'true' holds something else than numbers"),
        (SINGLE, "multi-hot", b"{}", "label '{}' holds something else than numbers"),
        (SINGLE, "multi-hot", b"[1]", "is an array, but .*set multi_label=1"),
        (SINGLE, "multi-hot", b"9" * 9000, "label inf is no class index"),
        (SINGLE, "multi-hot", b"[" * 99_999, "is neither a number nor a JSON array"),
        (SINGLE, "multi-hot", b"\xff\xd8\xff", "3 bytes that begin with '.*' are no text"),
        (SINGLE, "multi-hot", b" " * (MAX_LABEL_BYTES + 1), "4194305 bytes are no label"),
        (MULTI, "multi-hot", b"1", r"label '1' is no JSON array such as '\[1, 0, 1\]'"),
        (MULTI, "multi-hot", b"[0, 2]", "2 labels, but multi_label=1 needs a 0 or 1"),
        (MULTI, "multi-hot", b"[0, 2, 1]", "label 2 of class 1 is neither 0 nor 1"),
        (MULTI, "multi-hot", b"[[0], 2, 1]", "holds something else than numbers"),
        (MULTI, "class-id", b"[0, 3]", "label 3 is no class index: with num_classes=3"),
        (MULTI, "class-id", b"[0, null]", "holds something else than numbers"),
        (MULTI, "class-id", b'["a"]', "'a' is not a number"),
        (MULTI, "class-id", b"[1" + b"0" * 400 + b"]", "label inf is no class index"),
    ],
)
def test_a_wrong_manifest_label_is_named(
    tmp_path: Path, rule: LabelRule, label_format: str, label: bytes, message: str
) -> None:
    (tmp_path / "train_0").write_bytes(wrap(b"image", label))
    with pytest.raises(
        TrainingError,
        match=rf"'train': .*train_0, record 1, which is a label: .*{message}.*AttributeNames",
    ) as caught:
        list(manifest(tmp_path, rule, label_format).records(0))
    assert len(str(caught.value)) < 1024


def test_an_image_without_a_label_is_named(tmp_path: Path) -> None:
    (tmp_path / "train_0").write_bytes(wrap(b"image", b"1", b"image"))
    records = manifest(tmp_path).records(0)
    assert next(records).label == 1
    with pytest.raises(TrainingError, match=r"ends with record 2, an image without a label\. "):
        next(records)


def make_records(num_records: int, size: int = 1) -> Iterator[Record]:
    for idx in range(num_records):
        yield Record(str(idx), np.zeros(size, np.uint8), 0)


def shuffle(num_records: int, buffer_size: int, seed: int = 0) -> list[int]:
    generator = torch.Generator().manual_seed(seed)
    return [
        int(record.name)
        for record in shuffle_records(make_records(num_records), buffer_size, generator)
    ]


def test_a_shuffle_keeps_every_record_and_depends_on_its_generator_alone() -> None:
    order = shuffle(100, 20)
    assert sorted(order) == list(range(100))
    assert order != sorted(order)
    assert order == shuffle(100, 20)
    assert order != shuffle(100, 20, seed=1)
    assert all(record < place + 20 for place, record in enumerate(order))


def test_a_buffer_of_one_keeps_the_order_and_a_large_one_mixes_everything() -> None:
    assert shuffle(10, 1) == list(range(10))
    firsts = [shuffle(10, 10, seed=seed)[0] for seed in range(200)]
    assert set(firsts) == set(range(10))


def test_a_shuffle_holds_no_more_bytes_than_allowed() -> None:
    taken = 0

    def count() -> Iterator[Record]:
        nonlocal taken
        for record in make_records(50, size=100):
            taken += 1
            yield record

    generator = torch.Generator().manual_seed(0)
    for given, _ in enumerate(shuffle_records(count(), 1000, generator, max_bytes=550), 1):
        assert taken - given <= 5
    assert taken == 50
    order = shuffle_records(make_records(5, size=100), 1000, generator, max_bytes=10)
    assert [record.name for record in order] == list("01234")


def test_closing_closes_what_is_below() -> None:
    closed = []

    def source() -> Iterator[Record]:
        try:
            yield from make_records(10)
        finally:
            closed.append(True)

    records = shuffle_records(source(), 2, torch.Generator())
    next(records)
    records.close()  # type: ignore[attr-defined]  # it is a generator
    assert closed == [True]
