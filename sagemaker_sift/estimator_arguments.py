"""The arguments of an estimator: what stands in for one left out, and how a job gives them back.

Source of the paths: "Configuring and using defaults with the SageMaker Python SDK".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sagemaker_sift.defaults import Defaults, Setting
from sagemaker_sift.requests.plain_value import to_plain
from sagemaker_sift.requests.training_job import TrainingJobDescription
from sagemaker_sift.session.explanation import Explanation

_TRAINING_JOB = "SageMaker.TrainingJob"

DEFAULT_PATHS = {
    "role": f"{_TRAINING_JOB}.RoleArn",
    "volume_kms_key": f"{_TRAINING_JOB}.ResourceConfig.VolumeKmsKeyId",
    "output_kms_key": f"{_TRAINING_JOB}.OutputDataConfig.KmsKeyId",
    "subnets": f"{_TRAINING_JOB}.VpcConfig.Subnets",
    "security_group_ids": f"{_TRAINING_JOB}.VpcConfig.SecurityGroupIds",
    "enable_network_isolation": f"{_TRAINING_JOB}.EnableNetworkIsolation",
    "encrypt_inter_container_traffic": f"{_TRAINING_JOB}.EnableInterContainerTrafficEncryption",
    "environment": f"{_TRAINING_JOB}.Environment",
}
"""Arguments that a config file may give, by its path there."""

_TAGS = f"{_TRAINING_JOB}.Tags"


class JobArguments:
    """What a training job says besides its algorithm, channels and hyperparameters.

    Attributes are the arguments of :class:`~sagemaker_sift.estimator.AlgorithmEstimator`.
    """

    role: str | None
    instance_count: int | None
    instance_type: str | None
    volume_size: int | None
    volume_kms_key: str | None
    max_run: int | None
    input_mode: str
    output_path: str | None
    output_kms_key: str | None
    tags: Sequence[Mapping[str, str]] | None
    subnets: Sequence[str] | None
    security_group_ids: Sequence[str] | None
    metric_definitions: Sequence[Mapping[str, str]] | None
    encrypt_inter_container_traffic: bool | None
    use_spot_instances: bool | None
    max_wait: int | None
    checkpoint_s3_uri: str | None
    checkpoint_local_path: str | None
    environment: Mapping[str, str] | None
    enable_network_isolation: bool | None
    max_pending: int | None
    max_retry_attempts: int | None
    instance_groups: Sequence[Any] | None
    keep_alive_period_in_seconds: int | None
    training_plan: str | None
    disable_output_compression: bool | None

    def set_arguments(self, given: Mapping[str, Any], defaults: Defaults) -> None:
        """Keep what was given, and what the config files give in place of the rest."""
        values, self._origins = fill_in(given, defaults)
        self._set = {name: values.get(name) for name in JobArguments.__annotations__}
        for name, value in self._set.items():
            setattr(self, name, value)

    def explain(self) -> Explanation:
        """Return every argument with its value and where it came from; printing shows a table.

        Example:
            >>> arguments = JobArguments()
            >>> arguments.set_arguments(dict.fromkeys(JobArguments.__annotations__), Defaults())
            >>> arguments.volume_size = 50
            >>> [(row.value, row.source) for row in arguments.explain()][:5:4]
            [(None, 'built in'), (None, 'built in')]
            >>> arguments.explain().rows[3]
            Setting(path='volume_size', value=50, source='attribute')
        """
        return Explanation(
            Setting(name, value, self._origins.get(name, "built in"))
            if value is self._set[name]
            else Setting(name, value, "attribute")
            for name, value in ((name, getattr(self, name)) for name in self._set)
        )

    def describe_job(self, **fields: Any) -> TrainingJobDescription:
        """Return the whole job.

        Args:
            **fields: The fields of the description that are no arguments of an estimator, and
                those that stand for one that was left out.
        """
        groups = self.instance_groups
        own = {name: to_plain(getattr(self, name)) for name in JobArguments.__annotations__} | {
            "instance_count": 1
            if self.instance_count is None and groups is None
            else to_plain(self.instance_count),
            "instance_groups": None if groups is None else [read_group(group) for group in groups],
            "tags": read_tags(self.tags) or (),
        }
        return TrainingJobDescription(**(own | fields))


def read_group(group: Any) -> dict[str, Any]:
    """Return an instance group in the API's form: ours, the SDK's, or the API's own mapping."""
    if isinstance(group, Mapping):
        return dict(group)
    return {
        "InstanceGroupName": group.instance_group_name,
        "InstanceType": group.instance_type,
        "InstanceCount": group.instance_count,
    }


def fill_in(given: Mapping[str, Any], defaults: Defaults) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the arguments with those of the config files, and where each one came from.

    A value that was given wins, ``False`` and empty ones too. Tags are added to those given,
    unless their key is given.

    Args:
        given: Arguments as the user gave them; ``None`` for those left out.
        defaults: Of the session.

    Returns:
        The values, and by argument ``"argument"`` or the place in the file.
    """
    values = dict(given)
    origins = {name: "argument" for name, value in given.items() if value is not None}
    for name, path in DEFAULT_PATHS.items():
        setting = defaults.find(path)
        if values.get(name) is None and setting is not None:
            values[name] = setting.value
            origins[name] = setting.source
    setting = defaults.find(_TAGS)
    if setting is not None:
        values["tags"] = merge_tags(values.get("tags") or (), setting.value)
        origins["tags"] = f"argument and {setting.source}" if "tags" in origins else setting.source
    return values, origins


def merge_tags(
    given: Sequence[Mapping[str, str]], further: Sequence[Mapping[str, str]]
) -> list[dict[str, str]]:
    """Return the given tags and those further ones whose key is not given.

    Example:
        >>> merge_tags([{"Key": "team", "Value": "a"}], [{"Key": "team", "Value": "b"}])
        [{'Key': 'team', 'Value': 'a'}]
    """
    keys = {tag.get("Key") for tag in given}
    return [dict(tag) for tag in (*given, *(tag for tag in further if tag.get("Key") not in keys))]


def read_tags(tags: Any) -> list[dict[str, str]] | None:
    """Return tags in the API's form.

    Args:
        tags: The API's list, or a mapping of key to value; ``None`` stays.

    Example:
        >>> read_tags({"team": "vision"})
        [{'Key': 'team', 'Value': 'vision'}]
    """
    if isinstance(tags, Mapping) and not {"Key", "Value"} <= tags.keys():
        return [{"Key": key, "Value": value} for key, value in tags.items()]
    if isinstance(tags, Mapping):
        return [dict(tags)]
    return None if tags is None else [dict(tag) for tag in tags]


def read_description(job: Mapping[str, Any]) -> dict[str, Any]:
    """Return the estimator's arguments that would describe the same job again.

    Args:
        job: A CreateTrainingJob request or a DescribeTrainingJob response.
    """
    algorithm = job["AlgorithmSpecification"]
    resources = job.get("ResourceConfig", {})
    vpc, stopping = job.get("VpcConfig", {}), job.get("StoppingCondition", {})
    output, checkpoints = job.get("OutputDataConfig", {}), job.get("CheckpointConfig", {})
    hyperparameters = {
        name: value
        for name, value in job.get("HyperParameters", {}).items()
        if not name.startswith("_")  # the service's own, such as _tuning_objective_metric
    }
    return {
        "role": job.get("RoleArn"),
        "instance_count": resources.get("InstanceCount") or None,
        "instance_type": resources.get("InstanceType"),
        "instance_groups": resources.get("InstanceGroups") or None,
        "volume_size": resources.get("VolumeSizeInGB"),
        "volume_kms_key": resources.get("VolumeKmsKeyId"),
        "keep_alive_period_in_seconds": resources.get("KeepAlivePeriodInSeconds"),
        "training_plan": resources.get("TrainingPlanArn"),
        "max_run": stopping.get("MaxRuntimeInSeconds"),
        "max_wait": stopping.get("MaxWaitTimeInSeconds"),
        "max_pending": stopping.get("MaxPendingTimeInSeconds"),
        "input_mode": algorithm["TrainingInputMode"],
        "output_path": output.get("S3OutputPath"),
        "output_kms_key": output.get("KmsKeyId") or None,
        "disable_output_compression": True if output.get("CompressionType") == "NONE" else None,
        "hyperparameters": hyperparameters,
        "subnets": vpc.get("Subnets"),
        "security_group_ids": vpc.get("SecurityGroupIds"),
        "metric_definitions": algorithm.get("MetricDefinitions"),
        "encrypt_inter_container_traffic": job.get("EnableInterContainerTrafficEncryption"),
        "enable_network_isolation": job.get("EnableNetworkIsolation"),
        "use_spot_instances": job.get("EnableManagedSpotTraining", False),
        "environment": job.get("Environment") or None,
        "checkpoint_s3_uri": checkpoints.get("S3Uri"),
        "checkpoint_local_path": checkpoints.get("LocalPath"),
        "max_retry_attempts": job.get("RetryStrategy", {}).get("MaximumRetryAttempts"),
    }
