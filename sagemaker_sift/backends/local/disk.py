"""What a local SageMaker takes on disk, and how to get it back."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sagemaker_sift.backends.local.lock import acquire_lock
from sagemaker_sift.backends.local.storage import LocalStorage
from sagemaker_sift.backends.local.store import (
    STORE_NAME,
    TRAINING_JOB,
    TUNING_JOB,
    Record,
    RecordStore,
)
from sagemaker_sift.backends.local.trash import discard

_RUNNING = ("InProgress", "Stopping")


@dataclass(frozen=True, slots=True)
class StoredJob:
    """A job as it lies on disk.

    Attributes:
        kind: ``training`` or ``tuning``; of a folder without a record ``artifacts`` if it holds
            those of a training job that was deleted through the API, else ``leftover``.
        name: Of the job.
        status: The API's word; empty without a record.
        creation_time: Epoch seconds; 0 without a record.
        end_time: Epoch seconds when it ended; 0 without a record.
        tuning_job: The tuning job that launched it, or ``""``.
        folder: With everything of the job.
        num_bytes: What the folder takes.
    """

    kind: str
    name: str
    status: str
    creation_time: float
    end_time: float
    tuning_job: str
    folder: Path
    num_bytes: int

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self.status in _RUNNING


class JobCleaner:
    """Finds jobs and deletes those that have ended, with everything under their folders.

    What lies outside the root, or was uploaded under ``s3/``, is never touched. The record goes
    first and the folder after it: killed in between, the folder is a leftover, which the next
    run finds; the other way round a job could be listed whose files are gone.

    Args:
        root: Folder of the local SageMaker.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._storage = LocalStorage(root)
        self._store = RecordStore(root / STORE_NAME)

    def find_jobs(self) -> list[StoredJob]:
        """Return every job, newest first, then leftovers by name."""
        tuning = [self._read_tuning(record) for record in self._store.tuning_jobs.list()]
        training = [self._read_training(record) for record in self._store.training_jobs.list()]
        jobs = [*tuning, *training]
        known = {job.folder.name for job in jobs}
        return [*jobs, *self._find_leftovers(known)]

    def delete(self, job: StoredJob) -> bool:
        """Delete a job with everything of it; return whether it was deleted.

        It is left alone if it has not ended, or a process holds its lock.
        """
        lock = acquire_lock(job.folder / "lock") if job.folder.is_dir() else None
        if lock is None and job.folder.is_dir():
            return False
        try:
            if not self._forget(job):
                return False
            discard(job.folder, self._root)
        finally:
            if lock is not None:
                os.close(lock)
        return not job.folder.exists()

    def _forget(self, job: StoredJob) -> bool:
        tables = {"training": self._store.training_jobs, "tuning": self._store.tuning_jobs}
        table = tables.get(job.kind)
        if table is None:
            return True

        owner = self._store.tuning_jobs.read(job.tuning_job) if job.tuning_job else None
        if owner is not None and owner[TUNING_JOB.status_field] in _RUNNING:
            return False  # it was resumed meanwhile

        def check(record: Record) -> None:
            if record[table.kind.status_field] in _RUNNING:
                raise _StillRunningError

        try:
            table.delete(job.name, check)
        except _StillRunningError:
            return False
        except KeyError:  # another client was faster
            return True
        return True

    def _read_training(self, record: Record) -> StoredJob:
        name = record[TRAINING_JOB.name_field]
        folder = self._storage.job_folder(name)
        return StoredJob(
            kind="training",
            name=name,
            status=record[TRAINING_JOB.status_field],
            creation_time=record["CreationTime"],
            end_time=record.get("TrainingEndTime") or record["LastModifiedTime"],
            tuning_job=record["Local"].get("TuningJob", ""),
            folder=folder,
            num_bytes=measure(folder),
        )

    def _read_tuning(self, record: Record) -> StoredJob:
        name = record[TUNING_JOB.name_field]
        folder = self._storage.tuning_folder(name)
        return StoredJob(
            kind="tuning",
            name=name,
            status=record[TUNING_JOB.status_field],
            creation_time=record["CreationTime"],
            end_time=record.get("HyperParameterTuningEndTime") or record["LastModifiedTime"],
            tuning_job="",
            folder=folder,
            num_bytes=measure(folder),
        )

    def _find_leftovers(self, known: Iterable[str]) -> Iterator[StoredJob]:
        names = set(known)
        for find in (self._storage.job_folder, self._storage.tuning_folder):
            parent = find("job").parent
            for folder in sorted(parent.iterdir()) if parent.is_dir() else ():
                if folder.is_dir() and folder.name not in names:
                    kind = "artifacts" if (folder / "output").is_dir() else "leftover"
                    yield StoredJob(kind, folder.name, "", 0.0, 0.0, "", folder, measure(folder))


class _StillRunningError(Exception):
    """The job has not ended."""


def measure(folder: Path) -> int:
    """Return what a folder takes on disk, in bytes; links are not followed.

    Files that vanish meanwhile are passed over.
    """
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(parent, name)).st_blocks * 512
            except OSError:
                continue
    return total
