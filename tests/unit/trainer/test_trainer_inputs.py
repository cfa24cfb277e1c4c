import os
from pathlib import Path
from typing import Any

import pytest

from sagemaker_sift.trainer.channel_settings import ChannelSettings
from sagemaker_sift.trainer.errors import TrainingError
from sagemaker_sift.trainer.inputs import (
    InputForm,
)
from tests.supports.channels import Fill, folders, images, list_of, nothing, read, records
from tests.supports.recordio import image_payload, write_record

RECORDIO = {"ContentType": "application/x-recordio"}
IMAGES = {"ContentType": "application/x-image"}
PIPE = {"TrainingInputMode": "Pipe"}
MANIFEST = RECORDIO | PIPE | {"RecordWrapperType": "RecordIO"}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "input/data"
    folder.mkdir(parents=True)
    return folder


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
