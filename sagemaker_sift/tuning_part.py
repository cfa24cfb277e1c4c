"""Attributes of a tuner that belong to its estimators, under the names of the SageMaker SDK v2."""

from __future__ import annotations

from typing import Any


class OfOnlyEstimator:
    """An attribute of a tuner with one unnamed estimator; ``None`` where estimators have names.

    Args:
        part: Name of the attribute of the definition.
    """

    def __init__(self, part: str) -> None:
        self._part = part

    def __get__(self, tuner: Any, owner: Any = None) -> Any:
        if tuner is None:
            return self
        only = tuner.definitions.get(None)
        return None if only is None else getattr(only, self._part)

    def __set__(self, tuner: Any, value: Any) -> None:
        only = tuner.definitions.get(None)
        if only is None:
            names = ", ".join(map(repr, tuner.definitions))
            raise AttributeError(
                f"The tuner has the estimators {names}. Set tuner.definitions[name].{self._part}."
            )
        setattr(only, self._part, value)


class OfNamedEstimators:
    """By estimator name, what is set; ``None`` where the only estimator has no name.

    Args:
        part: Name of the attribute of the definition.
    """

    def __init__(self, part: str) -> None:
        self._part = part

    def __get__(self, tuner: Any, owner: Any = None) -> Any:
        if tuner is None:
            return self
        if None in tuner.definitions:
            return None
        parts = {name: getattr(one, self._part) for name, one in tuner.definitions.items()}
        return {name: part for name, part in parts.items() if part is not None}
