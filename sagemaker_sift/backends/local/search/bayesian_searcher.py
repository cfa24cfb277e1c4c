"""Bayesian search: Optuna's tree-structured Parzen estimator behind this project's scales.

Source: Bergstra et al. 2011, "Algorithms for Hyper-Parameter Optimization"; Watanabe 2023,
"Tree-Structured Parzen Estimator", https://arxiv.org/abs/2304.11127.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from sagemaker_sift.backends.local.search.axis import Axis, CategoricalAxis
from sagemaker_sift.backends.local.search.base import Searcher
from sagemaker_sift.backends.local.search.history import Observation, pool_observations
from sagemaker_sift.backends.local.search.random_searcher import build_rng, draw_untried
from sagemaker_sift.backends.local.search.space import Space, TriedPoints
from sagemaker_sift.backends.local.search.trial import Trial
from sagemaker_sift.exceptions import MissingDependencyError

NUM_STARTUP = 5
"""Observations before the model suggests; the draws until then are those of Random."""

_MOST_OBSERVATIONS = 300
_MOST_GOOD = 25  # all that the model's density of good points ever holds
_MOST_PROPOSALS = 4
_LARGEST_SEED = 2**32 - 1


class BayesianSearcher(Searcher):
    """Asks a model that is built anew from the jobs at every call.

    The model sees jobs that ended with a finite objective; of more than 300 the 25 best and the
    latest. Jobs that run count as bad, so that jobs in parallel spread out. Jobs that failed
    tell it nothing, but are not tried again in a finite space.

    Args:
        space: What is searched.
        maximize: Whether a larger objective is better.
        seed: Of the whole tuning job, 0 or more.
        parents: For each parent tuning job its training jobs; those that do not lie in the
            space are dropped.
        is_same_data: Whether the parents' objectives mean the same as this job's
            (IdenticalDataAndAlgorithm). If so, their points are not tried again. If not
            (TransferLearning), :func:`pool_observations` makes them comparable.

    Raises:
        MissingDependencyError: If Optuna is not installed.
    """

    def __init__(
        self,
        space: Space,
        *,
        maximize: bool,
        seed: int,
        parents: Sequence[Sequence[Trial]] = (),
        is_same_data: bool = True,
    ) -> None:
        self._optuna = _import_optuna()
        self._space = space
        self._seed = seed
        self._sign = 1.0 if maximize else -1.0
        self._is_same_data = is_same_data
        self._parents = [self._observe(trials) for trials in parents]
        jobs = [trial.values for trials in parents for trial in trials]
        self._tried_by_parents = jobs if is_same_data else []
        self._free = [idx for idx, axis in enumerate(space.axes) if axis.size > 1]

    def suggest(self, idx: int, trials: Sequence[Trial]) -> dict[str, str] | None:
        """Return the hyperparameters of a training job; ``None`` if no point is left."""
        own = [trial.values for trial in trials]
        tried = TriedPoints(self._space, [*self._tried_by_parents, *own])
        if tried.count_left() <= 0:
            return None
        observations = pool_observations(
            self._parents, self._observe(trials), is_same_data=self._is_same_data
        )
        if self._free and len(observations) >= NUM_STARTUP:
            running = [trial.values for trial in trials if trial.is_running]
            seed = build_rng(self._seed, idx, "model").randrange(_LARGEST_SEED)
            for values in self._propose(_select(observations), running, seed):
                if values not in tried:
                    return values
        return draw_untried(self._space, build_rng(self._seed, idx), tried)

    def _observe(self, trials: Sequence[Trial]) -> list[Observation]:
        """Return what the model can learn from; larger is better here."""
        pairs = ((self._space.encode(trial.values), trial) for trial in trials)
        return [
            Observation(units, self._sign * (trial.objective or 0.0))
            for units, trial in pairs
            if units is not None and trial.is_observed
        ]

    def _propose(
        self,
        observations: Sequence[Observation],
        running: Sequence[Mapping[str, str]],
        seed: int,
    ) -> Iterator[dict[str, str]]:
        """Yield what the model would try, the best first; each counts as running for the next."""
        optuna = self._optuna
        distributions = {
            self._space.names[idx]: _build_distribution(optuna, self._space.axes[idx])
            for idx in self._free
        }
        sampler = optuna.samplers.TPESampler(
            n_startup_trials=0, seed=seed, multivariate=True, constant_liar=True
        )
        with _silenced(optuna):
            study = optuna.create_study(sampler=sampler, direction="maximize")
        for observation in observations:
            study.add_trial(
                optuna.trial.create_trial(
                    params=self._to_params(observation.units),
                    distributions=distributions,
                    value=observation.objective,
                )
            )
        for values in running:
            units = self._space.encode(values)
            if units is not None:
                study.add_trial(
                    optuna.trial.create_trial(
                        params=self._to_params(units),
                        distributions=distributions,
                        state=optuna.trial.TrialState.RUNNING,
                    )
                )
        for _ in range(_MOST_PROPOSALS):
            yield self._from_params(study.ask(distributions).params)

    def _to_params(self, units: Sequence[float]) -> dict[str, Any]:
        """Return a point as Optuna has it: units, but texts for categories."""
        return {
            self._space.names[idx]: self._space.axes[idx].decode(units[idx])
            if isinstance(self._space.axes[idx], CategoricalAxis)
            else units[idx]
            for idx in self._free
        }

    def _from_params(self, params: Mapping[str, Any]) -> dict[str, str]:
        return {
            axis.name: axis.decode(0.5)
            if axis.size == 1
            else params[axis.name]
            if isinstance(axis, CategoricalAxis)
            else axis.decode(params[axis.name])
            for axis in self._space.axes
        }


def _select(observations: Sequence[Observation]) -> list[Observation]:
    """Return the observations that the model is built from, in their order.

    Building it takes about 0.1 ms for each.
    """
    if len(observations) <= _MOST_OBSERVATIONS:
        return list(observations)
    latest = len(observations) - (_MOST_OBSERVATIONS - _MOST_GOOD)
    best = heapq.nlargest(_MOST_GOOD, range(latest), key=lambda idx: observations[idx].objective)
    return [observations[idx] for idx in (*sorted(best), *range(latest, len(observations)))]


def _build_distribution(optuna: ModuleType, axis: Axis) -> Any:
    if isinstance(axis, CategoricalAxis):
        return optuna.distributions.CategoricalDistribution(axis.values)
    return optuna.distributions.FloatDistribution(0.0, 1.0)


def _import_optuna() -> ModuleType:
    try:
        import optuna  # noqa: PLC0415  # an extra, and slow to import: only for Bayesian search
    except ImportError as error:
        raise MissingDependencyError(
            "The strategy 'Bayesian' needs optuna on this machine, which is not installed. "
            "Run: pip install 'sagemaker-sift[local]'"
        ) from error
    return optuna


@contextmanager
def _silenced(optuna: ModuleType) -> Iterator[None]:
    """Keep Optuna from logging that a study was made, and leave its level as it was."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(verbosity)
