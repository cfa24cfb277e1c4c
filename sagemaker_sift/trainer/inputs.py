"""In which form a job's images come, and how they are opened.

In:  ``inputdataconfig.json`` and what lies in the channels.  Out: images to open.

Source: "Image Classification - MXNet: input/output interface", SageMaker developer guide. The form
of ``train`` and of ``validation`` is decided for each by itself:

================================================  ==================================
channel                                           form
================================================  ==================================
Pipe, ``RecordWrapperType`` RecordIO              augmented manifest
Pipe, otherwise (ContentType application/         RecordIO through a pipe
x-recordio, or none)
File or FastFile, with a channel ``<name>_lst``   images and a ``.lst`` file
File or FastFile, ``.rec`` files                  RecordIO files
File or FastFile, otherwise                       one folder a class
================================================  ==================================

Both may differ as long as both number their classes or both name them by folders.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sagemaker_sift.contract.channels import (
    IMAGE_CONTENT_TYPES,
    LIST_SUFFIX,
    RECORDIO_CONTENT_TYPE,
    RECORDIO_SUFFIX,
)
from sagemaker_sift.contract.container import ContainerPaths
from sagemaker_sift.trainer.channel_content import ChannelContent, list_files, look_into
from sagemaker_sift.trainer.channel_settings import (
    ChannelSettings,
    find_problems,
    read_channels,
)
from sagemaker_sift.trainer.data.image_list import read_image_list
from sagemaker_sift.trainer.data.image_set import ImageSet, ImageStream
from sagemaker_sift.trainer.data.image_stream import ManifestStream, RecordIOStream
from sagemaker_sift.trainer.data.label import LabelRule
from sagemaker_sift.trainer.data.pipe import Patience
from sagemaker_sift.trainer.data.problem import quote
from sagemaker_sift.trainer.data.record_file import read_record_files
from sagemaker_sift.trainer.errors import TrainingError

PIPE_FOLDER_VARIABLE = "SIFT_PIPE_FOLDER"
"""Folder of this process's own pipes, if it is one of several on its machine; set by the process
that starts it."""


class InputForm(enum.Enum):
    """How the images of a channel come; the value is for messages."""

    CLASS_FOLDERS = "one folder a class"
    LIST = "images and a .lst file"
    RECORDIO = "RecordIO files"
    RECORDIO_PIPE = "RecordIO through a pipe"
    MANIFEST_PIPE = "an augmented manifest"

    @property
    def is_stream(self) -> bool:
        """Whether the images pass by once an epoch."""
        return self in (InputForm.RECORDIO_PIPE, InputForm.MANIFEST_PIPE)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobInput:
    """The channels of a job.

    Attributes:
        paths: The container's layout.
        channels: Settings of every channel that the job has, by name.
        train: Form of the channel ``train``.
        validation: Form of the channel ``validation``, or ``None`` without it.
        pipe_folder: Where the pipes are, if not where the container has them.
    """

    paths: ContainerPaths
    channels: Mapping[str, ChannelSettings]
    train: InputForm
    validation: InputForm | None
    pipe_folder: Path | None = None

    @property
    def pipe_channels(self) -> list[str]:
        """The channels of images that are pipes."""
        forms = {"train": self.train, "validation": self.validation}
        return [name for name, form in forms.items() if form is not None and form.is_stream]

    def folder(self, name: str) -> Path | None:
        """Return the folder of a channel, or ``None`` if the job does not have the channel."""
        return self.paths.channel(name) if name in self.channels else None


def read_job_input(
    given: Mapping[str, Any],
    paths: ContainerPaths,
    *,
    num_hosts: int = 1,
    pipe_folder: Path | None = None,
) -> JobInput:
    """Return the job's channels and the form of its images.

    Args:
        given: The content of ``inputdataconfig.json``; may be empty, then the folders count.
        paths: The container's layout.
        num_hosts: Machines of the job.
        pipe_folder: Where the pipes are, if not where the container has them.

    Raises:
        TrainingError: With everything that is wrong: unknown, missing or empty channels, settings
            that the contract does not have, channels that contradict each other or their content.
    """
    channels, problems = read_channels(given, paths)
    forms: dict[str, InputForm] = {}
    finder = _FormFinder(channels, paths)
    for name, settings in channels.items():
        found = list(find_problems(settings, num_hosts=num_hosts))
        problems += found
        if not settings.is_pipe and not paths.channel(name).exists():
            problems.append(
                f"The job names a channel {name!r}, but {paths.channel(name)} is not there. "
                "Check that its S3 location or folder is not empty."
            )
        elif name in ("train", "validation") and not found:
            forms[name] = finder.find(name)
    if "train" not in channels and "train" not in given:
        problems.append(
            f"The job has no channel 'train': {paths.channel('train')} is not there. Add a "
            "channel of that name with one folder of JPEG or PNG images a class, RecordIO files, "
            "or images and a channel 'train_lst'."
        )
    problems += finder.problems
    if not problems:
        problems += _find_contradictions(forms, channels)
    if problems:
        start = f"The job's input has {len(problems)} problems: " if len(problems) > 1 else ""
        raise TrainingError(start + " ".join(problems))
    return JobInput(
        paths=paths,
        channels=channels,
        train=forms["train"],
        validation=forms.get("validation"),
        pipe_folder=pipe_folder,
    )


def open_image_set(
    name: str, job_input: JobInput, *, num_classes: int, multi_label: bool
) -> ImageSet:
    """Return the images of a channel of RecordIO files, or of images and a list.

    Args:
        name: ``train`` or ``validation``.
        job_input: The job's channels; the form of this one is ``RECORDIO`` or ``LIST``.
        num_classes: The hyperparameter.
        multi_label: The hyperparameter.

    Raises:
        TrainingError: If a file is not what it should be.
        ValueError: If the channel has another form.
    """
    rule = LabelRule(num_classes, multi_label)
    root = job_input.paths.channel(name)
    form = _get_form(name, job_input)
    if form is InputForm.RECORDIO:
        found = _find_files(name, root, RECORDIO_SUFFIX)
        return read_record_files(found, channel=name, rule=rule)
    if form is InputForm.LIST:
        list_root = job_input.paths.channel(f"{name}_lst")
        path = _find_files(f"{name}_lst", list_root, LIST_SUFFIX)[0]
        return read_image_list(
            path, channel=name, list_channel=f"{name}_lst", root=root, rule=rule
        )
    raise ValueError(f"Channel {name!r} is no set of numbered images: it is {form.value}.")


def open_image_stream(
    name: str,
    job_input: JobInput,
    *,
    num_classes: int,
    multi_label: bool,
    is_stopping: Callable[[], bool],
    patience: Patience | None = None,
) -> ImageStream:
    """Return the images of a channel that is a pipe; nothing is opened yet.

    Args:
        name: ``train`` or ``validation``.
        job_input: The job's channels; the form of this one is a stream.
        num_classes: The hyperparameter.
        multi_label: The hyperparameter.
        is_stopping: Asked while waiting for data; an epoch ends early when it says so.
        patience: How long to wait for data.

    Raises:
        ValueError: If the channel has another form.
    """
    rule = LabelRule(num_classes, multi_label)
    form = _get_form(name, job_input)
    data = job_input.pipe_folder or job_input.paths.data
    if form is InputForm.RECORDIO_PIPE:
        return RecordIOStream(
            name, data=data, rule=rule, is_stopping=is_stopping, patience=patience
        )
    if form is InputForm.MANIFEST_PIPE:
        return ManifestStream(
            name,
            data=data,
            rule=rule,
            label_format=job_input.channels[name].label_format,
            is_stopping=is_stopping,
            patience=patience,
        )
    raise ValueError(f"Channel {name!r} is no pipe: it is {form.value}.")


def _find_files(name: str, root: Path, suffix: str) -> list[Path]:
    try:
        found = list_files(root, suffix)
    except OSError as error:
        raise TrainingError(_describe_unreadable(name, error)) from error
    if not found:
        raise TrainingError(
            f"Channel {name!r} has no regular {suffix} file in {root}. Check its S3 location."
        )
    return found


def _get_form(name: str, job_input: JobInput) -> InputForm:
    form = job_input.train if name == "train" else job_input.validation
    if form is None:
        raise ValueError(f"The job has no channel {name!r}.")
    return form


class _FormFinder:
    """Finds the form of channels whose settings are right, and what else is wrong."""

    def __init__(self, channels: Mapping[str, ChannelSettings], paths: ContainerPaths) -> None:
        self.problems: list[str] = []
        self._channels = channels
        self._paths = paths

    def find(self, name: str) -> InputForm:
        """Return the form of a channel; it means nothing once there are problems."""
        settings = self._channels[name]
        list_name = f"{name}_lst"
        if settings.is_pipe:
            if list_name in self._channels:
                self._report(
                    f"Channel {name!r} has TrainingInputMode 'Pipe', but the job also has a "
                    f"channel {list_name!r}, whose images must lie in a folder. Use File, or "
                    "remove the list."
                )
            return self._find_pipe(settings)
        try:
            content = look_into(self._paths.channel(name))
            if list_name in self._channels:
                if self._paths.channel(list_name).exists():
                    self._check_list(list_name)
                self._check_listed_images(settings, content)
                return InputForm.LIST
            return self._find_files(settings, content)
        except OSError as error:
            self._report(_describe_unreadable(name, error))
            return InputForm.CLASS_FOLDERS

    def _report(self, problem: str) -> None:
        self.problems.append(problem)

    def _find_pipe(self, settings: ChannelSettings) -> InputForm:
        name, folder = settings.name, self._paths.channel(settings.name)
        if folder.exists():
            self._report(
                f"Channel {name!r} has TrainingInputMode 'Pipe', but {folder} is there as in File "
                "mode. Use File."
            )
        if settings.record_wrapper == "RecordIO":
            return InputForm.MANIFEST_PIPE
        if settings.content_type in IMAGE_CONTENT_TYPES:
            self._report(
                f"Channel {name!r} has ContentType {settings.content_type!r} in Pipe mode, which "
                "needs an augmented manifest with RecordWrapperType 'RecordIO'. Use that, "
                "application/x-recordio with .rec files, or File mode."
            )
        return InputForm.RECORDIO_PIPE

    def _check_list(self, list_name: str) -> None:
        root = self._paths.channel(list_name)
        found = list_files(root, LIST_SUFFIX)
        if len(found) != 1:
            names = f" ({', '.join(quote(path.name) for path in found[:3])}, ...)" if found else ""
            self._report(
                f"Channel {list_name!r} has {len(found) or 'no'} .lst files in {root}{names}, but "
                "must have exactly one."
            )

    def _check_listed_images(self, settings: ChannelSettings, content: ChannelContent) -> None:
        name = settings.name
        if content.record_file:
            self._report(
                f"Channel {name!r} holds RecordIO ({quote(content.record_file)}), but the job "
                f"also has a channel '{name}_lst', which is for images in files of their own. "
                "Remove one of the two."
            )
        elif settings.content_type == RECORDIO_CONTENT_TYPE:
            self._report(
                f"Channel {name!r} has ContentType {RECORDIO_CONTENT_TYPE!r}, but the job has a "
                f"channel '{name}_lst'. Set the ContentType of both to application/x-image."
            )
        elif content.is_empty:
            self._report(_describe_empty(name, self._paths))

    def _find_files(self, settings: ChannelSettings, content: ChannelContent) -> InputForm:
        name, content_type = settings.name, settings.content_type
        if content.is_empty:
            self._report(_describe_empty(name, self._paths))
        elif content.record_file and content.image_file:
            self._report(
                f"Channel {name!r} holds both RecordIO ({quote(content.record_file)}) and images "
                f"({quote(content.image_file)}). Keep one of the two."
            )
        elif content.record_file and content_type in IMAGE_CONTENT_TYPES:
            self._report(
                f"Channel {name!r} has ContentType {content_type!r}, but holds RecordIO "
                f"({quote(content.record_file)}). Set it to {RECORDIO_CONTENT_TYPE}."
            )
        elif content_type == RECORDIO_CONTENT_TYPE and not content.record_file:
            self._report(
                f"Channel {name!r} has ContentType {RECORDIO_CONTENT_TYPE!r}, but "
                f"{self._paths.channel(name)} holds no .rec file. Check its S3 location, or set "
                "the ContentType to application/x-image."
            )
        elif content.list_file and not content.record_file and not content.has_folders:
            self._report(
                f"Channel {name!r} holds a list ({quote(content.list_file)}) among its images. "
                f"Give it a channel of its own, '{name}_lst'."
            )
        return InputForm.RECORDIO if content.record_file else InputForm.CLASS_FOLDERS


def _find_contradictions(
    forms: Mapping[str, InputForm], channels: Mapping[str, ChannelSettings]
) -> Iterator[str]:
    train, validation = forms["train"], forms.get("validation")
    if "validation_lst" in channels and validation is None:
        yield (
            "The job has a channel 'validation_lst', but no channel 'validation' with its images. "
            "Add it, or remove the list."
        )
    folders = InputForm.CLASS_FOLDERS
    if validation is None or (train is folders) == (validation is folders):
        return
    with_list = "train_lst" if validation is folders else "validation_lst"
    without = "validation_lst" if validation is folders else "train_lst"
    if with_list in channels:
        yield (
            f"The job has a channel {with_list!r}, but no channel {without!r} for the images of "
            f"{without.removesuffix('_lst')!r}. Add it."
        )
        return
    yield (
        f"Channel 'train' is {train.value}, but channel 'validation' is {validation.value}: "
        "folders name the classes, while the other form numbers them. Give both the same form."
    )


def _describe_unreadable(name: str, error: OSError) -> str:
    return (
        f"Channel {name!r} cannot be read: {error.filename} ({error.strerror}). Check its files "
        "and their rights."
    )


def _describe_empty(name: str, paths: ContainerPaths) -> str:
    return (
        f"Channel {name!r} is empty: {paths.channel(name)} holds no file. Check its S3 location "
        "or folder."
    )
