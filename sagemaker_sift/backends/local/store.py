"""What a local SageMaker remembers: one SQLite file, readable by any number of processes.

A record is a JSON object in the form of the API's Describe response, with times as epoch seconds
and a few fields of our own under ``Local``. Every change is one transaction in write-ahead-log
mode, so a record is either the old one or the new one, whatever is killed when.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Collection, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Record = dict[str, Any]

STORE_NAME = "store.sqlite"
"""Name of the file in the root."""

LOST_SUPERVISOR = "supervisor"
"""``Local.Lost`` of a training job whose own supervisor was killed."""

LOST_COORDINATOR = "coordinator"
"""``Local.Lost`` of what ended because the coordinator of its tuning job did."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS records (
    idx INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    name TEXT NOT NULL COLLATE NOCASE,
    parent TEXT COLLATE NOCASE,
    status TEXT NOT NULL,
    record TEXT NOT NULL,
    UNIQUE (kind, name)
);
CREATE INDEX IF NOT EXISTS records_by_parent ON records (kind, parent);
CREATE INDEX IF NOT EXISTS records_by_status ON records (kind, status);
"""
_BUSY_TIMEOUT_S = 30.0


class RecordExistsError(Exception):
    """Something of that kind and name, in whatever case, is already recorded."""


class RecordGoneError(KeyError):
    """There is no such record, or no longer: another client may have deleted it."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of thing that is remembered.

    Attributes:
        noun: As in ARNs.
        name_field: Of the record.
        status_field: Of the record.
    """

    noun: str
    name_field: str
    status_field: str


TRAINING_JOB = Kind("training-job", "TrainingJobName", "TrainingJobStatus")
TUNING_JOB = Kind(
    "hyper-parameter-tuning-job", "HyperParameterTuningJobName", "HyperParameterTuningJobStatus"
)
ALGORITHM = Kind("algorithm", "AlgorithmName", "AlgorithmStatus")


class RecordStore:
    """Records of training jobs, tuning jobs and algorithms.

    **Concurrency**: any number of processes may use one file; each call is one transaction.

    Args:
        path: The SQLite file; it is made, with its folders, if it is not there.

    Raises:
        OSError: If the file cannot be made there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.training_jobs = RecordTable(self, TRAINING_JOB)
        self.tuning_jobs = RecordTable(self, TUNING_JOB)
        self.algorithms = RecordTable(self, ALGORITHM)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._prepare()
        except sqlite3.OperationalError as error:
            raise OSError(
                f"{str(path)!r} cannot be opened for writing ({error}). "
                "Give LocalSession a root folder that you may write to."
            ) from error
        except sqlite3.DatabaseError as error:
            raise OSError(
                f"{str(path)!r} is damaged, or no store of this package ({error}). "
                "Restore it, or give LocalSession another root folder."
            ) from error
        except OSError as error:
            raise OSError(
                f"{str(path)!r} cannot be opened for writing ({error}). "
                "Give LocalSession a root folder that you may write to."
            ) from error

    def _prepare(self) -> None:
        with closing(self.connect()) as connection:
            known = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
            if "records" in known and "training_jobs" not in known:
                return
        with self.transaction() as connection:
            for statement in _SCHEMA.split(";"):
                connection.execute(statement)
            _adopt_old_table(connection)

    def connect(self) -> sqlite3.Connection:
        """Return a connection of its own; the caller closes it."""
        connection = sqlite3.connect(self.path, timeout=_BUSY_TIMEOUT_S, isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        return connection

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Give a connection whose changes are all kept at the end, or none if it raises."""
        with closing(self.connect()) as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")


class RecordTable:
    """The records of one kind.

    Args:
        store: Where they lie.
        kind: Which they are.
    """

    def __init__(self, store: RecordStore, kind: Kind) -> None:
        self.kind = kind
        self._store = store

    def add(self, record: Record, *, parent: str | None = None) -> None:
        """Record something new.

        Args:
            record: It bears its name and status.
            parent: Name of the tuning job that a training job belongs to.

        Raises:
            RecordExistsError: If the name is taken.
        """
        name, status = record[self.kind.name_field], record[self.kind.status_field]
        row = (self.kind.noun, name, parent, status, json.dumps(record))
        try:
            with self._store.transaction() as connection:
                connection.execute(
                    "INSERT INTO records (kind, name, parent, status, record) "
                    "VALUES (?, ?, ?, ?, ?)",
                    row,
                )
        except sqlite3.IntegrityError as error:
            raise RecordExistsError(name) from error

    def read(self, name: str) -> Record | None:
        """Return a record, or ``None``."""
        with closing(self._store.connect()) as connection:
            return self._read(connection, name)

    def update(self, name: str, change: Callable[[Record], None]) -> Record:
        """Change a record in one transaction and return it.

        Args:
            name: Whose.
            change: Changes the record that it is given, in place. It sees the newest state.

        Raises:
            RecordGoneError: If there is no such record.
        """
        with self._store.transaction() as connection:
            record = self._find(connection, name)
            change(record)
            connection.execute(
                "UPDATE records SET status = ?, record = ? WHERE kind = ? AND name = ?",
                (record[self.kind.status_field], json.dumps(record), self.kind.noun, name),
            )
        return record

    def delete(self, name: str, check: Callable[[Record], None]) -> Record:
        """Remove a record in one transaction and return what it was.

        The training jobs of a tuning job that is removed stay, and belong to none.

        Args:
            name: Whose.
            check: Raises if the record, in its newest state, must stay.

        Raises:
            RecordGoneError: If there is no such record.
        """
        with self._store.transaction() as connection:
            record = self._find(connection, name)
            check(record)
            connection.execute(
                "DELETE FROM records WHERE kind = ? AND name = ?", (self.kind.noun, name)
            )
            if self.kind is TUNING_JOB:  # another one of its name must not take them for its own
                connection.execute(
                    "UPDATE records SET parent = NULL WHERE kind = ? AND parent = ?",
                    (TRAINING_JOB.noun, name),
                )
        return record

    def list(
        self, *, parent: str | None = None, statuses: Collection[str] | None = None
    ) -> list[Record]:
        """Return records, those that were added last first.

        Args:
            parent: Only those of this tuning job.
            statuses: Only those with one of these statuses.
        """
        query, values = "SELECT record FROM records WHERE kind = ?", [self.kind.noun]
        if parent is not None:
            query, values = f"{query} AND parent = ?", [*values, parent]
        if statuses is not None:
            marks = ", ".join("?" * len(statuses))
            query, values = f"{query} AND status IN ({marks})", [*values, *statuses]
        with closing(self._store.connect()) as connection:
            rows = connection.execute(f"{query} ORDER BY idx DESC", values).fetchall()
        return [json.loads(row[0]) for row in rows]

    def _read(self, connection: sqlite3.Connection, name: str) -> Record | None:
        row = connection.execute(
            "SELECT record FROM records WHERE kind = ? AND name = ?", (self.kind.noun, name)
        ).fetchone()
        return json.loads(row[0]) if row else None

    def _find(self, connection: sqlite3.Connection, name: str) -> Record:
        record = self._read(connection, name)
        if record is None:
            raise RecordGoneError(name)
        return record


def _adopt_old_table(connection: sqlite3.Connection) -> None:
    """Take over the training jobs of versions up to 0.4."""
    row = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'training_jobs'").fetchone()
    if row is None:
        return
    old = connection.execute("SELECT name, record FROM training_jobs ORDER BY creation_time")
    for name, text in old.fetchall():
        status = json.loads(text)[TRAINING_JOB.status_field]
        connection.execute(
            "INSERT INTO records (kind, name, status, record) VALUES (?, ?, ?, ?)",
            (TRAINING_JOB.noun, name, status, text),
        )
    connection.execute("DROP TABLE training_jobs")


def set_status(
    record: Record, status: str, secondary: str, now: float, *, message: str = ""
) -> None:
    """Move a training job to a status and note the transition, as the API does.

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
