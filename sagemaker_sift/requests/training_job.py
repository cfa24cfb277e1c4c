"""From what an estimator holds to the request of CreateTrainingJob.

Source: API reference of CreateTrainingJob.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sagemaker_sift.requests.plain_value import drop_unset

JOB_NAME_MAX_CHARS = 63


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingJobDescription:
    """Everything that a training job can say, before it is put into the API's form.

    Attributes are those of :class:`~sagemaker_sift.estimator.AlgorithmEstimator`, with the
    channels and hyperparameters of one job.
    """

    job_name: str
    algorithm_name: str
    role: str
    volume_size: int | None
    max_run: int
    input_mode: str
    output_path: str
    hyperparameters: Mapping[str, str]
    channels: Sequence[tuple[str, Mapping[str, Any]]]
    instance_type: str | None = None
    instance_count: int | None = None
    instance_groups: Sequence[Mapping[str, Any]] | None = None
    keep_alive_period_in_seconds: int | None = None
    training_plan: str | None = None
    volume_kms_key: str | None = None
    output_kms_key: str | None = None
    subnets: Sequence[str] | None = None
    security_group_ids: Sequence[str] | None = None
    metric_definitions: Sequence[Mapping[str, str]] | None = None
    encrypt_inter_container_traffic: bool | None = None
    enable_network_isolation: bool | None = None
    use_spot_instances: bool | None = None
    max_wait: int | None = None
    max_pending: int | None = None
    max_retry_attempts: int | None = None
    disable_output_compression: bool | None = None
    checkpoint_s3_uri: str | None = None
    checkpoint_local_path: str | None = None
    environment: Mapping[str, str] | None = None
    tags: Sequence[Mapping[str, str]] = field(default_factory=tuple)


def build_training_job_request(job: TrainingJobDescription) -> dict[str, Any]:
    """Return the parameters of ``create_training_job`` for ``job``.

    Fields that are not set do not appear.
    """
    request: dict[str, Any] = {
        "TrainingJobName": job.job_name,
        "AlgorithmSpecification": {
            "AlgorithmName": job.algorithm_name,
            "TrainingInputMode": job.input_mode,
        },
        "RoleArn": job.role,
        "OutputDataConfig": drop_unset(
            {
                "S3OutputPath": job.output_path,
                "KmsKeyId": job.output_kms_key or None,
                "CompressionType": "NONE" if job.disable_output_compression else None,
            }
        ),
        "ResourceConfig": _build_resources(job),
        "StoppingCondition": _build_stopping(job),
    }
    if job.hyperparameters:
        request["HyperParameters"] = dict(job.hyperparameters)
    if job.channels:
        request["InputDataConfig"] = [
            {"ChannelName": name, **channel} for name, channel in job.channels
        ]
    if job.metric_definitions:
        definitions = [dict(definition) for definition in job.metric_definitions]
        request["AlgorithmSpecification"]["MetricDefinitions"] = definitions
    if job.subnets or job.security_group_ids:  # two empty lists mean: no VPC
        request["VpcConfig"] = {
            "Subnets": _read_list(job.subnets),
            "SecurityGroupIds": _read_list(job.security_group_ids),
        }
    if job.checkpoint_s3_uri is not None or job.checkpoint_local_path is not None:
        request["CheckpointConfig"] = drop_unset(
            {"S3Uri": job.checkpoint_s3_uri, "LocalPath": job.checkpoint_local_path}
        )
    request |= drop_unset(
        {
            "EnableInterContainerTrafficEncryption": job.encrypt_inter_container_traffic or None,
            "EnableNetworkIsolation": job.enable_network_isolation or None,
            "EnableManagedSpotTraining": job.use_spot_instances or None,
            "RetryStrategy": drop_unset({"MaximumRetryAttempts": job.max_retry_attempts}) or None,
            "Environment": dict(job.environment) if job.environment else None,
            "Tags": [dict(tag) for tag in job.tags] or None,
        }
    )
    return request


def _build_stopping(job: TrainingJobDescription) -> dict[str, Any]:
    return drop_unset(
        {
            "MaxRuntimeInSeconds": job.max_run,
            "MaxWaitTimeInSeconds": job.max_wait,
            "MaxPendingTimeInSeconds": job.max_pending,
        }
    )


def _read_list(items: Sequence[str] | None) -> Any:
    """Return the items; a text by itself stays one, to be refused."""
    return items if isinstance(items, str) else list(items or ())


def _build_resources(job: TrainingJobDescription) -> dict[str, Any]:
    groups = job.instance_groups
    return drop_unset(
        {
            "InstanceType": job.instance_type,
            "InstanceCount": job.instance_count,
            "VolumeSizeInGB": job.volume_size,
            "VolumeKmsKeyId": job.volume_kms_key or None,
            "InstanceGroups": None if groups is None else [dict(group) for group in groups],
            "KeepAlivePeriodInSeconds": job.keep_alive_period_in_seconds,
            "TrainingPlanArn": job.training_plan,
        }
    )


def build_job_name(base: str, now: datetime) -> str:
    """Return a job name that is unique to the millisecond.

    Args:
        base: What it begins with; characters that the API refuses become hyphens.
        now: The time that it ends with.

    Example:
        >>> build_job_name("my_job", datetime(2026, 11, 21, 9, 30, 5, 123456))
        'my-job-2026-11-21-09-30-05-123'
    """
    stamp = f"{now:%Y-%m-%d-%H-%M-%S}-{now.microsecond // 1000:03d}"
    room = JOB_NAME_MAX_CHARS - len(stamp) - 1
    stem = re.sub(r"[^a-zA-Z0-9]+", "-", base)[:room].strip("-") or "job"
    return f"{stem}-{stamp}"
