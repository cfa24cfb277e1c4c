r"""Images named by a list: ``index <tab> label <tab> relative/path.jpg``.

In:  a ``.lst`` file and the folder of its images.  Out: every image with its class.

Source: "Image Classification - MXNet: input/output interface", SageMaker developer guide, and
apache/mxnet v1.9 ``tools/im2rec.py``, which writes labels as ``%f`` and strips blanks around
columns. With several labels, every column between the first and the last is one. The index is
for people: gaps are fine, and one that occurs twice is only logged.
"""

from __future__ import annotations

import codecs
import logging
import os
import stat
from array import array
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from sagemaker_sift.trainer.data.image_files import ImageFiles
from sagemaker_sift.trainer.data.image_set import ImageSet
from sagemaker_sift.trainer.data.label import Label, LabelColumn, LabelRule, read_number
from sagemaker_sift.trainer.data.problem import ProblemList, quote
from sagemaker_sift.trainer.errors import TrainingError

MAX_LINE_BYTES = 1 << 20
"""A longer line makes a file something else than a list."""

_LOG = logging.getLogger(__name__)


def read_image_list(
    path: Path, *, channel: str, list_channel: str, root: Path, rule: LabelRule
) -> ImageSet:
    """Return the images that a list names, in its order.

    Args:
        path: The ``.lst`` file: UTF-8, with or without a byte order mark, lines ending in LF or
            CRLF; empty lines are passed over.
        channel: Name of the channel that holds the images.
        list_channel: Name of the channel that holds the list.
        root: Folder of the images' channel, which paths start from and must not leave.
        rule: What is allowed as a label.

    Raises:
        TrainingError: If the list cannot be read, is empty, is no UTF-8, or has wrong lines; up to
            four are named.
    """
    source = f"Channel {list_channel!r}: {path}"
    lines = _LineReader(root, rule)
    column = LabelColumn(rule)
    problems = ProblemList()
    paths: list[bytes] = []
    indices = array("d")
    for number, text in _read_lines(path, source):
        try:
            index, label, file = lines.read(text)
        except ValueError as error:
            problems.add(f"line {number}: {error}")
            continue
        indices.append(index)
        column.append(label)
        paths.append(os.fsencode(file))
    if problems:
        raise TrainingError(
            f"{source} has {len(problems)} wrong line{'s' * (len(problems) > 1)}: "
            f"{problems.describe()}. Correct the list, or the images in channel {channel!r}."
        )
    if not paths:
        raise TrainingError(
            f"{source} names no images. Write one line for each, separated by tabs: index, "
            "label, path."
        )
    num_repeated = len(indices) - len(np.unique(indices))
    if num_repeated:
        _LOG.warning("%s uses %d indices again; each line counts.", source, num_repeated)
    return ImageSet(
        channel=channel,
        classes=rule.classes,
        reader=ImageFiles(map(os.fsdecode, paths)),
        labels=column.to_array(),
    )


def _read_lines(path: Path, source: str) -> Iterator[tuple[int, str]]:
    """Yield the lines that are not empty, with their numbers from 1."""
    number = 0
    try:
        with path.open("rb") as file:
            while line := file.readline(MAX_LINE_BYTES + 1):
                number += 1
                if number == 1:
                    line = line.removeprefix(codecs.BOM_UTF8)
                if len(line) > MAX_LINE_BYTES:
                    raise TrainingError(
                        f"{source} has more than {MAX_LINE_BYTES} bytes in line {number}, so it "
                        "is no list of images. Give the channel one .lst file of short lines."
                    )
                text = line.decode("utf-8").strip()
                if text:
                    yield number, text
    except OSError as error:
        raise TrainingError(
            f"{source} cannot be read ({error.strerror}). Check the file and its rights."
        ) from error
    except UnicodeDecodeError as error:
        raise TrainingError(
            f"{source} has in line {number} the byte 0x{error.object[error.start]:02x}, which is "
            "no UTF-8. Save the list as UTF-8."
        ) from error


class _LineReader:
    """Reads one line after the other; remembers which folders it has looked at."""

    def __init__(self, root: Path, rule: LabelRule) -> None:
        self._folder = os.fspath(root)
        self._root = os.path.realpath(root)
        self._rule = rule
        self._is_inside: dict[str, bool] = {}

    def read(self, text: str) -> tuple[float, Label, str]:
        """Return index, label and absolute path.

        Raises:
            ValueError: If the line is wrong; the text says why.
        """
        columns = [column.strip() for column in text.split("\t")]
        if len(columns) < 3:
            raise ValueError(
                f"{len(columns)} column{'s' * (len(columns) > 1)} instead of index, label and "
                "path, separated by tabs"
            )
        try:
            index = read_number(columns[0])
        except ValueError as error:
            raise ValueError(f"the index {error}") from None
        try:
            values = [read_number(column) for column in columns[1:-1]]
        except ValueError as error:
            raise ValueError(f"the label {error}") from None
        return index, self._rule.read(values), self._find(columns[-1])

    def _find(self, relative: str) -> str:
        if "\0" in relative:
            raise ValueError(f"the path {quote(relative)} has a zero byte")
        if os.path.isabs(relative) or ".." in relative.split("/"):
            raise ValueError(
                f"the path {quote(relative)} must be relative to the images' channel, without '..'"
            )
        path = os.path.join(self._folder, relative)
        try:
            mode = os.lstat(path).st_mode
            if stat.S_ISLNK(mode):
                mode = os.stat(path).st_mode
                is_inside = self._contains(os.path.realpath(path))
            else:
                is_inside = self._contains_folder(os.path.dirname(path))
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise ValueError(f"the image {quote(relative)} cannot be found ({reason})") from None
        if not is_inside:
            raise ValueError(f"the path {quote(relative)} leaves the images' channel by a link")
        if not stat.S_ISREG(mode):
            raise ValueError(f"the path {quote(relative)} is no file")
        return path

    def _contains_folder(self, folder: str) -> bool:
        if folder not in self._is_inside:
            self._is_inside[folder] = self._contains(os.path.realpath(folder))
        return self._is_inside[folder]

    def _contains(self, path: str) -> bool:
        return path == self._root or path.startswith(self._root.rstrip("/") + "/")
