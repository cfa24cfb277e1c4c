"""Algorithms that are not ours, and a client that answers for them without a network."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from sagemaker_sift import Algorithm, AlgorithmEstimator, LocalSession

ROLE = "arn:aws:iam::111122223333:role/sift"
TREES_ARN = "arn:aws:sagemaker:us-east-2:111122223333:algorithm/scikit-decision-trees"
BUNDLED = {"num_classes": 10, "num_training_samples": 1437, "mini_batch_size": 32}
NOW = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)


def integer(name: str, low: int, high: int, **more: Any) -> dict[str, Any]:
    bounds = {"MinValue": str(low), "MaxValue": str(high)}
    return {
        "Name": name,
        "Type": "Integer",
        "Range": {"IntegerParameterRangeSpecification": bounds},
        "IsTunable": True,
        "IsRequired": False,
        **more,
    }


def continuous(name: str, low: float, high: float, **more: Any) -> dict[str, Any]:
    bounds = {"MinValue": str(low), "MaxValue": str(high)}
    return {
        "Name": name,
        "Type": "Continuous",
        "Range": {"ContinuousParameterRangeSpecification": bounds},
        "IsTunable": True,
        "IsRequired": False,
        **more,
    }


def categorical(name: str, values: list[str], **more: Any) -> dict[str, Any]:
    return {
        "Name": name,
        "Type": "Categorical",
        "Range": {"CategoricalParameterRangeSpecification": {"Values": values}},
        "IsTunable": True,
        "IsRequired": False,
        **more,
    }


def build_trees(**changes: Any) -> dict[str, Any]:
    """Return the TrainingSpecification of a small algorithm of somebody else."""
    return {
        "TrainingImage": "111122223333.dkr.ecr.us-east-2.amazonaws.com/trees:1",
        "SupportedHyperParameters": [
            integer("max_leaf_nodes", 1, 100_000, IsRequired=True),
            continuous("min_gain", 0.0, 1.0, DefaultValue="0.1"),
            categorical("criterion", ["gini", "entropy"], DefaultValue="gini"),
            integer("depth", 1, 64, IsTunable=False, DefaultValue="8"),
            {"Name": "note", "Type": "FreeText", "IsTunable": False, "IsRequired": False},
        ],
        "SupportedTrainingInstanceTypes": ["ml.c4.xlarge", "ml.m5.large"],
        "SupportsDistributedTraining": False,
        "MetricDefinitions": [
            {"Name": "validation:accuracy", "Regex": "accuracy=([0-9.]+)"},
            {"Name": "validation:loss", "Regex": "loss=([0-9.]+)"},
        ],
        "TrainingChannels": [
            {
                "Name": "training",
                "IsRequired": True,
                "SupportedContentTypes": ["text/csv"],
                "SupportedCompressionTypes": ["None", "Gzip"],
                "SupportedInputModes": ["File", "FastFile", "Pipe"],
            },
            {
                "Name": "validation",
                "IsRequired": False,
                "SupportedContentTypes": ["text/csv"],
                "SupportedCompressionTypes": ["None"],
                "SupportedInputModes": ["File"],
            },
        ],
        "SupportedTuningJobObjectiveMetrics": [
            {"Type": "Maximize", "MetricName": "validation:accuracy"},
            {"Type": "Minimize", "MetricName": "validation:loss"},
        ],
        **changes,
    }


class EchoClient:
    """Answers as the service would for jobs that never end by themselves.

    Everything that was created is described back with the service's own additions.

    Attributes:
        status: Of every job.
        hides_others: Whether tuning jobs that were not created here may not be described.
    """

    def __init__(self, algorithms: Mapping[str, Mapping[str, Any]]) -> None:
        self.algorithms = algorithms
        self.created: dict[str, dict[str, Any]] = {}
        self.sent: list[tuple[str, dict[str, Any]]] = []
        self.status = "InProgress"
        self.hides_others = False

    def describe_algorithm(self, AlgorithmName: str) -> dict[str, Any]:
        name = AlgorithmName.rsplit("/", 1)[-1]
        if name not in self.algorithms:
            raise error("DescribeAlgorithm", "ValidationException", f"{name} does not exist.")
        return {
            "AlgorithmName": name,
            "AlgorithmArn": f"arn:aws:sagemaker:us-east-2:111122223333:algorithm/{name}",
            "AlgorithmStatus": "Completed",
            "TrainingSpecification": copy.deepcopy(dict(self.algorithms[name])),
        }

    def create_training_job(self, **request: Any) -> dict[str, Any]:
        return self._create("training-job", request["TrainingJobName"], request)

    def create_hyper_parameter_tuning_job(self, **request: Any) -> dict[str, Any]:
        name = request["HyperParameterTuningJobName"]
        return self._create("hyper-parameter-tuning-job", name, request)

    def describe_training_job(self, TrainingJobName: str) -> dict[str, Any]:
        request = self._find("DescribeTrainingJob", TrainingJobName)
        return request | {"TrainingJobStatus": self.status, "SecondaryStatus": "Training"}

    def describe_hyper_parameter_tuning_job(
        self, HyperParameterTuningJobName: str
    ) -> dict[str, Any]:
        operation = "DescribeHyperParameterTuningJob"
        if self.hides_others and HyperParameterTuningJobName not in self.created:
            raise error(operation, "AccessDeniedException", "You are not authorized to do it.")
        details = self._find(operation, HyperParameterTuningJobName)
        named = details.get("TrainingJobDefinitions")
        for definition in named or [details["TrainingJobDefinition"]]:
            objective = definition.get("TuningObjective") or details[
                "HyperParameterTuningJobConfig"
            ].get("HyperParameterTuningJobObjective")
            definition["StaticHyperParameters"]["_tuning_objective_metric"] = objective[
                "MetricName"
            ]
        return details | {"HyperParameterTuningJobStatus": self.status}

    def list_tags(self, ResourceArn: str, NextToken: str | None = None) -> dict[str, Any]:
        """Return one tag a page, so that pages must be followed."""
        name = ResourceArn.rsplit("/", 1)[-1]
        tags = self.created[name].get("Tags", [])
        at = int(NextToken or 0)
        more = {"NextToken": str(at + 1)} if at + 1 < len(tags) else {}
        return {"Tags": copy.deepcopy(tags[at : at + 1]), **more}

    def _create(self, kind: str, name: str, request: dict[str, Any]) -> dict[str, Any]:
        if name in self.created:
            raise error("Create", "ResourceInUse", f"{name} exists already.")
        arn = f"arn:aws:sagemaker:us-east-2:111122223333:{kind}/{name}"
        self.sent.append((kind, copy.deepcopy(request)))
        self.created[name] = copy.deepcopy(request) | {"Arn": arn}
        return {"Arn": arn}

    def _find(self, operation: str, name: str) -> dict[str, Any]:
        if name not in self.created:
            raise error(operation, "ResourceNotFound", f"Requested resource {name} not found.")
        found = copy.deepcopy(self.created[name])
        found.pop("Tags", None)
        arn = found.pop("Arn")
        return found | {
            "TrainingJobArn": arn,
            "HyperParameterTuningJobArn": arn,
            "CreationTime": NOW,
        }


def error(operation: str, code: str, message: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, operation)


def build_session(root: Path, **algorithms: Mapping[str, Any]) -> LocalSession:
    """Return a session of this machine whose client answers for the algorithms."""
    session = LocalSession(root)
    known = {name.replace("_", "-"): spec for name, spec in algorithms.items()}
    session.sagemaker_client = EchoClient({"scikit-decision-trees": build_trees(), **known})
    session.find_storage_problems = lambda request: []  # type: ignore[method-assign]
    return session


def build_trees_estimator(root: Path, **arguments: Any) -> AlgorithmEstimator:
    given = {
        "role": ROLE,
        "instance_type": "ml.c4.xlarge",
        "output_path": "s3://bucket/models",
        "sagemaker_session": build_session(root),
    } | arguments
    return AlgorithmEstimator(given.pop("algorithm_arn", TREES_ARN), **given)


def build_bundled_estimator(root: Path, **arguments: Any) -> AlgorithmEstimator:
    given = {
        "role": ROLE,
        "instance_type": "ml.g5.xlarge",
        "output_path": "s3://bucket/models",
        "sagemaker_session": build_session(root),
        "hyperparameters": BUNDLED,
    } | arguments
    return AlgorithmEstimator(Algorithm.from_contract("image:1", name="ours"), **given)
