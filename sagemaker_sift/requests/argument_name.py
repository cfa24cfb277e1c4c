"""From places in a request to the arguments that a user gave for them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from sagemaker_sift.contract.problem import Problem

_ARGUMENTS = {
    "AlgorithmSpecification.AlgorithmName": "algorithm_arn",
    "AlgorithmSpecification.MetricDefinitions": "metric_definitions",
    "AlgorithmSpecification.TrainingInputMode": "input_mode",
    "CheckpointConfig.LocalPath": "checkpoint_local_path",
    "CheckpointConfig.S3Uri": "checkpoint_s3_uri",
    "EnableInterContainerTrafficEncryption": "encrypt_inter_container_traffic",
    "EnableManagedSpotTraining": "use_spot_instances",
    "EnableNetworkIsolation": "enable_network_isolation",
    "Environment": "environment",
    "HyperParameters": "hyperparameters",
    "OutputDataConfig.CompressionType": "disable_output_compression",
    "OutputDataConfig.KmsKeyId": "output_kms_key",
    "OutputDataConfig.S3OutputPath": "output_path",
    "ResourceConfig.InstanceConfigs": "instance_configs",
    "ResourceConfig.InstanceCount": "instance_count",
    "ResourceConfig.InstanceGroups": "instance_groups",
    "ResourceConfig.InstanceType": "instance_type",
    "ResourceConfig.KeepAlivePeriodInSeconds": "keep_alive_period_in_seconds",
    "ResourceConfig.TrainingPlanArn": "training_plan",
    "ResourceConfig.VolumeKmsKeyId": "volume_kms_key",
    "ResourceConfig.VolumeSizeInGB": "volume_size",
    "RetryStrategy.MaximumRetryAttempts": "max_retry_attempts",
    "RoleArn": "role",
    "StoppingCondition.MaxPendingTimeInSeconds": "max_pending",
    "StoppingCondition.MaxRuntimeInSeconds": "max_run",
    "StoppingCondition.MaxWaitTimeInSeconds": "max_wait",
    "Tags": "tags",
    "TrainingJobName": "job_name",
    "VpcConfig.SecurityGroupIds": "security_group_ids",
    "VpcConfig.Subnets": "subnets",
}
_CHANNEL_FIELDS = {
    "": "",
    ".ChannelName": "",
    ".CompressionType": ".compression",
    ".ContentType": ".content_type",
    ".DataSource.FileSystemDataSource": "",
    ".DataSource.FileSystemDataSource.DirectoryPath": ".directory_path",
    ".DataSource.FileSystemDataSource.FileSystemAccessMode": ".file_system_access_mode",
    ".DataSource.FileSystemDataSource.FileSystemId": ".file_system_id",
    ".DataSource.FileSystemDataSource.FileSystemType": ".file_system_type",
    ".DataSource.S3DataSource.AttributeNames": ".attribute_names",
    ".DataSource.S3DataSource.InstanceGroupNames": ".instance_groups",
    ".DataSource.S3DataSource.S3DataDistributionType": ".distribution",
    ".DataSource.S3DataSource.S3DataType": ".s3_data_type",
    ".DataSource.S3DataSource.S3Uri": "",
    ".InputMode": ".input_mode",
    ".RecordWrapperType": ".record_wrapping",
    ".ShuffleConfig": ".shuffle_config",
    ".ShuffleConfig.Seed": ".shuffle_config.seed",
    ".TargetAttributeName": ".target_attribute_name",
}
_CONFIG = "HyperParameterTuningJobConfig"
_CRITERIA = f"{_CONFIG}.TuningJobCompletionCriteria"
_TUNING_ARGUMENTS = {
    f"{_CONFIG}.HyperParameterTuningJobObjective.MetricName": "objective_metric_name",
    f"{_CONFIG}.HyperParameterTuningJobObjective.Type": "objective_type",
    f"{_CONFIG}.ParameterRanges": "hyperparameter_ranges",
    f"{_CONFIG}.RandomSeed": "random_seed",
    f"{_CONFIG}.ResourceLimits.MaxNumberOfTrainingJobs": "max_jobs",
    f"{_CONFIG}.ResourceLimits.MaxParallelTrainingJobs": "max_parallel_jobs",
    f"{_CONFIG}.ResourceLimits.MaxRuntimeInSeconds": "max_runtime_in_seconds",
    f"{_CONFIG}.Strategy": "strategy",
    f"{_CONFIG}.StrategyConfig": "strategy_config",
    f"{_CONFIG}.TrainingJobEarlyStoppingType": "early_stopping_type",
    f"{_CRITERIA}.BestObjectiveNotImproving.MaxNumberOfTrainingJobsNotImproving": (
        "completion_criteria_config.max_number_of_training_jobs_not_improving"
    ),
    f"{_CRITERIA}.TargetObjectiveMetricValue": (
        "completion_criteria_config.target_objective_metric_value"
    ),
    _CRITERIA: "completion_criteria_config",
    "HyperParameterTuningJobName": "job_name",
    "Tags": "tags",
    "TrainingJobDefinitions": "estimator_dict",
    "WarmStartConfig.ParentHyperParameterTuningJobs": "warm_start_config",
    "WarmStartConfig": "warm_start_config",
}
_CHANNEL = re.compile(r"InputDataConfig\[(\d+)\](.*)")


def name_arguments(problems: Iterable[Problem], request: Mapping[str, Any]) -> list[Problem]:
    """Return the problems with the user's own argument names in place of the API's paths.

    Args:
        problems: Found in ``request``.
        request: A CreateTrainingJob request.

    Example:
        >>> problem = Problem("ResourceConfig.VolumeSizeInGB", "is -1, but must be at least 0.")
        >>> print(*name_arguments([problem], {}))
        `volume_size` is -1, but must be at least 0.
    """
    return [
        Problem(_name(problem.path, request), problem.message, problem.source)
        for problem in problems
    ]


def name_tuning_argument(path: str) -> str:
    """Return the tuner's argument for a place in a CreateHyperParameterTuningJob request.

    Args:
        path: Outside of the training job definitions.

    Example:
        >>> name_tuning_argument("HyperParameterTuningJobConfig.ResourceLimits."
        ...     "MaxParallelTrainingJobs")
        'max_parallel_jobs'
    """
    return _replace_prefix(path, _TUNING_ARGUMENTS)


def _name(path: str, request: Mapping[str, Any]) -> str:
    channel = _CHANNEL.fullmatch(path)
    if channel:
        name = request["InputDataConfig"][int(channel.group(1))].get("ChannelName")
        field = channel.group(2)
        return f"inputs[{name!r}]" + _CHANNEL_FIELDS.get(field, field)
    if path == "InputDataConfig":
        return "inputs"
    return _replace_prefix(path, _ARGUMENTS)


def _replace_prefix(path: str, arguments: Mapping[str, str]) -> str:
    for prefix, argument in arguments.items():
        if path == prefix or path.startswith((f"{prefix}[", f"{prefix}.", f"{prefix} ")):
            return argument + path.removeprefix(prefix)
    return path
