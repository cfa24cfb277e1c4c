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
    "Environment": "environment",
    "OutputDataConfig.KmsKeyId": "output_kms_key",
    "OutputDataConfig.S3OutputPath": "output_path",
    "ResourceConfig.InstanceCount": "instance_count",
    "ResourceConfig.InstanceType": "instance_type",
    "ResourceConfig.VolumeKmsKeyId": "volume_kms_key",
    "ResourceConfig.VolumeSizeInGB": "volume_size",
    "RoleArn": "role",
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
    ".DataSource.S3DataSource.S3DataDistributionType": ".distribution",
    ".DataSource.S3DataSource.S3DataType": ".s3_data_type",
    ".DataSource.S3DataSource.S3Uri": "",
    ".InputMode": ".input_mode",
    ".RecordWrapperType": ".record_wrapping",
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
    return [Problem(_name(problem.path, request), problem.message) for problem in problems]


def _name(path: str, request: Mapping[str, Any]) -> str:
    channel = _CHANNEL.fullmatch(path)
    if channel:
        name = request["InputDataConfig"][int(channel.group(1))].get("ChannelName")
        field = channel.group(2)
        return f"inputs[{name!r}]" + _CHANNEL_FIELDS.get(field, field)
    if path == "InputDataConfig":
        return "inputs"
    for prefix, argument in _ARGUMENTS.items():
        if path == prefix or path.startswith((f"{prefix}[", f"{prefix}.", f"{prefix} ")):
            return argument + path.removeprefix(prefix)
    return path
