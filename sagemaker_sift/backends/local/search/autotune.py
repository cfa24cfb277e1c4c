"""Ranges that nobody gave: what Autotune searches.

Source: API reference, ``AutoParameter`` and ``HyperParameterSpecification``. How the service
picks ranges is not published; the rule is this project's.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sagemaker_sift.parameter import (
    CategoricalParameter,
    ContinuousParameter,
    IntegerParameter,
    ParameterRange,
    write_ranges,
)
from sagemaker_sift.requests.hyperparameter_rules import (
    HyperparameterRules,
    find_bounds,
    find_choices,
    read_value,
)
from sagemaker_sift.requests.range_rules import find_range_problems

_MOST_VALUES = 30
_LARGEST_SENSIBLE = 1_000_000
"""A declared end beyond stands for "as large as you like"; such a range is not searched."""
_NEAR_ONE = 0.9


def choose_ranges(
    auto_parameters: Sequence[Mapping[str, str]], specification: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the ranges that a tuning job with Autotune searches.

    Around the hint ``h``, within what the algorithm declares:

    ========================== ===========================================================
    Integer, ``h >= 1``        ``h / 2`` to ``2 h``
    Continuous, ``h > 0``      ``h / 10`` to ``10 h``, Logarithmic
    ... from 0.9 to below 1,   ``1 - 10 (1 - h)`` to ``1 - (1 - h) / 10``,
    declared to end at 1       ReverseLogarithmic (momentum, decay rates)
    Categorical                all declared values, 30 at most
    ========================== ===========================================================

    Without a usable hint it is the declared range, if both ends are 1,000,000 at most in size.
    What remains without a range is left out, and so is what the algorithm does not call tunable;
    it keeps the algorithm's default. If the algorithm declares no hyperparameters at all, the
    hint tells the type; a word is then tried as it is.

    Args:
        auto_parameters: The API's ``AutoParameters``: ``Name`` and ``ValueHint``.
        specification: The algorithm's ``TrainingSpecification``.

    Returns:
        The API's ``ParameterRanges``, all three lists.

    Example:
        >>> ends = {"MinValue": "0", "MaxValue": "1"}
        >>> declared = {"ContinuousParameterRangeSpecification": ends}
        >>> choose_ranges([{"Name": "learning_rate", "ValueHint": "0.01"}], {
        ...     "SupportedHyperParameters": [{"Name": "learning_rate", "Type": "Continuous",
        ...         "IsTunable": True, "Range": declared}]})["ContinuousParameterRanges"][0]
        {'Name': 'learning_rate', 'MinValue': '0.001', 'MaxValue': '0.1',
         'ScalingType': 'Logarithmic'}
    """
    rules = HyperparameterRules(specification)
    chosen: dict[str, ParameterRange] = {}
    for parameter in auto_parameters:
        name, hint = parameter["Name"], parameter.get("ValueHint", "")
        entry = rules.entries.get(name) if rules.entries else _guess_entry(hint)
        for candidate in _find_candidates(entry or {}, hint):
            problems = find_range_problems({name: candidate}, rules, "auto", strategy="Bayesian")
            if not list(problems):
                chosen[name] = candidate
                break
    return write_ranges(chosen)


def _guess_entry(hint: str) -> dict[str, Any]:
    for kind in ("Integer", "Continuous"):
        try:
            read_value(hint, {"Type": kind})
        except ValueError:
            continue
        return {"Type": kind}
    values = {"CategoricalParameterRangeSpecification": {"Values": [hint]}}
    return {"Type": "Categorical", "Range": values}


def _find_candidates(entry: Mapping[str, Any], hint: str) -> Iterator[ParameterRange]:
    """Yield ranges, the best first; not all of them need be right."""
    kind = entry.get("Type")
    if kind == "Categorical":
        values = list(dict.fromkeys(find_choices(entry)))
        rest = [value for value in values if value != hint]
        first = [hint] if hint in values else []
        kept = {*first, *rest[: _MOST_VALUES - len(first)]}
        yield CategoricalParameter([value for value in values if value in kept])
        return
    if kind not in {"Integer", "Continuous"}:
        return
    low, high = find_bounds(entry)
    try:
        number = read_value(hint, entry)
    except ValueError:
        number = 0
    if kind == "Integer":
        yield from _find_integer_candidates(number, low, high)
    else:
        yield from _find_continuous_candidates(number, low, high)


def _find_integer_candidates(hint: int, low: float, high: float) -> Iterator[ParameterRange]:
    if hint >= 1:
        ends = max(hint // 2, 1, low), min(2 * hint, high)
        yield IntegerParameter(int(ends[0]), int(ends[1]))
    if _is_sensible(low, high):
        yield IntegerParameter(math.ceil(low), math.floor(high))


def _find_continuous_candidates(hint: float, low: float, high: float) -> Iterator[ParameterRange]:
    if _NEAR_ONE <= hint < 1 and high == 1:
        start, end = round(1 - 10 * (1 - hint), 12), round(1 - (1 - hint) / 10, 12)
        yield ContinuousParameter(max(start, low, 0.0), end, "ReverseLogarithmic")
    if hint > 0:
        start, end = _shorten(hint / 10), _shorten(hint * 10)
        yield ContinuousParameter(max(start, low), min(end, high), "Logarithmic")
    if _is_sensible(low, high):
        yield ContinuousParameter(low, high)


def _is_sensible(low: float, high: float) -> bool:
    return max(abs(low), abs(high)) <= _LARGEST_SENSIBLE


def _shorten(number: float) -> float:
    """Return a number without the noise of its last digits; 0.1 * 3 / 10 is no 0.03."""
    return float(f"{number:.12g}")
