"""What an algorithm says of its hyperparameters, and what breaks it.

An algorithm says it in its ``TrainingSpecification``. The bundled algorithm is held to the
contract besides, which also knows what does not go together.

Source: API reference, ``HyperParameterSpecification``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from sagemaker_sift.contract.hyperparameter import to_text
from sagemaker_sift.contract.hyperparameters import SPECS, Hyperparameters, read_values
from sagemaker_sift.contract.problem import ContractError, Problem, closest
from sagemaker_sift.contract.specification import is_bundled
from sagemaker_sift.requests.plain_value import to_plain

SOURCE = "algorithm's specification"
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_RANGES = {
    "Integer": "IntegerParameterRangeSpecification",
    "Continuous": "ContinuousParameterRangeSpecification",
    "Categorical": "CategoricalParameterRangeSpecification",
}


class HyperparameterRules:
    """The hyperparameters that one algorithm has.

    Args:
        specification: Its ``TrainingSpecification``.

    Attributes:
        entries: ``HyperParameterSpecification`` by name. Empty if the algorithm declares none,
            which means that it takes any.

    Example:
        >>> rules = HyperparameterRules({"SupportedHyperParameters": [
        ...     {"Name": "max_leaf_nodes", "Type": "Integer", "DefaultValue": "100", "Range": {
        ...         "IntegerParameterRangeSpecification": {"MinValue": "1", "MaxValue": "500"}}}]})
        >>> print(*rules.find_problems({"max_leaf_nodes": 501, "depth": 3}), sep=chr(10))
        `max_leaf_nodes` is 501, but must be an integer from 1 to 500. [algorithm's specification]
        `depth` is not a hyperparameter of this algorithm. It has: max_leaf_nodes. [algorithm's
        specification]
        >>> rules.complete({"max_leaf_nodes": 10})
        {'max_leaf_nodes': '10'}
    """

    def __init__(self, specification: Mapping[str, Any]) -> None:
        declared = specification.get("SupportedHyperParameters") or []
        self.entries: dict[str, Mapping[str, Any]] = {
            str(entry["Name"]): entry for entry in declared if entry.get("Name")
        }
        self.is_bundled = is_bundled(specification)

    def find_problems(self, values: Mapping[str, Any]) -> list[Problem]:
        """Return what is wrong with each value by itself: unknown, of the wrong type, outside."""
        problems = read_values(values)[1] if self.is_bundled else []
        broken = {problem.path for problem in problems}
        for name, value in values.items():
            entry = self.entries.get(name)
            if name in broken or not self.entries or value is None:
                continue
            if entry is None:
                problems.append(self.describe_unknown(name))
            elif str(value) != str(entry.get("DefaultValue")):  # which the service has accepted
                try:
                    read_value(value, entry)
                except ValueError as error:
                    problems.append(Problem(name, str(error), SOURCE))
        return problems

    def describe_unknown(self, name: str) -> Problem:
        """Return the problem of a hyperparameter that the algorithm does not have."""
        known = ", ".join(list(self.entries)[:8]) + (", ..." if len(self.entries) > 8 else "")
        hint = closest(name, self.entries) or f" It has: {known}."
        return Problem(name, f"is not a hyperparameter of this algorithm.{hint}", SOURCE)

    def complete(self, values: Mapping[str, Any]) -> dict[str, str]:
        """Return the values as text, together with the algorithm's defaults.

        Values that break a rule are given as they are; :meth:`find_problems` tells of them.
        """
        texts = {
            name: str(entry["DefaultValue"])
            for name, entry in self.entries.items()
            if entry.get("DefaultValue") not in {None, ""}
        }
        if self.is_bundled:
            return self._complete_bundled(texts | dict(values))
        for name, value in values.items():
            if value is not None:
                texts[name] = _write_value(value, self.entries.get(name))
        return texts

    def find_missing(self, names: Iterable[str]) -> list[Problem]:
        """Return which required hyperparameters are not among ``names``."""
        given = set(names)
        if self.is_bundled:
            return [
                Problem(name, f"is required, but missing. It must be {spec.describe_range()}.")
                for name, spec in SPECS.items()
                if spec.is_required and name not in given
            ]
        return [
            Problem(name, f"is required, but missing. It must be {describe(entry)}.", SOURCE)
            for name, entry in self.entries.items()
            if entry.get("IsRequired") and name not in given
        ]

    def find_conflicts(self, texts: Mapping[str, str]) -> list[Problem]:
        """Return everything that is wrong with the hyperparameters of one training job."""
        if not self.is_bundled:
            return [*self.find_problems(texts), *self.find_missing(texts)]
        try:
            Hyperparameters.from_strings(texts)
        except ContractError as error:
            problems = list(error.problems)
        else:
            problems = []
        broken = {problem.path for problem in problems}
        return problems + [one for one in self.find_problems(texts) if one.path not in broken]

    def _complete_bundled(self, values: Mapping[str, Any]) -> dict[str, str]:
        try:
            return Hyperparameters(**values).to_strings()
        except ContractError:
            readable, _ = read_values(values)
            defaults = {
                name: field.default
                for name, field in Hyperparameters.model_fields.items()
                if not SPECS[name].is_required and field.default not in {None, ()}
            }
            texts = {
                name: to_text(value, SPECS[name]) for name, value in (defaults | readable).items()
            }
            broken = {name: str(value) for name, value in values.items() if name not in readable}
            return texts | {name: text for name, text in broken.items() if text != "None"}


def read_value(value: Any, entry: Mapping[str, Any]) -> Any:
    """Return ``value`` in the type that the specification's entry declares.

    Args:
        value: Text, as the API carries it, or the Python value itself.
        entry: A ``HyperParameterSpecification``.

    Raises:
        ValueError: With the rule that it breaks, worded to follow the name.
    """
    kind = entry.get("Type")
    if kind == "Categorical":
        choices = find_choices(entry)
        text = _write_value(value, entry)
        if choices and text not in choices:
            raise ValueError(
                f"is {value!r}, but must be {describe(entry)}.{closest(text, choices)}"
            )
        return text
    if kind not in {"Integer", "Continuous"}:
        return str(value)
    number = _read_number(to_plain(value))
    low, high = find_bounds(entry)
    is_whole = kind == "Continuous" or number.is_integer()
    if not (math.isfinite(number) and is_whole and low <= number <= high):
        raise ValueError(f"is {value!r}, but must be {describe(entry)}.")
    return int(number) if kind == "Integer" else number


def _read_number(value: Any) -> float:
    """Return the number that a value is, or NaN; ``1_0`` and digits of other scripts are none."""
    if isinstance(value, bool) or (
        isinstance(value, str) and not _NUMBER.fullmatch(value.strip())
    ):
        return math.nan
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan


def find_bounds(entry: Mapping[str, Any]) -> tuple[float, float]:
    """Return smallest and largest value of a numeric entry; infinite where it declares none."""
    declared = (entry.get("Range") or {}).get(_RANGES.get(str(entry.get("Type")), ""), {})
    try:
        return float(declared["MinValue"]), float(declared["MaxValue"])
    except (KeyError, TypeError, ValueError):
        return -math.inf, math.inf


def find_choices(entry: Mapping[str, Any]) -> list[str]:
    """Return the values of a categorical entry; empty if it declares none."""
    declared = (entry.get("Range") or {}).get(_RANGES["Categorical"], {})
    return [str(value) for value in declared.get("Values", [])]


def describe(entry: Mapping[str, Any]) -> str:
    """Return the allowed values of an entry in words.

    Example:
        >>> describe({"Type": "Continuous"})
        'a number'
    """
    kind = entry.get("Type")
    if kind == "Categorical":
        return "one of " + ", ".join(find_choices(entry))
    noun = {"Integer": "an integer", "Continuous": "a number"}.get(str(kind), "text")
    low, high = find_bounds(entry)
    return noun if math.isinf(low) else f"{noun} from {_shorten(low)} to {_shorten(high)}"


def _shorten(number: float) -> str:
    return str(int(number)) if number.is_integer() and abs(number) < 1e15 else repr(number)


def _write_value(value: Any, entry: Mapping[str, Any] | None) -> str:
    """Return a Python value as the text that the entry wants."""
    value = to_plain(value)
    text = str(value)
    if entry is None:
        return text
    if entry.get("Type") == "Integer" and not re.fullmatch(r"-?\d+", text):
        number = _read_number(value)
        return str(int(number)) if number.is_integer() else text.strip()
    if entry.get("Type") == "Continuous":
        return text.strip()
    if entry.get("Type") == "Categorical" and isinstance(value, bool):
        words = (text, text.lower(), str(int(value)))
        return next((word for word in words if word in find_choices(entry)), text)
    return text
