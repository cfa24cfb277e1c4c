"""The methods of boto3's SageMaker client, answered on this machine.

Requests, responses, states, error codes and pages are the API's; errors are botocore's
``ClientError``, so any code written for boto3 can use this client. Argument names are the API's
own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sagemaker_sift.backends.local.algorithms import Algorithms
from sagemaker_sift.backends.local.detached import start_detached
from sagemaker_sift.backends.local.launcher import JobLauncher
from sagemaker_sift.backends.local.paginator import build_paginator, is_paginated
from sagemaker_sift.backends.local.request_check import find_storage_problems
from sagemaker_sift.backends.local.response import build_error, storage_errors
from sagemaker_sift.backends.local.storage import LocalStorage
from sagemaker_sift.backends.local.store import STORE_NAME, RecordGoneError, RecordStore
from sagemaker_sift.backends.local.tags import Tags
from sagemaker_sift.backends.local.training_jobs import TrainingJobs
from sagemaker_sift.backends.local.tuning_jobs import TuningJobs
from sagemaker_sift.contract.problem import Problem
from sagemaker_sift.limits import TuningLimits

Response = dict[str, Any]


class LocalSageMaker:
    """A SageMaker that trains and tunes on this machine.

    Every method takes the keyword arguments of the boto3 method of its name and returns what
    that returns. Wrong arguments raise ``ClientError`` with the code ``ValidationException`` and
    everything that is wrong; a disk that is full or broken ``InternalFailure``. Before a method
    answers, it finds out which jobs have lost their processes.

    **Concurrency**: several clients, in several processes, may share one root.

    Args:
        root: Folder of everything it keeps.
        clock: Epoch seconds.
        launcher: Starts the processes of training jobs.
        limits: What tuning jobs are held to.

    Raises:
        OSError: If the root cannot be written.
    """

    def __init__(
        self,
        root: Path,
        clock: Callable[[], float] = time.time,
        launcher: JobLauncher | None = None,
        limits: TuningLimits | None = None,
    ) -> None:
        root = root.expanduser().absolute()
        self.storage = LocalStorage(root)
        store = RecordStore(root / STORE_NAME)
        self._launcher = launcher or JobLauncher(root)
        self._algorithms = Algorithms(store, root, clock)
        self._training_jobs = TrainingJobs(
            store, self.storage, self._algorithms, self._launcher, clock
        )
        self._tuning_jobs = TuningJobs(
            store,
            self.storage,
            self._training_jobs,
            self._algorithms,
            self._start_coordinator,
            clock,
            limits or TuningLimits(),
        )
        self._tags = Tags(store)

    def create_training_job(self, **request: Any) -> Response:
        """Start a training job; returns its ARN as soon as its process is on its way.

        Raises:
            ClientError: ``ResourceInUse`` for a name that is taken.
        """
        return self._call("CreateTrainingJob", self._training_jobs.create, request)

    def describe_training_job(self, **request: Any) -> Response:
        """Return the record of a training job.

        Raises:
            ClientError: ``ValidationException`` if there is no such job.
        """
        return self._call("DescribeTrainingJob", self._training_jobs.describe, request)

    def list_training_jobs(self, **request: Any) -> Response:
        """Return a page of summaries of training jobs, newest first unless told otherwise."""
        return self._call("ListTrainingJobs", self._training_jobs.list, request)

    def stop_training_job(self, **request: Any) -> Response:
        """Ask a training job to stop: SIGTERM now, SIGKILL after 120 seconds.

        Raises:
            ClientError: ``ValidationException`` if there is no such job or it has ended.
        """
        return self._call("StopTrainingJob", self._training_jobs.stop, request)

    def delete_training_job(self, **request: Any) -> Response:
        """Forget a training job that has ended, with its log and metrics; artifacts stay.

        Raises:
            ClientError: ``ResourceInUse`` if it has not ended.
        """
        return self._call("DeleteTrainingJob", self._training_jobs.delete, request)

    def create_hyper_parameter_tuning_job(self, **request: Any) -> Response:
        """Start a tuning job in a process of its own; returns its ARN.

        Raises:
            ClientError: ``ResourceInUse`` for a name that is taken.
        """
        return self._call("CreateHyperParameterTuningJob", self._tuning_jobs.create, request)

    def describe_hyper_parameter_tuning_job(self, **request: Any) -> Response:
        """Return the record of a tuning job, with its counters and its best training job.

        Raises:
            ClientError: ``ResourceNotFound`` if there is no such job.
        """
        return self._call("DescribeHyperParameterTuningJob", self._tuning_jobs.describe, request)

    def list_hyper_parameter_tuning_jobs(self, **request: Any) -> Response:
        """Return a page of summaries of tuning jobs, by name unless told otherwise."""
        return self._call("ListHyperParameterTuningJobs", self._tuning_jobs.list, request)

    def list_training_jobs_for_hyper_parameter_tuning_job(self, **request: Any) -> Response:
        """Return a page of the training jobs that a tuning job has launched.

        Raises:
            ClientError: ``ResourceNotFound`` if there is no such job.
        """
        operation = "ListTrainingJobsForHyperParameterTuningJob"
        return self._call(operation, self._tuning_jobs.list_training_jobs, request)

    def stop_hyper_parameter_tuning_job(self, **request: Any) -> Response:
        """Ask a tuning job to stop, with every training job it runs; their models are kept.

        Raises:
            ClientError: ``ResourceNotFound`` if there is no such job, ``ValidationException`` if
                it has ended.
        """
        return self._call("StopHyperParameterTuningJob", self._tuning_jobs.stop, request)

    def delete_hyper_parameter_tuning_job(self, **request: Any) -> Response:
        """Forget a tuning job that has ended; its training jobs and artifacts stay.

        Raises:
            ClientError: ``ValidationException`` if it has not ended.
        """
        return self._call("DeleteHyperParameterTuningJob", self._tuning_jobs.delete, request)

    def resume_hyper_parameter_tuning_job(self, **request: Any) -> Response:
        """Go on with a tuning job that was stopped or interrupted; boto3 has no such method.

        Training jobs that a crash interrupted are launched again under other names.

        Args:
            **request: ``HyperParameterTuningJobName``.

        Raises:
            ClientError: ``ResourceNotFound`` if there is no such job, ``ResourceInUse`` if it
                runs, ``ValidationException`` if it has come to its end.
        """
        return self._call("ResumeHyperParameterTuningJob", self._tuning_jobs.resume, request)

    def create_algorithm(self, **request: Any) -> Response:
        """Register an algorithm.

        It runs here if it is the bundled one under another name, or if its ``TrainingImage`` is
        the ``file://`` URI of a program.
        """
        return self._call("CreateAlgorithm", self._algorithms.create, request)

    def describe_algorithm(self, **request: Any) -> Response:
        """Return an algorithm.

        Raises:
            ClientError: ``ValidationException`` if there is no such algorithm.
        """
        return self._call("DescribeAlgorithm", self._algorithms.describe, request)

    def list_algorithms(self, **request: Any) -> Response:
        """Return a page of summaries of algorithms, oldest first unless told otherwise."""
        return self._call("ListAlgorithms", self._algorithms.list, request)

    def delete_algorithm(self, **request: Any) -> Response:
        """Forget an algorithm.

        Raises:
            ClientError: ``ConflictException`` if a training job runs it.
        """
        return self._call("DeleteAlgorithm", self._algorithms.delete, request)

    def add_tags(self, **request: Any) -> Response:
        """Add tags to a training job, tuning job or algorithm."""
        return self._call("AddTags", self._tags.add, request)

    def list_tags(self, **request: Any) -> Response:
        """Return the tags of a training job, tuning job or algorithm.

        Raises:
            ClientError: ``ValidationException`` if there is nothing with that ARN.
        """
        return self._call("ListTags", self._tags.list, request)

    def delete_tags(self, **request: Any) -> Response:
        """Delete tags of a training job, tuning job or algorithm."""
        return self._call("DeleteTags", self._tags.delete, request)

    def can_paginate(self, operation_name: str) -> bool:
        """Return whether :meth:`get_paginator` knows a method by this name."""
        return hasattr(self, operation_name) and is_paginated(operation_name)

    def get_paginator(self, operation_name: str) -> Any:
        """Return botocore's paginator over a List method of this client.

        Args:
            operation_name: Such as ``list_training_jobs``.

        Raises:
            OperationNotPageableError: If the method has no pages.
        """
        return build_paginator(self, operation_name)

    def find_storage_problems(self, request: Mapping[str, Any]) -> list[Problem]:
        """Return what is wrong with the folders that a request reads from and writes to."""
        return find_storage_problems(request, self.storage)

    def close(self) -> None:
        """Let go of the process that was prepared for further jobs; jobs that run go on."""
        self._launcher.close()

    def settle(self) -> None:
        """Find out which jobs have lost their processes, and record it."""
        self._training_jobs.settle()
        self._tuning_jobs.settle()

    def _call(
        self, operation: str, method: Callable[[dict[str, Any]], Response], request: dict[str, Any]
    ) -> Response:
        with storage_errors(operation):
            self.settle()
            try:
                return method(request)
            except RecordGoneError as error:
                message = f"{error.args[0]!r} was deleted by another client meanwhile."
                raise build_error(operation, "ResourceNotFound", message) from error

    def _start_coordinator(self, job_name: str, lock: int) -> None:
        root = self.storage.root
        start_detached(
            "sagemaker_sift.backends.local.coordinator",
            [str(root), job_name, str(lock)],
            folder=self.storage.tuning_folder(job_name),
            log_name="coordinator.log",
            lock=lock,
        )
