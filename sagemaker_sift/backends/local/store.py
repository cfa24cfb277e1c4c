"""What a local SageMaker remembers: one SQLite file, readable by any number of processes.

A record is a JSON object in the form of the DescribeTrainingJob response, with times as epoch
seconds and a few fields of our own under ``Local``. Every change is one transaction in
write-ahead-log mode, so a record is either the old one or the new one, whatever is killed when.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

Record = dict[str, Any]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS training_jobs (
    name TEXT PRIMARY KEY COLLATE NOCASE,
    creation_time REAL NOT NULL,
    record TEXT NOT NULL
)
"""
_BUSY_TIMEOUT_S = 30.0


class JobExistsError(Exception):
    """A training job of that name, in whatever case, is already recorded."""


class JobStore:
    """Records of training jobs.

    **Concurrency**: any number of processes may use one file; each call is one transaction.

    Args:
        path: The SQLite file; it is made, with its folders, if it is not there.

    Raises:
        OSError: If the file cannot be made there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with self._transaction() as connection:
                connection.execute(_SCHEMA)
        except (sqlite3.OperationalError, OSError) as error:
            raise OSError(
                f"{str(path)!r} cannot be opened for writing ({error}). "
                "Give LocalSession a root folder that you may write to."
            ) from error

    def add(self, record: Record) -> None:
        """Record a new job.

        Raises:
            JobExistsError: If the name is taken.
        """
        row = (record["TrainingJobName"], record["CreationTime"], json.dumps(record))
        try:
            with self._transaction() as connection:
                connection.execute("INSERT INTO training_jobs VALUES (?, ?, ?)", row)
        except sqlite3.IntegrityError as error:
            raise JobExistsError(record["TrainingJobName"]) from error

    def read(self, name: str) -> Record | None:
        """Return the record of a job, or ``None``."""
        with closing(self._connect()) as connection:
            row = connection.execute(
                "SELECT record FROM training_jobs WHERE name = ?", (name,)
            ).fetchone()
        return json.loads(row[0]) if row else None

    def update(self, name: str, change: Callable[[Record], None]) -> Record:
        """Change a record in one transaction and return it.

        Args:
            name: The job.
            change: Changes the record that it is given, in place. It sees the newest state.

        Raises:
            KeyError: If there is no such job.
        """
        with self._transaction() as connection:
            row = connection.execute(
                "SELECT record FROM training_jobs WHERE name = ?", (name,)
            ).fetchone()
            if row is None:
                raise KeyError(name)
            record: Record = json.loads(row[0])
            change(record)
            connection.execute(
                "UPDATE training_jobs SET record = ? WHERE name = ?", (json.dumps(record), name)
            )
        return record

    def list(self) -> list[Record]:
        """Return every record, newest first."""
        with closing(self._connect()) as connection:
            rows = connection.execute(
                "SELECT record FROM training_jobs ORDER BY creation_time DESC, name"
            ).fetchall()
        return [json.loads(row[0]) for row in rows]

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=_BUSY_TIMEOUT_S, isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        return connection

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with closing(self._connect()) as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")


def set_status(
    record: Record, status: str, secondary: str, now: float, *, message: str = ""
) -> None:
    """Move a record to a status and note the transition, as the API does.

    Args:
        record: Changed in place.
        status: The API's ``TrainingJobStatus``.
        secondary: The API's ``SecondaryStatus``.
        now: Epoch seconds.
        message: ``StatusMessage`` of the transition.
    """
    record["TrainingJobStatus"] = status
    record["SecondaryStatus"] = secondary
    record["LastModifiedTime"] = now
    transitions = record.setdefault("SecondaryStatusTransitions", [])
    if transitions:
        transitions[-1]["EndTime"] = now
    transitions.append({"Status": secondary, "StartTime": now, "StatusMessage": message})
