"""Run one training job: ``python -m sagemaker_sift.backends.local.supervisor ROOT NAME LOCK_FD``.

It leaves the process that called it, so that a job outlives the notebook that launched it;
starts ``train``; keeps its log and metrics; stops it when asked or when its time is up; packs
what it made; and records how it ended. It holds the job's lock for as long as it lives.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TextIO

from sagemaker_sift.backends.local.archive import pack_folder
from sagemaker_sift.backends.local.container import build_command, build_environment, lay_out
from sagemaker_sift.backends.local.metric_log import METRICS_NAME, write_point
from sagemaker_sift.backends.local.process import TrainingProcess, read_start_time
from sagemaker_sift.backends.local.storage import LocalStorage
from sagemaker_sift.backends.local.store import STORE_NAME, Record, RecordStore, set_status
from sagemaker_sift.backends.metric_definitions import MetricReader
from sagemaker_sift.contract.container import (
    EXIT_SUCCESS,
    FAILURE_MAX_CHARS,
    STOP_GRACE_S,
    ContainerPaths,
)

LOG_NAME = "log.txt"
_POLL_S = 0.2


class Supervisor:
    """One job from Starting to its end.

    Args:
        root: Folder of the local SageMaker.
        job_name: A job that the store knows.
        clock: Epoch seconds.
        command: The program to run instead of the bundled image's ``train``.
    """

    def __init__(
        self,
        root: Path,
        job_name: str,
        clock: Callable[[], float] = time.time,
        command: Sequence[str] | None = None,
    ) -> None:
        self.storage = LocalStorage(root)
        self.store = RecordStore(root / STORE_NAME)
        self.job_name = job_name
        self.folder = self.storage.job_folder(job_name)
        self.paths = ContainerPaths(self.folder / "ml")
        self.clock = clock
        self._command = command
        self._stop_reason = ""
        self._kill_at: float | None = None

    def run(self) -> None:
        """Run the job to its end; whatever happens, the record says how it ended."""
        try:
            record = self._read()
            lay_out(record, self.paths, self.storage)
            exit_code = self._train(record)
            self._set_status("InProgress", "Uploading", keep_stopping=True)
            self._pack(record)
            self._finish(exit_code)
            shutil.rmtree(self.paths.root, ignore_errors=True)
        except OSError as error:
            traceback.print_exc()
            self._fail(f"ClientError: {_describe_os_error(error)}")
        except Exception as error:  # noqa: BLE001  # the last resort of a process of its own: it ends up in the record
            traceback.print_exc()
            self._fail(f"InternalServerError: {type(error).__name__}: {error}")

    def _train(self, record: Record) -> int:
        environment = build_environment(record, self.paths, os.environ)
        command = build_command() if self._command is None else self._command
        process = TrainingProcess(command, environment, self.folder)
        self._note_start(process)
        deadline = self.clock() + record["StoppingCondition"]["MaxRuntimeInSeconds"]
        reader = MetricReader(record["AlgorithmSpecification"].get("MetricDefinitions", []))
        with (
            (self.folder / LOG_NAME).open("a", encoding="utf-8") as log,
            (self.folder / METRICS_NAME).open("a", encoding="utf-8") as metrics,
        ):

            def handle(line: str) -> None:
                self._keep_line(line, reader, log, metrics)

            try:
                while process.poll() is None:
                    for line in process.read_lines(_POLL_S):
                        handle(line)
                    self._stop_if_due(process, deadline)
            finally:
                process.finish(handle)
        exit_code = process.poll()
        return 1 if exit_code is None else exit_code

    def _keep_line(self, line: str, reader: MetricReader, log: TextIO, metrics: TextIO) -> None:
        log.write(line + "\n")
        log.flush()
        for point in reader.read(line, self.clock()):
            write_point(metrics, point)

    def _stop_if_due(self, process: TrainingProcess, deadline: float) -> None:
        now = self.clock()
        if self._kill_at is not None:
            if now >= self._kill_at:
                process.kill()
            return
        if self._read()["TrainingJobStatus"] == "Stopping":
            self._stop_reason = "Stopped"
        elif now >= deadline:
            self._stop_reason = "MaxRuntimeExceeded"
            self._set_status("Stopping", "Stopping")
        else:
            return
        self._kill_at = now + STOP_GRACE_S
        process.ask_to_stop()

    def _pack(self, record: Record) -> None:
        output = self._output_folder(record)
        pack_folder(self.paths.output_data.parent, output / "output.tar.gz")
        if any(self.paths.model.iterdir()):
            pack_folder(self.paths.model, output / "model.tar.gz")

    def _output_folder(self, record: Record) -> Path:
        base = self.storage.to_path(record["OutputDataConfig"]["S3OutputPath"])
        return base / self.job_name / "output"

    def _finish(self, exit_code: int) -> None:
        now = self.clock()
        failure = _read_failure(self.paths)

        def change(record: Record) -> None:
            record["TrainingEndTime"] = now
            record["TrainingTimeInSeconds"] = max(0, round(now - record["TrainingStartTime"]))
            record["Local"]["ExitCode"] = exit_code
            if self._stop_reason:
                set_status(record, "Stopped", self._stop_reason, now)
            elif exit_code == EXIT_SUCCESS:
                set_status(record, "Completed", "Completed", now)
            else:
                sentence = failure or _describe_exit(exit_code)
                record["FailureReason"] = f"AlgorithmError: {sentence}, exit code: {exit_code}"
                set_status(record, "Failed", "Failed", now, message=record["FailureReason"])
            if not _has_model(self._output_folder(record)):
                record["ModelArtifacts"]["S3ModelArtifacts"] = ""

        self.store.training_jobs.update(self.job_name, change)

    def _fail(self, reason: str) -> None:
        now = self.clock()

        def change(record: Record) -> None:
            record["FailureReason"] = reason[:FAILURE_MAX_CHARS]
            record.setdefault("TrainingEndTime", now)
            record["ModelArtifacts"]["S3ModelArtifacts"] = ""
            set_status(record, "Failed", "Failed", now, message=record["FailureReason"])

        self.store.training_jobs.update(self.job_name, change)

    def _note_start(self, process: TrainingProcess) -> None:
        now = self.clock()

        def change(record: Record) -> None:
            record["TrainingStartTime"] = now
            record["Local"] |= {"Pid": process.pid, "PidStart": read_start_time(process.pid)}
            if record["TrainingJobStatus"] == "InProgress":
                set_status(record, "InProgress", "Training", now)

        self.store.training_jobs.update(self.job_name, change)

    def _set_status(self, status: str, secondary: str, *, keep_stopping: bool = False) -> None:
        now = self.clock()

        def change(record: Record) -> None:
            is_stopping = record["TrainingJobStatus"] == "Stopping"
            kept = "Stopping" if keep_stopping and is_stopping else status
            set_status(record, kept, secondary, now)

        self.store.training_jobs.update(self.job_name, change)

    def _read(self) -> dict[str, Any]:
        record = self.store.training_jobs.read(self.job_name)
        if record is None:
            raise KeyError(f"The record of {self.job_name!r} is gone.")
        return record


def _read_failure(paths: ContainerPaths) -> str:
    try:
        text = paths.failure.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return text[:FAILURE_MAX_CHARS].strip().removesuffix(".")


def _describe_os_error(error: OSError) -> str:
    if error.errno is None:
        return str(error)
    where = f" {str(error.filename)!r}" if error.filename else ""
    return (
        f"The folder of the job or of its artifacts{where} cannot be written "
        f"({error.strerror}). Free or grant space there, or choose another output_path."
    )


def _describe_exit(exit_code: int) -> str:
    if exit_code < 0:
        return f"the process was ended by {signal.Signals(-exit_code).name}"
    return "the process left no reason; see the log"


def _has_model(output: Path) -> bool:
    return (output / "model.tar.gz").is_file()


def leave_caller() -> None:
    """Go on as a process of its own session; the original process ends here, successfully."""
    if os.fork():
        os._exit(0)
    os.setsid()
    with open(os.devnull, "rb") as null:
        os.dup2(null.fileno(), 0)


def main(arguments: list[str]) -> None:
    """Detach, then run the job that the arguments name."""
    root, job_name, _lock = Path(arguments[0]), arguments[1], int(arguments[2])
    leave_caller()
    Supervisor(root, job_name).run()


if __name__ == "__main__":
    main(sys.argv[1:])
