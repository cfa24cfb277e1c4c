"""Algorithms of this machine: the bundled one, and those that were registered here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from sagemaker_sift.backends.local.container import describe_bundled_algorithm
from sagemaker_sift.backends.local.listing import Listing
from sagemaker_sift.backends.local.response import (
    build_arn,
    build_error,
    build_validation_error,
    check_request,
    to_response,
)
from sagemaker_sift.backends.local.store import (
    ALGORITHM,
    Record,
    RecordExistsError,
    RecordStore,
)
from sagemaker_sift.backends.local.tuning_definition import read_fields
from sagemaker_sift.contract.specification import ALGORITHM_NAME
from sagemaker_sift.requests.algorithm import find_algorithm_problems

_RUNNING = ("InProgress", "Stopping")
_LIST = Listing("ListAlgorithms", "AlgorithmName", "AlgorithmStatus")


class Algorithms:
    """Creates, describes, lists and deletes algorithms.

    The bundled algorithm is always there. One that is registered is Completed at once: its
    validation profiles are recorded and not run.

    Args:
        store: Where they are recorded.
        root: Folder of the local SageMaker; its age stands for the bundled algorithm's.
        clock: Epoch seconds.
    """

    def __init__(self, store: RecordStore, root: Path, clock: Callable[[], float]) -> None:
        self._table = store.algorithms
        self._store = store
        self._root = root
        self._clock = clock

    def create(self, request: dict[str, Any]) -> dict[str, Any]:
        """Register an algorithm and return its ARN."""
        operation = "CreateAlgorithm"
        problems = find_algorithm_problems(request)
        if problems:
            raise build_validation_error(operation, problems)
        name = request["AlgorithmName"]
        record: Record = {
            **request,
            "AlgorithmArn": build_arn(ALGORITHM.noun, name),
            "AlgorithmStatus": "Completed",
            "AlgorithmStatusDetails": {},
            "CreationTime": self._clock(),
        }
        try:
            if name.lower() == ALGORITHM_NAME:
                raise RecordExistsError(name)
            self._table.add(record)
        except RecordExistsError:
            message = f"The name {name!r} is taken by another algorithm. Choose another one."
            raise build_error(operation, "ValidationException", message) from None
        return {"AlgorithmArn": record["AlgorithmArn"]}

    def describe(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Return the DescribeAlgorithm response."""
        operation = "DescribeAlgorithm"
        check_request(operation, request)
        return to_response(
            self._find(operation, request["AlgorithmName"]), "DescribeAlgorithmOutput"
        )

    def list(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Return the ListAlgorithms response."""
        _LIST.check(request)
        records = [self._describe_bundled(), *self._table.list()[::-1]]
        rows = [to_response(record, "AlgorithmSummary") for record in records]
        page, token = _LIST.cut(request, _LIST.select(request, rows))
        return {"AlgorithmSummaryList": page, **({"NextToken": token} if token else {})}

    def delete(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Forget an algorithm that no running job runs."""
        operation = "DeleteAlgorithm"
        check_request(operation, request)
        name = self._find(operation, request["AlgorithmName"])["AlgorithmName"]
        if name == ALGORITHM_NAME:
            message = f"{name!r} comes with this package and cannot be deleted."
            raise build_error(operation, "ValidationException", message)
        users = [user for user, algorithm in self._find_users() if algorithm == name]
        if users:
            message = f"{name!r} is run by {', '.join(users)}. Stop what runs first."
            raise build_error(operation, "ConflictException", message)
        self._table.delete(name, lambda record: None)
        return {}

    def _find_users(self) -> Iterator[tuple[str, str]]:
        """Yield the jobs that have not ended, each with the name of an algorithm that it runs."""
        for job in self._store.training_jobs.list(statuses=_RUNNING):
            yield job["TrainingJobName"], _read_algorithm_name(job)
        for job in self._store.tuning_jobs.list(statuses=_RUNNING):
            for fields in read_fields(job):
                yield job["HyperParameterTuningJobName"], _read_algorithm_name(fields)

    def _find(self, operation: str, given: str) -> Record:
        name = given.rsplit("/", 1)[-1]
        if name == ALGORITHM_NAME:
            return self._describe_bundled()
        record = self._table.read(name)
        if record is None:
            known = [ALGORITHM_NAME, *(one["AlgorithmName"] for one in self._table.list())]
            listed = ", ".join(map(repr, known))
            message = f"Algorithm {given!r} not found. Here is: {listed}."
            raise build_error(operation, "ValidationException", message)
        return record

    def _describe_bundled(self) -> Record:
        return {
            "AlgorithmName": ALGORITHM_NAME,
            "AlgorithmArn": build_arn(ALGORITHM.noun, ALGORITHM_NAME),
            "AlgorithmStatus": "Completed",
            "AlgorithmStatusDetails": {},
            "CreationTime": self._root.stat().st_mtime,
            "TrainingSpecification": describe_bundled_algorithm(),
        }


def _read_algorithm_name(job: Mapping[str, Any]) -> str:
    name: str = job["AlgorithmSpecification"]["AlgorithmName"]
    return name.rsplit("/", 1)[-1]
