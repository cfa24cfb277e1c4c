"""One training job definition of a recorded tuning job: what is searched, and what is launched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sagemaker_sift.backends.local.store import Record
from sagemaker_sift.parameter import read_ranges
from sagemaker_sift.requests.hyperparameter_rules import HyperparameterRules
from sagemaker_sift.requests.tuning_job import (
    DefinitionDescription,
    read_definition,
    read_instance_configs,
)
from sagemaker_sift.requests.tuning_rules import Search

OBJECTIVE_HYPERPARAMETER = "_tuning_objective_metric"
"""What the service adds to the hyperparameters of every training job that it launches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """One training job definition.

    Attributes:
        name: ``DefinitionName``, or ``None`` for the only one.
        metric_name: Objective metric.
        maximize: Whether more is better.
        ranges: The API's ``ParameterRanges``; those that autotune has chosen are among them.
        static: Hyperparameters that are not searched, as text.
        fields: The API's ``HyperParameterTrainingJobDefinition``.
    """

    name: str | None
    metric_name: str
    maximize: bool
    ranges: Mapping[str, Any]
    static: Mapping[str, str]
    fields: Mapping[str, Any]

    def build_request(
        self, job_name: str, values: Mapping[str, str], point_name: str
    ) -> dict[str, Any]:
        """Return the CreateTrainingJob request of one training job.

        Of alternative machines the first is taken: this machine has them all. Checkpoints go to a
        folder of the point, so that training jobs do not go on from each other's, but a further
        attempt goes on from the one before.

        Args:
            job_name: Name of the training job.
            values: Its tuned hyperparameters, as text.
            point_name: Equal for all attempts at one point of one search, and for nothing else.
        """
        request = read_definition(self.fields, job_name)
        request["HyperParameters"] = {**self.static, **values}
        configs = read_instance_configs(self.fields)
        if configs:
            first = {
                name: configs[0][name]
                for name in ("InstanceType", "InstanceCount", "VolumeSizeInGB")
                if name in configs[0]
            }
            request["ResourceConfig"] |= first
        checkpoints = request.get("CheckpointConfig")
        if checkpoints:
            uri = f"{checkpoints['S3Uri'].rstrip('/')}/{point_name}"
            request["CheckpointConfig"] = {**checkpoints, "S3Uri": uri}
        return request


def read_fields(job: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the definitions of a request or record, whether it has one or several."""
    several = job.get("TrainingJobDefinitions")
    if several:
        return list(several)
    only = job.get("TrainingJobDefinition")
    return [] if only is None else [only]


def read_recorded(record: Record) -> list[Definition]:
    """Return the definitions of a recorded tuning job."""
    chosen = record["Local"].get("Ranges", {})
    definitions = []
    for fields in read_fields(record):
        objective, ranges = _read_search(record, fields)
        name = fields.get("DefinitionName")
        tuned = chosen.get(name or "", ranges)
        static = {
            key: value
            for key, value in fields.get("StaticHyperParameters", {}).items()
            if key != OBJECTIVE_HYPERPARAMETER
        }
        searched = read_ranges(tuned)
        for entry in ranges.get("AutoParameters", []):
            if entry["Name"] not in searched:  # autotune found no range that makes sense
                static[entry["Name"]] = entry["ValueHint"]
        definitions.append(
            Definition(
                name=name,
                metric_name=objective["MetricName"],
                maximize=objective["Type"] == "Maximize",
                ranges=tuned,
                static=static,
                fields=fields,
            )
        )
    return definitions


def describe_for_checks(
    request: Mapping[str, Any], fields: Mapping[str, Any], algorithm: Mapping[str, Any]
) -> tuple[DefinitionDescription, Search]:
    """Return a definition of a request in the form that the rules of tuning jobs are held to.

    Args:
        request: A CreateHyperParameterTuningJob request whose values have the right types.
        fields: One of its definitions.
        algorithm: DescribeAlgorithm response.
    """
    objective, api_ranges = _read_search(request, fields)
    name = fields.get("DefinitionName")
    job = read_definition(fields, "placeholder")
    suffix = "" if name is None else f"_dict[{name!r}]"
    description = DefinitionDescription(
        job=job,
        ranges=api_ranges,
        metric_name=objective.get("MetricName"),
        objective_type=str(objective.get("Type")),
        name=name,
        instance_configs=read_instance_configs(fields),
    )
    search = Search(
        argument=f"hyperparameter_ranges{suffix}",
        metric_argument=f"objective_metric_name{suffix}",
        algorithm=algorithm,
        rules=HyperparameterRules(algorithm["TrainingSpecification"]),
        ranges=read_ranges(api_ranges),
        static=job.get("HyperParameters", {}),
        metric_name=objective.get("MetricName"),
        metric_definitions=job.get("AlgorithmSpecification", {}).get("MetricDefinitions", ()),
        environment=job.get("Environment", {}),
        auto=[entry["Name"] for entry in api_ranges.get("AutoParameters", [])],
        channels=[channel["ChannelName"] for channel in job.get("InputDataConfig", ())],
    )
    return description, search


def read_objective(job: Mapping[str, Any], fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the API's objective of a definition, wherever it stands.

    Args:
        job: A request or record of a tuning job.
        fields: One of its definitions.
    """
    of_job = job["HyperParameterTuningJobConfig"].get("HyperParameterTuningJobObjective")
    return fields.get("TuningObjective") or of_job or {}


def _read_search(
    job: Mapping[str, Any], fields: Mapping[str, Any]
) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    of_job = job["HyperParameterTuningJobConfig"].get("ParameterRanges")
    return read_objective(job, fields), fields.get("HyperParameterRanges") or of_job or {}
