"""What is known from a tuning job and its parents, in one list."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import NamedTuple


class Observation(NamedTuple):
    """One finished training job.

    Attributes:
        units: Where it lies in the unit cube.
        objective: Larger is better.
    """

    units: tuple[float, ...]
    objective: float


def pool_observations(
    parents: Sequence[Sequence[Observation]],
    own: Sequence[Observation],
    *,
    is_same_data: bool,
) -> list[Observation]:
    """Return the observations of all tuning jobs, the parents' first, on one scale.

    With other data the level and the spread of the objective differ, so that the best of one
    job can be below the worst of another. Each job's objectives, the own ones too, are then
    replaced by their distance from the job's median, in median absolute deviations.

    Args:
        parents: For each parent its observations.
        own: Those of the tuning job itself.
        is_same_data: Whether objectives are comparable as they are.

    Example:
        >>> parent = [Observation((unit,), level) for unit, level in ((0.1, 70), (0.2, 80))]
        >>> own = [Observation((0.3,), 0.5), Observation((0.4,), 0.75)]
        >>> [seen.objective for seen in pool_observations([parent], own, is_same_data=False)]
        [-1.0, 1.0, -1.0, 1.0]
    """
    if is_same_data or not any(parents):
        return [seen for job in (*parents, own) for seen in job]
    return [seen for job in (*parents, own) for seen in _standardise(job)]


def _standardise(job: Sequence[Observation]) -> list[Observation]:
    """Return one job's observations with median 0 and median absolute deviation 1.

    If more than half of the objectives are equal, the largest deviation becomes 1. Halves,
    because the distance of two large floats is no float.
    """
    if not job:
        return []
    halves = [seen.objective / 2 for seen in job]
    median = statistics.median(halves)
    distances = [half - median for half in halves]
    sizes = [abs(distance) for distance in distances]
    unit = statistics.median(sizes) or max(sizes) or 1.0
    return [
        Observation(seen.units, distance / unit)
        for seen, distance in zip(job, distances, strict=True)
    ]
