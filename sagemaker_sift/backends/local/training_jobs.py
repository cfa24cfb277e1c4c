"""Training jobs of this machine: the API's operations on them."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sagemaker_sift.backends.local.algorithms import Algorithms
from sagemaker_sift.backends.local.gpus import choose_gpus, list_gpus
from sagemaker_sift.backends.local.launcher import JobLauncher
from sagemaker_sift.backends.local.listing import Listing
from sagemaker_sift.backends.local.lock import is_locked, wait_for_lock
from sagemaker_sift.backends.local.metric_log import read_points
from sagemaker_sift.backends.local.process import kill_group, read_start_time
from sagemaker_sift.backends.local.request_check import find_program, find_storage_problems
from sagemaker_sift.backends.local.response import (
    build_arn,
    build_error,
    build_validation_error,
    check_request,
    to_datetime,
    to_response,
)
from sagemaker_sift.backends.local.storage import LocalStorage
from sagemaker_sift.backends.local.store import (
    LOST_COORDINATOR,
    LOST_SUPERVISOR,
    TRAINING_JOB,
    Record,
    RecordExistsError,
    RecordGoneError,
    RecordStore,
    set_status,
)
from sagemaker_sift.contract.problem import Problem
from sagemaker_sift.exceptions import InvalidRequestError
from sagemaker_sift.requests.service_model import WrongType, find_violations
from sagemaker_sift.requests.validation import check_training_job

IN_PROGRESS = ("InProgress", "Stopping")
"""States of a job that has not ended."""

_DAY_S = 86400
_LOST = (
    "InternalServerError: the process that supervised this job ended before the job did "
    "(killed, or the machine was restarted). Launch the job again under another name."
)
_CREATE = "CreateTrainingJob"
_LIST = Listing(
    "ListTrainingJobs", "TrainingJobName", "TrainingJobStatus", default_order="Descending"
)


class TrainingJobs:
    """Creates, describes, lists, stops and deletes training jobs.

    Args:
        store: Where they are recorded.
        storage: Where they lie.
        algorithms: What they may run.
        launcher: Starts their processes.
        clock: Epoch seconds.
    """

    def __init__(
        self,
        store: RecordStore,
        storage: LocalStorage,
        algorithms: Algorithms,
        launcher: JobLauncher,
        clock: Callable[[], float],
    ) -> None:
        self._table = store.training_jobs
        self._storage = storage
        self._algorithms = algorithms
        self._launcher = launcher
        self._clock = clock

    def create(self, request: dict[str, Any]) -> dict[str, Any]:
        """Check, record and start a training job; return its ARN."""
        specification, problems = self.find_problems(request)
        if problems:
            raise build_validation_error(_CREATE, problems)
        record = self.build_record(request, specification)
        self.start(record)
        return {"TrainingJobArn": record["TrainingJobArn"]}

    def find_problems(self, request: dict[str, Any]) -> tuple[dict[str, Any], list[Problem]]:
        """Return the specification of the algorithm, and everything that is wrong."""
        problems = find_violations(_CREATE, request, allow_file_uris=True)
        if any(isinstance(problem, WrongType) for problem in problems):
            return {}, problems
        algorithm = request.get("AlgorithmSpecification", {}).get("AlgorithmName")
        field = "AlgorithmSpecification.AlgorithmName"
        if algorithm is None:
            missing = Problem(field, "is required on this machine, but missing.")
            return {}, [*problems, missing]
        described = self._algorithms.describe({"AlgorithmName": algorithm})
        specification: dict[str, Any] = described["TrainingSpecification"]
        further = find_storage_problems(request, self._storage)
        try:
            find_program(specification, self._storage)
        except ValueError as error:
            further.append(Problem(field, f"is {algorithm!r}. It {error}"))
        try:
            check_training_job(request, described, allow_file_uris=True, further=further)
        except InvalidRequestError as error:
            return specification, list(error.problems)
        return specification, []

    def build_record(
        self, request: Mapping[str, Any], specification: Mapping[str, Any], **local: Any
    ) -> Record:
        """Return the record of a training job that is about to start.

        Args:
            request: A checked CreateTrainingJob request.
            specification: The algorithm's ``TrainingSpecification``.
            **local: Fields of our own.
        """
        now = self._clock()
        name = request["TrainingJobName"]
        output = request["OutputDataConfig"]["S3OutputPath"].rstrip("/")
        algorithm = dict(request["AlgorithmSpecification"])
        algorithm.setdefault("MetricDefinitions", specification.get("MetricDefinitions", []))
        try:
            program = find_program(specification, self._storage)
        except ValueError:  # a problem of the request, which the caller knows of
            program = None
        record: Record = {
            **request,
            "AlgorithmSpecification": algorithm,
            "TrainingJobArn": build_arn(TRAINING_JOB.noun, name),
            "ModelArtifacts": {"S3ModelArtifacts": f"{output}/{name}/output/model.tar.gz"},
            "CreationTime": now,
            "Local": {**({"Program": program} if program else {}), **local},
        }
        running = self._table.list(statuses=IN_PROGRESS)
        gpus = choose_gpus(
            request.get("ResourceConfig", {}),
            list_gpus(os.environ),
            [job["Local"].get("Gpus") or () for job in running],
        )
        if gpus is not None:
            record["Local"]["Gpus"] = gpus
        record["StoppingCondition"] = {"MaxRuntimeInSeconds": _DAY_S} | request.get(
            "StoppingCondition", {}
        )
        set_status(record, "InProgress", "Starting", now)
        return record

    def start(self, record: Record, *, parent: str | None = None) -> None:
        """Record a training job and start its process.

        The lock is taken before anybody can read of the job, and goes on to its process, so
        whoever finds the lock free knows that the process has ended.

        Args:
            record: What :meth:`build_record` returned.
            parent: The tuning job that it belongs to.

        Raises:
            ClientError: ``ResourceInUse`` if the name is taken.
        """
        name = record["TrainingJobName"]
        if self._table.read(name) is not None:
            raise build_error(_CREATE, "ResourceInUse", _taken(name))
        folder = self._storage.job_folder(name)
        folder.mkdir(parents=True, exist_ok=True)
        lock = wait_for_lock(folder / "lock")
        if lock is None:
            raise build_error(_CREATE, "ResourceInUse", _taken(name))
        try:
            try:
                self._table.add(record, parent=parent)
            except RecordExistsError:
                raise build_error(_CREATE, "ResourceInUse", _taken(name)) from None
            self._launcher.launch(name, lock, record["Local"].get("Program"))
        finally:
            os.close(lock)

    def record_failure(self, record: Record, reason: str, *, parent: str) -> None:
        """Record a training job that could not start, for the reason given."""
        now = self._clock()
        record["FailureReason"] = reason
        record["ModelArtifacts"]["S3ModelArtifacts"] = ""
        record["TrainingEndTime"] = now
        set_status(record, "Failed", "Failed", now, message=reason)
        self._table.add(record, parent=parent)

    def describe(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Return the DescribeTrainingJob response."""
        operation = "DescribeTrainingJob"
        record = self.find(operation, request)
        response = to_response(record, "DescribeTrainingJobResponse")
        latest = {
            point.name: {
                "MetricName": point.name,
                "Value": point.value,
                "Timestamp": to_datetime(point.time_s),
            }
            for point in read_points(self._storage.job_folder(record["TrainingJobName"]))
        }
        response["FinalMetricDataList"] = list(latest.values())
        return response

    def list(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Return the ListTrainingJobs response."""
        _LIST.check(request)
        records = self._table.list()[::-1]
        rows = [to_response(record, "TrainingJobSummary") for record in records]
        page, token = _LIST.cut(request, _LIST.select(request, rows))
        return {"TrainingJobSummaries": page, **({"NextToken": token} if token else {})}

    def stop(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Ask a job to stop: SIGTERM now, SIGKILL after 120 seconds."""
        operation = "StopTrainingJob"
        self.find(operation, request)
        name = request["TrainingJobName"]

        def change(record: Record) -> None:
            status = record["TrainingJobStatus"]
            if status not in IN_PROGRESS:
                message = f"The job {name!r} has ended already ({status})."
                raise build_error(operation, "ValidationException", message)
            if status == "InProgress":
                set_status(record, "Stopping", "Stopping", self._clock())

        self._table.update(name, change)
        return {}

    def ask_to_stop(self, name: str, **local: Any) -> None:
        """Ask a job to stop if it has not ended; note fields of our own with it."""

        def change(record: Record) -> None:
            if record["TrainingJobStatus"] == "InProgress":
                record["Local"].update(local)
                set_status(record, "Stopping", "Stopping", self._clock())

        with contextlib.suppress(RecordGoneError):
            self._table.update(name, change)

    def delete(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Forget a job that has ended, with its log and metrics; its artifacts stay."""
        operation = "DeleteTrainingJob"
        record = self.find(operation, request)
        name = request["TrainingJobName"]

        def check(record: Record) -> None:
            status = record["TrainingJobStatus"]
            if status in IN_PROGRESS:
                message = f"The job {name!r} is {status}. Stop it and wait for its end first."
                raise build_error(operation, "ResourceInUse", message)

        folder = self._storage.job_folder(record["TrainingJobName"])
        check(record)
        folder.mkdir(parents=True, exist_ok=True)
        lock = wait_for_lock(folder / "lock")  # the job's process may be about to end
        if lock is None:
            message = f"The job {name!r} is being ended or deleted by somebody else."
            raise build_error(operation, "ResourceInUse", message)
        try:
            self._table.delete(name, check)
            _clear(folder)
        finally:
            os.close(lock)
        return {}

    def find(self, operation: str, request: Mapping[str, Any]) -> Record:
        """Return the record that a call names.

        Raises:
            ClientError: ``ValidationException`` if there is none, as the service says for
                training jobs.
        """
        check_request(operation, request)
        name = request["TrainingJobName"]
        record = self._table.read(name)
        if record is None:
            message = f"Training job {name!r} not found under {str(self._storage.root)!r}."
            raise build_error(operation, "ValidationException", message)
        return record

    def settle(self) -> None:
        """Find the truth of every job: one without a living supervisor has failed."""
        for record in self._table.list(statuses=IN_PROGRESS):
            name = record["TrainingJobName"]
            if not is_locked(self._storage.job_folder(name) / "lock"):
                with contextlib.suppress(RecordGoneError):  # deleted just now
                    self._table.update(name, self._note_loss)

    def _note_loss(self, record: Record) -> None:
        name = record["TrainingJobName"]
        if record["TrainingJobStatus"] not in IN_PROGRESS:
            return
        if is_locked(self._storage.job_folder(name) / "lock"):
            return
        local = record["Local"]
        pid, started = local.get("Pid"), local.get("PidStart")
        if pid and started and read_start_time(pid) == started:
            kill_group(pid)
        tuning_job = local.get("TuningJob")
        is_alone = tuning_job is not None and not is_locked(
            self._storage.tuning_folder(tuning_job) / "lock"
        )  # both are gone, as after a restart of the machine: no fault of this job
        local.setdefault("Lost", LOST_COORDINATOR if is_alone else LOST_SUPERVISOR)
        record["FailureReason"] = _LOST
        record["ModelArtifacts"]["S3ModelArtifacts"] = ""
        now = self._clock()
        record.setdefault("TrainingEndTime", now)
        set_status(record, "Failed", "Failed", now, message=_LOST)


def _clear(folder: Path) -> None:
    """Delete what a job has left but its artifacts; the lock goes last, while it is held."""
    names = sorted(folder.iterdir(), key=lambda path: path.name == "lock")
    for path in names:
        if path.name == "output":
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # there are artifacts, or another job has begun
        folder.rmdir()


def _taken(name: str) -> str:
    return f"The name {name!r} is taken by another training job. Choose another one."
