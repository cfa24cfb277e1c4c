import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sagemaker_sift.contract.container import ContainerPaths
from sagemaker_sift.trainer.channel_settings import ChannelSettings
from sagemaker_sift.trainer.data.image_stream import ManifestStream, RecordIOStream
from sagemaker_sift.trainer.errors import TrainingError
from sagemaker_sift.trainer.inputs import (
    InputForm,
    JobInput,
    open_image_set,
    open_image_stream,
    read_job_input,
)
from tests.supports.recordio import image_payload, write_image_records, write_record

RECORDIO = {"ContentType": "application/x-recordio"}
IMAGES = {"ContentType": "application/x-image"}
PIPE = {"TrainingInputMode": "Pipe"}
MANIFEST = RECORDIO | PIPE | {"RecordWrapperType": "RecordIO"}


def folders(data: Path, name: str) -> None:
    for class_name in ("cat", "dog"):
        (data / name / class_name).mkdir(parents=True)
        (data / name / class_name / "1.jpg").write_bytes(b"image")


def records(data: Path, name: str) -> None:
    for idx in range(2):
        write_image_records(data / name / f"part{idx}.rec", [(idx, b"image")])
        (data / name / f"part{idx}.idx").write_text("0\t0\n")


def images(data: Path, name: str) -> None:
    (data / name).mkdir(parents=True)
    for idx in range(2):
        (data / name / f"{idx}.png").write_bytes(b"image")


def list_of(data: Path, name: str) -> None:
    (data / name).mkdir(parents=True)
    (data / name / f"{name}.lst").write_text("0\t0\t0.png\n1\t1\t1.png\n")


def nothing(data: Path, name: str) -> None:
    (data / name).mkdir(parents=True)


def absent(data: Path, name: str) -> None:
    pass


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "input/data"
    folder.mkdir(parents=True)
    return folder


def read(data: Path, given: dict[str, Any], num_hosts: int = 1) -> JobInput:
    return read_job_input(given, ContainerPaths(data.parents[1]), num_hosts=num_hosts)


Fill = Callable[[Path, str], None]


@pytest.mark.parametrize(
    ("fill", "settings", "form"),
    [
        ({"train": folders}, {}, InputForm.CLASS_FOLDERS),
        ({"train": folders}, {"train": IMAGES}, InputForm.CLASS_FOLDERS),
        ({"train": folders}, {"train": {"ContentType": "Image/JPEG;a"}}, InputForm.CLASS_FOLDERS),
        ({"train": records}, {}, InputForm.RECORDIO),
        ({"train": records}, {"train": RECORDIO}, InputForm.RECORDIO),
        ({"train": images, "train_lst": list_of}, {}, InputForm.LIST),
        (
            {"train": images, "train_lst": list_of},
            {"train": IMAGES, "train_lst": IMAGES},
            InputForm.LIST,
        ),
        ({}, {"train": RECORDIO | PIPE}, InputForm.RECORDIO_PIPE),
        ({}, {"train": PIPE}, InputForm.RECORDIO_PIPE),
        ({}, {"train": MANIFEST}, InputForm.MANIFEST_PIPE),
        ({}, {"train": MANIFEST | IMAGES}, InputForm.MANIFEST_PIPE),
    ],
)
def test_each_form_is_found_alone_and_in_both_channels(
    data: Path, fill: dict[str, Fill], settings: dict[str, Any], form: InputForm
) -> None:
    for name, write in fill.items():
        write(data, name)
    found = read(data, settings)
    assert (found.train, found.validation) == (form, None)
    for name, write in fill.items():
        write(data, name.replace("train", "validation"))
    both = settings | {n.replace("train", "validation"): s for n, s in settings.items()}
    found = read(data, both)
    assert (found.train, found.validation) == (form, form)
    assert form.is_stream == (not fill)


def test_forms_that_number_their_classes_may_differ(data: Path) -> None:
    records(data, "validation")
    found = read(data, {"train": MANIFEST, "validation": {}})
    assert (found.train, found.validation) == (InputForm.MANIFEST_PIPE, InputForm.RECORDIO)
    images(data, "train")
    list_of(data, "train_lst")
    assert read(data, {}).train is InputForm.LIST


def test_a_pipe_is_found_without_a_configuration(data: Path) -> None:
    (data / "train_0").write_bytes(write_record(image_payload(0, b"image")))
    assert read(data, {}).train is InputForm.RECORDIO_PIPE


def test_model_channels_are_listed_with_their_folders(data: Path) -> None:
    folders(data, "train")
    nothing(data, "model")
    found = read(data, {"model": {"ContentType": "application/x-sagemaker-model"}})
    assert (found.folder("model"), found.folder("pretrained")) == (data / "model", None)


def test_settings_are_read_as_the_service_writes_them() -> None:
    given = {
        "ContentType": 'Application/X-RecordIO; Label-Format="Class-ID" ; other',
        "TrainingInputMode": "Pipe",
        "S3DistributionType": "FullyReplicated",
        "RecordWrapperType": "RecordIO",
    }
    assert ChannelSettings.from_config("train", given) == ChannelSettings(
        name="train",
        mode="Pipe",
        content_type="application/x-recordio",
        parameters={"label-format": "Class-ID", "other": ""},
        record_wrapper="RecordIO",
    )
    assert ChannelSettings.from_config("train", given).label_format == "class-id"
    assert ChannelSettings.from_config("train", {}).label_format == "multi-hot"


WRONG: dict[str, tuple[dict[str, Fill], dict[str, Any], str]] = {
    "no train": ({"validation": folders}, {}, "has no channel 'train': .* is not there. Add a"),
    "unknown": (
        {"train": folders},
        {"trian": {}},
        "has a channel 'trian', but the algorithm has only train, .* Did you mean 'train'",
    ),
    "no object": ({"train": folders}, {"train": "File"}, "Channel 'train' is 'File' in .*JSON ob"),
    "named, absent": ({}, {"train": {}}, "names a channel 'train', but .* is not there"),
    "mode": (
        {"train": folders},
        {"train": {"TrainingInputMode": "Tube"}},
        "'train' has TrainingInputMode 'Tube', but must have one of File, FastFile, Pipe",
    ),
    "list in a pipe": (
        {"train": images},
        {"train_lst": PIPE},
        "'train_lst' has TrainingInputMode 'Pipe', but must have one of File, FastFile",
    ),
    "model in a pipe": ({"train": folders}, {"model": PIPE}, "'model' has TrainingInputMode 'Pi"),
    "content type": (
        {"train": folders},
        {"train": {"ContentType": "text/csv"}},
        "'train' has ContentType 'text/csv', but must have one of application/x-recordio,",
    ),
    "wrapper": (
        {"train": folders},
        {"train": {"RecordWrapperType": "Zip"}},
        "'train' has RecordWrapperType 'Zip', but must have one of None, RecordIO",
    ),
    "wrapped files": (
        {"train": folders},
        {"train": {"RecordWrapperType": "RecordIO"}},
        "RecordWrapperType 'RecordIO' and TrainingInputMode 'File', but only what passes a pipe",
    ),
    "distribution": (
        {"train": folders},
        {"train": {"S3DistributionType": "Half"}},
        "'train' has S3DistributionType 'Half', but must have one of FullyReplicated",
    ),
    "sharded pipe": (
        {},
        {"train": RECORDIO | PIPE | {"S3DistributionType": "ShardedByS3Key"}},
        "'train' has S3DistributionType 'ShardedByS3Key', but every machine",
    ),
    "label format": (
        {},
        {"train": MANIFEST | {"ContentType": "application/x-recordio; label-format=names"}},
        "label-format 'names', but must have one of multi-hot, class-id",
    ),
    "images in a pipe": (
        {},
        {"train": IMAGES | PIPE},
        "'application/x-image' in Pipe mode, which needs an augmented manifest",
    ),
    "pipe and folder": (
        {"train": records},
        {"train": RECORDIO | PIPE},
        "has TrainingInputMode 'Pipe', but .*/train is there as in File mode. Use File",
    ),
    "pipe and list": (
        {"train_lst": list_of},
        {"train": MANIFEST},
        "'Pipe', but the job also has a channel 'train_lst', whose images must lie in a folder",
    ),
    "empty": ({"train": nothing}, {}, "'train' is empty: .*/train holds no file"),
    "no records": (
        {"train": folders},
        {"train": RECORDIO},
        "ContentType 'application/x-recordio', but .*/train holds no .rec file",
    ),
    "no images": (
        {"train": records},
        {"train": IMAGES},
        r"ContentType 'application/x-image', but holds RecordIO \('part..rec'\)",
    ),
    "loose list": (
        {"train": lambda data, name: (images(data, name), (data / name / "a.lst").touch())},
        {},
        r"holds a list \('a.lst'\) among its images. Give it a channel of its own, 'train_lst'",
    ),
    "mixed": (
        {"train": lambda data, name: (records(data, name), folders(data, name))},
        {},
        r"'train' holds both RecordIO \('part..rec'\) and images \('1.jpg'\)",
    ),
    "records and list": (
        {"train": records, "train_lst": list_of},
        {},
        "holds RecordIO .* also has a channel 'train_lst', which is for images in files",
    ),
    "list, content type": (
        {"train": images, "train_lst": list_of},
        {"train": RECORDIO},
        "the job has a channel 'train_lst'. Set the ContentType of both",
    ),
    "list, no images": (
        {"train": nothing, "train_lst": list_of},
        {},
        "'train' is empty",
    ),
    "no list": (
        {"train": images, "train_lst": nothing},
        {},
        "'train_lst' has no .lst files in .*/train_lst, but must have exactly one",
    ),
    "two lists": (
        {
            "train": images,
            "train_lst": lambda data, name: (list_of(data, name), (data / name / "b.lst").touch()),
        },
        {},
        r"has 2 .lst files in .*/train_lst \('b.lst', 'train_lst.lst', ...\)",
    ),
    "list named, absent": (
        {"train": images},
        {"train_lst": {}},
        "^The job names a channel 'train_lst', but .*/train_lst is not there",
    ),
    "one list of two": (
        {"train": images, "train_lst": list_of, "validation": images},
        {},
        "has a channel 'train_lst', but no channel 'validation_lst' for the images of 'val",
    ),
    "other list of two": (
        {"train": folders, "validation": images, "validation_lst": list_of},
        {},
        "has a channel 'validation_lst', but no channel 'train_lst' for the images of 'train'",
    ),
    "list without images": (
        {"train": images, "train_lst": list_of, "validation_lst": list_of},
        {},
        "has a channel 'validation_lst', but no channel 'validation' with its images",
    ),
    "records, folders": (
        {"train": records, "validation": folders},
        {},
        "'train' is RecordIO files, but channel 'validation' is one folder a class: folders name",
    ),
    "folders, pipe": (
        {"train": folders},
        {"validation": RECORDIO | PIPE},
        "'train' is one folder a class, but channel 'validation' is RecordIO through a pipe",
    ),
}


@pytest.mark.parametrize(("fill", "given", "message"), WRONG.values(), ids=WRONG)
def test_what_does_not_fit_is_refused(
    data: Path, fill: dict[str, Fill], given: dict[str, Any], message: str
) -> None:
    for name, write in fill.items():
        write(data, name)
    with pytest.raises(TrainingError, match=message) as caught:
        read(data, given)
    assert "problems" not in str(caught.value)
    assert len(str(caught.value)) < 1024


def test_all_problems_are_named_at_once(data: Path) -> None:
    records(data, "train")
    folders(data, "train")
    nothing(data, "validation")
    with pytest.raises(TrainingError, match=r"^The job's input has 4 problems: The job ha") as e:
        read(data, {"test": {}, "model": {}})
    for part in ("'test'", "'model'", "'train' holds both", "'validation' is empty"):
        assert part in str(e.value)


def test_shards_are_refused_where_they_would_matter(data: Path) -> None:
    records(data, "train")
    given = {"train": RECORDIO | {"S3DistributionType": "ShardedByS3Key"}}
    assert read(data, given).train is InputForm.RECORDIO
    with pytest.raises(TrainingError, match="Use FullyReplicated"):
        read(data, given, num_hosts=2)


def test_a_folder_that_cannot_be_read_is_refused(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders(data, "train")

    def refuse(path: Any) -> Any:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(TrainingError, match=r"'train' cannot be read: .*train.* \(Permission"):
        read(data, {})


def test_a_stray_list_beside_class_folders_and_hidden_files_do_not_count(data: Path) -> None:
    folders(data, "train")
    (data / "train" / "a.lst").touch()
    (data / "train" / ".x.rec").touch()
    assert read(data, {}).train is InputForm.CLASS_FOLDERS


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
