"""Records, programs and real jobs for tests of the local backend."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sagemaker_sift.backends.local.launcher import JobLauncher
from sagemaker_sift.backends.local.lock import acquire_lock, is_locked
from sagemaker_sift.backends.local.store import STORE_NAME, Record, RecordStore, set_status

WAIT_S = 60.0


def build_record(root: Path, name: str = "job", **changes: Any) -> Record:
    """Return the record of a job that has just been created."""
    record: Record = {
        "TrainingJobName": name,
        "TrainingJobArn": f"arn:aws:sagemaker:local:000000000000:training-job/{name}",
        "AlgorithmSpecification": {
            "AlgorithmName": "sift-image-classification",
            "TrainingInputMode": "File",
            "MetricDefinitions": [{"Name": "m", "Regex": "m=([0-9.]+)"}],
        },
        "HyperParameters": {"epochs": "2"},
        "OutputDataConfig": {"S3OutputPath": f"file://{root / 'out'}"},
        "ModelArtifacts": {"S3ModelArtifacts": f"file://{root}/out/{name}/output/model.tar.gz"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
        "CreationTime": 100.0,
        "Local": {},
    } | changes
    set_status(record, "InProgress", "Starting", 100.0)
    return record


def write_program(root: Path, program: str, name: str = "program.py") -> dict[str, str]:
    """Write a program and return the ``Local`` of a job that runs it."""
    path = root / "programs" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(program)
    return {"Program": str(path)}


def add_job(root: Path, program: str | None, name: str = "job", **changes: Any) -> Path:
    """Record a job that runs a Python program, and return its folder."""
    local = changes.pop("Local", {})
    if program is not None:
        local = write_program(root, program, f"{name}.py") | local
    record = build_record(root, name, Local=local, **changes)
    RecordStore(root / STORE_NAME).training_jobs.add(record)
    folder = root / "training-jobs" / name
    folder.mkdir(parents=True)
    return folder


def read_job(root: Path, name: str = "job") -> Record:
    """Return the record of a job."""
    record = RecordStore(root / STORE_NAME).training_jobs.read(name)
    assert record is not None
    return record


def launch(launcher: JobLauncher, folder: Path) -> None:
    """Launch a recorded job, as the client does."""
    lock = acquire_lock(folder / "lock")
    assert lock is not None
    try:
        launcher.launch(folder.name, lock)
    finally:
        os.close(lock)


def wait_until(holds: Callable[[], bool], what: str) -> None:
    """Look again and again until a condition of real processes holds."""
    deadline = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < deadline, f"{what} did not come within {WAIT_S} seconds"
        threading.Event().wait(0.01)


def wait_for_end(root: Path, name: str = "job") -> Record:
    """Wait until no process of a job lives, and return its record."""
    lock = root / "training-jobs" / name / "lock"
    wait_until(lambda: not is_locked(lock), "the end of the job")
    return read_job(root, name)


def run_job(launcher: JobLauncher, root: Path, program: str, **changes: Any) -> Record:
    """Run a job to its end through a launcher, and return its record."""
    folder = add_job(root, program, **changes)
    launch(launcher, folder)
    return wait_for_end(root, folder.name)


def read_log(root: Path, name: str = "job") -> list[str]:
    """Return the lines of a job's log; none yet is none."""
    path = root / "training-jobs" / name / "log.txt"
    return path.read_text().splitlines() if path.exists() else []


def is_running(pid: int) -> bool:
    """Return whether a process lives; one that nobody has waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def find_parent(pid: int) -> int:
    """Return the process id of a process's parent."""
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
