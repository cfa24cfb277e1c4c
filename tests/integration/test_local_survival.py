"""Tuning jobs whose processes are killed, again and again, and the client's with them.

``SIFT_SURVIVAL_KILLS=500 pytest tests/integration/test_local_survival.py`` kills for longer.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sagemaker_sift.backends.local.client import LocalSageMaker
from sagemaker_sift.backends.local.store import STORE_NAME, Record, RecordStore
from tests.supports.dummy_algorithm import build_tuning_request, register, wait_until
from tests.supports.local_job import find_parent
from tests.supports.root_processes import RootProcess, find_processes

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")

NUM_KILLS = int(os.environ.get("SIFT_SURVIVAL_KILLS", "12"))
SEED = int(os.environ.get("SIFT_SURVIVAL_SEED", "1"))
NUM_JOBS, NUM_PARALLEL, KILLS_A_ROUND = 12, 3, 12
ROLES = ("client", "coordinator", "supervisor", "training", "worker", "guard", "everything")
WEIGHTS = (2, 3, 5, 2, 3, 2, 1)
PROGRAM = '''
"""Notes that it has started, takes a moment, and reports."""
import json, os, pathlib, threading

ml = pathlib.Path(os.environ["SAGEMAKER_BASE_DIR"])
with open(ml.parents[2] / "starts.txt", "a") as starts:
    starts.write(os.environ["TRAINING_JOB_NAME"] + "\\n")
x = json.loads((ml / "input/config/hyperparameters.json").read_text())["x"]
print(f"loss={(float(x) - 0.3) ** 2}", flush=True)
threading.Event().wait(0.15)
(ml / "model/model.txt").write_text(x)
'''
CLIENT = """
import json, sys, threading
from pathlib import Path
from botocore.exceptions import ClientError
from sagemaker_sift.backends.local.client import LocalSageMaker

EXPECTED = ("ResourceInUse", "InternalFailure")  # another client's; a kill at its start
client = LocalSageMaker(Path(sys.argv[1]))
request = json.loads(sys.argv[2])
name = {"HyperParameterTuningJobName": request["HyperParameterTuningJobName"]}
try:
    client.create_hyper_parameter_tuning_job(**request)
except ClientError as error:
    assert error.response["Error"]["Code"] in EXPECTED, error
while True:
    job = client.describe_hyper_parameter_tuning_job(**name)
    status, reason = job["HyperParameterTuningJobStatus"], job.get("FailureReason", "")
    if status in ("Completed", "Stopped"):
        break
    if status == "Failed":
        try:
            client.resume_hyper_parameter_tuning_job(**name)
        except ClientError as error:
            assert error.response["Error"]["Code"] in EXPECTED, (error, reason)
    threading.Event().wait(0.05)
"""


class Chaos:
    """Kills processes of one tuning job, and its client, which is then started anew.

    Args:
        root: Of the local SageMaker.
        request: Creates the tuning job.
        dice: Who is killed, and when.
        num_kills: How many.
    """

    def __init__(
        self, root: Path, request: dict[str, Any], dice: random.Random, num_kills: int
    ) -> None:
        self.root = root
        self._arguments = [str(root), json.dumps(request)]
        self._dice = dice
        self._num_kills = num_kills
        self.killed: Counter[str] = Counter()
        self.most_running = 0
        self.client = self._start_client()

    def _start_client(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", CLIENT, *self._arguments]
        with (self.root / "clients.log").open("ab") as log:
            return subprocess.Popen(command, stdout=log, stderr=log)

    def run(self) -> None:
        """Kill until enough are, then wait until the client is content."""
        end = time.monotonic() + 300
        while self.client.poll() is None or self.client.returncode:
            assert time.monotonic() < end, (self.root / "clients.log").read_text()
            if self.client.poll() is not None:
                assert self.client.returncode == -signal.SIGKILL, (
                    self.root / "clients.log"
                ).read_text()
                self.client = self._start_client()
            if self.killed.total() < self._num_kills:
                threading.Event().wait(self._dice.expovariate(3.0))
                self._kill_one()
            else:
                threading.Event().wait(0.05)
            self._count_running()

    def _kill_one(self) -> None:
        role = self._dice.choices(ROLES, WEIGHTS)[0]
        found = find_processes(self.root)
        pids = [process.pid for process in found if process.role == role]
        if role == "client":
            pids = [self.client.pid] if self.client.poll() is None else []
        elif role == "worker":
            pids = sorted(set(filter(None, map(_find_worker, found))))
        elif role == "training" and self.killed[role] >= 2:
            return  # a program that is killed has failed, and too many failures end the search
        elif role == "everything":  # as when the machine is switched off
            pids = [process.pid for process in found]
        if pids:
            for pid in pids if role == "everything" else [self._dice.choice(pids)]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.killed[role] += 1

    def _count_running(self) -> None:
        if (
            not self.killed["guard"] + self.killed["everything"]
        ):  # else what a supervisor leaves runs for another moment
            training = {one.job for one in find_processes(self.root) if one.role == "training"}
            self.most_running = max(self.most_running, len(training))


def _find_worker(process: RootProcess) -> int | None:
    """Return the worker that has forked a supervisor."""
    if process.role != "supervisor":
        return None
    try:
        parent = find_parent(process.pid)
        command = Path(f"/proc/{parent}/cmdline").read_bytes()
    except OSError:
        return None
    return parent if b"sagemaker_sift.backends.local.worker" in command else None


@pytest.fixture(autouse=True)
def end_what_still_runs(tmp_path: Path) -> Iterator[None]:
    """Leave no process behind when a test fails halfway."""
    yield
    for process in find_processes(tmp_path):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)


def check_outcome(root: Path, name: str, max_jobs: int) -> None:
    """Check all that must hold of a tuning job, whatever was killed."""
    store = RecordStore(root / STORE_NAME)
    jobs = store.training_jobs.list(parent=name)[::-1]
    tuning = store.tuning_jobs.read(name)
    assert tuning is not None
    assert tuning["HyperParameterTuningJobStatus"] == "Completed", tuning
    starts = Counter((root / "starts.txt").read_text().split())
    assert max(starts.values()) == 1, starts.most_common(3)
    attempts: dict[int, list[Record]] = defaultdict(list)
    for job in jobs:
        attempts[job["Local"]["Idx"]].append(job)
        assert job["TrainingJobStatus"] in ("Completed", "Failed", "Stopped")
        assert job["TrainingEndTime"] >= job["CreationTime"]
        model = root / "training-jobs" / job["TrainingJobName"] / "output" / "model.tar.gz"
        if job["TrainingJobStatus"] == "Completed":
            assert starts[job["TrainingJobName"]] == 1
            assert model.is_file()
            x = float(job["HyperParameters"]["x"])
            assert job["Local"]["Curve"] == [(x - 0.3) ** 2]
        elif job["TrainingJobStatus"] == "Failed":
            assert job["FailureReason"]
    assert set(attempts) == set(range(max_jobs))
    for tries in attempts.values():
        assert len({json.dumps(job["Local"]["Tuned"]) for job in tries}) == 1
        assert [job["Local"]["Attempt"] for job in tries] == list(range(1, len(tries) + 1))
        assert all(job["TrainingJobStatus"] != "Completed" for job in tries[:-1])
        assert all(job["Local"].get("Lost") for job in tries[:-1])


@pytest.mark.timeout(60 + 20 * NUM_KILLS)
def test_no_kill_loses_or_repeats_anything(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    dice = random.Random(SEED)
    root = tmp_path / "root"
    client = LocalSageMaker(root)
    register(client, root, PROGRAM)
    killed: Counter[str] = Counter()
    number = 0
    while killed.total() < NUM_KILLS:
        name = f"tuning-{number}"
        number += 1
        (root / "starts.txt").unlink(missing_ok=True)
        request = build_tuning_request(
            root, name, max_jobs=NUM_JOBS, parallel=NUM_PARALLEL, strategy="Random"
        )
        chaos = Chaos(root, request, dice, min(KILLS_A_ROUND, NUM_KILLS - killed.total()))
        try:
            chaos.run()
        finally:
            chaos.client.kill()
            chaos.client.wait()
        killed += chaos.killed
        assert chaos.most_running <= NUM_PARALLEL
        check_outcome(root, name, NUM_JOBS)
        wait_until(lambda: not find_processes(root))
    record_property("killed", dict(killed))
