"""From what a tuner holds to the request of CreateHyperParameterTuningJob, and back.

A training job definition is made from the CreateTrainingJob request of the same job, field by
field by a table, so that nothing that a training job says is lost in tuning; what a definition
cannot say is refused.

Source: API reference of CreateHyperParameterTuningJob and ``HyperParameterTrainingJobDefinition``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sagemaker_sift.contract.problem import Problem
from sagemaker_sift.requests.plain_value import drop_unset

TUNING_JOB_NAME_MAX_CHARS = 32
RESOURCES = "HyperParameterTuningResourceConfig"

_SAME_NAME = (
    "AlgorithmSpecification",
    "RoleArn",
    "InputDataConfig",
    "VpcConfig",
    "OutputDataConfig",
    "StoppingCondition",
    "EnableNetworkIsolation",
    "EnableInterContainerTrafficEncryption",
    "EnableManagedSpotTraining",
    "CheckpointConfig",
    "RetryStrategy",
    "Environment",
)
_ONLY_IN_RESOURCE_CONFIG = ("InstanceGroups", "TrainingPlanArn")
_NOT_IN_TUNING = ("KeepAlivePeriodInSeconds",)
_SOURCE = "API reference, HyperParameterTrainingJobDefinition"


@dataclass(frozen=True, slots=True, kw_only=True)
class DefinitionDescription:
    """One training job definition of a tuning job.

    Attributes:
        job: CreateTrainingJob request of a training job with the static hyperparameters.
        ranges: The API's ``ParameterRanges``.
        metric_name: Objective metric.
        objective_type: ``Maximize`` or ``Minimize``.
        name: ``DefinitionName``; ``None`` for the only definition of a job.
        instance_configs: Alternative machines, in the API's form, instead of those of ``job``.
    """

    job: Mapping[str, Any]
    ranges: Mapping[str, Any]
    metric_name: str | None
    objective_type: str
    name: str | None = None
    instance_configs: Sequence[Mapping[str, Any]] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningJobDescription:
    """Everything that a tuning job can say; ``None`` and empty values do not appear.

    Attributes are those of :class:`~sagemaker_sift.tuner.HyperparameterTuner`; the configs are in
    the API's form.
    """

    job_name: str
    definitions: Sequence[DefinitionDescription]
    strategy: str
    max_jobs: int | None = None
    max_parallel_jobs: int = 1
    max_runtime_in_seconds: int | None = None
    strategy_config: Mapping[str, Any] | None = None
    completion_criteria: Mapping[str, Any] | None = None
    early_stopping_type: str = "Off"
    random_seed: int | None = None
    autotune: bool = False
    warm_start_config: Mapping[str, Any] | None = None
    tags: Sequence[Mapping[str, str]] = ()


def build_tuning_job_request(job: TuningJobDescription) -> dict[str, Any]:
    """Return the parameters of ``create_hyper_parameter_tuning_job``."""
    config: dict[str, Any] = {
        "Strategy": job.strategy,
        "ResourceLimits": drop_unset(
            {
                "MaxNumberOfTrainingJobs": job.max_jobs,
                "MaxParallelTrainingJobs": job.max_parallel_jobs,
                "MaxRuntimeInSeconds": job.max_runtime_in_seconds,
            }
        ),
        "TrainingJobEarlyStoppingType": job.early_stopping_type,
    }
    config |= drop_unset(
        {
            "StrategyConfig": job.strategy_config or None,
            "TuningJobCompletionCriteria": job.completion_criteria or None,
            "RandomSeed": job.random_seed,
        }
    )
    request: dict[str, Any] = {
        "HyperParameterTuningJobName": job.job_name,
        "HyperParameterTuningJobConfig": config,
    }
    if len(job.definitions) == 1 and job.definitions[0].name is None:
        only = job.definitions[0]
        config["HyperParameterTuningJobObjective"] = _build_objective(only)
        config["ParameterRanges"] = dict(only.ranges)
        request["TrainingJobDefinition"] = build_definition(only)
    else:
        named = sorted(job.definitions, key=lambda definition: definition.name or "")
        request["TrainingJobDefinitions"] = [build_definition(one) for one in named]
    return request | drop_unset(
        {
            "WarmStartConfig": dict(job.warm_start_config) if job.warm_start_config else None,
            "Tags": [dict(tag) for tag in job.tags] or None,
            "Autotune": {"Mode": "Enabled"} if job.autotune else None,
        }
    )


def build_definition(definition: DefinitionDescription) -> dict[str, Any]:
    """Return the API's ``HyperParameterTrainingJobDefinition``."""
    job = definition.job
    fields: dict[str, Any] = {}
    if definition.name is not None:
        fields["DefinitionName"] = definition.name
        fields["TuningObjective"] = _build_objective(definition)
        fields["HyperParameterRanges"] = dict(definition.ranges)
    fields["StaticHyperParameters"] = dict(job.get("HyperParameters", {}))
    fields |= {name: job[name] for name in _SAME_NAME if name in job}
    resources = dict(job.get("ResourceConfig", {}))
    if any(name in resources for name in _ONLY_IN_RESOURCE_CONFIG):
        fields["ResourceConfig"] = resources
        return fields
    for name in _NOT_IN_TUNING:
        resources.pop(name, None)
    if definition.instance_configs is not None:
        for name in ("InstanceType", "InstanceCount", "VolumeSizeInGB"):
            resources.pop(name, None)
        resources["InstanceConfigs"] = [dict(config) for config in definition.instance_configs]
    fields[RESOURCES] = resources
    return fields


def find_lost_fields(definition: DefinitionDescription) -> list[Problem]:
    """Return what the training job says and a definition cannot say; paths are the job's."""
    resources = definition.job.get("ResourceConfig", {})
    problems = [
        Problem(
            f"ResourceConfig.{name}",
            f"is {resources[name]!r}, but tuning jobs do not have it. Leave it out.",
            _SOURCE,
        )
        for name in _NOT_IN_TUNING
        if name in resources
    ]
    only = [name for name in _ONLY_IN_RESOURCE_CONFIG if name in resources]
    if definition.instance_configs is not None and only:
        message = f"does not go with override_resource_config. It also says {', '.join(only)}."
        problems.append(Problem("ResourceConfig", message, _SOURCE))
    return problems


def read_definition(definition: Mapping[str, Any], job_name: str) -> dict[str, Any]:
    """Return a training job definition in the form of a CreateTrainingJob request.

    Alternative machines stay behind; see :func:`read_instance_configs`.

    Args:
        definition: Of a request or a DescribeHyperParameterTuningJob response.
        job_name: Of the tuning job; it stands for the training job's.
    """
    static = {
        name: value
        for name, value in definition.get("StaticHyperParameters", {}).items()
        if not name.startswith("_")  # the service's own, such as _tuning_objective_metric
    }
    resources = dict(definition.get(RESOURCES) or definition.get("ResourceConfig") or {})
    resources.pop("InstanceConfigs", None)
    resources.pop("AllocationStrategy", None)
    job: dict[str, Any] = {"TrainingJobName": job_name, "ResourceConfig": resources}
    job |= {name: definition[name] for name in _SAME_NAME if name in definition}
    if static:
        job["HyperParameters"] = static
    return job


def read_instance_configs(definition: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """Return the alternative machines of a definition, or ``None``."""
    configs = (definition.get(RESOURCES) or {}).get("InstanceConfigs")
    return None if not configs else [dict(config) for config in configs]


def build_tuning_job_name(base: str, now: datetime, suffix: str) -> str:
    """Return a name for a tuning job: at most 32 characters.

    Args:
        base: What it begins with, cut to 15 characters; those that the API refuses become hyphens.
        now: Day and minute that follow.
        suffix: Four characters that tell the jobs of one minute apart.

    Example:
        >>> build_tuning_job_name("test-marketplace", datetime(2026, 11, 21, 9, 30), "k3x9")
        'test-marketplac-261121-0930-k3x9'
    """
    stamp = f"{now:%y%m%d-%H%M}-{suffix}"
    room = TUNING_JOB_NAME_MAX_CHARS - len(stamp) - 1
    stem = re.sub(r"[^a-zA-Z0-9]+", "-", base).strip("-")[:room].strip("-") or "tuning"
    return f"{stem}-{stamp}"


def _build_objective(definition: DefinitionDescription) -> dict[str, Any]:
    metric = {} if definition.metric_name is None else {"MetricName": definition.metric_name}
    return {"Type": definition.objective_type, **metric}
