from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from sagemaker_sift.backends.local.lock import acquire_lock, is_locked
from sagemaker_sift.backends.local.response import storage_errors
from sagemaker_sift.backends.local.storage import LocalStorage, to_file_uri
from sagemaker_sift.backends.local.store import Record, RecordExistsError, RecordStore
from tests.supports.local_job import build_record


def test_a_name_can_be_taken_once_whatever_its_case(tmp_path: Path) -> None:
    store = RecordStore(tmp_path / "store.sqlite")
    store.training_jobs.add(build_record(tmp_path, "Job-1"))
    with pytest.raises(RecordExistsError):
        store.training_jobs.add(build_record(tmp_path, "job-1"))
    assert len(store.training_jobs.list()) == 1


def test_another_store_on_the_same_file_sees_every_change(tmp_path: Path) -> None:
    first, second = RecordStore(tmp_path / "store.sqlite"), RecordStore(tmp_path / "store.sqlite")
    first.training_jobs.add(build_record(tmp_path))
    first.training_jobs.update("job", lambda record: record.update(note="changed"))
    found = second.training_jobs.read("job")
    assert found is not None
    assert found["note"] == "changed"
    assert second.training_jobs.read("other") is None


def test_changes_from_many_threads_are_all_kept(tmp_path: Path) -> None:
    store = RecordStore(tmp_path / "store.sqlite")
    store.training_jobs.add(build_record(tmp_path, count=0))
    jobs = store.training_jobs

    def increase() -> None:
        for _ in range(10):
            jobs.update("job", lambda record: record.update(count=record["count"] + 1))

    threads = [threading.Thread(target=increase) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = store.training_jobs.read("job")
    assert found is not None
    assert found["count"] == 40


def test_a_change_that_raises_leaves_the_record_as_it_was(tmp_path: Path) -> None:
    store = RecordStore(tmp_path / "store.sqlite")
    store.training_jobs.add(build_record(tmp_path))

    def fail(record: Record) -> None:
        record["TrainingJobStatus"] = "Broken"
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        store.training_jobs.update("job", fail)
    found = store.training_jobs.read("job")
    assert found is not None
    assert found["TrainingJobStatus"] == "InProgress"


def test_a_process_that_is_killed_in_a_transaction_leaves_the_old_record(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    RecordStore(path).training_jobs.add(build_record(tmp_path))
    program = f"""
import os, pathlib
from sagemaker_sift.backends.local.store import RecordStore
def change(record):
    record["TrainingJobStatus"] = "Broken"
    os.kill(os.getpid(), 9)
RecordStore(pathlib.Path({str(path)!r})).training_jobs.update("job", change)
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == -9
    found = RecordStore(path).training_jobs.read("job")
    assert found is not None
    assert found["TrainingJobStatus"] == "InProgress"


def test_a_root_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        RecordStore(tmp_path / "file" / "store.sqlite")
    (tmp_path / "store.sqlite").mkdir()
    with pytest.raises(OSError, match="Give LocalSession a root folder"):
        RecordStore(tmp_path / "store.sqlite")


def test_a_lock_goes_with_its_process(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert not is_locked(path)
    program = f"""
import pathlib, sys
from sagemaker_sift.backends.local.lock import acquire_lock
assert acquire_lock(pathlib.Path({str(path)!r})) is not None
print("held", flush=True)
sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        assert is_locked(path)
        assert acquire_lock(path) is None
        holder.kill()
    assert not is_locked(path)


def test_uris_lie_where_they_are_expected(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    assert storage.to_path("s3://bucket/a/b") == tmp_path / "s3" / "bucket" / "a" / "b"
    odd = tmp_path / "with space & #"
    assert storage.to_path(to_file_uri(odd)) == odd
    assert storage.to_path("file://localhost/a%20b") == Path("/a b")


@pytest.mark.parametrize("key", ["run#1/a", "run?x=1/a", "run%201/a", "a;b@c:d"])
def test_a_key_is_taken_as_it_stands(tmp_path: Path, key: str) -> None:
    storage = LocalStorage(tmp_path)
    assert storage.to_path(f"s3://bucket/{key}") == tmp_path / "s3/bucket" / key
    if "%" not in key:
        assert storage.to_path(f"file:///data/{key}") == Path("/data") / key


@pytest.mark.parametrize(
    "uri",
    [
        *("http://x/y", "data/train", "s3://", "s3:///key", "s3://./key", "s3://b/../../etc"),
        *("s3://b/#/../../../etc", "file://host/x", "file://", "file:x"),
    ],
)
def test_other_uris_are_refused(tmp_path: Path, uri: str) -> None:
    with pytest.raises(ValueError, match=r"neither|leaves its bucket"):
        LocalStorage(tmp_path).to_path(uri)


def test_training_jobs_of_an_older_version_are_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    old = sqlite3.connect(path)
    old.execute(
        "CREATE TABLE training_jobs (name TEXT PRIMARY KEY COLLATE NOCASE, "
        "creation_time REAL NOT NULL, record TEXT NOT NULL)"
    )
    for name, time in (("later", 2.0), ("earlier", 1.0)):
        record = build_record(tmp_path, name, CreationTime=time)
        old.execute("INSERT INTO training_jobs VALUES (?, ?, ?)", (name, time, json.dumps(record)))
    old.commit()
    old.close()
    for _ in range(2):  # the second time there is nothing left to take over
        store = RecordStore(path)
        names = [record["TrainingJobName"] for record in store.training_jobs.list()]
        assert names == ["later", "earlier"]
    assert len(store.training_jobs.list(statuses=["InProgress"])) == 2


def test_records_are_found_by_kind_parent_and_status(tmp_path: Path) -> None:
    store = RecordStore(tmp_path / "store.sqlite")
    store.training_jobs.add(build_record(tmp_path, "one"), parent="Search")
    store.training_jobs.add(build_record(tmp_path, "two"))
    store.tuning_jobs.add(
        {"HyperParameterTuningJobName": "one", "HyperParameterTuningJobStatus": "Stopping"}
    )

    def names(**options: Any) -> list[str]:
        return [record["TrainingJobName"] for record in store.training_jobs.list(**options)]

    assert names() == ["two", "one"]
    assert names(parent="search") == ["one"]
    assert names(statuses=("Failed",)) == []
    assert len(store.tuning_jobs.list(statuses=("Stopping",))) == 1
    store.training_jobs.delete("ONE", lambda record: None)
    assert names() == ["two"]
    assert store.tuning_jobs.read("one") is not None


def test_a_record_that_must_stay_is_not_deleted(tmp_path: Path) -> None:
    store = RecordStore(tmp_path / "store.sqlite")
    store.training_jobs.add(build_record(tmp_path))

    def refuse(record: Record) -> None:
        raise RuntimeError("it must stay")

    with pytest.raises(RuntimeError):
        store.training_jobs.delete("job", refuse)
    assert store.training_jobs.read("job") is not None
    with pytest.raises(KeyError):
        store.training_jobs.delete("other", lambda record: None)


def test_a_file_that_is_no_database_is_told_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    path.write_bytes(b"garbage" * 1000)
    with (
        pytest.raises(ClientError, match=r"'store.sqlite' .* is damaged .*Restore it") as caught,
        storage_errors("ListTrainingJobs"),
        closing(sqlite3.connect(path)) as connection,
    ):
        connection.execute("SELECT * FROM records")
    assert caught.value.response["Error"]["Code"] == "InternalFailure"
