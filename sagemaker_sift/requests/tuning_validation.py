"""Every check of a tuning job before it is sent: all problems at once, in the user's own words."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sagemaker_sift.contract.problem import Problem
from sagemaker_sift.exceptions import InvalidRequestError
from sagemaker_sift.limits import TuningLimits
from sagemaker_sift.requests.argument_name import name_arguments, name_tuning_argument
from sagemaker_sift.requests.job_rules import find_instance_problems, find_tag_problems
from sagemaker_sift.requests.service_model import WrongType, find_violations
from sagemaker_sift.requests.tuning_job import (
    RESOURCES,
    DefinitionDescription,
    find_lost_fields,
)
from sagemaker_sift.requests.tuning_rules import Search, find_search_problems
from sagemaker_sift.requests.validation import find_job_problems, merge_problems

_OPERATION = "CreateHyperParameterTuningJob"
_SAID_BY_OWN_RULES = (".ScalingType", ".Values", "Objective.MetricName")
_DEFINITION = re.compile(r"TrainingJobDefinition(?:s\[(\d+)\])?\.(.+)")


def check_tuning_job(
    request: Mapping[str, Any],
    definitions: Sequence[DefinitionDescription],
    searches: Sequence[Search],
    limits: TuningLimits,
    *,
    allow_file_uris: bool = False,
    find_storage_problems: Callable[[Mapping[str, Any]], list[Problem]] = lambda job: [],
) -> None:
    """Check a CreateHyperParameterTuningJob request.

    Args:
        request: The parameters of ``create_hyper_parameter_tuning_job``.
        definitions: What its training job definitions were made from, in any order.
        searches: What each of them searches, in the same order.
        limits: What the job is held to.
        allow_file_uris: Whether ``file://`` may stand where the service wants ``s3://``.
        find_storage_problems: Tells what is wrong with the places of a training job.

    Raises:
        InvalidRequestError: With every broken rule; if a value is of the wrong type, with those
            of the service model alone.
    """
    by_name = sorted(definitions, key=lambda definition: definition.name or "")
    types = [
        instance_type
        for search in searches
        for instance_type in search.algorithm["TrainingSpecification"].get(
            "SupportedTrainingInstanceTypes"
        )
        or ()
    ]
    violations = find_violations(
        _OPERATION, request, allow_file_uris=allow_file_uris, accepted=types
    )
    of_model = [
        _name(one, by_name) for one in violations if not one.path.endswith(_SAID_BY_OWN_RULES)
    ]
    if any(isinstance(problem, WrongType) for problem in violations):
        raise InvalidRequestError([WrongType(*_fields(problem)) for problem in of_model])
    own: list[Problem] = []
    for definition, search in zip(definitions, searches, strict=True):
        found = [
            *find_job_problems(definition.job, search.algorithm),
            *find_lost_fields(definition),
            *find_storage_problems(definition.job),
        ]
        if definition.instance_configs is not None:
            specification = search.algorithm["TrainingSpecification"]
            found = [problem for problem in found if not _is_of_replaced_resources(problem)]
            found += find_instance_problems(definition.instance_configs, specification)
        own += _name_in_definition(found, definition)
    own += find_search_problems(
        request["HyperParameterTuningJobConfig"],
        searches,
        limits,
        warm_start=request.get("WarmStartConfig"),
        is_autotuned="Autotune" in request,
    )
    own += [
        Problem("tags", problem.message, problem.source)
        for problem in find_tag_problems(request.get("Tags", []))
    ]
    problems = merge_problems(of_model, own)
    if problems:
        raise InvalidRequestError(dict.fromkeys(problems))


def _fields(problem: Problem) -> tuple[str, str, str]:
    return problem.path, problem.message, problem.source


def _is_of_replaced_resources(problem: Problem) -> bool:
    return problem.path in {"ResourceConfig.InstanceType", "ResourceConfig.InstanceCount"}


def _name(problem: Problem, definitions: Sequence[DefinitionDescription]) -> Problem:
    """Return a problem of the request with the user's arguments for its path."""
    match = _DEFINITION.fullmatch(problem.path)
    if match is None:
        return Problem(name_tuning_argument(problem.path), problem.message, problem.source)
    definition = definitions[int(match.group(1) or 0)]
    path = match.group(2).replace(RESOURCES, "ResourceConfig", 1)
    path = path.replace("StaticHyperParameters", "HyperParameters", 1)
    return _name_in_definition([Problem(path, problem.message, problem.source)], definition)[0]


def _name_in_definition(
    problems: Sequence[Problem], definition: DefinitionDescription
) -> list[Problem]:
    owner = "estimator" if definition.name is None else f"estimator_dict[{definition.name!r}]"
    named = []
    for problem in name_arguments(problems, definition.job):
        path = problem.path
        if path.startswith("instance_configs"):
            name = "" if definition.name is None else f"[{definition.name!r}]"
            path = f"instance_configs{name}{path.removeprefix('instance_configs')}"
        elif not path.startswith("inputs"):
            path = f"{owner}.{path}"
        elif definition.name is not None:
            path = f"inputs[{definition.name!r}]{path.removeprefix('inputs')}"
        named.append(Problem(path, problem.message, problem.source))
    return named
