"""The log of a job that somebody waits for: what is new since the last look."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

from sagemaker_sift.exceptions import BackendError, ThrottledError, UnreachableError
from sagemaker_sift.results.progress import ProgressView
from sagemaker_sift.session import JobSession


class LogTail:
    """Reads on in the log of one job; a log that cannot be read is given up with a warning.

    A job can be waited for without its log.

    Args:
        job_name: The training job.
        session: Where it runs.
        is_read: Whether anybody wants the lines.
    """

    def __init__(self, job_name: str, session: JobSession, *, is_read: bool = True) -> None:
        self.is_read = is_read
        self._name = job_name
        self._session = session
        self._position: Any = None

    def lines(self) -> Iterator[str]:
        """Yield the lines since the last call."""
        if not self.is_read:
            return
        try:
            new, self._position = self._session.read_log(self._name, self._position)
        except (ThrottledError, UnreachableError):
            return  # the next look goes on from here
        except BackendError as error:
            self.is_read = False
            warnings.warn(f"The log of {self._name} is not shown: {error}", stacklevel=5)
            return
        yield from new

    def show(self, view: ProgressView) -> None:
        """Give the lines since the last call to a view."""
        for line in self.lines():
            view.show_line(line)
