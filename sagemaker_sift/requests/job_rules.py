"""What makes a training job wrong besides its channels and hyperparameters.

Source: API reference, ``ResourceConfig``, ``StoppingCondition``, ``Tag`` and
``MetricDefinition``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sagemaker_sift.contract.problem import Problem, closest

_ALGORITHM = "algorithm's specification"
_RESOURCES = "API reference, ResourceConfig"
_STOPPING = "API reference, StoppingCondition"
_WAIT = "StoppingCondition.MaxWaitTimeInSeconds"


def find_resource_problems(
    job: Mapping[str, Any], specification: Mapping[str, Any]
) -> Iterator[Problem]:
    """Yield what is wrong with the machines of one training job."""
    resources = job.get("ResourceConfig", {})
    types = specification.get("SupportedTrainingInstanceTypes", [])
    groups = resources.get("InstanceGroups", [])
    if groups:
        yield from _check_groups(resources, groups, types)
        count = sum(group.get("InstanceCount", 0) for group in groups)
        where = "ResourceConfig.InstanceGroups"
    else:
        yield from _check_type(resources.get("InstanceType"), types, "ResourceConfig.InstanceType")
        count, where = resources.get("InstanceCount", 1), "ResourceConfig.InstanceCount"
        if count < 1:
            yield Problem(where, f"is {count!r}, but must be 1 or more.", _RESOURCES)
    if count > 1 and not specification.get("SupportsDistributedTraining", False):
        message = f"is {count}, but the algorithm trains on one instance. Use 1."
        yield Problem(where, message, _ALGORITHM)
    size = resources.get("VolumeSizeInGB")
    if size is not None and size < 1:
        message = f"is {size}, but must be at least 1 (GB)."
        yield Problem("ResourceConfig.VolumeSizeInGB", message, _RESOURCES)


def find_instance_problems(
    configs: Iterable[Mapping[str, Any]], specification: Mapping[str, Any]
) -> Iterator[Problem]:
    """Yield what is wrong with the alternative machines of a tuning job, in the API's form."""
    types = specification.get("SupportedTrainingInstanceTypes", [])
    for idx, config in enumerate(configs):
        path = f"ResourceConfig.InstanceConfigs[{idx}]"
        if "InstanceType" in config:
            yield from _check_type(config["InstanceType"], types, f"{path}.InstanceType")
        count = config.get("InstanceCount", 1)
        if count > 1 and not specification.get("SupportsDistributedTraining", False):
            message = f"is {count}, but the algorithm trains on one instance. Use 1."
            yield Problem(f"{path}.InstanceCount", message, _ALGORITHM)


def _check_groups(
    resources: Mapping[str, Any], groups: Iterable[Mapping[str, Any]], types: list[str]
) -> Iterator[Problem]:
    for field, argument in (
        ("InstanceType", "instance_type"),
        ("InstanceCount", "instance_count"),
    ):
        if field in resources:
            message = f"is set besides instance_groups. Drop {argument} or instance_groups."
            yield Problem(f"ResourceConfig.{field}", message, _RESOURCES)
    for idx, group in enumerate(groups):
        path = f"ResourceConfig.InstanceGroups[{idx}].InstanceType"
        yield from _check_type(group.get("InstanceType"), types, path)


def _check_type(instance_type: Any, types: list[str], path: str) -> Iterator[Problem]:
    if instance_type is None:
        example = f", such as {types[-1]!r}" if types else ""
        yield Problem(path, f"is missing. Give one{example}.", _RESOURCES)
    elif types and instance_type not in types:
        hint = closest(str(instance_type), types)
        message = f"is {instance_type!r}, which the algorithm does not run on.{hint}"
        yield Problem(path, message, _ALGORITHM)


def find_rule_problems(job: Mapping[str, Any], algorithm: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield which documented rules one training job breaks.

    Args:
        job: A CreateTrainingJob request whose values have the right types.
        algorithm: The DescribeAlgorithm response, as far as it is known.
    """
    yield from _check_stopping(job)
    if algorithm.get("ProductId") and not job.get("EnableNetworkIsolation", False):
        message = "is False, but algorithms of AWS Marketplace run isolated. Set it to True, or "
        message += "drop it here and from the config file."
        yield Problem("EnableNetworkIsolation", message, "AWS Marketplace algorithms")
    metrics = job.get("AlgorithmSpecification", {}).get("MetricDefinitions", [])
    yield from find_metric_problems(metrics, "AlgorithmSpecification.MetricDefinitions")
    if "CheckpointConfig" in job and "S3Uri" not in job["CheckpointConfig"]:
        return  # the service model says that it is missing
    keep_alive = job.get("ResourceConfig", {}).get("KeepAlivePeriodInSeconds")
    if keep_alive and job.get("EnableManagedSpotTraining"):
        message = "is set, but machines of spot capacity are not kept. Drop one of the two."
        yield Problem("ResourceConfig.KeepAlivePeriodInSeconds", message, _RESOURCES)


def find_metric_problems(definitions: Iterable[Mapping[str, Any]], path: str) -> Iterator[Problem]:
    """Yield which metric definitions have a bad pattern, or a name that is taken."""
    names: set[str] = set()
    for idx, definition in enumerate(definitions):
        name, pattern = definition.get("Name"), str(definition.get("Regex", ""))
        if name in names:
            message = f"is {name!r} a second time."
            yield Problem(f"{path}[{idx}].Name", message, "API reference, MetricDefinition")
        names.add(str(name))
        try:
            groups = re.compile(pattern).groups
        except re.error as error:
            message = f"is {pattern!r}, which is no regular expression: {error}."
            yield Problem(f"{path}[{idx}].Regex", message, "API reference, MetricDefinition")
            continue
        if not groups:
            message = f"is {pattern!r}, but needs a group (...) that holds the number."
            yield Problem(f"{path}[{idx}].Regex", message, "API reference, MetricDefinition")


def _check_stopping(job: Mapping[str, Any]) -> Iterator[Problem]:
    stopping = job.get("StoppingCondition", {})
    run, wait = stopping.get("MaxRuntimeInSeconds"), stopping.get("MaxWaitTimeInSeconds")
    is_spot = job.get("EnableManagedSpotTraining", False)
    if is_spot and wait is None:
        message = "is missing, but spot training needs it. Set max_wait."
        yield Problem(_WAIT, message, _STOPPING)
    elif wait is not None and not is_spot:
        message = "is set, but only spot training waits. Set use_spot_instances, or drop max_wait."
        yield Problem(_WAIT, message, _STOPPING)
    elif wait is not None and isinstance(run, int) and wait < run:
        message = f"is {wait}, but must be at least MaxRuntimeInSeconds, {run}."
        yield Problem(_WAIT, message, _STOPPING)
    longest = 28 * 24 * 60 * 60
    if isinstance(run, int) and run > longest:
        message = f"is {run}, but a training job runs at most 28 days, {longest} s."
        yield Problem("StoppingCondition.MaxRuntimeInSeconds", message, _STOPPING)


def find_tag_problems(tags: Iterable[Mapping[str, Any]]) -> Iterator[Problem]:
    """Yield which tags break a rule that the service model does not carry."""
    keys = [str(tag.get("Key")) for tag in tags]
    source = "API reference, Tag"
    for key in sorted({key for key in keys if keys.count(key) > 1}):
        yield Problem("Tags", f"has the key {key!r} more than once. Keys must be unique.", source)
    for key in sorted({key for key in keys if key.lower().startswith("aws:")}):
        message = f"has the key {key!r}, but keys that begin with 'aws:' are AWS's own."
        yield Problem("Tags", message, source)
