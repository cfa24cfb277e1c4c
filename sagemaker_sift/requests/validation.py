"""Every check of a training job before it is sent: all problems at once.

Three sources of rules: the API's own model, its documentation, and the algorithm's
``TrainingSpecification``. The bundled algorithm's hyperparameters are held to the contract
itself, which knows more than a specification can say.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sagemaker_sift.contract.hyperparameters import Hyperparameters
from sagemaker_sift.contract.problem import ContractError, Problem, closest
from sagemaker_sift.contract.specification import ALGORITHM_NAME
from sagemaker_sift.exceptions import InvalidRequestError
from sagemaker_sift.requests.service_model import WrongType, find_violations


def check_training_job(
    request: Mapping[str, Any],
    specification: Mapping[str, Any],
    *,
    allow_file_uris: bool = False,
    further: Iterable[Problem] = (),
) -> None:
    """Check a CreateTrainingJob request.

    Args:
        request: The parameters of ``create_training_job``.
        specification: The algorithm's ``TrainingSpecification``.
        allow_file_uris: Whether ``file://`` may stand where the service wants ``s3://``.
        further: Problems found elsewhere, reported together with these.

    Raises:
        InvalidRequestError: With every broken rule; if a value is of the wrong type, with those
            of the service model alone.
    """
    problems = find_violations("CreateTrainingJob", request, allow_file_uris=allow_file_uris)
    if any(isinstance(problem, WrongType) for problem in problems):
        raise InvalidRequestError(problems)
    broken = {problem.path for problem in problems}
    own_rules = [
        *_check_hyperparameters(request),
        *_check_resources(request, specification),
        *_check_channels(request, specification),
        *_check_rules(request),
    ]
    problems += [problem for problem in own_rules if problem.path not in broken]
    problems += further
    if problems:
        raise InvalidRequestError(problems)


def _check_hyperparameters(request: Mapping[str, Any]) -> Iterator[Problem]:
    algorithm = str(request.get("AlgorithmSpecification", {}).get("AlgorithmName", ""))
    if algorithm.rsplit("/", 1)[-1] != ALGORITHM_NAME:
        return
    try:
        Hyperparameters.from_strings(request.get("HyperParameters", {}))
    except ContractError as error:
        yield from error.problems


def _check_resources(
    request: Mapping[str, Any], specification: Mapping[str, Any]
) -> Iterator[Problem]:
    resources = request.get("ResourceConfig", {})
    types = specification.get("SupportedTrainingInstanceTypes", [])
    instance_type = resources.get("InstanceType")
    if instance_type is None:
        yield Problem(
            "ResourceConfig.InstanceType", f"is missing. Give one, such as {types[-1]!r}."
        )
    elif types and instance_type not in types:
        hint = closest(str(instance_type), types)
        yield Problem(
            "ResourceConfig.InstanceType",
            f"is {instance_type!r}, which the algorithm does not run on.{hint}",
        )
    count = resources.get("InstanceCount", 1)
    if not isinstance(count, int) or count < 1:
        yield Problem("ResourceConfig.InstanceCount", f"is {count!r}, but must be 1 or more.")
    elif count > 1 and not specification.get("SupportsDistributedTraining", False):
        yield Problem(
            "ResourceConfig.InstanceCount",
            f"is {count}, but the algorithm trains on one instance. Use 1.",
        )


def _check_channels(
    request: Mapping[str, Any], specification: Mapping[str, Any]
) -> Iterator[Problem]:
    declared = {channel["Name"]: channel for channel in specification.get("TrainingChannels", [])}
    job_mode = request.get("AlgorithmSpecification", {}).get("TrainingInputMode")
    given: dict[str, Mapping[str, Any]] = {}
    for idx, channel in enumerate(request.get("InputDataConfig", [])):
        name, path = str(channel.get("ChannelName")), f"InputDataConfig[{idx}]"
        if name in given:
            yield Problem(f"{path}.ChannelName", f"is {name!r} a second time.")
        given[name] = channel
        if name not in declared:
            hint = closest(name, declared) or f" It has: {', '.join(declared)}."
            yield Problem(
                f"{path}.ChannelName", f"is {name!r}, which the algorithm does not have.{hint}"
            )
            continue
        yield from _check_channel(channel, declared[name], job_mode, path)
    for name, entry in declared.items():
        if entry["IsRequired"] and name not in given:
            yield Problem("InputDataConfig", f"lacks the channel {name!r}, which is required.")


def _check_channel(
    channel: Mapping[str, Any], declared: Mapping[str, Any], job_mode: Any, path: str
) -> Iterator[Problem]:
    for field, allowed_field, fallback in (
        ("ContentType", "SupportedContentTypes", None),
        ("CompressionType", "SupportedCompressionTypes", None),
        ("InputMode", "SupportedInputModes", job_mode),
    ):
        value, allowed = channel.get(field, fallback), declared.get(allowed_field, [])
        base = value.split(";")[0] if isinstance(value, str) else value
        if base is not None and allowed and base not in allowed:
            yield Problem(
                f"{path}.{field}",
                f"is {value!r}, but the channel {declared['Name']!r} takes {', '.join(allowed)}.",
            )


def _check_rules(request: Mapping[str, Any]) -> Iterator[Problem]:
    stopping = request.get("StoppingCondition", {})
    run, wait = stopping.get("MaxRuntimeInSeconds"), stopping.get("MaxWaitTimeInSeconds")
    is_spot = request.get("EnableManagedSpotTraining", False)
    if is_spot and wait is None:
        yield Problem(
            "StoppingCondition.MaxWaitTimeInSeconds",
            "is missing, but spot training needs it. Set max_wait.",
        )
    elif wait is not None and not is_spot:
        yield Problem(
            "StoppingCondition.MaxWaitTimeInSeconds",
            "is set, but only spot training waits. Set use_spot_instances, or drop max_wait.",
        )
    elif wait is not None and isinstance(run, int) and wait < run:
        yield Problem(
            "StoppingCondition.MaxWaitTimeInSeconds",
            f"is {wait}, but must be at least MaxRuntimeInSeconds, {run}.",
        )
    keys = [tag.get("Key") for tag in request.get("Tags", [])]
    for key in sorted({str(key) for key in keys if keys.count(key) > 1}):
        yield Problem("Tags", f"has the key {key!r} more than once. Keys must be unique.")
