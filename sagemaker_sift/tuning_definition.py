"""One of the training job definitions that a tuner searches: an estimator and its ranges."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sagemaker_sift.contract.problem import Problem
from sagemaker_sift.estimator import AlgorithmEstimator
from sagemaker_sift.parameter import ParameterRange, write_ranges
from sagemaker_sift.requests.api_shape import read_shape
from sagemaker_sift.requests.hyperparameter_rules import HyperparameterRules
from sagemaker_sift.requests.tuning_job import DefinitionDescription
from sagemaker_sift.requests.tuning_rules import Search

_INSTANCE_CONFIG = "HyperParameterTuningInstanceConfig"

METADATA = ("sagemaker_estimator_class_name", "sagemaker_estimator_module")
"""Hyperparameters that the SageMaker SDK adds with ``include_cls_metadata``."""


@dataclass(kw_only=True)
class TuningDefinition:
    """What a tuner holds of one estimator.

    Attributes:
        name: ``None`` for the estimator of a tuner that has only one.
        estimator: The training job.
        objective_metric_name: What is optimized.
        ranges: What is searched.
        metric_definitions: In place of the estimator's.
        keep_static: Hyperparameters that autotune leaves alone.
        instance_configs: Alternative machines.
    """

    name: str | None
    estimator: AlgorithmEstimator
    objective_metric_name: str | None
    ranges: dict[str, ParameterRange]
    metric_definitions: Sequence[Mapping[str, str]] | None = None
    keep_static: Sequence[str] | None = None
    instance_configs: Sequence[Any] | None = None

    def describe(
        self,
        inputs: Any,
        objective_type: str,
        *,
        is_autotuned: bool,
        with_metadata: bool,
    ) -> tuple[DefinitionDescription, Search, list[Problem]]:
        """Return the definition for the request, what it searches, and what is wrong with it.

        Args:
            inputs: Channels.
            objective_type: ``Maximize`` or ``Minimize``.
            is_autotuned: Whether the service picks ranges for the tunable hyperparameters.
            with_metadata: Whether to add the two hyperparameters of ``include_cls_metadata``.
        """
        estimator = self.estimator
        rules = HyperparameterRules(estimator.algorithm.training_specification)
        job = estimator.unchecked_request(inputs, "placeholder", tuned=self.ranges)
        static: dict[str, str] = job.setdefault("HyperParameters", {})
        ranges: dict[str, Any] = write_ranges(self.ranges)
        auto: list[str] = []
        if is_autotuned:
            auto = self._find_auto(static, rules)
            ranges["AutoParameters"] = [
                {"Name": name, "ValueHint": static.pop(name)} for name in auto
            ]
        problems = self._find_keep_problems({*static, *auto}, is_autotuned)
        if with_metadata:
            problems += _add_metadata(static, rules, estimator)
        if self.metric_definitions is not None:
            definitions = [dict(definition) for definition in self.metric_definitions]
            job["AlgorithmSpecification"]["MetricDefinitions"] = definitions
        suffix = "" if self.name is None else f"_dict[{self.name!r}]"
        search = Search(
            argument=f"hyperparameter_ranges{suffix}",
            metric_argument=f"objective_metric_name{suffix}",
            algorithm=estimator.algorithm.rules(),
            rules=rules,
            ranges=self.ranges,
            static=static,
            metric_name=self.objective_metric_name,
            metric_definitions=job["AlgorithmSpecification"].get("MetricDefinitions", ()),
            environment=job.get("Environment", {}),
            auto=auto,
            channels=[channel["ChannelName"] for channel in job.get("InputDataConfig", ())],
        )
        description = DefinitionDescription(
            job=job,
            ranges=ranges,
            metric_name=self.objective_metric_name,
            objective_type=objective_type,
            name=self.name,
            instance_configs=None
            if self.instance_configs is None
            else [read_shape(config, _INSTANCE_CONFIG) for config in self.instance_configs],
        )
        return description, search, problems

    def copy(self) -> TuningDefinition:
        """Return a definition of its own, with the same estimator."""
        return dataclasses.replace(self, ranges=dict(self.ranges))

    def prepare_output(self) -> None:
        """Make the place that artifacts go to, where the session is to make it."""
        session = self.estimator.sagemaker_session
        session.prepare_output(self.estimator.output_path or session.default_output_path())

    def _find_auto(self, static: Mapping[str, str], rules: HyperparameterRules) -> list[str]:
        """Return the static hyperparameters that autotune may search: tunable, not kept."""
        kept = set(self.keep_static or ())
        return [
            name
            for name in static
            if name not in kept
            and (not rules.entries or rules.entries.get(name, {}).get("IsTunable", False))
        ]

    def _find_keep_problems(self, known: set[str], is_autotuned: bool) -> list[Problem]:
        argument = "hyperparameters_to_keep_static"
        argument += "" if self.name is None else f"_dict[{self.name!r}]"
        if self.keep_static is None:
            return []
        if not is_autotuned:
            message = "is set, but only autotune turns static hyperparameters into tuned ones."
            return [Problem(argument, f"{message} Set autotune, or leave it out.")]
        names = list(self.keep_static)
        problems = [
            Problem(argument, f"has {name!r}, which is no static hyperparameter of the estimator.")
            for name in names
            if name not in known
        ]
        twice = sorted({name for name in names if names.count(name) > 1})
        return problems + [Problem(argument, f"has {name!r} more than once.") for name in twice]


def _add_metadata(
    static: dict[str, str], rules: HyperparameterRules, estimator: AlgorithmEstimator
) -> list[Problem]:
    if rules.entries and not set(METADATA) <= rules.entries.keys():
        message = (
            f"is set, but the algorithm has no hyperparameters {' and '.join(METADATA)}, and the "
            "service would refuse the job. Leave it False."
        )
        return [Problem("include_cls_metadata", message, "algorithm's specification")]
    cls = type(estimator)
    static |= dict(zip(METADATA, map(json.dumps, (cls.__name__, cls.__module__)), strict=True))
    return []


def adopt_estimator(value: Any) -> AlgorithmEstimator:
    """Return an estimator of this package that describes the same job.

    Args:
        value: One of this package, which is returned as it is, or an ``AlgorithmEstimator`` of
            the SageMaker SDK v2.

    Raises:
        TypeError: If it is something else.
    """
    if isinstance(value, AlgorithmEstimator):
        return value
    if not hasattr(value, "algorithm_arn"):
        raise TypeError(
            f"`estimator` is {value!r}, but must be an AlgorithmEstimator: give the name or ARN "
            "of an Algorithm resource to AlgorithmEstimator(...)."
        )
    names = [name for name in AlgorithmEstimator.__init__.__annotations__ if hasattr(value, name)]
    arguments = {name: getattr(value, name) for name in names if name != "hyperparameters"}
    if not arguments.get("encrypt_inter_container_traffic"):
        arguments.pop("encrypt_inter_container_traffic", None)  # False is the SDK's "not given"
    arguments["enable_network_isolation"] = None
    estimator = AlgorithmEstimator(**arguments)
    given = getattr(value, "hyperparam_dict", None)
    estimator.set_hyperparameters(**(value.hyperparameters() if given is None else given))
    return estimator
