"""When a supervisor is killed nothing of its job goes on, and only then is its lock free."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from sagemaker_sift.backends.local.launcher import JobLauncher
from sagemaker_sift.backends.local.lock import is_locked
from sagemaker_sift.backends.local.process import find_members
from tests.supports.local_job import (
    add_job,
    find_parent,
    is_running,
    launch,
    read_job,
    read_log,
    wait_for_end,
    wait_until,
)

STUBBORN = """
import os, signal, subprocess, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
helper = subprocess.Popen(["sleep", "90"], process_group=0)
signal.alarm(90)
print(os.getpid(), helper.pid, flush=True)
while True:
    signal.pause()
"""
OBEDIENT = """
import os, signal, sys
def stop(*_):
    print("asked", flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
signal.alarm(90)
print(os.getpid(), flush=True)
while True:
    signal.pause()
"""
COLD = {"OMP_DYNAMIC": "FALSE"}


@pytest.fixture
def launcher(tmp_path: Path) -> Iterator[JobLauncher]:
    launcher = JobLauncher(tmp_path, modules=())
    yield launcher
    launcher.close()


def start(
    launcher: JobLauncher, root: Path, program: str, name: str, **changes: object
) -> list[int]:
    """Start a job and return the process ids that it prints first."""
    launch(launcher, add_job(root, program, name=name, **changes))
    wait_until(lambda: bool(read_log(root, name)), "the first line")
    return [int(word) for word in read_log(root, name)[0].split()]


@pytest.mark.parametrize("environment", [{}, COLD], ids=["warm", "cold"])
def test_a_program_that_obeys_ends_at_once(
    launcher: JobLauncher, tmp_path: Path, environment: dict[str, str]
) -> None:
    [pid] = start(launcher, tmp_path, OBEDIENT, "job", Environment=environment)
    later = start(launcher, tmp_path, OBEDIENT, "later")  # it holds nothing of the first
    os.kill(find_parent(pid), signal.SIGKILL)
    wait_until(lambda: not is_running(pid), "the end of the program")
    wait_for_end(tmp_path)
    assert read_job(tmp_path)["TrainingJobStatus"] == "InProgress"  # the client sees to that
    assert is_running(later[0])
    os.kill(find_parent(later[0]), signal.SIGKILL)
    wait_for_end(tmp_path, "later")


def test_the_lock_is_held_until_a_stubborn_program_and_its_helpers_are_dead(
    launcher: JobLauncher, tmp_path: Path
) -> None:
    program, helper = start(launcher, tmp_path, STUBBORN, "job")
    lock = tmp_path / "training-jobs" / "job" / "lock"
    supervisor = find_parent(program)
    os.killpg(supervisor, signal.SIGKILL)
    seen = []

    def look() -> bool:
        seen.append((is_locked(lock), is_running(program) or is_running(helper)))
        return not seen[-1][0]

    wait_until(look, "the lock")
    assert (True, True) in seen
    assert (False, True) not in seen


def test_a_guard_ends_with_its_job(launcher: JobLauncher, tmp_path: Path) -> None:
    [pid] = start(launcher, tmp_path, OBEDIENT, "job")
    supervisor = find_parent(pid)
    children = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
    guards = [int(child) for child in children if int(child) != pid]
    assert len(guards) == 1
    assert find_members(guards[0]) == guards
    os.kill(pid, signal.SIGTERM)
    assert wait_for_end(tmp_path)["TrainingJobStatus"] == "Completed"
    assert not is_running(guards[0])


def test_a_job_ends_well_without_its_guard(launcher: JobLauncher, tmp_path: Path) -> None:
    [pid] = start(launcher, tmp_path, OBEDIENT, "job")
    supervisor = find_parent(pid)
    children = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
    for guard in {int(child) for child in children} - {pid}:
        os.kill(guard, signal.SIGKILL)
    os.kill(pid, signal.SIGTERM)
    assert wait_for_end(tmp_path)["TrainingJobStatus"] == "Completed"


def test_a_supervisor_that_is_asked_to_end_stops_its_job_and_keeps_the_model(
    launcher: JobLauncher, tmp_path: Path
) -> None:
    program = OBEDIENT.replace(
        'print("asked", flush=True)',
        'open(os.environ["SAGEMAKER_BASE_DIR"] + "/model/saved", "w").close()',
    )
    [pid] = start(launcher, tmp_path, program, "job")
    os.kill(find_parent(pid), signal.SIGTERM)
    record = wait_for_end(tmp_path)
    assert record["TrainingJobStatus"] == "Stopped"
    assert record["Local"]["Lost"] == "supervisor"
    assert "SIGTERM" in record["SecondaryStatusTransitions"][-1]["StatusMessage"]
    assert (tmp_path / "out" / "job" / "output" / "model.tar.gz").is_file()
