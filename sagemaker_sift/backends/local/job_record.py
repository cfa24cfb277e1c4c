"""The record of one job, as its supervisor keeps it: tried again when it cannot be written."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from sagemaker_sift.backends.local.store import STORE_NAME, Record, RecordStore, set_status
from sagemaker_sift.backends.local.timing import Timing

_T = TypeVar("_T")
_RETRY_S = 0.5


class JobRecord:
    """The record of a training job.

    A disk that is full or a store that is locked is waited for, some time; what a job is worth
    is lost if nobody learns how it ended.

    Args:
        root: Folder of the local SageMaker.
        job_name: A training job that its store knows.
        timing: How long to wait.

    Raises:
        OSError: If the store cannot be opened.
    """

    def __init__(self, root: Path, job_name: str, timing: Timing) -> None:
        self.job_name = job_name
        self._timing = timing
        self._unread_since: float | None = None
        self._store = self._retry(lambda: RecordStore(root / STORE_NAME))

    def read(self) -> Record:
        """Return the record.

        Raises:
            KeyError: If it is gone.
            sqlite3.OperationalError: If it cannot be read for long.
        """
        record = self._retry(lambda: self._store.training_jobs.read(self.job_name))
        if record is None:
            raise KeyError(f"The record of {self.job_name!r} is gone.")
        return record

    def look(self) -> Record | None:
        """Return the record, or ``None`` if it cannot be read at the moment.

        Raises:
            KeyError: If it is gone.
            sqlite3.OperationalError: If it could not be read for long.
        """
        try:
            record = self._store.training_jobs.read(self.job_name)
        except sqlite3.OperationalError:
            now = self._timing.timer()
            self._unread_since = now if self._unread_since is None else self._unread_since
            if now - self._unread_since >= self._timing.record_patience_s:
                raise
            return None
        self._unread_since = None
        if record is None:
            raise KeyError(f"The record of {self.job_name!r} is gone.")
        return record

    def update(self, change: Callable[[Record], None]) -> Record:
        """Change the record in one transaction and return it.

        Args:
            change: Changes the newest state in place.

        Raises:
            KeyError: If it is gone.
            sqlite3.OperationalError: If it cannot be written for long.
        """
        return self._retry(lambda: self._store.training_jobs.update(self.job_name, change))

    def set_status(self, status: str, secondary: str, *, keep_stopping: bool = False) -> None:
        """Move the job to a status.

        Args:
            status: The API's ``TrainingJobStatus``.
            secondary: The API's ``SecondaryStatus``.
            keep_stopping: Whether a job that is stopping goes on being so.
        """
        now = self._timing.clock()

        def change(record: Record) -> None:
            is_stopping = record["TrainingJobStatus"] == "Stopping"
            kept = "Stopping" if keep_stopping and is_stopping else status
            set_status(record, kept, secondary, now)

        self.update(change)

    def _retry(self, act: Callable[[], _T]) -> _T:
        deadline = self._timing.timer() + self._timing.record_patience_s
        while True:
            try:
                return act()
            except OSError as error:
                if (
                    not isinstance(error.__cause__, sqlite3.OperationalError)
                    or self._timing.timer() >= deadline
                ):
                    raise
            except sqlite3.OperationalError:
                if self._timing.timer() >= deadline:
                    raise
            self._timing.sleep(_RETRY_S)
