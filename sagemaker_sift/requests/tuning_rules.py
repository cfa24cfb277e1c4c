"""What makes the search of a tuning job wrong.

Source: API reference, ``HyperParameterTuningJobConfig``; developer guide, "Define hyperparameter
ranges", "Run a warm start hyperparameter tuning job", "Automatic model tuning limits" and
"Stop training jobs early".
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sagemaker_sift.contract.channels import VALIDATION
from sagemaker_sift.contract.problem import Problem, closest
from sagemaker_sift.limits import TuningLimits
from sagemaker_sift.parameter import ParameterRange
from sagemaker_sift.requests.hyperparameter_rules import HyperparameterRules
from sagemaker_sift.requests.range_rules import count_combinations, find_range_problems

_LIMITS = "documented limits of tuning jobs"
_GUIDE = "developer guide, automatic model tuning"
EPOCHS_HYPERPARAMETERS = ("epochs", "numepochs", "n-epochs", "n_epochs", "num_epochs")
"""Static hyperparameters that tell Hyperband its ``MaxResource``."""

_MAX_HYPERPARAMETERS = 100
_OBJECTIVE_HYPERPARAMETER = 1  # the service adds _tuning_objective_metric
_MAX_ENVIRONMENT = 48


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What one training job definition searches.

    Attributes:
        argument: How its ranges are called in errors, such as ``hyperparameter_ranges``.
        metric_argument: How its objective is called.
        algorithm: DescribeAlgorithm response.
        rules: Hyperparameters of the algorithm.
        ranges: What is searched.
        static: Hyperparameters that are not, as text.
        metric_name: Objective.
        metric_definitions: Those of the job, besides the algorithm's.
        environment: Environment variables.
        auto: Names that autotune picks ranges for.
        channels: Names of the channels.
    """

    argument: str
    metric_argument: str
    algorithm: Mapping[str, Any]
    rules: HyperparameterRules
    ranges: Mapping[str, ParameterRange]
    static: Mapping[str, str]
    metric_name: str | None
    metric_definitions: Sequence[Mapping[str, str]] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    auto: Sequence[str] = ()
    channels: Sequence[str] = ()


def find_search_problems(
    config: Mapping[str, Any],
    searches: Sequence[Search],
    limits: TuningLimits,
    *,
    warm_start: Mapping[str, Any] | None,
    is_autotuned: bool,
) -> Iterator[Problem]:
    """Yield everything that is wrong with a search; paths are the tuner's arguments.

    Args:
        config: The API's ``HyperParameterTuningJobConfig``, values of the right types.
        searches: One for each training job definition.
        limits: What the job is held to.
        warm_start: The API's ``WarmStartConfig``, or ``None``.
        is_autotuned: Whether the service picks ranges.
    """
    for search in searches:
        yield from _check_search(search, config, limits, is_autotuned)
    yield from _check_limits(config, searches, limits)
    yield from _check_strategy(config, searches)
    yield from _check_early_stopping(config, searches)
    target = config.get("TuningJobCompletionCriteria", {}).get("TargetObjectiveMetricValue", 0)
    if not math.isfinite(target):
        argument = "completion_criteria_config.target_objective_metric_value"
        yield Problem(argument, f"is {target}, but must be a number.", _GUIDE)
    parents = (warm_start or {}).get("ParentHyperParameterTuningJobs", [])
    if len(parents) > limits.max_parents:
        message = f"has {len(parents)} parents, but at most {limits.max_parents} are allowed."
        yield Problem("warm_start_config", f"{message} Drop some.", _LIMITS)
    if warm_start and len(searches) > 1:
        message = "is set, but a tuning job of several algorithms cannot be warm-started."
        yield Problem("warm_start_config", message, _GUIDE)
    environment = sum(len(search.environment) for search in searches)
    if len(searches) > 1 and environment > _MAX_ENVIRONMENT:
        message = f"has {environment} variables over all estimators, but at most "
        yield Problem("environment", f"{message}{_MAX_ENVIRONMENT} are allowed.", _LIMITS)


def _check_search(
    search: Search, config: Mapping[str, Any], limits: TuningLimits, is_autotuned: bool
) -> Iterator[Problem]:
    strategy = str(config.get("Strategy"))
    of_ranges = list(
        find_range_problems(search.ranges, search.rules, search.argument, strategy=strategy)
    )
    yield from of_ranges
    if not search.ranges and not is_autotuned:
        message = "is empty. Give at least one range, or set autotune."
        yield Problem(search.argument, message, _GUIDE)
    if len(search.ranges) > limits.max_tuned:
        message = f"has {len(search.ranges)} ranges, but at most {limits.max_tuned} can be tuned."
        yield Problem(search.argument, f"{message} {_lift('max_tuned')}", _LIMITS)
    total = len({*search.static, *search.ranges, *search.auto}) + _OBJECTIVE_HYPERPARAMETER
    if total > _MAX_HYPERPARAMETERS:
        message = f"and the static hyperparameters are {total} together with the service's own, "
        yield Problem(search.argument, f"{message}but at most 100 are allowed.", _LIMITS)
    num_metrics = len(search.metric_definitions)
    if num_metrics > limits.max_metrics:
        message = f"has {num_metrics} metrics, but at most {limits.max_metrics} are allowed."
        yield Problem("metric_definitions", f"{message} {_lift('max_metrics')}", _LIMITS)
    broken = {problem.path for problem in of_ranges}
    sound = {
        name: entry
        for name, entry in search.ranges.items()
        if f"{search.argument}[{name!r}]" not in broken
    }
    yield from _check_static(search, sound)
    yield from _check_objective(search, config)


def _check_static(search: Search, sound: Mapping[str, ParameterRange]) -> Iterator[Problem]:
    """Check the static hyperparameters, together with both ends of the sound ranges."""
    rules = search.rules
    if not rules.is_bundled:
        yield from rules.find_problems(search.static)
        yield from rules.find_missing({*search.static, *search.ranges, *search.auto})
        return
    unknown = {*search.ranges, *search.auto} - {*sound}
    seen: set[Problem] = set()
    for end in (0, -1):
        tuned = {name: _find_end(entry, end) for name, entry in sound.items()}
        for problem in rules.find_conflicts({**search.static, **tuned}):
            if problem.path not in unknown and problem not in seen:
                seen.add(problem)
                yield problem


def _find_end(entry: ParameterRange, end: int) -> str:
    api = entry.as_tuning_range("")
    values = api.get("Values") or [api.get("MinValue", ""), api.get("MaxValue", "")]
    return str(values[end])


def _check_objective(search: Search, config: Mapping[str, Any]) -> Iterator[Problem]:
    specification = search.algorithm["TrainingSpecification"]
    offered = specification.get("SupportedTuningJobObjectiveMetrics") or []
    defined = [
        metric.get("Name")
        for metric in (*(specification.get("MetricDefinitions") or ()), *search.metric_definitions)
    ]
    name = search.metric_name
    if name is None:
        known = ", ".join(repr(metric["MetricName"]) for metric in offered) or "a defined metric"
        message = f"is missing. Give one: {known}."
        yield Problem(search.metric_argument, message, _GUIDE)
        return
    if offered and name not in {metric["MetricName"] for metric in offered}:
        names = [metric["MetricName"] for metric in offered]
        hint = closest(name, names) or f" It has: {', '.join(names)}."
        message = f"is {name!r}, which is no objective metric of the algorithm.{hint}"
        yield Problem(search.metric_argument, message, "algorithm's specification")
        return
    if not offered and name not in defined:
        hint = closest(name, map(str, defined)) or " Define it in metric_definitions."
        message = f"is {name!r}, but no metric of that name is defined.{hint}"
        yield Problem(search.metric_argument, message, _GUIDE)
    kind, _, _ = name.partition(":")
    if search.rules.is_bundled and kind == VALIDATION.name and kind not in search.channels:
        message = f"is {name!r}, but the job has no channel {kind!r} to measure it on. Add it."
        yield Problem(search.metric_argument, message, "algorithm's contract")
    kinds = {metric["Type"] for metric in offered if metric["MetricName"] == name}
    given = config.get("HyperParameterTuningJobObjective", {}).get("Type")
    if kinds and given is not None and given not in kinds:
        message = f"is {given!r}, but the algorithm offers {name!r} to {' or '.join(kinds)}."
        yield Problem("objective_type", message, "algorithm's specification")


def _check_limits(
    config: Mapping[str, Any], searches: Sequence[Search], limits: TuningLimits
) -> Iterator[Problem]:
    resources = config.get("ResourceLimits", {})
    jobs, parallel = (
        resources.get("MaxNumberOfTrainingJobs"),
        resources.get("MaxParallelTrainingJobs", 1),
    )
    if jobs is not None and jobs > limits.max_jobs:
        message = f"is {jobs}, but at most {limits.max_jobs} are allowed. {_lift('max_jobs')}"
        yield Problem("max_jobs", message, _LIMITS)
    if parallel > limits.max_parallel_jobs:
        message = f"is {parallel}, but at most {limits.max_parallel_jobs} are allowed."
        yield Problem("max_parallel_jobs", f"{message} {_lift('max_parallel_jobs')}", _LIMITS)
    if jobs and parallel > jobs:
        message = f"is {parallel}, but must be at most max_jobs, {jobs}."
        yield Problem("max_parallel_jobs", message, _GUIDE)
    combinations = sum(count_combinations(search.ranges) for search in searches)
    is_open = any(search.auto or not search.ranges for search in searches)
    if jobs and config.get("Strategy") != "Grid" and combinations < jobs and not is_open:
        message = f"is {jobs}, but the ranges have {combinations:g} combinations only. Lower it."
        yield Problem("max_jobs", message, _GUIDE)


def _check_strategy(config: Mapping[str, Any], searches: Sequence[Search]) -> Iterator[Problem]:
    strategy = config.get("Strategy")
    hyperband = config.get("StrategyConfig", {}).get("HyperbandStrategyConfig")
    if strategy == "Grid":
        yield from _check_grid(config, searches)
    if strategy != "Hyperband":
        if hyperband is not None:
            message = f"is for Hyperband, but the strategy is {strategy!r}. Drop one of the two."
            yield Problem("strategy_config", message, _GUIDE)
        return
    low, high = (hyperband or {}).get("MinResource"), (hyperband or {}).get("MaxResource")
    if high is None:
        for search in searches:
            if not any(name in search.static for name in EPOCHS_HYPERPARAMETERS):
                message = "lacks max_resource, and no static hyperparameter tells it "
                names = ", ".join(EPOCHS_HYPERPARAMETERS)
                yield Problem("strategy_config", f"{message}({names}). Give one.", _GUIDE)
                break
    elif high > 20_000:
        message = f"has max_resource {high}, but at most 20000 is allowed."
        yield Problem("strategy_config", message, "API reference, HyperbandStrategyConfig")
    if low is not None and high is not None and low > high:
        message = f"has min_resource {low} above max_resource {high}. Swap them."
        yield Problem("strategy_config", message, _GUIDE)


def _check_grid(config: Mapping[str, Any], searches: Sequence[Search]) -> Iterator[Problem]:
    is_categorical = True
    for search in searches:
        for name, entry in search.ranges.items():
            if entry.__name__ != "Categorical":
                is_categorical = False
                message = f"is {entry!r}, but Grid searches a CategoricalParameter only."
                yield Problem(f"{search.argument}[{name!r}]", message, _GUIDE)
    jobs = config.get("ResourceLimits", {}).get("MaxNumberOfTrainingJobs")
    combinations = sum(count_combinations(search.ranges) for search in searches)
    if is_categorical and jobs is not None and jobs != combinations:
        message = f"is {jobs}, but the grid has {combinations:g} points. Leave it out."
        yield Problem("max_jobs", message, _GUIDE)


def _check_early_stopping(
    config: Mapping[str, Any], searches: Sequence[Search]
) -> Iterator[Problem]:
    if config.get("TrainingJobEarlyStoppingType") != "Auto":
        return
    if config.get("Strategy") == "Hyperband":
        message = "is 'Auto', but Hyperband stops training jobs itself. Use 'Off'."
        yield Problem("early_stopping_type", message, _GUIDE)
    if len(searches) > 1:
        message = "is 'Auto', but a tuning job of several algorithms does not stop early."
        yield Problem("early_stopping_type", f"{message} Use 'Off'.", _GUIDE)


def _lift(name: str) -> str:
    return f"If your account has more, pass limits=TuningLimits({name}=...)."
