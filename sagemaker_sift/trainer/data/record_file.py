"""Images in RecordIO files, read by index.

In:  the ``.rec`` files of a channel.  Out: every image with its class.

The files are gone through once, header by header, for places and labels; an index file beside
them is not needed. They are read with ``pread`` and not mapped into memory, so that a file that
shrinks or a mount that fails is an error, not a dead process.
"""

from __future__ import annotations

import os
import struct
import weakref
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sagemaker_sift.trainer.data.image_record import (
    HEADER,
    measure_header,
    read_labels,
    split_record,
)
from sagemaker_sift.trainer.data.image_set import Encoded, ImageSet
from sagemaker_sift.trainer.data.label import Label, LabelColumn, LabelRule
from sagemaker_sift.trainer.data.problem import ProblemList
from sagemaker_sift.trainer.data.recordio import (
    LAST,
    MAGIC,
    MAX_RECORD_BYTES,
    PART_HEADER,
    WHOLE,
    align,
    build_record_error,
    check_size,
    join_parts,
    read_part_header,
)
from sagemaker_sift.trainer.errors import TrainingError

MAX_OPEN_FILES = 64
"""So many files of a channel stay open; further ones are opened for every read."""

_WINDOW_BYTES = 4096
_PLAIN = struct.Struct("<IIIf")
"""Header of a part, then the first two fields of the header of an image."""


class RecordReader:
    """Image records by index; an :class:`~sagemaker_sift.trainer.data.image_set.ImageReader`.

    Threads and forked processes share it; a pickled copy opens the files again.

    Args:
        paths: The files, in order.
        starts: Byte at which each record begins, one array a file.
        ends: Byte behind each record, likewise.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        starts: Sequence[NDArray[np.int64]],
        ends: Sequence[NDArray[np.int64]],
    ) -> None:
        self._paths = tuple(paths)
        self._first_idx = np.cumsum([0, *(len(found) for found in starts)])
        self._starts = np.concatenate(starts)
        self._ends = np.concatenate(ends)
        self._files = _open_files(self._paths)

    def __len__(self) -> int:
        return len(self._starts)

    def read(self, idx: int) -> Encoded:
        """Return the bytes of one image, shape ``(num_bytes,)``, read-only.

        Raises:
            OSError: If the file cannot be read.
            ValueError: If the record is no longer there.
        """
        file_idx, _ = self._locate(idx)
        start, end = int(self._starts[idx]), int(self._ends[idx])
        data = self._files[file_idx].read_at(end - start, start)
        image = split_record(join_parts(data)).data
        image.flags.writeable = False
        return image

    def name(self, idx: int) -> str:
        """Return file and number of one record: ``/opt/ml/.../x.rec record 7``."""
        file_idx, record_idx = self._locate(idx)
        return f"{self._paths[file_idx]} record {record_idx}"

    def _locate(self, idx: int) -> tuple[int, int]:
        if not 0 <= idx < len(self):
            raise IndexError(f"There is no record {idx}: there are {len(self)}.")
        file_idx = int(np.searchsorted(self._first_idx, idx, side="right")) - 1
        return file_idx, idx - int(self._first_idx[file_idx])

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_files"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._files = _open_files(self._paths)


def read_record_files(paths: Sequence[Path], *, channel: str, rule: LabelRule) -> ImageSet:
    """Return the images of RecordIO files, file after file.

    Args:
        paths: One file or several.
        channel: Name of the channel.
        rule: What is allowed as a label.

    Raises:
        TrainingError: If a file cannot be read, is empty, is no RecordIO, or holds wrong records
            or labels; up to four wrong records are named.
    """
    column = LabelColumn(rule)
    starts, ends = [], []
    for path in paths:
        source = f"Channel {channel!r}: {path}"
        try:
            scan = _Scan(RecordFile(path, is_kept_open=True), source, rule, column)
            scan.run()
        except OSError as error:
            raise TrainingError(
                f"{source} cannot be read ({error.strerror}). Check the file and its rights."
            ) from error
        starts.append(np.array(scan.starts, np.int64))
        ends.append(np.array(scan.ends, np.int64))
    return ImageSet(
        channel=channel,
        classes=rule.classes,
        reader=RecordReader(paths, starts, ends),
        labels=column.to_array(),
    )


class RecordFile:
    """One file, read by position.

    Attributes:
        size_bytes: When it was opened.
    """

    def __init__(self, path: Path, *, is_kept_open: bool) -> None:
        self._path = path
        self._descriptor: int | None = None
        self.size_bytes = path.stat().st_size
        if is_kept_open:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            weakref.finalize(self, os.close, self._descriptor)

    def read_at(self, num_bytes: int, offset: int) -> bytes:
        """Return ``num_bytes`` from ``offset``, or fewer at the end of the file.

        Raises:
            OSError: If the file cannot be read.
        """
        if self._descriptor is not None:
            return os.pread(self._descriptor, num_bytes, offset)
        with open(self._path, "rb", buffering=0) as file:
            return os.pread(file.fileno(), num_bytes, offset)


class _WrongRecordError(Exception):
    """A record whose labels or header are wrong; the next one begins at ``end``."""

    def __init__(self, text: str, end: int) -> None:
        super().__init__(text)
        self.end = end


class _Scan:
    """One pass over a file."""

    def __init__(
        self, file: RecordFile, source: str, rule: LabelRule, column: LabelColumn
    ) -> None:
        self.starts = array("q")
        self.ends = array("q")
        self._file = file
        self._source = source
        self._rule = rule
        self._column = column
        self._window = b""
        self._window_start = 0

    def run(self) -> None:
        """Find every record, and check its header and labels."""
        if self._file.size_bytes == 0:
            raise TrainingError(
                f"{self._source} is empty. Write it again (im2rec), or check that it was uploaded."
            )
        problems = ProblemList()
        position = 0
        while position < self._file.size_bytes:
            self.starts.append(position)
            try:
                end, label = self._read_plain(position) or self._read_any(position)
                self._column.append(label)
            except _WrongRecordError as error:
                problems.add(f"record {len(self.ends)}, byte {position}: {error}")
                end = error.end
            self.ends.append(end)
            position = end
        if problems:
            raise TrainingError(
                f"{self._source} has {len(problems)} wrong record{'s' * (len(problems) > 1)}: "
                f"{problems.describe()}. Correct the hyperparameters, or write the file again."
            )

    def _read_plain(self, position: int) -> tuple[int, Label] | None:
        """Return end and class of a record of the most frequent form: one part, one label."""
        low = position - self._window_start
        if low + _PLAIN.size > len(self._window):
            self._window = self._file.read_at(_WINDOW_BYTES, position)
            self._window_start = position
            low = 0
            if len(self._window) < _PLAIN.size:
                return None
        magic, packed, num_labels, value = _PLAIN.unpack_from(self._window, low)
        end = position + PART_HEADER.size + align(packed)
        is_plain = (
            magic == MAGIC
            and HEADER.size <= packed <= MAX_RECORD_BYTES
            and num_labels == 0
            and end <= self._file.size_bytes
            and not self._rule.is_multi_label
        )
        if not is_plain:
            return None
        try:
            return end, self._rule.read_class(value)
        except ValueError as error:
            raise _WrongRecordError(str(error), end) from error

    def _read_any(self, position: int) -> tuple[int, Label]:
        """Return end and label of the record that begins at ``position``."""
        end, num_parts = self._find_end(position)
        try:
            if num_parts > 1:
                payload = join_parts(self._file.read_at(end - position, position))
                return end, self._rule.read(split_record(payload).labels)
            _, length = PART_HEADER.unpack(self._file.read_at(PART_HEADER.size, position))
            start = position + PART_HEADER.size
            size = measure_header(self._file.read_at(min(length, HEADER.size), start), length)
            return end, self._rule.read(read_labels(self._file.read_at(size, start)))
        except ValueError as error:
            raise _WrongRecordError(str(error), end) from error

    def _find_end(self, position: int) -> tuple[int, int]:
        """Return the byte behind a record, and its number of parts."""
        num_payload = num_parts = 0
        while True:
            try:
                header = self._file.read_at(PART_HEADER.size, position)
                kind, length = read_part_header(header, is_inside=num_parts > 0)
                end = position + PART_HEADER.size + align(length)
                if end > self._file.size_bytes:
                    raise ValueError(
                        f"a part of {length} bytes would end at byte {end}, but the file has "
                        f"{self._file.size_bytes}"
                    )
                num_payload += length + (4 if num_parts else 0)
                check_size(num_payload)
            except ValueError as error:
                record_idx = len(self.ends)
                raise build_record_error(self._source, record_idx, position, str(error)) from error
            position = end
            num_parts += 1
            if kind in (WHOLE, LAST):
                return position, num_parts


def _open_files(paths: Sequence[Path]) -> tuple[RecordFile, ...]:
    return tuple(
        RecordFile(path, is_kept_open=idx < MAX_OPEN_FILES) for idx, path in enumerate(paths)
    )
