"""How a tuning job searches, and when it has found enough.

Source: API reference, ``HyperParameterTuningJobStrategyConfig`` and
``TuningJobCompletionCriteria``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

STRATEGIES = ("Bayesian", "Random", "Grid", "Hyperband")
"""The API's ``HyperParameterTuningJobStrategyType``."""


@dataclass
class HyperbandStrategyConfig:
    """How much one training job may use under Hyperband.

    Args:
        max_resource: Epochs of the longest training job; ``None`` lets the service read it from
            the static hyperparameter ``epochs``.
        min_resource: Epochs before a training job may be stopped.
    """

    max_resource: int | None = None
    min_resource: int | None = None

    @classmethod
    def from_job_desc(
        cls, hyperband_strategy_config: Mapping[str, Any] | None
    ) -> HyperbandStrategyConfig | None:
        """Return the config of an API response, or ``None``."""
        if not hyperband_strategy_config:
            return None
        return cls(
            hyperband_strategy_config.get("MaxResource"),
            hyperband_strategy_config.get("MinResource"),
        )

    def to_input_req(self) -> dict[str, Any]:
        """Return the API's ``HyperbandStrategyConfig``."""
        fields = {"MaxResource": self.max_resource, "MinResource": self.min_resource}
        return {name: value for name, value in fields.items() if value is not None}


@dataclass
class StrategyConfig:
    """Configuration of the search strategy.

    Args:
        hyperband_strategy_config: Only Hyperband has one.
    """

    hyperband_strategy_config: HyperbandStrategyConfig | None = None

    @classmethod
    def from_job_desc(cls, strategy_config: Mapping[str, Any] | None) -> StrategyConfig | None:
        """Return the config of an API response, or ``None``."""
        if not strategy_config:
            return None
        inner = strategy_config.get("HyperbandStrategyConfig")
        return cls(HyperbandStrategyConfig.from_job_desc(inner))

    def to_input_req(self) -> dict[str, Any]:
        """Return the API's ``StrategyConfig``."""
        inner = self.hyperband_strategy_config
        return {} if inner is None else {"HyperbandStrategyConfig": inner.to_input_req()}


@dataclass
class TuningJobCompletionCriteriaConfig:
    """When a tuning job ends before its limits; what is ``None`` plays no part.

    Args:
        max_number_of_training_jobs_not_improving: This many in a row without a better one, 3 or
            more.
        complete_on_convergence: When the search has converged.
        target_objective_metric_value: When a training job reaches this value.
    """

    max_number_of_training_jobs_not_improving: int | None = None
    complete_on_convergence: bool | None = None
    target_objective_metric_value: float | None = None

    @classmethod
    def from_job_desc(
        cls, completion_criteria_config: Mapping[str, Any] | None
    ) -> TuningJobCompletionCriteriaConfig | None:
        """Return the config of an API response, or ``None``."""
        if not completion_criteria_config:
            return None
        not_improving = completion_criteria_config.get("BestObjectiveNotImproving", {})
        converged = completion_criteria_config.get("ConvergenceDetected", {})
        enabled = converged.get("CompleteOnConvergence")
        return cls(
            not_improving.get("MaxNumberOfTrainingJobsNotImproving"),
            None if enabled is None else enabled == "Enabled",
            completion_criteria_config.get("TargetObjectiveMetricValue"),
        )

    def to_input_req(self) -> dict[str, Any]:
        """Return the API's ``TuningJobCompletionCriteria``."""
        fields: dict[str, Any] = {}
        if self.max_number_of_training_jobs_not_improving is not None:
            number = self.max_number_of_training_jobs_not_improving
            fields["BestObjectiveNotImproving"] = {"MaxNumberOfTrainingJobsNotImproving": number}
        if self.complete_on_convergence is not None:
            word = "Enabled" if self.complete_on_convergence else "Disabled"
            fields["ConvergenceDetected"] = {"CompleteOnConvergence": word}
        if self.target_objective_metric_value is not None:
            fields["TargetObjectiveMetricValue"] = self.target_objective_metric_value
        return fields
