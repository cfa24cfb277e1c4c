"""Random search."""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Sequence

from sagemaker_sift.backends.local.search.base import Searcher
from sagemaker_sift.backends.local.search.space import Space, TriedPoints
from sagemaker_sift.backends.local.search.trial import Trial

_MOST_DRAWS = 64


class RandomSearcher(Searcher):
    """Draws uniformly from the unit cube; job ``idx`` has draws of its own.

    What was drawn for other jobs plays no part, but that nothing is tried twice: a point that
    was tried is drawn anew, and in a finite space every point comes before the search ends.

    Args:
        space: What is searched.
        seed: Of the whole tuning job, 0 or more.
        parents: Jobs of other tuning jobs that are not to be tried again either.

    Example:
        >>> space = Space.from_ranges(
        ...     {"CategoricalParameterRanges": [{"Name": "optimizer", "Values": ["sgd", "adam"]}]})
        >>> searcher = RandomSearcher(space, seed=0)
        >>> searcher.suggest(7, [Trial(values={"optimizer": "sgd"}, is_running=True)])
        {'optimizer': 'adam'}
    """

    def __init__(self, space: Space, *, seed: int, parents: Sequence[Trial] = ()) -> None:
        self._space = space
        self._seed = seed
        self._parents = tuple(parents)

    def suggest(self, idx: int, trials: Sequence[Trial]) -> dict[str, str] | None:
        """Return the hyperparameters of a training job; ``None`` if no point is left."""
        tried = TriedPoints(self._space, [trial.values for trial in (*self._parents, *trials)])
        return draw_untried(self._space, build_rng(self._seed, idx), tried)


def build_rng(seed: int, idx: int, purpose: str = "draw") -> random.Random:
    """Return the generator of one job, the same in every process and Python version.

    Args:
        seed: Of the tuning job.
        idx: Number of the training job.
        purpose: Different purposes have independent generators.
    """
    digest = hashlib.sha256(f"{purpose}:{seed}:{idx}".encode()).digest()
    return random.Random(int.from_bytes(digest[:16], "big"))


def draw_untried(space: Space, rng: random.Random, tried: TriedPoints) -> dict[str, str] | None:
    """Return a point that was not tried, drawn uniformly from the unit cube.

    Few points left are rarely hit; then one of them is drawn, each as likely as the other.

    Returns:
        ``None`` if no point is left. A continuous range of so few floats that all draws were
        tried counts as exhausted, too.
    """
    if tried.count_left() <= 0:
        return None
    for _ in range(_MOST_DRAWS):
        values = space.decode([rng.random() for _ in space.names])
        if values not in tried:
            return values
    if math.isinf(space.size):
        return None
    return tried.find_left(rng.randrange(int(tried.count_left())))
