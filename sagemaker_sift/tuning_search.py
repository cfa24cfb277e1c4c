"""What a tuner holds: estimators, ranges, strategy and limits, and the request that they make."""

from __future__ import annotations

import copy
import secrets
import string
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Self

from sagemaker_sift.contract.problem import Problem, closest
from sagemaker_sift.estimator_arguments import merge_tags, read_tags
from sagemaker_sift.exceptions import InvalidRequestError
from sagemaker_sift.limits import TuningLimits
from sagemaker_sift.parameter import read_range, write_ranges
from sagemaker_sift.requests.api_shape import read_shape
from sagemaker_sift.requests.plain_value import to_plain
from sagemaker_sift.requests.service_model import WrongType
from sagemaker_sift.requests.tuning_job import (
    TuningJobDescription,
    build_tuning_job_name,
    build_tuning_job_request,
)
from sagemaker_sift.requests.tuning_rules import Search
from sagemaker_sift.requests.tuning_validation import check_tuning_job
from sagemaker_sift.requests.warm_start_rules import find_parent_problems
from sagemaker_sift.results.tuning_job import find_parents
from sagemaker_sift.session import JobSession
from sagemaker_sift.tuning_definition import TuningDefinition, adopt_estimator
from sagemaker_sift.tuning_part import OfNamedEstimators, OfOnlyEstimator

_SUFFIX = string.ascii_lowercase + string.digits


class TuningSearch:
    """A search that is described and checked, but not launched.

    Attributes are the arguments of :class:`~sagemaker_sift.tuner.HyperparameterTuner` and may be
    changed before a launch.
    """

    def __init__(
        self,
        estimator: Any,
        objective_metric_name: str | None,
        hyperparameter_ranges: Mapping[str, Any] | None,
        metric_definitions: Sequence[Mapping[str, str]] | None = None,
        strategy: str = "Bayesian",
        objective_type: str = "Maximize",
        max_jobs: int | None = None,
        max_parallel_jobs: int = 1,
        max_runtime_in_seconds: int | None = None,
        tags: Any = None,
        base_tuning_job_name: str | None = None,
        warm_start_config: Any = None,
        strategy_config: Any = None,
        completion_criteria_config: Any = None,
        early_stopping_type: str = "Off",
        estimator_name: str | None = None,
        random_seed: int | None = None,
        autotune: bool = False,
        hyperparameters_to_keep_static: Sequence[str] | None = None,
        *,
        limits: TuningLimits | None = None,
        **unknown: Any,
    ) -> None:
        for name in unknown:
            hint = closest(name, TuningSearch.__init__.__annotations__)
            raise TypeError(f"{name!r} is not an argument of HyperparameterTuner.{hint}")
        self.definitions: dict[str | None, TuningDefinition] = {}
        self.strategy = strategy
        self.objective_type = objective_type
        self.max_jobs = max_jobs
        self.max_parallel_jobs = max_parallel_jobs
        self.max_runtime_in_seconds = max_runtime_in_seconds
        self.tags = read_tags(tags)
        self.base_tuning_job_name = base_tuning_job_name
        self.warm_start_config = warm_start_config
        self.strategy_config = strategy_config
        self.completion_criteria_config = completion_criteria_config
        self.early_stopping_type = early_stopping_type
        self.random_seed = random_seed
        self.autotune = autotune
        self.limits = limits or TuningLimits()
        self.add_estimator(
            estimator_name,
            estimator,
            objective_metric_name,
            hyperparameter_ranges,
            metric_definitions,
            hyperparameters_to_keep_static,
        )

    def add_estimator(
        self,
        name: str | None,
        estimator: Any,
        objective_metric_name: str | None,
        ranges: Mapping[str, Any] | None,
        metric_definitions: Sequence[Mapping[str, str]] | None,
        keep_static: Sequence[str] | None,
    ) -> None:
        """Add an estimator to those that are searched.

        Args:
            name: ``DefinitionName``; ``None`` for an only one.
            estimator: Ours or the SDK v2's.
            objective_metric_name: What is optimized.
            ranges: What is searched.
            metric_definitions: In place of the estimator's.
            keep_static: Hyperparameters that autotune leaves alone.

        Raises:
            InvalidRequestError: If there is no range and no autotune.
        """
        if not ranges and not self.autotune:
            message = "is empty. Give ranges, or set autotune=True."
            raise InvalidRequestError([Problem("hyperparameter_ranges", message)])
        self.definitions[name] = TuningDefinition(
            name=name,
            estimator=adopt_estimator(estimator),
            objective_metric_name=objective_metric_name,
            ranges={
                str(key): read_range(value, f"hyperparameter_ranges[{key!r}]")
                for key, value in (ranges or {}).items()
            },
            metric_definitions=metric_definitions,
            keep_static=keep_static,
        )

    estimator = OfOnlyEstimator("estimator")
    objective_metric_name = OfOnlyEstimator("objective_metric_name")
    metric_definitions = OfOnlyEstimator("metric_definitions")
    hyperparameters_to_keep_static = OfOnlyEstimator("keep_static")
    instance_configs = OfOnlyEstimator("instance_configs")
    estimator_dict = OfNamedEstimators("estimator")
    objective_metric_name_dict = OfNamedEstimators("objective_metric_name")
    metric_definitions_dict = OfNamedEstimators("metric_definitions")
    hyperparameters_to_keep_static_dict = OfNamedEstimators("keep_static")
    instance_configs_dict = OfNamedEstimators("instance_configs")

    @property
    def sagemaker_session(self) -> JobSession:
        """Where the job runs: the session of the estimators."""
        return next(iter(self.definitions.values())).estimator.sagemaker_session

    def request(
        self,
        inputs: Any = None,
        job_name: str | None = None,
        include_cls_metadata: bool | Mapping[str, bool] = False,
    ) -> dict[str, Any]:
        """Return the checked CreateHyperParameterTuningJob request that ``fit`` would send.

        Args:
            inputs: As in ``fit``, like all that follow.
            job_name: Name of the tuning job.
            include_cls_metadata: Whether to add two hyperparameters of the SageMaker SDK.

        Raises:
            InvalidRequestError: With everything that is wrong.
        """
        session = self.sagemaker_session
        definitions, searches, problems = [], [], self._find_mismatches()
        if None not in self.definitions:
            names = [str(name) for name in self.definitions]
            check_names("inputs", {} if inputs is None else inputs, names)
            if not isinstance(include_cls_metadata, bool):
                check_names("include_cls_metadata", include_cls_metadata, names)
        for name, definition in self.definitions.items():
            described, search, found = definition.describe(
                _pick(inputs, name),
                _read_text(self.objective_type),
                is_autotuned=self.autotune,
                with_metadata=bool(_pick(include_cls_metadata, name)),
            )
            definitions.append(described)
            searches.append(search)
            problems += found
        request = build_tuning_job_request(self._describe(job_name, definitions))
        try:
            check_tuning_job(
                request,
                definitions,
                searches,
                self.limits,
                allow_file_uris=session.allows_file_uris,
                find_storage_problems=session.find_storage_problems,
            )
        except InvalidRequestError as error:
            problems = [*error.problems, *problems]
        if len(searches) == 1 and not any(isinstance(one, WrongType) for one in problems):
            problems += self._find_parent_problems(request, searches[0])
        if problems:
            raise InvalidRequestError(problems)
        return request

    def validate(
        self,
        inputs: Any = None,
        job_name: str | None = None,
        include_cls_metadata: bool | Mapping[str, bool] = False,
    ) -> None:
        """Check the job as ``fit`` would, and send nothing.

        Args:
            inputs: As in ``fit``, like all that follow.
            job_name: Name of the tuning job.
            include_cls_metadata: Whether to add two hyperparameters of the SageMaker SDK.

        Raises:
            InvalidRequestError: With everything that is wrong.
        """
        self.request(inputs, job_name, include_cls_metadata)

    def hyperparameter_ranges(self) -> dict[str, list[dict[str, Any]]] | None:
        """Return the API's ``ParameterRanges``; ``None`` if the estimators have names."""
        only = self.definitions.get(None)
        return None if only is None else write_ranges(only.ranges)

    def hyperparameter_ranges_dict(self) -> dict[str, dict[str, list[dict[str, Any]]]] | None:
        """Return the API's ``ParameterRanges`` by estimator name; ``None`` without names."""
        if None in self.definitions:
            return None
        return {str(name): write_ranges(one.ranges) for name, one in self.definitions.items()}

    def override_resource_config(
        self, instance_configs: Sequence[Any] | Mapping[str, Sequence[Any]]
    ) -> None:
        """Offer several kinds of machines, in order of preference, instead of the estimator's.

        Args:
            instance_configs: One to six :class:`InstanceConfig`; by estimator name where the
                tuner has several.

        Raises:
            InvalidRequestError: If a name is unknown, or names are missing.
        """
        if isinstance(instance_configs, Mapping):
            names = [str(name) for name in self.definitions if name is not None]
            for name in check_names("instance_configs", instance_configs, names):
                self.definitions[name].instance_configs = list(instance_configs[name])
        elif len(self.definitions) == 1:
            next(iter(self.definitions.values())).instance_configs = list(instance_configs)
        else:
            known = ", ".join(repr(name) for name in self.definitions)
            message = f"is {instance_configs!r}, but must be a mapping with the names {known}."
            raise InvalidRequestError([Problem("instance_configs", message)])

    def copy(self, estimator: Any = None) -> Self:
        """Return a search of its own that says the same.

        Args:
            estimator: In place of every estimator.
        """
        twin = copy.copy(self)
        twin.definitions = {name: one.copy() for name, one in self.definitions.items()}
        for definition in twin.definitions.values():
            if estimator is not None:
                definition.estimator = adopt_estimator(estimator)
                definition.instance_configs = None  # those of the estimator that was replaced
        return twin

    def _find_parent_problems(self, request: Mapping[str, Any], search: Search) -> list[Problem]:
        given = request.get("WarmStartConfig", {}).get("ParentHyperParameterTuningJobs", ())
        if not given or len(given) > self.limits.max_parents or None not in self.definitions:
            return []
        names = [parent["HyperParameterTuningJobName"] for parent in given]
        parents = find_parents(names, self.sagemaker_session)
        defaults = search.rules.complete({})
        return list(find_parent_problems(request, parents, self.limits, defaults))

    def _find_mismatches(self) -> list[Problem]:
        places = {one.estimator.sagemaker_session.place for one in self.definitions.values()}
        if len(places) < 2:
            return []
        listed = " and ".join(sorted(places))
        message = f"has estimators of {listed}, but one tuning job runs in one place."
        return [Problem("estimator_dict", f"{message} Give all the same session.")]

    def _describe(self, job_name: str | None, definitions: list[Any]) -> TuningJobDescription:
        tags = read_tags(self.tags) or []
        for definition in self.definitions.values():
            tags = merge_tags(tags, read_tags(definition.estimator.tags) or ())
        strategy, max_jobs = _read_text(self.strategy), self.max_jobs
        criteria = _read_config(self.completion_criteria_config, "TuningJobCompletionCriteria")
        ends = self.max_runtime_in_seconds is not None or _ends(criteria or {})
        if max_jobs is None and strategy != "Grid" and not ends:
            max_jobs = 1  # the SDK v2's default
        return TuningJobDescription(
            job_name=job_name or self._build_job_name(),
            definitions=definitions,
            strategy=strategy,
            max_jobs=to_plain(max_jobs),
            max_parallel_jobs=to_plain(self.max_parallel_jobs),
            max_runtime_in_seconds=to_plain(self.max_runtime_in_seconds),
            strategy_config=_read_config(
                self.strategy_config, "HyperParameterTuningJobStrategyConfig"
            ),
            completion_criteria=criteria,
            early_stopping_type=_read_text(self.early_stopping_type),
            random_seed=to_plain(self.random_seed),
            autotune=bool(self.autotune),
            warm_start_config=_read_config(
                self.warm_start_config, "HyperParameterTuningJobWarmStartConfig"
            ),
            tags=tags,
        )

    def _build_job_name(self) -> str:
        first = next(iter(self.definitions.values())).estimator
        base = self.base_tuning_job_name or first.algorithm_arn.rsplit("/", 1)[-1]
        suffix = "".join(secrets.choice(_SUFFIX) for _ in range(4))
        return build_tuning_job_name(base, datetime.now(tz=UTC), suffix)


def check_names(
    argument: str, given: Any, names: Iterable[str], *, is_complete: bool = False
) -> Mapping[str, Any]:
    """Return ``given`` if its keys are among the names of the estimators.

    Args:
        argument: What the mapping is called in the error.
        given: By name.
        names: Of the estimators.
        is_complete: Whether every name must be there.

    Raises:
        InvalidRequestError: If a key is unknown, or one is missing.
    """
    known = set(names)
    listed = ", ".join(sorted(map(repr, known)))
    if not isinstance(given, Mapping):
        message = f"is {given!r}, but must be a mapping with the names {listed}."
        raise InvalidRequestError([Problem(argument, message)])
    unknown, missing = set(given) - known, known - set(given) if is_complete else set()
    problems = [
        Problem(argument, f"{verb} the name {name!r}; the estimators are {listed}.")
        for verb, wrong in (("has", unknown), ("lacks", missing))
        for name in sorted(wrong, key=str)
    ]
    if problems:
        raise InvalidRequestError(problems)
    checked: Mapping[str, Any] = given
    return checked


def _ends(criteria: Mapping[str, Any]) -> bool:
    """Return whether completion criteria can end a tuning job."""
    converged = criteria.get("ConvergenceDetected", {}).get("CompleteOnConvergence")
    return converged == "Enabled" or bool(criteria.keys() - {"ConvergenceDetected"})


def _pick(value: Any, name: str | None) -> Any:
    """Return what a mapping holds for a named estimator; the value itself for the only one."""
    if name is None or value is None or isinstance(value, bool):
        return value
    return value.get(name) if isinstance(value, Mapping) else value


def _read_text(value: Any) -> str:
    """Return the text of an enum's member, or of a plain word."""
    return value if isinstance(value, str) else str(getattr(value, "value", value))


def _read_config(value: Any, shape_name: str) -> dict[str, Any] | None:
    return None if value is None else read_shape(value, shape_name)
