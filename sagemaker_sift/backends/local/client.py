"""The methods of boto3's SageMaker client, answered on this machine.

Requests, responses, states and error codes are the API's; errors are botocore's ``ClientError``,
so any code written for boto3 can use this client. Argument names are the API's own.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from sagemaker_sift.backends.local.container import describe_bundled_algorithm
from sagemaker_sift.backends.local.launcher import JobLauncher
from sagemaker_sift.backends.local.lock import acquire_lock, is_locked
from sagemaker_sift.backends.local.metric_log import read_points
from sagemaker_sift.backends.local.process import kill_group, read_start_time
from sagemaker_sift.backends.local.storage import LocalStorage, check_writable
from sagemaker_sift.backends.local.store import (
    STORE_NAME,
    Record,
    RecordExistsError,
    RecordStore,
    set_status,
)
from sagemaker_sift.contract.problem import Problem
from sagemaker_sift.contract.specification import ALGORITHM_NAME
from sagemaker_sift.exceptions import InvalidRequestError
from sagemaker_sift.requests.service_model import WrongType, find_violations, load_shape
from sagemaker_sift.requests.validation import check_training_job

_TIMES = ("CreationTime", "TrainingStartTime", "TrainingEndTime", "LastModifiedTime")
_IN_PROGRESS = {"InProgress", "Stopping"}
_ACCOUNT = "000000000000"
_LOST = (
    "InternalServerError: the process that supervised this job ended before the job did "
    "(killed, or the machine was restarted). Launch the job again under another name."
)


class LocalSageMaker:
    """A SageMaker that trains on this machine.

    **Concurrency**: several clients, in several processes, may share one root.

    Args:
        root: Folder of everything it keeps.
        clock: Epoch seconds.
        launcher: Starts the processes of jobs.

    Raises:
        OSError: If the root cannot be written.
    """

    def __init__(
        self,
        root: Path,
        clock: Callable[[], float] = time.time,
        launcher: JobLauncher | None = None,
    ) -> None:
        self.storage = LocalStorage(root)
        self._root = root
        self._clock = clock
        self._store = RecordStore(root / STORE_NAME)
        self._launcher = launcher or JobLauncher(root)

    def create_training_job(self, **request: Any) -> dict[str, Any]:
        """Start a training job; returns its ARN as soon as its supervisor runs.

        Raises:
            ClientError: ``ValidationException`` for a broken rule, ``ResourceInUse`` for a name
                that is taken.
        """
        operation = "CreateTrainingJob"
        specification = self._check(request)
        name = request["TrainingJobName"]
        if self._store.training_jobs.read(name) is not None:
            raise _error(operation, "ResourceInUse", _taken(name))
        folder = self.storage.job_folder(name)
        folder.mkdir(parents=True, exist_ok=True)
        lock = acquire_lock(folder / "lock")
        if lock is None:
            raise _error(operation, "ResourceInUse", _taken(name))
        try:
            record = self._build_record(request, specification)
            try:
                self._store.training_jobs.add(record)
            except RecordExistsError:
                raise _error(operation, "ResourceInUse", _taken(name)) from None
            self._launcher.launch(name, lock)
        finally:
            os.close(lock)
        return {"TrainingJobArn": record["TrainingJobArn"]}

    def describe_training_job(self, *, TrainingJobName: str) -> dict[str, Any]:
        """Return the record of a job, in the form of the API's response.

        Raises:
            ClientError: ``ValidationException`` if there is no such job.
        """
        return self._to_response(self._find("DescribeTrainingJob", TrainingJobName))

    def stop_training_job(self, *, TrainingJobName: str) -> dict[str, Any]:
        """Ask a job to stop: SIGTERM now, SIGKILL after 120 seconds.

        Raises:
            ClientError: ``ValidationException`` if there is no such job or it has ended.
        """
        operation = "StopTrainingJob"
        self._find(operation, TrainingJobName)

        def change(record: Record) -> None:
            status = record["TrainingJobStatus"]
            if status not in _IN_PROGRESS:
                message = f"The job {TrainingJobName!r} has ended already ({status})."
                raise _error(operation, "ValidationException", message)
            if status == "InProgress":
                set_status(record, "Stopping", "Stopping", self._clock())

        self._store.training_jobs.update(TrainingJobName, change)
        return {}

    def list_training_jobs(
        self,
        *,
        StatusEquals: str | None = None,
        NameContains: str | None = None,
    ) -> dict[str, Any]:
        """Return the summaries of all jobs, newest first."""
        records = [self._settle(record) for record in self._store.training_jobs.list()]
        fields = set(load_shape("TrainingJobSummary").members)
        return {
            "TrainingJobSummaries": [
                {
                    name: value
                    for name, value in self._to_response(record).items()
                    if name in fields
                }
                for record in records
                if StatusEquals in {None, record["TrainingJobStatus"]}
                and (NameContains or "").lower() in record["TrainingJobName"].lower()
            ]
        }

    def create_hyper_parameter_tuning_job(self, **request: Any) -> dict[str, Any]:
        """Refuse: this version tunes on Amazon SageMaker only.

        Raises:
            ClientError: ``UnsupportedOperation``, always.
        """
        raise _error(
            "CreateHyperParameterTuningJob",
            "UnsupportedOperation",
            "Tuning jobs do not run on this machine yet. request() and validate() check them "
            "here; with sagemaker_session=Session() they run on Amazon SageMaker.",
        )

    def describe_hyper_parameter_tuning_job(
        self, *, HyperParameterTuningJobName: str
    ) -> dict[str, Any]:
        """Refuse, as :meth:`create_hyper_parameter_tuning_job` does.

        Raises:
            ClientError: ``UnsupportedOperation``, always.
        """
        raise _error(
            "DescribeHyperParameterTuningJob",
            "UnsupportedOperation",
            f"There is no tuning job {HyperParameterTuningJobName!r} on this machine: this "
            "version tunes on Amazon SageMaker only.",
        )

    def close(self) -> None:
        """Let go of the process that was prepared for further jobs; jobs that run go on."""
        self._launcher.close()

    def list_tags(self, *, ResourceArn: str) -> dict[str, Any]:
        """Return the tags of a training job.

        Raises:
            ClientError: ``ValidationException`` if there is no such job.
        """
        record = self._find("ListTags", ResourceArn.rsplit("/", 1)[-1])
        return {"Tags": [dict(tag) for tag in record.get("Tags", [])]}

    def describe_algorithm(self, *, AlgorithmName: str) -> dict[str, Any]:
        """Return an algorithm that this machine can run.

        Raises:
            ClientError: ``ValidationException`` if there is no such algorithm.
        """
        if AlgorithmName.rsplit("/", 1)[-1] != ALGORITHM_NAME:
            message = f"Algorithm {AlgorithmName!r} not found. Here is: {ALGORITHM_NAME!r}."
            raise _error("DescribeAlgorithm", "ValidationException", message)
        return {
            "AlgorithmName": ALGORITHM_NAME,
            "AlgorithmArn": f"arn:aws:sagemaker:local:{_ACCOUNT}:algorithm/{ALGORITHM_NAME}",
            "AlgorithmStatus": "Completed",
            "AlgorithmStatusDetails": {},
            "CreationTime": _to_datetime(self._root.stat().st_mtime),
            "TrainingSpecification": describe_bundled_algorithm(),
        }

    def _check(self, request: dict[str, Any]) -> dict[str, Any]:
        operation = "CreateTrainingJob"
        try:
            problems = find_violations(operation, request, allow_file_uris=True)
            if any(isinstance(problem, WrongType) for problem in problems):
                raise InvalidRequestError(problems)
            algorithm = request.get("AlgorithmSpecification", {}).get("AlgorithmName")
            if algorithm is None:
                field = "AlgorithmSpecification.AlgorithmName"
                missing = Problem(field, "is required on this machine, but missing.")
                raise InvalidRequestError([*problems, missing])
            specification = self.describe_algorithm(AlgorithmName=algorithm)
            storage = self.find_storage_problems(request)
            check_training_job(request, specification, allow_file_uris=True, further=storage)
        except InvalidRequestError as error:
            raise _error(operation, "ValidationException", str(error)) from error
        return dict(specification["TrainingSpecification"])

    def find_storage_problems(self, request: Mapping[str, Any]) -> list[Problem]:
        """Return what is wrong with the folders that a request reads from and writes to."""
        problems = self._find_output_problems(request)
        for channel in request.get("InputDataConfig", []):
            argument = f"inputs[{channel.get('ChannelName')!r}]"
            source = channel.get("DataSource", {}).get("S3DataSource")
            if source is None or source.get("S3DataType") != "S3Prefix":
                message = "is a data source that this version does not read. Use 'S3Prefix'."
                problems.append(Problem(argument, message))
                continue
            try:
                folder = self.storage.to_path(source["S3Uri"])
            except ValueError as error:
                problems.append(Problem(argument, f"is wrong: {error}"))
                continue
            if not folder.exists():
                message = f"is {str(folder)!r}, but there is no such folder or file."
                problems.append(Problem(argument, message))
        return problems

    def _find_output_problems(self, request: Mapping[str, Any]) -> list[Problem]:
        targets = {
            "output_path": request.get("OutputDataConfig", {}).get("S3OutputPath"),
            "checkpoint_s3_uri": request.get("CheckpointConfig", {}).get("S3Uri"),
        }
        problems = []
        for argument, uri in targets.items():
            if uri is None:
                continue
            try:
                check_writable(self.storage.to_path(uri))
            except (ValueError, OSError) as error:
                problems.append(
                    Problem(
                        argument,
                        f"is {uri!r}, but nothing can be written there ({error}). "
                        "Choose a folder that you may write to.",
                    )
                )
        return problems

    def _build_record(self, request: dict[str, Any], specification: dict[str, Any]) -> Record:
        now = self._clock()
        name = request["TrainingJobName"]
        output = request["OutputDataConfig"]["S3OutputPath"].rstrip("/")
        algorithm = dict(request["AlgorithmSpecification"])
        algorithm.setdefault("MetricDefinitions", specification["MetricDefinitions"])
        record: Record = {
            **request,
            "AlgorithmSpecification": algorithm,
            "TrainingJobArn": f"arn:aws:sagemaker:local:{_ACCOUNT}:training-job/{name}",
            "ModelArtifacts": {"S3ModelArtifacts": f"{output}/{name}/output/model.tar.gz"},
            "CreationTime": now,
            "Local": {},
        }
        record["StoppingCondition"] = {"MaxRuntimeInSeconds": 86400} | request.get(
            "StoppingCondition", {}
        )
        set_status(record, "InProgress", "Starting", now)
        return record

    def _find(self, operation: str, name: str) -> Record:
        record = self._store.training_jobs.read(name)
        if record is None:
            message = f"Training job {name!r} not found under {str(self._root)!r}."
            raise _error(operation, "ValidationException", message)
        return self._settle(record)

    def _settle(self, record: Record) -> Record:
        """Return the record as it truly is: a job without a living supervisor has failed."""
        name = record["TrainingJobName"]
        lock = self.storage.job_folder(name) / "lock"
        if record["TrainingJobStatus"] not in _IN_PROGRESS or is_locked(lock):
            return record

        def change(newest: Record) -> None:
            if newest["TrainingJobStatus"] not in _IN_PROGRESS:
                return
            pid, started = newest["Local"].get("Pid"), newest["Local"].get("PidStart")
            if pid and started and read_start_time(pid) == started:
                kill_group(pid)
            newest["FailureReason"] = _LOST
            newest["ModelArtifacts"]["S3ModelArtifacts"] = ""
            set_status(newest, "Failed", "Failed", self._clock(), message=_LOST)

        return self._store.training_jobs.update(name, change)

    def _to_response(self, record: Record) -> dict[str, Any]:
        response = {name: value for name, value in record.items() if name not in {"Local", "Tags"}}
        for name in _TIMES:
            if name in response:
                response[name] = _to_datetime(response[name])
        response["SecondaryStatusTransitions"] = [
            {
                name: _to_datetime(value) if name.endswith("Time") else value
                for name, value in transition.items()
            }
            for transition in record["SecondaryStatusTransitions"]
        ]
        latest = {
            point.name: {
                "MetricName": point.name,
                "Value": point.value,
                "Timestamp": _to_datetime(point.time_s),
            }
            for point in read_points(self.storage.job_folder(record["TrainingJobName"]))
        }
        response["FinalMetricDataList"] = list(latest.values())
        return response


def _to_datetime(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, tz=UTC)


def _taken(name: str) -> str:
    return f"The name {name!r} is taken by another training job. Choose another one."


def _error(operation: str, code: str, message: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, operation)
