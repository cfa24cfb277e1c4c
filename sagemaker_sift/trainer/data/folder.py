"""Images in one folder a class: ``<channel>/<class>/**/*.jpg``.

In:  a channel's folder.  Out: every image with its class.
Next: :mod:`sagemaker_sift.trainer.data.image`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from sagemaker_sift.contract.channels import IMAGE_SUFFIXES
from sagemaker_sift.trainer.data.image_files import ImageFiles
from sagemaker_sift.trainer.data.image_set import ImageSet
from sagemaker_sift.trainer.errors import TrainingError

_LOG = logging.getLogger(__name__)
_MAX_NAMES = 20


def list_train_images(root: Path, *, num_classes: int) -> ImageSet:
    """Return the images of the train channel; its folders define the classes.

    Classes are the folders directly under ``root``, sorted by name. Images may lie at any depth
    below them. Files and folders whose name starts with a dot are passed over, and so are files
    that are no images by their suffix.

    Args:
        root: The channel's folder.
        num_classes: What the hyperparameter says.

    Raises:
        TrainingError: If the folder is missing or unreadable, holds no images, one class only, a
            class without images, or another number of classes than ``num_classes``.
    """
    classes = _list_classes(root, "train")
    images = {name: _list_class(root / name) for name in classes}
    if not any(images.values()):
        raise TrainingError(_describe_no_images(root, "train"))
    if len(classes) == 1:
        raise TrainingError(
            f"Channel 'train' has only one class folder, {classes[0]!r}, but a classifier needs "
            "at least two. Put the images into one folder a class: train/<class>/<image>.jpg."
        )
    if len(classes) != num_classes:
        raise TrainingError(
            f"`num_classes` is {num_classes}, but channel 'train' has {len(classes)} class "
            f"folders: {_names(classes)}. Set num_classes to {len(classes)}, or correct the "
            "folders."
        )
    for name in classes:
        if not images[name]:
            raise TrainingError(
                f"The class folder {name!r} of channel 'train' holds no JPEG or PNG file. "
                "Add images to it, or remove it."
            )
    return _join("train", classes, images)


def list_validation_images(root: Path, *, classes: tuple[str, ...]) -> ImageSet:
    """Return the images of the validation channel, labelled by the classes of train.

    A class that has no validation images is logged and allowed.

    Args:
        root: The channel's folder.
        classes: Classes of the train channel.

    Raises:
        TrainingError: If the folder is unreadable, holds no images, or a class that train lacks.
    """
    found = _list_classes(root, "validation")
    unknown = [name for name in found if name not in classes]
    images = {name: _list_class(root / name) for name in found}
    if not any(images.values()):
        raise TrainingError(_describe_no_images(root, "validation"))
    if unknown:
        raise TrainingError(
            f"Channel 'validation' has class folders that channel 'train' lacks: "
            f"{_names(unknown)}; train has {_names(classes)}. "
            "Name the folders of both channels alike."
        )
    missing = [name for name in classes if not images.get(name)]
    if missing:
        _LOG.warning("Channel 'validation' has no images of: %s.", _names(missing))
    return _join("validation", classes, images)


def _join(channel: str, classes: tuple[str, ...], images: dict[str, list[Path]]) -> ImageSet:
    pairs = [(path, idx) for idx, name in enumerate(classes) for path in images.get(name, [])]
    return ImageSet(
        channel=channel,
        classes=classes,
        reader=ImageFiles([path for path, _ in pairs]),
        labels=np.array([idx for _, idx in pairs], dtype=np.int64),
    )


def _list_classes(root: Path, channel: str) -> tuple[str, ...]:
    try:
        with os.scandir(root) as entries:
            return tuple(
                sorted(
                    entry.name
                    for entry in entries
                    if not entry.name.startswith(".") and _is_folder(entry)
                )
            )
    except OSError as error:
        raise TrainingError(
            f"The folder of channel {channel!r}, {root}, cannot be read ({error.strerror}). "
            f"Give the job a channel named {channel!r} with one folder of images a class."
        ) from error


def _list_class(folder: Path) -> list[Path]:
    found = []
    num_others = 0
    for parent, folder_names, file_names in os.walk(folder):
        folder_names[:] = [name for name in folder_names if not name.startswith(".")]
        for name in file_names:
            path = Path(parent, name)
            if name.startswith("."):
                continue
            if name.lower().endswith(IMAGE_SUFFIXES) and path.is_file():
                found.append(path)
            else:
                num_others += 1
    if num_others:
        _LOG.info("Passed over %d files in %s that are not JPEG or PNG.", num_others, folder)
    return sorted(found, key=lambda path: path.relative_to(folder).parts)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads nowhere or to itself
        return False


def _describe_no_images(root: Path, channel: str) -> str:
    has_loose_images = any(
        path.is_file() and path.name.lower().endswith(IMAGE_SUFFIXES) for path in root.iterdir()
    )
    where = "; images lie directly in it, outside of any class folder" if has_loose_images else ""
    return (
        f"Channel {channel!r} has no images in class folders under {root}{where}. "
        f"Put them into one folder a class: {channel}/<class>/<image>.jpg (.jpeg, .png)."
    )


def _names(names: Iterable[str]) -> str:
    listed = [repr(name) for name in names]
    if len(listed) > _MAX_NAMES:
        listed[_MAX_NAMES:] = [f"and {len(listed) - _MAX_NAMES} more"]
    return ", ".join(listed)
