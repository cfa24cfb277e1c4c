import hashlib
import io
import json
import os
import struct
from pathlib import Path

import numpy as np
import pytest

from sagemaker_sift.trainer.data import recordio
from sagemaker_sift.trainer.data.image_set import ImageSet
from sagemaker_sift.trainer.data.label import LabelRule
from sagemaker_sift.trainer.data.record_file import read_record_files
from sagemaker_sift.trainer.data.recordio import read_records
from sagemaker_sift.trainer.errors import TrainingError
from tests.supports.recordio import (
    MAGIC_BYTES,
    image_payload,
    write_image_records,
    write_part,
    write_record,
)
from tests.supports.trainer_data import REPOSITORY

DATA = Path(os.environ.get("SIFT_DATA") or REPOSITORY.parent / "shared/data")
SINGLE = LabelRule(10, False)
MULTI = LabelRule(5, True)
GOOD = write_record(image_payload(3, b"image"))


def read_file(path: Path, rule: LabelRule = SINGLE) -> ImageSet:
    return read_record_files([path], channel="train", rule=rule)


@pytest.mark.parametrize(("stem", "rule"), [("single_label", SINGLE), ("multi_label", MULTI)])
@pytest.mark.skipif(
    not (DATA / "recordio").is_dir(),
    reason="the folder with records written by MXNet is absent (SIFT_DATA names it)",
)
def test_records_written_by_mxnet_are_read_byte_for_byte(stem: str, rule: LabelRule) -> None:
    path = DATA / "recordio" / f"{stem}.rec"
    expected = json.loads((DATA / "recordio" / f"{stem}.expected.json").read_text())
    found = read_file(path, rule)
    images = [found.reader.read(idx).tobytes() for idx in range(len(found))]
    assert [hashlib.sha256(image).hexdigest() for image in images] == [
        entry["sha256"] for entry in expected
    ]
    assert found.labels.tolist() == [entry["label"] for entry in expected]
    with path.open("rb") as file:
        payloads = list(read_records(file, "it"))
    assert [
        bytes(payload).endswith(image) for payload, image in zip(payloads, images, strict=True)
    ]


def test_labels_are_gathered_as_indices_or_as_zeros_and_ones(tmp_path: Path) -> None:
    path = write_image_records(tmp_path / "a.rec", [(3, b"x"), ([9], b"y"), (0.0, b"")])
    found = read_file(path)
    assert found.classes == tuple("0123456789")
    assert found.labels.dtype == np.int64
    assert found.labels.tolist() == [3, 9, 0]
    rows = [[0, 1, 0, 1, 1], [1, 0, 0, 0, 0]]
    path = write_image_records(tmp_path / "b.rec", [(row, MAGIC_BYTES) for row in rows])
    found = read_file(path, MULTI)
    assert found.labels.dtype == np.uint8
    assert found.labels.tolist() == rows


def test_one_class_of_multi_label_may_stand_in_the_header(tmp_path: Path) -> None:
    path = write_image_records(tmp_path / "a.rec", [(1, b"x"), ([0], b"y")])
    assert read_file(path, LabelRule(1, True)).labels.tolist() == [[1], [0]]


def test_a_magic_number_inside_the_header_is_put_back(tmp_path: Path) -> None:
    payload = image_payload(3, b"abcd" + MAGIC_BYTES, idx=int.from_bytes(MAGIC_BYTES, "little"))
    assert write_record(payload).count(MAGIC_BYTES) == 3
    (tmp_path / "a.rec").write_bytes(GOOD + write_record(payload) + GOOD)
    found = read_file(tmp_path / "a.rec")
    assert found.labels.tolist() == [3, 3, 3]
    assert found.reader.read(1).tobytes() == b"abcd" + MAGIC_BYTES


BROKEN = {
    "another file": (
        b"PK\x03\x04 a zip file",
        0,
        "0x04034b50 stands where RecordIO has its magic",
    ),
    "another magic": (GOOD + b"abcdefgh", len(GOOD), "0x64636261 stands where"),
    "half a header": (GOOD + MAGIC_BYTES, len(GOOD), "ends after 4 of the 8 bytes of a header"),
    "an unknown kind": (GOOD + write_part(5, b""), len(GOOD), "kind 5, but there are only 0 to 3"),
    "a middle first": (write_part(2, b"x"), 0, "begins with a part that is not its first"),
    "a last first": (write_part(3, b"x"), 0, "begins with a part that is not its first"),
    "two firsts": (write_part(1, b"abcd") * 2, 12, "begins before the last part of the one"),
    "first, whole": (write_part(1, b"abcd") + GOOD, 12, "begins before the last part of the"),
    "no last part": (write_part(1, b"abcd"), 12, "ends after 0 of the 8 bytes of a header"),
}


@pytest.mark.parametrize(("data", "offset", "message"), BROKEN.values(), ids=BROKEN)
def test_damaged_framing_is_refused_with_its_place(
    tmp_path: Path, data: bytes, offset: int, message: str
) -> None:
    path = tmp_path / "a.rec"
    path.write_bytes(data)
    record_idx = int(data.startswith(GOOD))
    place = rf"a\.rec, record {record_idx}, byte {offset}: .*{message}.*write it again"
    with pytest.raises(TrainingError, match=f"^Channel 'train': .*{place}"):
        read_file(path)
    with pytest.raises(
        TrainingError, match=rf"^x, record {record_idx}, byte {offset}: .*{message}"
    ):
        list(read_records(io.BytesIO(data), "x"))


@pytest.mark.parametrize("num_missing", [1, 3, 20, 36])
def test_a_file_that_is_cut_off_is_refused(tmp_path: Path, num_missing: int) -> None:
    data = (GOOD + GOOD)[:-num_missing]
    (tmp_path / "a.rec").write_bytes(data)
    with pytest.raises(TrainingError, match=r"record 1, byte 40: .*(but the file has|ends after)"):
        read_file(tmp_path / "a.rec")
    with pytest.raises(TrainingError, match=r"record 1, byte 40: the data ends after"):
        list(read_records(io.BytesIO(data), "x"))


WRONG = {
    "too short": (b"x" * 23, "it has 23 bytes, but its header alone takes 24"),
    "empty": (b"", "it has 0 bytes"),
    "lying flag": (struct.pack("<IfQQ", 2**32 - 1, 0, 0, 0), "announces 4294967295 labels, but"),
    "a bare image": (b"\xff\xd8\xff\xe0" + bytes(40), "begins with an image where .*'RecordIO'"),
    "NaN": (image_payload(float("nan"), b""), "label nan is no class index"),
    "negative": (image_payload(-1, b""), "label -1 is no class index: with num_classes=10"),
    "too large": (image_payload(10, b""), "label 10 is .* a whole number from 0 to 9"),
    "infinite": (image_payload(float("inf"), b""), "label inf is no class index"),
    "a fraction": (image_payload(1.5, b""), "label 1.5 is no class index"),
    "several": (image_payload([1, 0, 1], b""), "3 labels, but .*set multi_label=1"),
}


@pytest.mark.parametrize(("payload", "message"), WRONG.values(), ids=WRONG)
def test_a_record_that_is_no_image_record_is_named(
    tmp_path: Path, payload: bytes, message: str
) -> None:
    (tmp_path / "a.rec").write_bytes(GOOD + write_record(payload) + GOOD)
    with pytest.raises(
        TrainingError, match=rf"has 1 wrong record: record 1, byte 40: .*{message}"
    ):
        read_file(tmp_path / "a.rec")


def test_a_wrong_record_in_parts_is_named_too(tmp_path: Path) -> None:
    payload = image_payload(77, MAGIC_BYTES)
    (tmp_path / "a.rec").write_bytes(GOOD + write_record(payload))
    with pytest.raises(TrainingError, match="record 1, byte 40: label 77 is no class index"):
        read_file(tmp_path / "a.rec")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (3, "1 label, but multi_label=1 needs a 0 or 1 for each of the num_classes=5 classes"),
        ([1, 0], "2 labels, but"),
        ([1, 0, 0.5, 0, 0], "label 0.5 of class 2 is neither 0 nor 1"),
        ([float("nan")] * 5, "label nan of class 0 is neither"),
    ],
)
def test_wrong_multi_labels_are_named(
    tmp_path: Path, labels: float | list[float], message: str
) -> None:
    path = write_image_records(tmp_path / "a.rec", [(labels, b"x")])
    with pytest.raises(TrainingError, match=message):
        read_file(path, MULTI)


def test_many_wrong_records_fit_into_the_reason_of_a_failure(tmp_path: Path) -> None:
    path = write_image_records(tmp_path / "a.rec", [(99, b"x")] * 50)
    with pytest.raises(TrainingError, match=r"50 wrong records: .*byte 108: .*; and 46 more") as e:
        read_file(path)
    assert len(str(e.value)) < 1024


def test_empty_and_unreadable_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.rec").write_bytes(b"")
    with pytest.raises(TrainingError, match=r"Channel 'train': .*a\.rec is empty"):
        read_file(tmp_path / "a.rec")
    with pytest.raises(TrainingError, match=r"cannot be read .*No such file"):
        read_file(tmp_path / "b.rec")
    with pytest.raises(TrainingError, match=r"cannot be read .*Is a directory"):
        read_file(tmp_path)
    assert list(read_records(io.BytesIO(b""), "x")) == []


def test_a_record_beyond_the_limit_is_refused_before_it_is_read(tmp_path: Path) -> None:
    header = MAGIC_BYTES + struct.pack("<I", recordio.MAX_RECORD_BYTES + 1)
    with (tmp_path / "a.rec").open("wb") as file:
        file.write(header)
        file.truncate(1 << 29)
    for stream in (io.BytesIO(header), (tmp_path / "a.rec").open("rb")):
        with stream, pytest.raises(TrainingError, match="268435457 bytes or more, but may"):
            list(read_records(stream, "x"))
    with pytest.raises(TrainingError, match="268435457 bytes or more"):
        read_file(tmp_path / "a.rec")


def test_parts_count_together_towards_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recordio, "MAX_RECORD_BYTES", 40)
    data = write_part(1, bytes(28)) + write_part(2, b"abcd") + write_part(3, b"efgh")
    (tmp_path / "a.rec").write_bytes(data)
    with pytest.raises(TrainingError, match="record 0, byte 48: a record has 44 bytes"):
        read_file(tmp_path / "a.rec")
    with pytest.raises(TrainingError, match="record 0, byte 48: a record has 44 bytes"):
        list(read_records(io.BytesIO(data), "x"))


def test_a_lying_length_in_a_stream_allocates_little() -> None:
    class Source(io.BytesIO):
        largest = 0

        def read(self, size: int | None = -1, /) -> bytes:
            self.largest = max(self.largest, size or 0)
            return super().read(size)

    stream = Source(MAGIC_BYTES + struct.pack("<I", 200 << 20) + b"short")
    with pytest.raises(TrainingError, match="ends after 5 of the 209715200 bytes"):
        list(read_records(stream, "x"))
    assert stream.largest <= 1 << 20


def test_a_stream_may_give_its_bytes_in_any_pieces() -> None:
    class Trickle(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(min(size or 0, 3))

    payloads = [b"", b"abcde", MAGIC_BYTES * 3, b"x" * 100]
    data = b"".join(map(write_record, payloads))
    assert [bytes(p) for p in read_records(Trickle(data), "x")] == payloads
