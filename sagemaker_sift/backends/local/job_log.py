"""What a job writes while it trains: its log, and the metrics that are found in it."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from sagemaker_sift.backends.local.metric_log import METRICS_NAME, format_point
from sagemaker_sift.backends.local.metric_scan import MetricScan
from sagemaker_sift.backends.metric_definitions import MetricReader

LOG_NAME = "log.txt"
"""Name of the file in the job's folder."""

_LINE_END = re.compile(r"\r+\n")


class JobLog:
    """The two files; readers see complete lines only.

    Args:
        folder: Of the job.
        definitions: The job's ``MetricDefinitions``.
        clock: Epoch seconds.
        has_labels: Whether lines begin with the name of their host.

    Raises:
        OSError: If they cannot be opened for writing.
    """

    def __init__(
        self,
        folder: Path,
        definitions: Iterable[Mapping[str, str]],
        clock: Callable[[], float],
        *,
        has_labels: bool = False,
    ) -> None:
        definitions = list(definitions)
        self._clock = clock
        self._has_labels = has_labels
        self._reader = MetricReader(definitions)
        self._scan = MetricScan(definitions)
        with contextlib.ExitStack() as opened:
            self._log = opened.enter_context(_LineFile(folder / LOG_NAME))
            self._metrics = opened.enter_context(_LineFile(folder / METRICS_NAME))
            self._opened = opened.pop_all()

    def __enter__(self) -> JobLog:
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def write(self, host: str, content: bytes) -> None:
        """Append lines to the log, and the metrics that they report to the other file.

        Args:
            host: Name of the host that wrote them.
            content: Complete lines; what is no UTF-8 is replaced.

        Raises:
            OSError: If they cannot be written; then neither file holds a part of a line.
        """
        text = content.decode("utf-8", "replace")
        if "\r" in text:
            text = _LINE_END.sub("\n", text)
        now = self._clock()
        lines = self._scan.find(text)
        points = [point for line in lines for point in self._reader.read(line, now)]
        if self._has_labels:
            text = f"{host}: " + text[:-1].replace("\n", f"\n{host}: ") + "\n"
        self._log.append(text.encode())
        if points:
            self._metrics.append("".join(map(format_point, points)).encode())


class _LineFile:
    """A file that lines are appended to, all that are given at once or none of them."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def __enter__(self) -> _LineFile:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def append(self, content: bytes) -> None:
        start = os.fstat(self._descriptor).st_size
        rest = memoryview(content)
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, start)
            raise OSError(error.errno, error.strerror, str(self._path)) from error
