"""A training job as a search sees it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One training job of a tuning job.

    Attributes:
        values: Its tuned hyperparameters, as the API's text. More names do no harm.
        objective: Its final objective; ``None`` while it runs, or if it failed or reported NaN.
        is_running: Whether it has not ended yet.
        curve: Its objective at every report so far, in order.
    """

    values: Mapping[str, str]
    objective: float | None = None
    is_running: bool = False
    curve: Sequence[float] = ()

    @property
    def is_observed(self) -> bool:
        """Whether it has ended with a finite objective, so that a model can learn from it.

        Example:
            >>> Trial(values={}, objective=float("nan")).is_observed
            False
        """
        return not self.is_running and self.objective is not None and math.isfinite(self.objective)
