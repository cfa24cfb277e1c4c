"""From the API's description of a tuning job back to the tuner that launched it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from sagemaker_sift.estimator import AlgorithmEstimator
from sagemaker_sift.parameter import read_ranges
from sagemaker_sift.requests.tuning_job import read_definition, read_instance_configs
from sagemaker_sift.resources import InstanceConfig
from sagemaker_sift.strategy import StrategyConfig, TuningJobCompletionCriteriaConfig
from sagemaker_sift.tuning_definition import METADATA, TuningDefinition
from sagemaker_sift.warm_start import WarmStartConfig

_GENERATED = re.compile(r"(.+?)-\d{6}-\d{4}(?:-[0-9a-z]{4})?")
"""Names that this package or the SDK v2 has made: a base and a time."""


def read_arguments(details: Mapping[str, Any], job_name: str) -> dict[str, Any]:
    """Return the tuner's arguments besides estimators, ranges and tags.

    Args:
        details: A DescribeHyperParameterTuningJob response.
        job_name: Name of the job.
    """
    config = details["HyperParameterTuningJobConfig"]
    limits = config["ResourceLimits"]
    first = (details.get("TrainingJobDefinitions") or [{}])[0]
    objective = config.get("HyperParameterTuningJobObjective") or first["TuningObjective"]
    generated = _GENERATED.fullmatch(job_name)
    return {
        "strategy": config["Strategy"],
        "objective_type": objective["Type"],
        "max_jobs": limits.get("MaxNumberOfTrainingJobs"),
        "max_parallel_jobs": limits["MaxParallelTrainingJobs"],
        "max_runtime_in_seconds": limits.get("MaxRuntimeInSeconds"),
        "base_tuning_job_name": generated.group(1) if generated else job_name,
        "warm_start_config": WarmStartConfig.from_job_desc(details.get("WarmStartConfig")),
        "strategy_config": StrategyConfig.from_job_desc(config.get("StrategyConfig")),
        "completion_criteria_config": TuningJobCompletionCriteriaConfig.from_job_desc(
            config.get("TuningJobCompletionCriteria")
        ),
        "early_stopping_type": config.get("TrainingJobEarlyStoppingType", "Off"),
        "random_seed": config.get("RandomSeed"),
        "autotune": details.get("Autotune", {}).get("Mode") == "Enabled",
    }


def read_definitions(
    details: Mapping[str, Any],
    job_name: str,
    sagemaker_session: Any,
    estimator_cls: type[AlgorithmEstimator],
) -> list[TuningDefinition]:
    """Return the definitions that a tuning job was launched with.

    Args:
        details: A DescribeHyperParameterTuningJob response.
        job_name: Name of the job.
        sagemaker_session: Where the estimators are to run.
        estimator_cls: What estimators are made with.
    """
    config = details["HyperParameterTuningJobConfig"]
    given = details.get("TrainingJobDefinitions") or [details["TrainingJobDefinition"]]
    is_autotuned = details.get("Autotune", {}).get("Mode") == "Enabled"
    return [
        _read_one(one, config, job_name, sagemaker_session, estimator_cls, is_autotuned)
        for one in given
    ]


def _read_one(
    definition: Mapping[str, Any],
    config: Mapping[str, Any],
    job_name: str,
    sagemaker_session: Any,
    estimator_cls: type[AlgorithmEstimator],
    is_autotuned: bool,
) -> TuningDefinition:
    objective = definition.get("TuningObjective") or config["HyperParameterTuningJobObjective"]
    ranges = definition.get("HyperParameterRanges") or config.get("ParameterRanges") or {}
    job = read_definition(definition, job_name)
    auto = {entry["Name"]: entry["ValueHint"] for entry in ranges.get("AutoParameters", [])}
    static = dict(job.get("HyperParameters", {}))
    for metadata in METADATA:
        static.pop(metadata, None)
    job["HyperParameters"] = static | auto
    configs = read_instance_configs(definition)
    return TuningDefinition(
        name=definition.get("DefinitionName") or None,
        estimator=estimator_cls.from_description(job, sagemaker_session),
        objective_metric_name=objective["MetricName"],
        ranges=read_ranges(ranges),
        keep_static=sorted(static) if auto or is_autotuned else None,
        instance_configs=None
        if configs is None
        else [InstanceConfig.from_job_desc(entry) for entry in configs],
    )
