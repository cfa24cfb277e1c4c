"""The search of a tuning job, by its strategy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sagemaker_sift.backends.local.search.base import Searcher
from sagemaker_sift.backends.local.search.bayesian_searcher import BayesianSearcher
from sagemaker_sift.backends.local.search.grid_searcher import GridSearcher
from sagemaker_sift.backends.local.search.random_searcher import RandomSearcher
from sagemaker_sift.backends.local.search.space import Space
from sagemaker_sift.backends.local.search.trial import Trial
from sagemaker_sift.contract.problem import Problem, closest
from sagemaker_sift.exceptions import InvalidRequestError
from sagemaker_sift.strategy import STRATEGIES

__all__ = ["Searcher", "build_searcher"]


def build_searcher(
    strategy: str,
    ranges: Mapping[str, Any],
    *,
    maximize: bool,
    seed: int,
    parents: Sequence[Sequence[Trial]] = (),
    is_same_data: bool = True,
) -> Searcher:
    """Return the search of a tuning job.

    Args:
        strategy: The API's ``Strategy``. Hyperband draws at random; what makes it Hyperband is
            :class:`~sagemaker_sift.backends.local.search.stopping.HyperbandRule`.
        ranges: The API's ``ParameterRanges``.
        maximize: Whether a larger objective is better.
        seed: Of the tuning job, 0 or more.
        parents: For each parent of a warm start its training jobs, their ``values`` completed
            with what was static there. Jobs outside of today's ranges are dropped.
        is_same_data: Whether the warm start is IdenticalDataAndAlgorithm: objectives mean the
            same, and what the parents tried is not tried again. Otherwise it is
            TransferLearning.

    Raises:
        InvalidRequestError: If the strategy is unknown or the ranges are wrong.
        MissingDependencyError: If the strategy is Bayesian and Optuna is not installed.

    Example:
        >>> ranges = {"CategoricalParameterRanges": [{"Name": "depth", "Values": ["18", "34"]}]}
        >>> searcher = build_searcher("Grid", ranges, maximize=True, seed=0)
        >>> [searcher.suggest(idx, []) for idx in range(3)]
        [{'depth': '18'}, {'depth': '34'}, None]
    """
    space = Space.from_ranges(ranges)
    if strategy == "Bayesian":
        return BayesianSearcher(
            space, maximize=maximize, seed=seed, parents=parents, is_same_data=is_same_data
        )
    if strategy in {"Random", "Hyperband"}:
        known = [trial for trials in parents for trial in trials] if is_same_data else []
        return RandomSearcher(space, seed=seed, parents=known)
    if strategy == "Grid":
        return GridSearcher(space)
    hint = closest(strategy, STRATEGIES) or f" Known: {', '.join(STRATEGIES)}."
    message = f"is {strategy!r}, which the API does not know.{hint}"
    raise InvalidRequestError([Problem("strategy", message)])
