"""The SDK v2 and this package as two libraries with the same names, for one program to run on."""

from __future__ import annotations

import copy
import functools
import importlib
from collections.abc import Callable, Iterable
from typing import Any

import boto3
import botocore.session
from botocore.exceptions import ParamValidationError
from botocore.validate import ParamValidator

import sagemaker_sift
from tests.supports.algorithms import ROLE, TREES_ARN, EchoClient, build_trees

HOMES = {
    "AlgorithmEstimator": "algorithm",
    "CategoricalParameter": "parameter",
    "ContinuousParameter": "parameter",
    "FileSystemInput": "inputs",
    "HyperbandStrategyConfig": "tuner",
    "HyperparameterTuner": "tuner",
    "HyperparameterTuningJobAnalytics": "analytics",
    "InstanceConfig": "tuner",
    "InstanceGroup": "instance_group",
    "IntegerParameter": "parameter",
    "Session": "session",
    "ShuffleConfig": "inputs",
    "StrategyConfig": "tuner",
    "TrainingInput": "inputs",
    "TuningJobCompletionCriteriaConfig": "tuner",
    "WarmStartConfig": "tuner",
    "WarmStartTypes": "tuner",
    "create_identical_dataset_and_algorithm_tuner": "tuner",
    "create_transfer_learning_tuner": "tuner",
    "get_execution_role": "session",
}
"""The names that both libraries have, by the SDK's module."""


class Library:
    """This package, with some names in the SDK's version.

    Attributes:
        of_sdk: Names that come from the SDK.
        used: Names that a program has asked for.
    """

    def __init__(self, of_sdk: Iterable[str] = ()) -> None:
        self.of_sdk = set(of_sdk)
        self.used: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        """Return a public name."""
        self.used.add(name)
        if name in self.of_sdk:
            return getattr(importlib.import_module(f"sagemaker.{HOMES[name]}"), name)
        return getattr(sagemaker_sift, name)


SDK, OURS = Library(HOMES), Library()
Program = Callable[[Library, EchoClient], Any]


class CheckingClient(EchoClient):
    """Refuses what boto3 itself refuses: wrong types, unknown members, missing ones."""

    def _create(self, kind: str, name: str, request: dict[str, Any]) -> dict[str, Any]:
        operation = {
            "training-job": "CreateTrainingJob",
            "hyper-parameter-tuning-job": "CreateHyperParameterTuningJob",
        }[kind]
        shape = _load_service_model().operation_model(operation).input_shape
        report = ParamValidator().validate(request, shape)
        if report.has_errors():
            raise ParamValidationError(report=report.generate_report())
        return super()._create(kind, name, request)


@functools.cache
def _load_service_model() -> Any:
    return botocore.session.get_session().get_service_model("sagemaker")


def build_client(**changes: Any) -> CheckingClient:
    """Return a client that knows one algorithm, with changes to its TrainingSpecification.

    Its jobs end at once; of others it tells nothing.
    """
    client = CheckingClient({"scikit-decision-trees": build_trees(**changes)})
    client.status = "Completed"
    client.hides_others = True
    return client


@functools.cache
def build_boto_session() -> boto3.Session:
    """Return a session of boto3; kept, as reading the models of the services takes long."""
    return boto3.Session("testing", "testing", region_name="us-east-2")


def build_session(library: Any, client: EchoClient, **arguments: Any) -> Any:
    """Return a session whose SageMaker client is ``client``."""
    return library.Session(
        build_boto_session(), client, **{"default_bucket": "bucket"} | arguments
    )


def build_estimator(library: Any, client: EchoClient, **arguments: Any) -> Any:
    """Return an estimator of the algorithm that ``client`` knows."""
    given = {
        "role": ROLE,
        "instance_count": 1,
        "instance_type": "ml.c4.xlarge",
        "output_path": "s3://bucket/models",
        "sagemaker_session": build_session(library, client),
        "hyperparameters": {"max_leaf_nodes": 10},
    } | arguments
    return library.AlgorithmEstimator(TREES_ARN, **given)


def build_tuner(library: Any, client: EchoClient, **arguments: Any) -> Any:
    """Return a tuner of it; arguments that begin with ``estimator_`` are the estimator's."""
    prefix = "estimator_"
    own = {key: value for key, value in arguments.items() if not key.startswith(prefix)}
    of_estimator = {
        key.removeprefix(prefix): value for key, value in arguments.items() if key not in own
    }
    given = {
        "objective_metric_name": "validation:accuracy",
        "hyperparameter_ranges": {"min_gain": library.ContinuousParameter(0.1, 0.5)},
        "max_jobs": 4,
        "max_parallel_jobs": 2,
    } | own
    return library.HyperparameterTuner(build_estimator(library, client, **of_estimator), **given)


def find_sent(program: Program, library: Any, client: EchoClient | None = None) -> Any:
    """Return the requests that a program sends; the only one by itself."""
    client = client or build_client()
    program(library, client)
    requests = [copy.deepcopy(request) for _, request in client.sent]
    return requests[0] if len(requests) == 1 else requests
