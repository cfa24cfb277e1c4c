"""The request of CreateAlgorithm: built, and checked before it is sent.

Source: API reference of CreateAlgorithm, ``TrainingSpecification``,
``HyperParameterSpecification``, ``ChannelSpecification`` and ``MetricDefinition``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from sagemaker_sift.contract.problem import Problem, closest
from sagemaker_sift.requests.hyperparameter_rules import read_value
from sagemaker_sift.requests.job_rules import find_metric_problems, find_tag_problems
from sagemaker_sift.requests.service_model import WrongType, find_violations
from sagemaker_sift.requests.validation import merge_problems
from sagemaker_sift.requests.validation_profile import find_profile_problems

PLACEHOLDER_IMAGE = "REPLACE-WITH-THE-URI-OF-YOUR-IMAGE"
"""Stands for the image of a specification that is only looked at; never sent."""

RANGES = {
    "Integer": "IntegerParameterRangeSpecification",
    "Continuous": "ContinuousParameterRangeSpecification",
    "Categorical": "CategoricalParameterRangeSpecification",
}
"""The member of ``Range`` that goes with each ``Type``; ``FreeText`` has none."""

_CREATE = "API reference, CreateAlgorithm"
_TRAINING = "API reference, TrainingSpecification"
_HYPERPARAMETER = "API reference, HyperParameterSpecification"
_CHANNEL = "API reference, ChannelSpecification"
_TUNING = "API reference, ParameterRanges"
_MARKETPLACE = "AWS Marketplace guide, algorithm products"
_SIDES = ("MinValue", "MaxValue")
_WHOLE = re.compile(r"[+-]?\d{1,19}")


@dataclass(frozen=True, slots=True, kw_only=True)
class AlgorithmDescription:
    """Everything that an algorithm can say, before it is put into the API's form.

    Attributes are those of :class:`~sagemaker_sift.algorithm.Algorithm`.
    """

    name: str
    training_specification: Mapping[str, Any]
    description: str | None = None
    inference_specification: Mapping[str, Any] | None = None
    validation_specification: Mapping[str, Any] | None = None
    certify_for_marketplace: bool = False
    tags: Sequence[Mapping[str, str]] = field(default_factory=tuple)


def build_algorithm_request(algorithm: AlgorithmDescription) -> dict[str, Any]:
    """Return the parameters of ``create_algorithm``; fields that are not set do not appear."""
    fields = {
        "AlgorithmName": algorithm.name,
        "AlgorithmDescription": algorithm.description,
        "TrainingSpecification": algorithm.training_specification,
        "InferenceSpecification": algorithm.inference_specification,
        "ValidationSpecification": algorithm.validation_specification,
        "CertifyForMarketplace": algorithm.certify_for_marketplace or None,
        "Tags": [dict(tag) for tag in algorithm.tags] or None,
    }
    return {name: deepcopy(value) for name, value in fields.items() if value is not None}


def find_algorithm_problems(request: Mapping[str, Any]) -> list[Problem]:
    """Return every rule that a CreateAlgorithm request breaks.

    If a value is of the wrong type, only what the service model says is returned.

    Args:
        request: The parameters of ``create_algorithm``.

    Example:
        >>> from sagemaker_sift.contract.specification import build_training_specification
        >>> specification = build_training_specification("image:1")
        >>> find_algorithm_problems(
        ...     {"AlgorithmName": "a", "TrainingSpecification": specification})
        []
    """
    of_model = find_violations("CreateAlgorithm", request)
    if any(isinstance(problem, WrongType) for problem in of_model):
        return of_model
    specification = request.get("TrainingSpecification", {})
    own = [
        *_check_image(specification),
        *_check_hyperparameters(specification),
        *_check_metrics(specification),
        *_check_channels(specification),
        *_check_marketplace(request),
        *find_profile_problems(request),
        *find_tag_problems(request.get("Tags", [])),
    ]
    return merge_problems(_explain_misplaced(of_model), own)


def _explain_misplaced(problems: Sequence[Problem]) -> list[Problem]:
    """Return the problems, those of a ``Type`` inside ``Range`` reworded to say where it goes."""
    inside = {problem.path for problem in problems if problem.path.endswith(".Range.Type")}
    missing = {path.replace(".Range.Type", ".Type") for path in inside}
    message = "stands inside Range, but belongs beside it: {'Name', 'Type', 'Range': {...}, ...}."
    return [
        Problem(problem.path, message, _HYPERPARAMETER) if problem.path in inside else problem
        for problem in problems
        if problem.path not in missing
    ]


def _check_image(specification: Mapping[str, Any]) -> Iterator[Problem]:
    if specification.get("TrainingImage") == PLACEHOLDER_IMAGE:
        message = "is a placeholder. Put the URI of your image there, or give one."
        yield Problem("TrainingSpecification.TrainingImage", message)
    if specification.get("SupportedTrainingInstanceTypes") == []:
        message = "is empty, but an algorithm trains on at least one instance type."
        path = "TrainingSpecification.SupportedTrainingInstanceTypes"
        yield Problem(path, message, _TRAINING)


def _check_hyperparameters(specification: Mapping[str, Any]) -> Iterator[Problem]:
    path = "TrainingSpecification.SupportedHyperParameters"
    entries = specification.get("SupportedHyperParameters", [])
    yield from _find_repeated(entries, "Name", path, _HYPERPARAMETER)
    for idx, entry in enumerate(entries):
        yield from _check_range(entry, f"{path}[{idx}]")
        yield from _check_default(entry, f"{path}[{idx}]")
        yield from _check_tunable(entry, f"{path}[{idx}]")


def _check_range(entry: Mapping[str, Any], path: str) -> Iterator[Problem]:
    kind = entry.get("Type") or entry.get("Range", {}).get("Type")
    if "Range" not in entry or kind not in {*RANGES, "FreeText"}:
        return
    name, given = entry.get("Name"), [m for m in RANGES.values() if m in entry["Range"]]
    wanted = RANGES.get(kind)
    if wanted is None:
        message = f"is given, but {name!r} is FreeText, which has none. Drop it."
        yield Problem(f"{path}.Range", message, _HYPERPARAMETER)
    elif given != [wanted]:
        found = " and ".join(given) or "nothing that is one"
        message = f"of {name!r} holds {found}, but its Type is {kind}. Give {wanted} alone."
        yield Problem(f"{path}.Range", message, _HYPERPARAMETER)
    elif kind == "Categorical":
        values = entry["Range"][wanted].get("Values", [])
        for value in sorted({value for value in values if values.count(value) > 1}):
            message = f"of {name!r} has {value!r} more than once."
            yield Problem(f"{path}.Range.{wanted}.Values", message, _HYPERPARAMETER)
    else:
        yield from _check_bounds(entry["Range"][wanted], kind, f"{path}.Range.{wanted}", name)


def _check_bounds(
    bounds: Mapping[str, str], kind: str, path: str, name: object
) -> Iterator[Problem]:
    numbers = {side: _read_bound(bounds[side], kind) for side in bounds if side in _SIDES}
    for side, number in numbers.items():
        if number is None:
            noun = "an integer" if kind == "Integer" else "a finite number"
            message = f"of {name!r} is {bounds[side]!r}, but must be {noun}, written as text."
            yield Problem(f"{path}.{side}", message, _HYPERPARAMETER)
    low, high = (numbers.get(side) for side in _SIDES)
    if low is not None and high is not None and low > high:
        message = f"of {name!r} is {bounds['MinValue']}, above MaxValue, {bounds['MaxValue']}."
        yield Problem(f"{path}.MinValue", message, _HYPERPARAMETER)


def _read_bound(text: str, kind: str) -> float | None:
    if kind == "Integer":
        return int(text) if _WHOLE.fullmatch(text) else None
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _check_default(entry: Mapping[str, Any], path: str) -> Iterator[Problem]:
    default, name = entry.get("DefaultValue"), entry.get("Name")
    if default in {None, ""}:
        return
    if entry.get("IsRequired"):
        message = f"is {default!r}, but {name!r} is required, and what has a default is not. "
        message += "Drop DefaultValue, or set IsRequired to false."
        yield Problem(f"{path}.DefaultValue", message, _HYPERPARAMETER)
    try:
        read_value(default, entry)
    except ValueError as error:
        message = f"of {name!r} {error}"
        yield Problem(f"{path}.DefaultValue", message, _HYPERPARAMETER)


def _check_tunable(entry: Mapping[str, Any], path: str) -> Iterator[Problem]:
    kind, name = entry.get("Type"), entry.get("Name")
    if not entry.get("IsTunable"):
        return
    if kind == "FreeText":
        message = f"is true, but {name!r} is FreeText, which no tuning job can search."
        yield Problem(f"{path}.IsTunable", message, _TUNING)
    elif kind in {"Integer", "Continuous"} and "Range" not in entry:
        message = f"is true, but {name!r} has no Range to search. Give {RANGES[kind]}."
        yield Problem(f"{path}.IsTunable", message, _TUNING)


def _check_metrics(specification: Mapping[str, Any]) -> Iterator[Problem]:
    definitions = specification.get("MetricDefinitions", [])
    yield from find_metric_problems(definitions, "TrainingSpecification.MetricDefinitions")
    names = [str(definition.get("Name")) for definition in definitions]
    path = "TrainingSpecification.SupportedTuningJobObjectiveMetrics"
    for idx, objective in enumerate(specification.get("SupportedTuningJobObjectiveMetrics", [])):
        name = objective.get("MetricName")
        if name is not None and name not in names:
            message = (
                f"is {name!r}, which MetricDefinitions does not define.{closest(name, names)}"
            )
            yield Problem(f"{path}[{idx}].MetricName", message, _TRAINING)


def _check_channels(specification: Mapping[str, Any]) -> Iterator[Problem]:
    channels = specification.get("TrainingChannels", [])
    yield from _find_repeated(channels, "Name", "TrainingSpecification.TrainingChannels", _CHANNEL)


def _check_marketplace(request: Mapping[str, Any]) -> Iterator[Problem]:
    if not request.get("CertifyForMarketplace"):
        return
    if "ValidationSpecification" not in request:
        message = "is missing, but what is certified for AWS Marketplace is validated. Give one."
        yield Problem("ValidationSpecification", message, _CREATE)
    if "InferenceSpecification" not in request:
        message = "is missing, but an algorithm product has an image for inference too. Give one."
        yield Problem("InferenceSpecification", message, _MARKETPLACE)


def _find_repeated(
    entries: Sequence[Mapping[str, Any]], field_name: str, path: str, source: str
) -> Iterator[Problem]:
    seen: set[Any] = set()
    for idx, entry in enumerate(entries):
        name = entry.get(field_name)
        if name is not None and name in seen:
            message = f"is {name!r} a second time. Names are unique."
            yield Problem(f"{path}[{idx}].{field_name}", message, source)
        seen.add(name)
