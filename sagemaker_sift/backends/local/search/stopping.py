"""Which running training jobs are stopped before their end.

Source: developer guide, "Stop training jobs early"; API reference, ``HyperbandStrategyConfig``.
"""

from __future__ import annotations

import math
import statistics
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sagemaker_sift.contract.problem import Problem
from sagemaker_sift.exceptions import InvalidRequestError
from sagemaker_sift.requests.tuning_rules import EPOCHS_HYPERPARAMETERS

_ETA = 3
_LARGEST_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Curve:
    """The objective of one training job so far.

    Attributes:
        name: Of the training job.
        idx: Its number in the tuning job, from 0.
        values: The objective at every report, in order; usually one for each epoch.
        is_running: Whether it can still be stopped.
    """

    name: str
    idx: int
    values: Sequence[float]
    is_running: bool


class StoppingRule(ABC):
    """Finds jobs that are not worth their time."""

    @abstractmethod
    def find_hopeless(self, curves: Sequence[Curve]) -> dict[str, str]:
        """Return the running jobs to stop, and for each the reason in words.

        Args:
            curves: All jobs of the tuning job, ended ones too, each name once.
        """


class MedianRule(StoppingRule):
    """The service's early stopping, ``TrainingJobEarlyStoppingType`` ``Auto``.

    Let ``e`` be the number of reports of a running job. It is stopped if its latest value is
    worse than the median, over the other jobs with ``e`` reports or more, of the mean of their
    first ``e`` values.

    "Previous" jobs in the published rule are taken to be those that have come as far, whether
    they run or have ended, whatever their number: a late job can also end an early one. Without
    any there is no decision. NaN is worse than every number as a job's latest value, and left
    out of the others' means; a job with no finite value has no mean.

    Args:
        maximize: Whether a larger objective is better.

    Example:
        >>> rule = MedianRule(maximize=True)
        >>> rule.find_hopeless([
        ...     Curve(name="a", idx=0, values=[0.5, 0.75, 0.75], is_running=False),
        ...     Curve(name="b", idx=1, values=[0.25, 0.5], is_running=True)])
        {'b': 'report 2 is 0.5, worse than 0.625, the median of the others up to there'}
    """

    def __init__(self, *, maximize: bool) -> None:
        self._sign = 1.0 if maximize else -1.0

    def find_hopeless(self, curves: Sequence[Curve]) -> dict[str, str]:
        """Return the running jobs to stop, and for each the reason in words."""
        reasons = {}
        for curve in curves:
            num_reports = len(curve.values)
            if not curve.is_running or num_reports == 0:
                continue
            means = [
                _average(other.values[:num_reports])
                for other in curves
                if other is not curve and len(other.values) >= num_reports
            ]
            finite = [mean for mean in means if mean is not None]
            if not finite:
                continue
            median, value = statistics.median(finite), curve.values[-1]
            if _is_worse(self._sign * value, self._sign * median):
                reasons[curve.name] = (
                    f"report {num_reports} is {value:g}, worse than {median:g}, "
                    "the median of the others up to there"
                )
        return reasons


def _average(values: Sequence[float]) -> float | None:
    finite = [value for value in values if math.isfinite(value)]
    return statistics.fmean(finite) if finite else None


def _is_worse(value: float, median: float) -> bool:
    """Return whether ``value`` is below ``median``, by more than means are rounded."""
    if math.isnan(value):
        return True
    return value < median and not math.isclose(value, median, rel_tol=_LARGEST_ROUNDING)


class HyperbandRule(StoppingRule):
    """Hyperband by stopping alone: asynchronous successive halving in several brackets.

    The rungs are ``min_resource * 3 ** k`` reports, below ``max_resource``. Bracket 0 has all
    of them, bracket 1 lacks the first, and so on; jobs of the last bracket are never judged. Job
    numbers are dealt to the brackets in turn, in proportion to the number of jobs with which
    Hyperband starts each.

    At a rung, a job goes on if it is in the best third of the values seen at this rung in its
    bracket, its own among them. Where fewer than three were seen it goes on. It is judged once
    at each rung, when it gets there; what is found later changes nothing.

    ``max_resource`` is a hard end, too: a job that reports more often is stopped. (The service
    stops at that report; here a job that ends there by itself can save its model in peace.)

    **State**: which jobs were judged at which rung, in memory. After a restart jobs that run are
    judged again at the rungs they have passed, against all that is known by then.

    Source: Li et al. 2018, "Hyperband", Algorithm 1; Li et al. 2020, "A System for Massively
    Parallel Hyperparameter Tuning", Algorithm 2.

    Args:
        maximize: Whether a larger objective is better.
        min_resource: Reports before a job can be stopped, 1 or more.
        max_resource: Reports of the longest job.
    """

    def __init__(self, *, maximize: bool, min_resource: int, max_resource: int) -> None:
        if not 1 <= min_resource <= max_resource:
            raise InvalidRequestError([_describe_order(min_resource, max_resource)])
        self._sign = 1.0 if maximize else -1.0
        self._max_resource = max_resource
        self._rungs = _build_rungs(min_resource, max_resource)
        self._turns = _BracketTurns(len(self._rungs))
        self._judged: set[tuple[str, int]] = set()
        self._reasons: dict[str, str] = {}

    def find_hopeless(self, curves: Sequence[Curve]) -> dict[str, str]:
        """Return the running jobs to stop, and for each the reason in words."""
        running = [curve for curve in curves if curve.is_running]
        for rung in self._rungs:
            for curve in running:
                is_new = len(curve.values) >= rung and (curve.name, rung) not in self._judged
                if is_new and rung in self.find_rungs(curve.idx):
                    self._judged.add((curve.name, rung))
                    self._judge(curve, rung, curves)
        for curve in running:
            if len(curve.values) > self._max_resource:
                reason = f"it has used up max_resource, {self._max_resource} reports"
                self._reasons.setdefault(curve.name, reason)
        return {
            curve.name: self._reasons[curve.name]
            for curve in running
            if curve.name in self._reasons
        }

    def find_rungs(self, idx: int) -> list[int]:
        """Return the numbers of reports at which job ``idx`` is judged, the smallest first.

        Example:
            >>> rule = HyperbandRule(maximize=True, min_resource=1, max_resource=9)
            >>> [rule.find_rungs(idx) for idx in range(5)]
            [[1, 3], [3], [1, 3], [], [1, 3]]
        """
        return self._rungs[self._turns.find_bracket(idx) :]

    def _judge(self, curve: Curve, rung: int, curves: Sequence[Curve]) -> None:
        bracket = self._turns.find_bracket(curve.idx)
        seen = [
            self._read(other, rung)
            for other in curves
            if len(other.values) >= rung and self._turns.find_bracket(other.idx) == bracket
        ]
        own = self._read(curve, rung)
        rank = sum(value > own for value in seen) + 1
        if len(seen) >= _ETA and rank > len(seen) // _ETA:
            self._reasons.setdefault(
                curve.name,
                f"report {rung} is {curve.values[rung - 1]:g}, number {rank} of {len(seen)}; "
                f"the best {len(seen) // _ETA} go on",
            )

    def _read(self, curve: Curve, rung: int) -> float:
        value = curve.values[rung - 1]
        return -math.inf if math.isnan(value) else self._sign * value


class _BracketTurns:
    """Deals job numbers to brackets.

    Bracket ``b`` of ``n`` has ``s = n - 1 - b`` rungs and the weight
    ``ceil(n / (s + 1) * 3 ** s)``. Each number goes to the bracket with the largest quotient of
    its weight and one more than twice what it has (Webster's method), ties to the earlier.
    """

    def __init__(self, num_rungs: int) -> None:
        self._weights = [
            math.ceil((num_rungs + 1) / (rungs + 1) * _ETA**rungs)
            for rungs in range(num_rungs, -1, -1)
        ]
        self._counts = [0] * (num_rungs + 1)
        self._brackets: list[int] = []

    def find_bracket(self, idx: int) -> int:
        while len(self._brackets) <= idx:
            quotients = [
                weight / (2 * count + 1)
                for weight, count in zip(self._weights, self._counts, strict=True)
            ]
            bracket = quotients.index(max(quotients))
            self._counts[bracket] += 1
            self._brackets.append(bracket)
        return self._brackets[idx]


def _build_rungs(min_resource: int, max_resource: int) -> list[int]:
    rungs = []
    rung = min_resource
    while rung < max_resource:
        rungs.append(rung)
        rung *= _ETA
    return rungs


def read_resources(config: Mapping[str, Any] | None, static: Mapping[str, str]) -> tuple[int, int]:
    """Return the least and the most reports of a training job under Hyperband.

    Args:
        config: The API's ``HyperbandStrategyConfig``, or ``None``. What it lacks is 1 and the
            number of epochs.
        static: Static hyperparameters, as text; the number of epochs is the first of
            ``epochs``, ``numepochs``, ``n-epochs``, ``n_epochs`` and ``num_epochs``.

    Raises:
        InvalidRequestError: If nothing tells the most, if it is no whole number of 1 or more, or
            if the least is above the most.

    Example:
        >>> read_resources({"MinResource": 2}, {"epochs": "30"})
        (2, 30)
    """
    config = config or {}
    low, high = config.get("MinResource", 1), config.get("MaxResource")
    if high is None:
        high = _read_epochs(static)
    if not 1 <= low <= high:
        raise InvalidRequestError([_describe_order(low, high)])
    return int(low), int(high)


def _read_epochs(static: Mapping[str, str]) -> int:
    name = next((name for name in EPOCHS_HYPERPARAMETERS if name in static), None)
    if name is None:
        names = ", ".join(EPOCHS_HYPERPARAMETERS)
        message = f"lacks max_resource, and no static hyperparameter tells it ({names})."
        raise InvalidRequestError([Problem("strategy_config", f"{message} Give one.")])
    try:
        number = float(static[name])
    except ValueError:
        number = math.nan
    if not (number.is_integer() and number >= 1):
        message = f"is {static[name]!r}, but must be a whole number, 1 or more, for Hyperband."
        raise InvalidRequestError([Problem(name, message)])
    return int(number)


def _describe_order(low: int, high: int) -> Problem:
    message = f"has min_resource {low} and max_resource {high}, but needs 1 <= min <= max."
    return Problem("strategy_config", message)
