"""Ranges that a tuning job searches.

Names, arguments and methods are those of the SageMaker SDK v2.

Source: API reference, ``ParameterRanges``; developer guide, "Define hyperparameter ranges".
"""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from sagemaker_sift.contract.problem import Problem, closest

SCALING_TYPES = ("Auto", "Linear", "Logarithmic", "ReverseLogarithmic")
"""The API's ``ScalingType``."""

_KINDS = ("Integer", "Continuous", "Categorical")


class ParameterRange(ABC):
    """What all ranges can do.

    Attributes:
        __name__: ``Integer``, ``Continuous`` or ``Categorical``, as in the SDK v2.
    """

    __name__: str

    @abstractmethod
    def is_valid(self, value: Any) -> bool:
        """Return whether ``value`` lies in the range."""

    @abstractmethod
    def as_tuning_range(self, name: str) -> dict[str, Any]:
        """Return the API's range for the hyperparameter ``name``."""

    @abstractmethod
    def find_problems(self, path: str) -> list[Problem]:
        """Return what is wrong with the range itself, at ``path``."""

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash(json.dumps(self.as_tuning_range(""), sort_keys=True))


class _NumericParameter(ParameterRange):
    """A range between two numbers."""

    _numbers: ClassVar[str] = "a number"

    def __init__(self, min_value: Any, max_value: Any, scaling_type: str = "Auto") -> None:
        self.min_value = min_value
        self.max_value = max_value
        self.scaling_type = scaling_type

    def __repr__(self) -> str:
        scaling = f", {self.scaling_type!r}" if self.scaling_type != "Auto" else ""
        return f"{type(self).__name__}({self.min_value!r}, {self.max_value!r}{scaling})"

    def is_valid(self, value: Any) -> bool:
        """Return whether the number ``value`` lies between the two ends, both included."""
        try:
            return self._read(self.min_value) <= self._read(value) <= self._read(self.max_value)
        except ValueError:
            return False

    def as_tuning_range(self, name: str) -> dict[str, Any]:
        """Return the API's range for the hyperparameter ``name``; numbers become strings."""
        return {
            "Name": name,
            "MinValue": str(self.min_value),
            "MaxValue": str(self.max_value),
            "ScalingType": str(getattr(self.scaling_type, "value", self.scaling_type)),
        }

    def find_problems(self, path: str) -> list[Problem]:
        """Return what is wrong: no numbers, in the wrong order, or a scaling that cannot be."""
        try:
            low, high = self._read(self.min_value), self._read(self.max_value)
        except ValueError as error:
            return [Problem(path, f"is {self!r}, but {error}.", "API reference, ParameterRanges")]
        problems = []
        if low > high:
            message = f"has min_value {low} above max_value {high}. Swap them."
            problems.append(Problem(path, message, "API reference, ParameterRanges"))
        problems += self._find_scaling_problems(path, low, high)
        return problems

    def _find_scaling_problems(self, path: str, low: float, high: float) -> list[Problem]:
        scaling = self.as_tuning_range("")["ScalingType"]
        source = "developer guide, hyperparameter scaling"
        if scaling not in SCALING_TYPES:
            hint = closest(scaling, SCALING_TYPES) or f" Known: {', '.join(SCALING_TYPES)}."
            message = f"has scaling_type {scaling!r}, which the API does not know.{hint}"
            return [Problem(path, message, "API model")]
        if scaling == "Logarithmic" and low <= 0:
            message = f"is Logarithmic from {low}, but a logarithm needs values above 0."
            return [Problem(path, f"{message} Raise min_value or use Linear.", source)]
        if scaling == "ReverseLogarithmic":
            if self.__name__ != "Continuous":
                message = "is ReverseLogarithmic, but only a ContinuousParameter can be."
                return [Problem(path, message, source)]
            if low < 0 or high >= 1:
                message = (
                    f"is ReverseLogarithmic from {low} to {high}, "
                    "but needs values from 0 to below 1."
                )
                return [Problem(path, message, source)]
        return []

    def _read(self, value: Any) -> float:
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if isinstance(value, bool) or not math.isfinite(number):
            raise ValueError(f"{value!r} is not {self._numbers}")
        return number


class ContinuousParameter(_NumericParameter):
    """A range of real numbers.

    Args:
        min_value: Smallest value.
        max_value: Largest value, included.
        scaling_type: ``Auto``, ``Linear``, ``Logarithmic`` or ``ReverseLogarithmic``.

    Example:
        >>> ContinuousParameter(0.1, 10, "Logarithmic").as_tuning_range("beta_value")
        {'Name': 'beta_value', 'MinValue': '0.1', 'MaxValue': '10', 'ScalingType': 'Logarithmic'}
    """

    __name__ = "Continuous"

    @classmethod
    def cast_to_type(cls, value: Any) -> float:
        """Return ``value`` as a float."""
        return float(value)


class IntegerParameter(_NumericParameter):
    """A range of whole numbers.

    Args:
        min_value: Smallest value.
        max_value: Largest value, included.
        scaling_type: ``Auto``, ``Linear`` or ``Logarithmic``.

    Example:
        >>> IntegerParameter(20, 110).is_valid(20.5)
        False
    """

    __name__ = "Integer"
    _numbers = "a whole number"

    @classmethod
    def cast_to_type(cls, value: Any) -> int:
        """Return ``value`` as an int.

        Raises:
            ValueError: If it is not a whole number; the SDK v2 cuts 3.7 down to 3.
        """
        number = float(value)
        if not number.is_integer():
            raise ValueError(f"{value!r} is not a whole number.")
        return int(number)

    def as_tuning_range(self, name: str) -> dict[str, Any]:
        """Return the API's range for the hyperparameter ``name``; ``5.0`` is written ``5``."""
        entry = super().as_tuning_range(name)
        for end, value in (("MinValue", self.min_value), ("MaxValue", self.max_value)):
            if isinstance(value, float) and value.is_integer():
                entry[end] = str(int(value))
        return entry

    def _read(self, value: Any) -> float:
        number = super()._read(value)
        if not number.is_integer():
            raise ValueError(f"{value!r} is not {self._numbers}")
        return int(number)


class CategoricalParameter(ParameterRange):
    """A choice of values.

    Args:
        values: A list, tuple or other iterable of values, or a single one.

    Example:
        >>> CategoricalParameter(("sgd", "adam")).as_tuning_range("optimizer")
        {'Name': 'optimizer', 'Values': ['sgd', 'adam']}
    """

    __name__ = "Categorical"

    def __init__(self, values: Any) -> None:
        if isinstance(values, str) or not isinstance(values, Iterable):
            values = [values]
        self.values = [str(getattr(value, "value", value)) for value in values]

    def __repr__(self) -> str:
        return f"CategoricalParameter({self.values!r})"

    def is_valid(self, value: Any) -> bool:
        """Return whether ``value`` is one of the values, compared as text."""
        return str(getattr(value, "value", value)) in self.values

    @classmethod
    def cast_to_type(cls, value: Any) -> str:
        """Return ``value`` as text."""
        return str(value)

    def as_tuning_range(self, name: str) -> dict[str, Any]:
        """Return the API's range for the hyperparameter ``name``."""
        return {"Name": name, "Values": list(self.values)}

    def as_json_range(self, name: str) -> dict[str, Any]:
        """Return the range with every value as JSON text, as SDK containers read it."""
        return {"Name": name, "Values": [json.dumps(value) for value in self.values]}

    def find_problems(self, path: str) -> list[Problem]:
        """Return what is wrong: no value at all, or one twice."""
        twice = sorted({value for value in self.values if self.values.count(value) > 1})
        if not self.values:
            return [Problem(path, "has no values. Give at least one.", "API model")]
        if twice:
            return [Problem(path, f"has {', '.join(map(repr, twice))} more than once.")]
        return []


def read_range(value: Any, path: str) -> ParameterRange:
    """Return the range that a user gave, ours or the SageMaker SDK's.

    Args:
        value: A range of this module; anything with ``as_tuning_range`` (SDK v2 and v3); or the
            API's own dictionary.
        path: Where it stands, for the error.

    Raises:
        TypeError: If it is none of them.
    """
    if isinstance(value, ParameterRange):
        return value
    entry = value.as_tuning_range(path) if hasattr(value, "as_tuning_range") else value
    if isinstance(entry, Mapping) and "Values" in entry:
        return CategoricalParameter(entry["Values"])
    if isinstance(entry, Mapping) and {"MinValue", "MaxValue"} <= entry.keys():
        is_integer = getattr(value, "__name__", "") == "Integer"
        cls = IntegerParameter if is_integer else ContinuousParameter
        return cls(entry["MinValue"], entry["MaxValue"], entry.get("ScalingType", "Auto"))
    raise TypeError(
        f"`{path}` is {value!r}, but must be a ContinuousParameter, IntegerParameter or "
        "CategoricalParameter."
    )


def write_ranges(ranges: Mapping[str, ParameterRange]) -> dict[str, list[dict[str, Any]]]:
    """Return the API's ``ParameterRanges``: all three lists, empty ones too.

    Example:
        >>> write_ranges({"epochs": IntegerParameter(1, 9)})["IntegerParameterRanges"]
        [{'Name': 'epochs', 'MinValue': '1', 'MaxValue': '9', 'ScalingType': 'Auto'}]
    """
    return {
        f"{kind}ParameterRanges": [
            entry.as_tuning_range(name) for name, entry in ranges.items() if entry.__name__ == kind
        ]
        for kind in _KINDS
    }


def read_ranges(api_ranges: Mapping[str, Any]) -> dict[str, ParameterRange]:
    """Return the ranges of an API response, scaling types included.

    Example:
        >>> read_ranges(write_ranges({"momentum": ContinuousParameter(0.5, 0.9, "Linear")}))
        {'momentum': ContinuousParameter(0.5, 0.9, 'Linear')}
    """
    ranges: dict[str, ParameterRange] = {}
    for entry in api_ranges.get("IntegerParameterRanges", []):
        ends = _read_number(entry["MinValue"]), _read_number(entry["MaxValue"])
        ranges[entry["Name"]] = IntegerParameter(*ends, entry.get("ScalingType", "Auto"))
    for entry in api_ranges.get("ContinuousParameterRanges", []):
        ends = _read_number(entry["MinValue"]), _read_number(entry["MaxValue"])
        ranges[entry["Name"]] = ContinuousParameter(*ends, entry.get("ScalingType", "Auto"))
    for entry in api_ranges.get("CategoricalParameterRanges", []):
        ranges[entry["Name"]] = CategoricalParameter(entry["Values"])
    return ranges


def _read_number(text: str) -> float | str:
    """Return the number, or the text where the number would be written differently."""
    readers: tuple[type[int] | type[float], ...] = (int, float)
    for reader in readers:
        try:
            number = reader(text)
        except ValueError:
            continue
        if str(number) == text:
            return number
    return text
