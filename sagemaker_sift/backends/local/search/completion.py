"""When a tuning job has found enough.

Source: API reference, ``TuningJobCompletionCriteria``, ``BestObjectiveNotImproving`` and
``ConvergenceDetected``: an improvement is 1% or more.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

_LEAST_GAIN = 0.01
_LEAST_WINDOW = 10


class Completion:
    """The completion criteria of one tuning job.

    A job improves if its objective is better than the best before it by 1% of that best or
    more. Jobs without an objective (failed, or NaN) are passed over everywhere: they say nothing
    of how good the search is.

    Args:
        criteria: The API's ``TuningJobCompletionCriteria``; ``None`` or empty has none.
        maximize: Whether a larger objective is better.

    Example:
        >>> completion = Completion({"TargetObjectiveMetricValue": 0.9}, maximize=True)
        >>> completion.find_reason([0.5, None, 0.9])
        'objective 0.9 reached the target, 0.9'
    """

    def __init__(self, criteria: Mapping[str, Any] | None, *, maximize: bool) -> None:
        criteria = criteria or {}
        self._sign = 1.0 if maximize else -1.0
        self._target: float | None = criteria.get("TargetObjectiveMetricValue")
        not_improving = criteria.get("BestObjectiveNotImproving") or {}
        self._most: int | None = not_improving.get("MaxNumberOfTrainingJobsNotImproving")
        converged = criteria.get("ConvergenceDetected") or {}
        self._is_convergence_enough = converged.get("CompleteOnConvergence") == "Enabled"

    def find_reason(self, objectives: Sequence[float | None]) -> str | None:
        """Return why the tuning job is complete, or ``None`` if it is not.

        Args:
            objectives: Of the training jobs that have ended, in the order in which they did;
                ``None`` for those without.
        """
        values = self._read(objectives)
        if self._target is not None and values:
            best = max(values)
            if best >= self._sign * self._target:
                return f"objective {self._sign * best:g} reached the target, {self._target:g}"
        num_not_improving = self.count_not_improving(objectives)
        if self._most is not None and num_not_improving >= self._most:
            return f"the last {num_not_improving} training jobs did not improve the best by 1%"
        if self._is_convergence_enough and self.has_converged(objectives):
            return "the search has converged"
        return None

    def count_not_improving(self, objectives: Sequence[float | None]) -> int:
        """Return how many jobs in a row, up to the last, did not improve.

        Example:
            >>> Completion(None, maximize=True).count_not_improving([0.5, 0.8, None, 0.804, 0.7])
            2
        """
        count, best = 0, -math.inf
        for value in self._read(objectives):
            count = 0 if _is_gain(best, value) else count + 1
            best = max(best, value)
        return count

    def has_converged(self, objectives: Sequence[float | None]) -> bool:
        """Return whether the search no longer gets better, asked for or not.

        A rule of this project, with the service's 1%: there are 20 objectives or more, and the
        latest of them, 10 or a third of all if that is more, did not together improve the best
        of those before by 1%.
        """
        values = self._read(objectives)
        window = max(_LEAST_WINDOW, math.ceil(len(values) / 3))
        if len(values) < 2 * _LEAST_WINDOW:
            return False
        return not _is_gain(max(values[:-window]), max(values[-window:]))

    def _read(self, objectives: Sequence[float | None]) -> list[float]:
        """Return the finite objectives; larger is better."""
        return [
            self._sign * value
            for value in objectives
            if value is not None and math.isfinite(value)
        ]


def _is_gain(best: float, value: float) -> bool:
    if math.isinf(best):
        return True
    return value > best and value - best >= _LEAST_GAIN * abs(best)
