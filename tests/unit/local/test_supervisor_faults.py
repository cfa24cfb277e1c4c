"""What a supervisor does when a disk is full, a store is away or a program will not start."""

from __future__ import annotations

import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest

from sagemaker_sift.backends.local.job_log import LOG_NAME
from sagemaker_sift.backends.local.lock import acquire_lock
from sagemaker_sift.backends.local.metric_log import METRICS_NAME, read_points
from sagemaker_sift.backends.local.storage import LocalStorage
from sagemaker_sift.backends.local.store import STORE_NAME
from sagemaker_sift.backends.local.supervisor import Supervisor
from sagemaker_sift.backends.local.timing import Timing
from tests.supports.local_job import add_job, read_job, read_log, write_program

SAVE_WHEN_STOPPED = """
import os, pathlib, signal, sys
def stop(*_):
    model = pathlib.Path(os.environ["SAGEMAKER_BASE_DIR"], "model")
    (model / "weights").write_text("w")
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
print("m=1", flush=True)
while True:
    signal.pause()
"""


class SteppingTimer:
    """A timer that moves a step at each look."""

    def __init__(self, step_s: float) -> None:
        self.now = 0.0
        self._step_s = step_s

    def __call__(self) -> float:
        self.now += self._step_s
        return self.now


@pytest.mark.parametrize("name", [LOG_NAME, METRICS_NAME])
def test_a_full_disk_ends_the_job_with_grace_and_a_reason(tmp_path: Path, name: str) -> None:
    folder = add_job(tmp_path, SAVE_WHEN_STOPPED)
    (folder / name).symlink_to("/dev/full")
    Supervisor(tmp_path, "job").run()
    record = read_job(tmp_path)
    assert record["TrainingJobStatus"] == "Failed"
    assert record["FailureReason"] == (
        f"ClientError: {str(folder / name)!r}, which keeps what the job says, cannot be written "
        "(No space left on device). Free space there and launch the job again under another name."
    )
    assert (tmp_path / "out/job/output/model.tar.gz").is_file()


def test_lines_that_do_not_fit_are_not_half_written(tmp_path: Path) -> None:
    program = f"""
import resource
from pathlib import Path
from sagemaker_sift.backends.local.job_log import JobLog
with JobLog(Path({str(tmp_path)!r}), [], lambda: 1.0) as log:
    log.write("algo-1", b"first\\n")
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
    try:
        log.write("algo-1", b"x" * 100_000 + b"\\n")
    except OSError as error:
        print(error.filename)
"""
    command = [sys.executable, "-c", program]
    ended = subprocess.run(command, check=True, capture_output=True, text=True)
    assert ended.stdout.strip() == str(tmp_path / LOG_NAME)
    assert (tmp_path / LOG_NAME).read_text() == "first\n"


def test_an_output_that_cannot_be_written_leaves_the_model_and_says_where(tmp_path: Path) -> None:
    program = """
import os, pathlib
pathlib.Path(os.environ["SAGEMAKER_BASE_DIR"], "model", "weights").write_text("w")
"""
    folder = add_job(tmp_path, program)
    (tmp_path / "out").write_text("a file, not a folder")
    Supervisor(tmp_path, "job").run()
    reason = read_job(tmp_path)["FailureReason"]
    assert reason.endswith(f"The model is in {str(folder / 'ml' / 'model')!r}.")
    assert (folder / "ml" / "model" / "weights").read_text() == "w"


def test_a_record_that_cannot_be_written_is_tried_again(tmp_path: Path) -> None:
    add_job(tmp_path, "print('done')")
    store, away = tmp_path / STORE_NAME, tmp_path / "away"
    naps: list[float] = []

    def put_back(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) == 3:
            store.rmdir()
            away.rename(store)

    supervisor = Supervisor(tmp_path, "job", Timing(sleep=put_back))
    store.rename(away)
    store.mkdir()
    supervisor.run()
    assert read_job(tmp_path)["TrainingJobStatus"] == "Completed"
    assert len(naps) == 3


def test_a_record_that_stays_away_is_given_up_after_a_while(tmp_path: Path) -> None:
    folder = add_job(tmp_path, "print('done')")
    store = tmp_path / STORE_NAME
    naps: list[float] = []
    timing = Timing(sleep=naps.append, timer=SteppingTimer(1.0), record_patience_s=10.0)
    supervisor = Supervisor(tmp_path, "job", timing)
    store.rename(tmp_path / "away")
    store.mkdir()
    supervisor.run()
    assert 5 < len(naps) < 30
    assert "OperationalError" in (folder / "supervisor.log").read_text()


def test_a_record_that_cannot_be_read_meanwhile_does_not_disturb_training(tmp_path: Path) -> None:
    store, away = tmp_path / STORE_NAME, tmp_path / "away"
    program = f"""
import pathlib, threading
store, away = pathlib.Path({str(store)!r}), pathlib.Path({str(away)!r})
store.rename(away)
store.mkdir()
threading.Event().wait(0.7)
store.rmdir()
away.rename(store)
print("done")
"""
    add_job(tmp_path, program)
    Supervisor(tmp_path, "job").run()
    assert read_job(tmp_path)["TrainingJobStatus"] == "Completed"
    assert read_log(tmp_path) == ["done"]


@pytest.mark.parametrize(
    ("content", "mode", "words"),
    [
        ("#!/bin/sh\n", 0o644, "may not be executed. Run: chmod +x"),
        ("no program", 0o755, "cannot be executed (Exec format error)"),
        (None, 0, "is not there"),
    ],
    ids=["mode", "format", "missing"],
)
def test_a_program_that_cannot_start_is_named(
    tmp_path: Path, content: str | None, mode: int, words: str
) -> None:
    local = write_program(tmp_path, content or "", "train.sh")
    path = Path(local["Program"])
    path.chmod(mode)
    if content is None:
        path.unlink()
    folder = add_job(tmp_path, None, Local=local)
    Supervisor(tmp_path, "job").run()
    record = read_job(tmp_path)
    assert record["TrainingJobStatus"] == "Failed"
    assert record["FailureReason"].startswith("ClientError: The program")
    assert repr(str(path)) in record["FailureReason"]
    assert words in record["FailureReason"]
    assert "TrainingTimeInSeconds" not in record
    assert sorted(path.name for path in folder.iterdir()) in ([], ["log.txt", "metrics.jsonl"])


def test_a_program_that_is_no_python_is_executed_as_an_image_is(tmp_path: Path) -> None:
    local = write_program(tmp_path, '#!/bin/sh\necho "m=4 $1 $SAGEMAKER_BASE_DIR"\n', "run")
    Path(local["Program"]).chmod(0o755)
    folder = add_job(tmp_path, None, Local=local)
    Supervisor(tmp_path, "job").run()
    assert read_job(tmp_path)["TrainingJobStatus"] == "Completed"
    assert read_log(tmp_path) == [f"m=4 train {folder / 'ml'}"]
    assert [point.value for point in read_points(folder)] == [4.0]


def run_for_tuning(root: Path, *, is_coordinated: bool) -> str:
    """Run a job of a tuning job; returns its status."""
    watched = LocalStorage(root).tuning_folder("tune")
    watched.mkdir(parents=True)
    lock = acquire_lock(watched / "lock")
    assert lock is not None
    if not is_coordinated:
        os.close(lock)
    wait = "import threading; threading.Event().wait(0.6)"
    program = wait if is_coordinated else SAVE_WHEN_STOPPED
    add_job(root, program, Local={"TuningJob": "tune"})
    try:
        Supervisor(root, "job", Timing(timer=SteppingTimer(0.5))).run()
    finally:
        if is_coordinated:
            os.close(lock)
    return str(read_job(root)["TrainingJobStatus"])


def test_a_training_job_without_a_coordinator_is_stopped_and_counts_as_lost(
    tmp_path: Path,
) -> None:
    assert run_for_tuning(tmp_path, is_coordinated=False) == "Stopped"
    record = read_job(tmp_path)
    last = record["SecondaryStatusTransitions"][-1]
    assert last["StatusMessage"] == "The coordinator of tuning job tune ended."
    assert record["Local"]["Lost"] == "coordinator"
    assert record["TrainingTimeInSeconds"] >= 10


def test_a_training_job_with_a_coordinator_goes_on(tmp_path: Path) -> None:
    assert run_for_tuning(tmp_path, is_coordinated=True) == "Completed"
    assert "Lost" not in read_job(tmp_path)["Local"]


def test_a_long_log_takes_little_memory(tmp_path: Path) -> None:
    program = """
import sys
lines = b"".join(b"line %d of a log without an end\\n" % n for n in range(20_000))
for _ in range(40):
    sys.stdout.buffer.write(lines)
sys.stdout.buffer.write(b"m=3\\n")
"""
    folder = add_job(tmp_path, program)
    tracemalloc.start()
    Supervisor(tmp_path, "job").run()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (folder / LOG_NAME).stat().st_size > 25e6
    assert [point.value for point in read_points(folder)] == [3.0]
    assert peak < 16e6


@pytest.mark.parametrize("maker", ["os.mkfifo", "os.mkdir"])
def test_a_reason_that_is_no_file_is_none(tmp_path: Path, maker: str) -> None:
    add_job(tmp_path, f"import os, sys\n{maker}('output/failure')\nsys.exit(3)")
    Supervisor(tmp_path, "job").run()
    record = read_job(tmp_path)
    assert record["TrainingJobStatus"] == "Failed"
    assert "the process left no reason; see the log" in record["FailureReason"]
