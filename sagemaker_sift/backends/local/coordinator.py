"""Run one tuning job: ``python -m sagemaker_sift.backends.local.coordinator ROOT NAME LOCK_FD``.

It leaves the process that called it, so that a tuning job outlives the notebook that launched it.
It launches training jobs, stops those that fall behind, and records how the tuning job ended.
Everything it knows is read from the store: killed at any moment, the next one goes on from there.
It holds the job's lock for as long as it lives.
"""

from __future__ import annotations

import os
import sqlite3
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sagemaker_sift.backends.local.algorithms import Algorithms
from sagemaker_sift.backends.local.detached import leave_caller
from sagemaker_sift.backends.local.launched_jobs import LaunchedJobs
from sagemaker_sift.backends.local.launcher import JobLauncher
from sagemaker_sift.backends.local.search.trial import Trial
from sagemaker_sift.backends.local.storage import LocalStorage
from sagemaker_sift.backends.local.store import (
    LOST_COORDINATOR,
    STORE_NAME,
    TUNING_JOB,
    Record,
    RecordStore,
)
from sagemaker_sift.backends.local.training_jobs import IN_PROGRESS, TrainingJobs
from sagemaker_sift.backends.local.tuned_job import read_tuned_job
from sagemaker_sift.backends.local.tuning_definition import read_recorded
from sagemaker_sift.backends.local.tuning_state import TuningState, to_trial
from sagemaker_sift.contract.container import FAILURE_MAX_CHARS

_STATUS = TUNING_JOB.status_field
_POLL_S = 0.1
_NOTE_RUNTIME_S = 2.0
_PATIENCE_S = 600.0
_PAUSE_S = 1.0
_ASKED = "the tuning job was asked to stop"


class Coordinator:
    """One tuning job from its first training job to its end.

    Args:
        root: Folder of the local SageMaker.
        job_name: A tuning job that the store knows.
        clock: Epoch seconds, for what is recorded.
        timer: Seconds that never jump, for what is measured.
        sleep: Waits between two looks.
        launcher: Starts the processes of training jobs.
    """

    def __init__(
        self,
        root: Path,
        job_name: str,
        clock: Callable[[], float] = time.time,
        timer: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        launcher: JobLauncher | None = None,
    ) -> None:
        self._storage = LocalStorage(root)
        self._store = RecordStore(root / STORE_NAME)
        self._launcher = launcher or JobLauncher(root)
        algorithms = Algorithms(self._store, root, clock)
        self._training_jobs = TrainingJobs(
            self._store, self._storage, algorithms, self._launcher, clock
        )
        self._name = job_name
        self._clock, self._timer, self._sleep = clock, timer, sleep
        self._state = TuningState(self._read(), self._read_parents())
        self._jobs = LaunchedJobs(
            self._store.training_jobs, self._storage, job_name, self._state.metric_of
        )
        self._started = self._noted = timer()
        self._failing_since: float | None = None
        self._is_asked_to_stop = False
        self._runtime_before_s = float(self._read()["Local"]["RuntimeS"])

    def run(self) -> None:
        """Run the job to its end; whatever happens, the record says how it ended."""
        try:
            while not self._step_patiently():
                self._sleep(_POLL_S)
        except Exception as error:  # noqa: BLE001  # the last resort of a process of its own: it ends up in the record
            self._stop_running("the tuning job has failed", Lost=LOST_COORDINATOR)
            record_crash(self._store, self._name, error, self._clock())
        finally:
            self._launcher.close()

    def _step_patiently(self) -> bool:
        """Do :meth:`_step`; while records cannot be read or written, wait for better times.

        Raises:
            sqlite3.OperationalError: If that takes longer than ten minutes.
        """
        try:
            has_ended = self._step()
        except sqlite3.OperationalError:
            now = self._timer()
            self._failing_since = now if self._failing_since is None else self._failing_since
            if now - self._failing_since > _PATIENCE_S:
                raise
            self._sleep(_PAUSE_S)
            return False
        self._failing_since = None
        return has_ended

    def _step(self) -> bool:
        """Look once and do what is due; return whether the job has ended."""
        self._training_jobs.settle()
        self._note_runtime()
        state = self._state
        status = self._read()[_STATUS]
        if status not in IN_PROGRESS:  # somebody has declared this coordinator dead
            return True
        if status == "Stopping" and not state.ending:
            self._is_asked_to_stop = True  # before its end was in sight
        state.look(self._jobs.read(), self._runtime_s())
        if self._is_asked_to_stop or state.ending:
            is_asked = self._is_asked_to_stop
            self._stop_running(_ASKED if is_asked else state.ending)
            if state.num_running:
                return False
            if is_asked:
                self._end("Stopped")
            elif state.failure:
                self._end("Failed", state.failure)
            else:
                self._end("Completed")
            return True
        for name, reason in state.find_hopeless().items():
            self._training_jobs.ask_to_stop(name, Reason=reason)
        self._launch()
        return False

    def _read_parents(self) -> list[list[Trial]]:
        """Return the trials of every parent of a warm start."""
        config = self._read().get("WarmStartConfig", {})
        trials = []
        for parent in config.get("ParentHyperParameterTuningJobs", []):
            record = self._store.tuning_jobs.read(parent[TUNING_JOB.name_field])
            if record is not None:  # else it was deleted since
                definition = read_recorded(record)[0]
                children = self._store.training_jobs.list(parent=record[TUNING_JOB.name_field])
                jobs = [
                    read_tuned_job(child, self._storage, definition.metric_name)
                    for child in children[::-1]
                ]
                trials.append([to_trial(job, definition.static) for job in jobs])
        return trials

    def _launch(self) -> None:
        state = self._state
        while (point := state.next_point()) is not None:
            request = point.request
            specification, problems = self._training_jobs.find_problems(request)
            local = point.local | {"TuningJob": self._name, "NumThreads": state.num_threads}
            record = self._training_jobs.build_record(request, specification, **local)
            record["TuningJobArn"] = self._read()["HyperParameterTuningJobArn"]
            record["HyperParameters"] = record["HyperParameters"] | point.service_hyperparameters
            if problems:
                reason = "ClientError: " + "; ".join(map(str, problems))
                reason = reason[:FAILURE_MAX_CHARS]
                self._training_jobs.record_failure(record, reason, parent=self._name)
                self._jobs.add(record)
                return  # whether to go on after a failure is to be looked at first
            self._training_jobs.start(record, parent=self._name)
            state.add(self._jobs.add(record))

    def _stop_running(self, reason: str, **local: Any) -> None:
        for record in self._store.training_jobs.list(parent=self._name, statuses=("InProgress",)):
            self._training_jobs.ask_to_stop(record["TrainingJobName"], Reason=reason, **local)

    def _end(self, status: str, failure: str = "") -> None:
        details = self._state.describe_completion(self._clock())
        runtime_s = self._runtime_s()

        def change(record: Record) -> None:
            now = self._clock()
            record[_STATUS] = status
            record["LastModifiedTime"] = record["HyperParameterTuningEndTime"] = now
            record["Local"]["RuntimeS"] = runtime_s
            record["TuningJobCompletionDetails"] = details
            reason = _ASKED if self._is_asked_to_stop else self._state.ending
            record["Local"]["Reason"] = reason
            if failure:
                record["FailureReason"] = failure[:FAILURE_MAX_CHARS]

        self._store.tuning_jobs.update(self._name, change)

    def _note_runtime(self) -> None:
        now = self._timer()
        if now - self._noted < _NOTE_RUNTIME_S:
            return
        self._noted = now
        runtime_s = self._runtime_s()
        self._store.tuning_jobs.update(
            self._name, lambda record: record["Local"].update(RuntimeS=runtime_s)
        )

    def _runtime_s(self) -> float:
        return self._runtime_before_s + self._timer() - self._started

    def _read(self) -> Record:
        record = self._store.tuning_jobs.read(self._name)
        if record is None:
            raise KeyError(f"The record of {self._name!r} is gone.")
        return record


def record_crash(store: RecordStore, job_name: str, error: Exception, now: float) -> None:
    """Record that a tuning job has failed by no fault of its own, so that it can be resumed.

    Args:
        store: Where the job is recorded.
        job_name: The tuning job.
        error: Being handled; its traceback goes to the coordinator's log.
        now: Epoch seconds.
    """
    traceback.print_exc()

    def change(record: Record) -> None:
        record[_STATUS] = "Failed"
        record["LastModifiedTime"] = record["HyperParameterTuningEndTime"] = now
        reason = f"InternalServerError: {type(error).__name__}: {error}"
        record["FailureReason"] = reason[:FAILURE_MAX_CHARS]
        record["Local"]["Lost"] = LOST_COORDINATOR

    store.tuning_jobs.update(job_name, change)


def main(arguments: list[str]) -> None:
    """Detach, then run the tuning job that the arguments name."""
    root, job_name, lock = Path(arguments[0]), arguments[1], int(arguments[2])
    leave_caller()
    os.set_inheritable(lock, False)
    try:
        coordinator = Coordinator(root, job_name)
    except Exception as error:  # noqa: BLE001  # the last resort of a process of its own: it ends up in the record
        record_crash(RecordStore(root / STORE_NAME), job_name, error, time.time())
        return
    coordinator.run()


if __name__ == "__main__":
    main(sys.argv[1:])
