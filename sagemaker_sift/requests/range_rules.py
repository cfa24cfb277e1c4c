"""What makes a range wrong for one algorithm, and how many points it has.

Source: API reference, ``HyperParameterSpecification``; developer guide, "Define hyperparameter
ranges".
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from sagemaker_sift.contract.problem import Problem
from sagemaker_sift.parameter import ParameterRange
from sagemaker_sift.requests.hyperparameter_rules import (
    SOURCE,
    HyperparameterRules,
    describe,
    read_value,
)

_MAX_VALUES = 30


def find_range_problems(
    ranges: Mapping[str, ParameterRange],
    rules: HyperparameterRules,
    argument: str,
    *,
    strategy: str,
) -> Iterator[Problem]:
    """Yield what is wrong with ranges, by themselves and for the algorithm.

    Args:
        ranges: What a tuning job searches.
        rules: Hyperparameters of the algorithm.
        argument: Name of the ranges in errors.
        strategy: Grid searches numbers as categories; the others do not.
    """
    for name, entry in ranges.items():
        path = f"{argument}[{name!r}]"
        broken = entry.find_problems(path)
        yield from broken
        values = getattr(entry, "values", ())
        if len(values) > _MAX_VALUES:
            message = f"has {len(values)} values, but at most {_MAX_VALUES} are allowed."
            yield Problem(path, message, "documented limits of tuning jobs")
        if not rules.entries:
            continue
        if name not in rules.entries:
            yield Problem(path, rules.describe_unknown(name).message, SOURCE)
            continue
        declared = rules.entries[name]
        if not declared.get("IsTunable", False):
            tunable = [key for key, spec in rules.entries.items() if spec.get("IsTunable")]
            message = f"is not tunable, says the algorithm. Tunable are: {', '.join(tunable)}."
            yield Problem(path, message, SOURCE)
        elif not broken:
            yield from _check_fit(entry, declared, path, strategy)


def _check_fit(
    entry: ParameterRange, declared: Mapping[str, Any], path: str, strategy: str
) -> Iterator[Problem]:
    kind = declared.get("Type")
    is_grid_of_numbers = strategy == "Grid" and entry.__name__ == "Categorical"
    if entry.__name__ != kind and not is_grid_of_numbers:
        article = "an" if kind == "Integer" else "a"
        remedy = (
            f"Use {article} {kind}Parameter." if kind != "FreeText" else "Text is not searched."
        )
        message = f"is {entry!r}, but the hyperparameter is {kind}. {remedy}"
        yield Problem(path, message, SOURCE)
        return
    api = entry.as_tuning_range("")
    for text in api.get("Values") or [api["MinValue"], api["MaxValue"]]:
        try:
            read_value(text, declared)
        except ValueError:
            message = f"is {entry!r}, which reaches {text!r}, but must be {describe(declared)}."
            yield Problem(path, message, SOURCE)
            return


def count_combinations(ranges: Mapping[str, ParameterRange]) -> float:
    """Return how many points the ranges have together; infinite with a continuous one.

    A continuous range whose two ends are equal has one point.

    Example:
        >>> from sagemaker_sift.parameter import CategoricalParameter, IntegerParameter
        >>> count_combinations({"a": CategoricalParameter("xyz"), "b": IntegerParameter(1, 4)})
        4
    """
    count: float = 1
    for entry in ranges.values():
        api = entry.as_tuning_range("")
        if "Values" in api:
            count *= len(api["Values"])
        elif entry.__name__ == "Integer":
            try:
                count *= max(int(api["MaxValue"]) - int(api["MinValue"]) + 1, 1)
            except ValueError:
                return math.inf
        elif api["MinValue"] != api["MaxValue"]:
            return math.inf
    return count
