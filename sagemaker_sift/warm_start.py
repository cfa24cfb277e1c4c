"""Start a tuning job from what earlier ones found.

Source: API reference, ``HyperParameterTuningJobWarmStartConfig``; developer guide, "Run a warm
start hyperparameter tuning job".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any

from sagemaker_sift.contract.problem import Problem
from sagemaker_sift.exceptions import InvalidRequestError


class WarmStartTypes(Enum):
    """How the new job relates to its parents."""

    IDENTICAL_DATA_AND_ALGORITHM = "IdenticalDataAndAlgorithm"
    """Same data, same algorithm version; ranges, limits and static values may change."""

    TRANSFER_LEARNING = "TransferLearning"
    """Other data, or another version of the algorithm."""


class WarmStartConfig:
    """Type and parents of a warm start.

    Args:
        warm_start_type: A :class:`WarmStartTypes`, the SageMaker SDK's, or its text.
        parents: Names of one to five tuning jobs. Their order is kept.

    Attributes:
        type: The :class:`WarmStartTypes`.
        parents: Names in the given order, each once.

    Raises:
        InvalidRequestError: If the type is unknown or there is no parent.

    Example:
        >>> config = WarmStartConfig("TransferLearning", ["second", "first"])
        >>> config.to_input_req()["ParentHyperParameterTuningJobs"][0]
        {'HyperParameterTuningJobName': 'second'}
    """

    def __init__(self, warm_start_type: Any, parents: Iterable[str]) -> None:
        text = getattr(warm_start_type, "value", warm_start_type)
        try:
            self.type = WarmStartTypes(text)
        except ValueError:
            known = ", ".join(member.value for member in WarmStartTypes)
            message = f"is {warm_start_type!r}, but must be one of {known}."
            raise InvalidRequestError([Problem("warm_start_type", message)]) from None
        names = [parents] if isinstance(parents, str) else list(parents or ())
        if isinstance(parents, (set, frozenset)):
            names.sort()  # a set has no order: take one that is the same in every run
        self.parents = tuple(dict.fromkeys(str(name) for name in names))
        if not self.parents:
            message = "is empty. Name one to five tuning jobs."
            raise InvalidRequestError([Problem("parents", message)])

    def __repr__(self) -> str:
        return f"WarmStartConfig({self.type.value!r}, {list(self.parents)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, WarmStartConfig) and (self.type, self.parents) == (
            other.type,
            other.parents,
        )

    def __hash__(self) -> int:
        return hash((self.type, self.parents))

    @classmethod
    def from_job_desc(cls, warm_start_config: Mapping[str, Any] | None) -> WarmStartConfig | None:
        """Return the config of an API response, or ``None`` if it has none."""
        if not warm_start_config:
            return None
        parents = warm_start_config["ParentHyperParameterTuningJobs"]
        names = [parent["HyperParameterTuningJobName"] for parent in parents]
        return cls(warm_start_config["WarmStartType"], names)

    def to_input_req(self) -> dict[str, Any]:
        """Return the API's ``HyperParameterTuningJobWarmStartConfig``."""
        return {
            "WarmStartType": self.type.value,
            "ParentHyperParameterTuningJobs": [
                {"HyperParameterTuningJobName": name} for name in self.parents
            ],
        }
