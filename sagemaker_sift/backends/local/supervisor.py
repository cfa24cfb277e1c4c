"""Runs one training job to its end, in a process of its own.

It starts the training processes of the job's hosts; keeps their log and metrics; stops them when
asked or when their time is up; packs what they made; and records how the job ended. It holds the
job's lock for as long as it lives. Next: :mod:`sagemaker_sift.backends.local.training`.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from sagemaker_sift.backends.local.artifacts import (
    MODEL_NAME,
    clear_away,
    has_files,
    pack_artifacts,
)
from sagemaker_sift.backends.local.channel_data import read_channel_data
from sagemaker_sift.backends.local.container import build_environment, lay_out
from sagemaker_sift.backends.local.failure import (
    JobFailure,
    describe_exit,
    describe_os_error,
    read_failure,
)
from sagemaker_sift.backends.local.guard import Guard
from sagemaker_sift.backends.local.host import Host, list_hosts
from sagemaker_sift.backends.local.job_log import LOG_NAME, JobLog
from sagemaker_sift.backends.local.job_record import JobRecord
from sagemaker_sift.backends.local.lock import is_locked
from sagemaker_sift.backends.local.pipe_feeder import PipeFeeder
from sagemaker_sift.backends.local.preparation import Preparation
from sagemaker_sift.backends.local.process import read_start_time
from sagemaker_sift.backends.local.program import find_program
from sagemaker_sift.backends.local.storage import LocalStorage
from sagemaker_sift.backends.local.store import (
    LOST_COORDINATOR,
    LOST_SUPERVISOR,
    Record,
    set_status,
)
from sagemaker_sift.backends.local.timing import Timing
from sagemaker_sift.backends.local.training import HostRun, Training
from sagemaker_sift.backends.local.tuning_watch import TuningWatch
from sagemaker_sift.contract.container import EXIT_SUCCESS

__all__ = ["LOG_NAME", "Supervisor"]

_POLL_S = 0.2


class Supervisor:
    """One job from Starting to its end.

    Args:
        root: Folder of the local SageMaker.
        job_name: A job that the store knows.
        timing: Clocks and patience.
        environment: What the launching process passes on; by default this process's own.
        guard: Ends the training processes should this one die.
        preparation: What is ready for Python programs; without it each starts in a fresh
            interpreter.

    Raises:
        OSError: If the store cannot be opened.
    """

    def __init__(
        self,
        root: Path,
        job_name: str,
        timing: Timing | None = None,
        *,
        environment: Mapping[str, str] | None = None,
        guard: Guard | None = None,
        preparation: Preparation | None = None,
    ) -> None:
        self.timing = timing or Timing()
        self.storage = LocalStorage(root)
        self.folder = self.storage.job_folder(job_name)
        self.record = JobRecord(root, job_name, self.timing)
        self._environment = os.environ if environment is None else environment
        self._guard = guard
        self._preparation = preparation
        self._hosts: list[Host] = []
        self._stop_reason = ""
        self._lost = ""
        self._is_asked_to_stop = False
        self._failure = ""
        self._failed: HostRun | None = None
        self._kill_at: float | None = None
        self._started_at = self.timing.timer()

    def ask_to_stop(self) -> None:
        """Stop the job as soon as can be, its model kept; may be called by a signal's handler."""
        self._is_asked_to_stop = True

    def run(self) -> None:
        """Run the job to its end; whatever happens, the record says how it ended."""
        try:
            self._run()
        except JobFailure as failure:
            self._fail(str(failure))
        except OSError as error:
            self._note_error()
            self._fail(self._failure or describe_os_error(error))
        except Exception as error:  # noqa: BLE001  # the last resort of a process of its own: it ends up in the record
            self._note_error()
            self._fail(f"InternalServerError: {type(error).__name__}: {error}")

    def _run(self) -> None:
        record = self.record.read()
        self._hosts = list_hosts(record)
        program = find_program(record)
        for host in self._hosts:
            lay_out(record, host.paths(self.folder), self.storage, host)
        training = Training(program, self._guard, self._preparation)
        self._train(record, training)
        failed = self._failed or training.find_failed()
        sentence = read_failure(failed.paths) if failed else ""
        exit_code = (failed.process.exit_code if failed else 0) or 0
        self.record.set_status("InProgress", "Uploading", keep_stopping=True)
        pack_artifacts(training.runs, self._output_folder(record))
        clear_away(self.folder, [host.paths(self.folder) for host in self._hosts])
        self._finish(exit_code, sentence)

    def _train(self, record: Record, training: Training) -> None:
        definitions = record["AlgorithmSpecification"].get("MetricDefinitions", [])
        has_labels = len(self._hosts) > 1
        with JobLog(self.folder, definitions, self.timing.clock, has_labels=has_labels) as log:

            def handle(host: Host, content: bytes) -> None:
                if not self._failure:
                    self._write(log, host, content)

            feeders: list[PipeFeeder] = []
            try:
                feeders += self._feed_pipes(record)
                for host in self._hosts:
                    paths = host.paths(self.folder)
                    environment = build_environment(record, paths, self._environment)
                    training.start(host, paths, environment)
                self._note_start(training)
                look = self._build_look(record, training, feeders)
                while not training.is_over():
                    for host, content in training.read(_POLL_S):
                        handle(host, content)
                    look()
            finally:
                training.finish(handle)
                self._note_pipe_error(feeders)
                for feeder in feeders:
                    feeder.close()

    def _feed_pipes(self, record: Record) -> Iterator[PipeFeeder]:
        """Start what feeds the pipes of every host; before anything is there to read them."""
        for host in self._hosts:
            for channel in read_channel_data(record, self._hosts, host, self.storage):
                if channel.is_piped:
                    folder = host.paths(self.folder).data
                    yield PipeFeeder(channel, folder, self.storage.to_path)

    def _note_pipe_error(self, feeders: Sequence[PipeFeeder]) -> None:
        for feeder in feeders:
            error = feeder.read_error()
            if error and not self._failure:
                self._failure = f"ClientError: {error}"

    def _write(self, log: JobLog, host: Host, content: bytes) -> None:
        """Write lines; if that cannot be done the job has failed, and is ended with grace."""
        try:
            log.write(host.name, content)
        except OSError as error:
            self._note_error()
            self._failure = (
                f"ClientError: {str(error.filename)!r}, which keeps what the job says, cannot be "
                f"written ({error.strerror}). Free space there and launch the job again under "
                "another name."
            )

    def _build_look(
        self, record: Record, training: Training, feeders: Sequence[PipeFeeder]
    ) -> Callable[[], None]:
        """Return what is to be done again and again while the job trains."""
        timer = self.timing.timer
        deadline = self._started_at + record["StoppingCondition"]["MaxRuntimeInSeconds"]
        tuning_job = record["Local"].get("TuningJob")
        folder = self.storage.tuning_folder(tuning_job) if tuning_job else None
        watch = TuningWatch(folder, self.timing) if folder else None
        next_look = timer()

        def look() -> None:
            nonlocal next_look
            now = timer()
            self._note_pipe_error(feeders)
            self._failed = self._failed or training.find_failed()  # before the others are ended
            if self._kill_at is not None:
                if now >= self._kill_at:
                    training.kill()
                return
            if self._failure:
                self._stop(training, self.timing.stop_grace_s)
            elif self._failed is not None:
                self._stop(training, self.timing.failure_grace_s)
            elif now >= deadline:
                self._stop_reason = "MaxRuntimeExceeded"
                self.record.set_status("Stopping", "Stopping")
                self._stop(training, self.timing.stop_grace_s)
            elif now >= next_look:
                next_look = now + _POLL_S
                newest = self.record.look()
                if newest and newest["TrainingJobStatus"] == "Stopping":
                    self._stop_reason = "Stopped"
                elif self._is_asked_to_stop or (watch and watch.is_lost()):
                    self._stop_reason = "Stopped"
                    self._lost = (
                        "The process of this job was asked to end (SIGTERM)."
                        if self._is_asked_to_stop
                        else f"The coordinator of tuning job {tuning_job} ended."
                    )
                    self.record.set_status("Stopping", "Stopping")
                else:
                    return
                self._stop(training, self.timing.stop_grace_s)

        return look

    def _stop(self, training: Training, grace_s: float) -> None:
        self._kill_at = self.timing.timer() + grace_s
        training.ask_to_stop()

    def _output_folder(self, record: Record) -> Path:
        base = self.storage.to_path(record["OutputDataConfig"]["S3OutputPath"])
        return base / self.record.job_name / "output"

    def _finish(self, exit_code: int, sentence: str) -> None:
        now = self.timing.clock()

        def change(record: Record) -> None:
            self._note_end(record, now)
            record["Local"]["ExitCode"] = exit_code
            if self._failure:
                self._set_failed(record, self._failure, now)
            elif self._stop_reason:
                if self._lost:
                    record["Local"].setdefault("Lost", self._find_who_was_lost(record))
                message = self._lost or record["Local"].get("Reason", "")
                set_status(record, "Stopped", self._stop_reason, now, message=message)
            elif exit_code == EXIT_SUCCESS:
                set_status(record, "Completed", "Completed", now)
            else:
                reason = sentence or describe_exit(exit_code)
                reason = f"AlgorithmError: {reason}, exit code: {exit_code}"
                self._set_failed(record, reason, now)
            if not (self._output_folder(record) / MODEL_NAME).is_file():
                record["ModelArtifacts"]["S3ModelArtifacts"] = ""

        self.record.update(change)

    def _find_who_was_lost(self, record: Record) -> str:
        """Return ``Local.Lost``: this process, or the coordinator of the job's tuning job."""
        tuning_job = record["Local"].get("TuningJob")
        has_coordinator = tuning_job and is_locked(self.storage.tuning_folder(tuning_job) / "lock")
        is_own = self._is_asked_to_stop and (has_coordinator or not tuning_job)
        return LOST_SUPERVISOR if is_own else LOST_COORDINATOR

    def _fail(self, reason: str) -> None:
        """Record that the job failed outside of training; a model that was made stays."""
        now = self.timing.clock()
        paths = [host.paths(self.folder) for host in self._hosts]
        with_model = [path for path in paths if has_files(path.model)]
        if with_model:
            reason += f" The model is in {str(with_model[0].model)!r}."
        clear_away(self.folder, [path for path in paths if path not in with_model])

        def change(record: Record) -> None:
            self._note_end(record, now)
            record["ModelArtifacts"]["S3ModelArtifacts"] = ""
            self._set_failed(record, reason, now)

        try:
            self.record.update(change)
        except Exception:  # noqa: BLE001  # nothing is left to do but to say so
            self._note_error()

    def _set_failed(self, record: Record, reason: str, now: float) -> None:
        record["FailureReason"] = reason
        set_status(record, "Failed", "Failed", now, message=reason)

    def _note_start(self, training: Training) -> None:
        now = self.timing.clock()
        self._started_at = self.timing.timer()
        pid = training.processes[0].pid

        def change(record: Record) -> None:
            record["TrainingStartTime"] = now
            record["Local"] |= {"Pid": pid, "PidStart": read_start_time(pid)}
            if record["TrainingJobStatus"] == "InProgress":
                set_status(record, "InProgress", "Training", now)

        self.record.update(change)

    def _note_end(self, record: Record, now: float) -> None:
        record.setdefault("TrainingEndTime", now)
        if "TrainingStartTime" in record:
            elapsed_s = self.timing.timer() - self._started_at
            record["TrainingTimeInSeconds"] = max(0, round(elapsed_s))

    def _note_error(self) -> None:
        """Keep the traceback of the error at hand, as far as that can be done."""
        write_error(self.folder)


def write_error(folder: Path) -> None:
    """Append the traceback of the error at hand to the file for what the user need not see.

    Args:
        folder: Of the job.
    """
    try:
        with (folder / "supervisor.log").open("a", encoding="utf-8") as log:
            traceback.print_exc(file=log)
    except OSError:
        return
