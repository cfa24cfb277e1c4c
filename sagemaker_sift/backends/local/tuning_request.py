"""What makes a tuning job impossible on this machine: everything at once, before it starts."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from sagemaker_sift.backends.local.algorithms import Algorithms
from sagemaker_sift.backends.local.request_check import find_program, find_storage_problems
from sagemaker_sift.backends.local.storage import LocalStorage
from sagemaker_sift.backends.local.store import TUNING_JOB
from sagemaker_sift.backends.local.tuning_definition import (
    describe_for_checks,
    read_fields,
    read_objective,
)
from sagemaker_sift.contract.problem import Problem
from sagemaker_sift.exceptions import InvalidRequestError
from sagemaker_sift.limits import TuningLimits
from sagemaker_sift.requests.service_model import WrongType, find_violations
from sagemaker_sift.requests.tuning_validation import check_tuning_job
from sagemaker_sift.requests.warm_start_rules import find_parent_problems

_CREATE = "CreateHyperParameterTuningJob"
_NAME = TUNING_JOB.name_field


def find_tuning_problems(
    request: dict[str, Any],
    known: Algorithms,
    storage: LocalStorage,
    limits: TuningLimits,
    describe: Callable[[str], Mapping[str, Any] | None],
) -> tuple[list[dict[str, Any]], list[Problem]]:
    """Return the algorithms of the definitions of a request, and everything that is wrong.

    Args:
        request: Of CreateHyperParameterTuningJob.
        known: Algorithms of this machine.
        storage: Resolves URIs.
        limits: What the job is held to.
        describe: Describes an earlier tuning job, or returns ``None``.
    """
    violations = find_violations(_CREATE, request, allow_file_uris=True)
    fields = read_fields(request) if isinstance(request.get(_NAME), str) else []
    if not fields:
        violations = violations or [Problem("TrainingJobDefinition", "is required, but missing.")]
    violations += _find_nameless_parents(request)
    if not fields or any(_hides_others(problem) for problem in violations):
        return [], violations
    algorithms, described, further = [], [], []
    for one in fields:
        name = one.get("AlgorithmSpecification", {}).get("AlgorithmName")
        if name is None:
            field = "TrainingJobDefinition.AlgorithmSpecification.AlgorithmName"
            return [], [*violations, Problem(field, "is required on this machine.")]
        algorithm = known.describe({"AlgorithmName": name})
        try:
            find_program(algorithm["TrainingSpecification"], storage)
        except ValueError as error:
            further.append(Problem("estimator.algorithm_arn", f"is {name!r}. It {error}"))
        algorithms.append(algorithm)
        described.append(describe_for_checks(request, one, algorithm))
    definitions = [definition for definition, _ in described]
    searches = [search for _, search in described]
    try:
        check_tuning_job(
            request,
            definitions,
            searches,
            limits,
            allow_file_uris=True,
            find_storage_problems=lambda job: find_storage_problems(job, storage),
        )
    except InvalidRequestError as error:
        return algorithms, [*error.problems, *_find_clashes(request, fields), *further]
    further += _find_clashes(request, fields)
    if "WarmStartConfig" in request:
        given = request["WarmStartConfig"]["ParentHyperParameterTuningJobs"]
        names = [parent[_NAME] for parent in given]
        parents = {name: describe(name) for name in names}
        defaults = searches[0].rules.complete({})
        further += find_parent_problems(request, parents, limits, defaults)
    further += _find_missing_library(request)
    return algorithms, further


def _hides_others(problem: Problem) -> bool:
    """Return whether something is missing or unreadable, so that nothing more can be told."""
    return isinstance(problem, WrongType) or problem.message.startswith("is required")


def _find_nameless_parents(request: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield which parents have no name; the service model does not ask for one."""
    config = request.get("WarmStartConfig")
    parents = config.get("ParentHyperParameterTuningJobs") if isinstance(config, Mapping) else ()
    for idx, parent in enumerate(parents if isinstance(parents, list | tuple) else ()):
        if not isinstance(parent, Mapping) or _NAME not in parent:
            path = f"WarmStartConfig.ParentHyperParameterTuningJobs[{idx}].{_NAME}"
            yield Problem(path, "is required, but missing.")


def _find_clashes(
    request: Mapping[str, Any], fields: Sequence[Mapping[str, Any]]
) -> Iterator[Problem]:
    """Yield which definitions cannot stand beside each other."""
    names = [one.get("DefinitionName") for one in fields]
    for name in sorted({str(name) for name in names if names.count(name) > 1}):
        message = f"is {name!r} more than once. Give every definition a name of its own."
        yield Problem("TrainingJobDefinitions.DefinitionName", message)
    types = {read_objective(request, one).get("Type") for one in fields}
    if len(types) > 1:
        message = f"is {' and '.join(sorted(map(repr, types)))}, but must be one for all."
        yield Problem("TrainingJobDefinitions.TuningObjective.Type", message)


def _find_missing_library(request: Mapping[str, Any]) -> list[Problem]:
    is_bayesian = request["HyperParameterTuningJobConfig"]["Strategy"] == "Bayesian"
    if not is_bayesian or importlib.util.find_spec("optuna") is not None:
        return []
    message = (
        "is 'Bayesian', which needs Optuna on this machine. Install it: "
        "pip install 'sagemaker-sift[local]'; or use 'Random'."
    )
    return [Problem("strategy", message)]
