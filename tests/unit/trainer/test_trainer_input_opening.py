"""What is read of a channel once its form is known."""

import dataclasses
import os
from pathlib import Path
from typing import Any

import pytest

from sagemaker_sift.trainer.data.image_stream import ManifestStream, RecordIOStream
from sagemaker_sift.trainer.errors import TrainingError
from sagemaker_sift.trainer.inputs import (
    InputForm,
    JobInput,
    open_image_set,
    open_image_stream,
)
from tests.supports.channels import folders, images, list_of, nothing, read, records
from tests.supports.recordio import write_image_records, write_record

RECORDIO = {"ContentType": "application/x-recordio"}
PIPE = {"TrainingInputMode": "Pipe"}
MANIFEST = RECORDIO | PIPE | {"RecordWrapperType": "RecordIO"}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "input/data"
    folder.mkdir(parents=True)
    return folder


def test_class_folders_that_are_links_count(data: Path, tmp_path: Path) -> None:
    folders(tmp_path, "elsewhere")
    nothing(data, "train")
    for name in ("cat", "dog"):
        (data / "train" / name).symlink_to(tmp_path / "elsewhere" / name)
    assert read(data, {}).train is InputForm.CLASS_FOLDERS


def test_record_files_of_a_channel_are_opened_in_order(data: Path) -> None:
    records(data, "train")
    (data / "train" / "deeper").mkdir()
    (data / "train" / "part0.rec").rename(data / "train" / "deeper" / "PART.REC")
    found = open_image_set("train", read(data, {}), num_classes=2, multi_label=False)
    assert [found.reader.name(idx) for idx in range(2)] == [
        f"{data}/train/deeper/PART.REC record 0",
        f"{data}/train/part1.rec record 0",
    ]
    assert found.labels.tolist() == [0, 1]


def test_a_channel_may_be_one_file(data: Path, tmp_path: Path) -> None:
    path = write_image_records(tmp_path / "one.rec", [(1, b"x")])
    (data / "train").symlink_to(path)
    found = open_image_set("train", read(data, {}), num_classes=2, multi_label=False)
    assert found.reader.name(0) == f"{path} record 0"


def test_images_with_a_list_are_opened(data: Path) -> None:
    for name in ("train", "validation"):
        images(data, name)
        list_of(data, f"{name}_lst")
    found = open_image_set("validation", read(data, {}), num_classes=2, multi_label=False)
    assert (found.channel, found.classes, found.labels.tolist()) == (
        "validation",
        ("0", "1"),
        [0, 1],
    )
    assert found.reader.name(1) == f"{data}/validation/1.png"


def test_a_record_file_that_is_none_is_refused_without_a_hang(data: Path) -> None:
    nothing(data, "train")
    os.mkfifo(data / "train" / "a.rec")
    with pytest.raises(TrainingError, match=r"Channel 'train' has no regular \.rec file in"):
        open_image_set("train", read(data, {}), num_classes=2, multi_label=False)
    (data / "train" / "a.rec").unlink()
    (data / "train" / "a.rec").symlink_to(data / "nowhere")
    with pytest.raises(TrainingError, match=r"Channel 'train' cannot be read: .*No such file"):
        open_image_set("train", read(data, {}), num_classes=2, multi_label=False)


def test_streams_are_opened_with_their_label_format(data: Path) -> None:
    content_type = "application/x-recordio; label-format=class-id"
    given = {"train": MANIFEST | {"ContentType": content_type}, "validation": PIPE}
    found = read(data, given)
    (data / "train_0").write_bytes(write_record(b"image") + write_record(b"[0, 2]"))

    def open_it(name: str) -> Any:
        return open_image_stream(
            name, found, num_classes=3, multi_label=True, is_stopping=lambda: False
        )

    stream = open_it("train")
    assert isinstance(stream, ManifestStream)
    assert [record.label.tolist() for record in stream.records(0)] == [[1, 0, 1]]
    stream = open_it("validation")
    assert isinstance(stream, RecordIOStream)
    assert not isinstance(stream, ManifestStream)


def test_opening_the_wrong_way_is_the_programs_fault(data: Path) -> None:
    records(data, "validation")
    found = read(data, {"train": PIPE})
    no_validation = dataclasses.replace(found, validation=None)

    def open_it(job_input: JobInput) -> Any:
        return open_image_stream(
            "validation", job_input, num_classes=2, multi_label=False, is_stopping=lambda: False
        )

    with pytest.raises(ValueError, match="'train' is no set of numbered images"):
        open_image_set("train", found, num_classes=2, multi_label=False)
    with pytest.raises(ValueError, match="'validation' is no pipe: it is RecordIO files"):
        open_it(found)
    with pytest.raises(ValueError, match="has no channel 'validation'"):
        open_it(no_validation)
