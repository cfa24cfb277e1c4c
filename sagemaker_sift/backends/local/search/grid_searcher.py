"""Grid search."""

from __future__ import annotations

import math
from collections.abc import Sequence

from sagemaker_sift.backends.local.search.base import Searcher
from sagemaker_sift.backends.local.search.space import Space
from sagemaker_sift.backends.local.search.trial import Trial
from sagemaker_sift.contract.problem import Problem
from sagemaker_sift.exceptions import InvalidRequestError


class GridSearcher(Searcher):
    """Every point once: job ``idx`` gets the ``idx``-th, the first name varies slowest.

    Parents play no part: a grid is asked for as a whole.

    Args:
        space: What is searched.

    Raises:
        InvalidRequestError: If the space has no countable points.
    """

    def __init__(self, space: Space) -> None:
        if math.isinf(space.size):
            endless = ", ".join(axis.name for axis in space.axes if math.isinf(axis.size))
            message = f"is 'Grid', but {endless} can take any number. Use CategoricalParameter."
            raise InvalidRequestError([Problem("strategy", message)])
        self._space = space

    def suggest(self, idx: int, trials: Sequence[Trial]) -> dict[str, str] | None:
        """Return the hyperparameters of a training job; ``None`` if no point is left."""
        return self._space.point(idx) if idx < self._space.size else None
