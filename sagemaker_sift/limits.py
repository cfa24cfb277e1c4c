"""How large a tuning job may be, and how to lift it.

Source: developer guide, "Use an algorithm to run a hyperparameter tuning job" (500 training jobs,
10 at a time, five parents) and "Automatic model tuning limits" (the quotas of today).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningLimits:
    """Limits that a tuning job is held to before it is sent.

    The defaults are the documented ones. AWS has raised some of them; :meth:`quota` gives the
    quotas of today, and any number may be given.

    Attributes:
        max_jobs: Training jobs of one tuning job.
        max_parallel_jobs: Training jobs at a time.
        max_parents: Parents of a warm start; the API itself takes at most five.
        max_tuned: Hyperparameters that are searched.
        max_metrics: Metric definitions of one tuning job.

    Example:
        >>> TuningLimits().max_jobs, TuningLimits.quota("Random").max_jobs
        (500, 10000)
        >>> TuningLimits(max_parallel_jobs=25).max_parallel_jobs
        25
    """

    max_jobs: int = 500
    max_parallel_jobs: int = 10
    max_parents: int = 5
    max_tuned: int = 30
    max_metrics: int = 40

    @classmethod
    def quota(cls, strategy: str = "Bayesian", *, max_parallel_jobs: int = 10) -> TuningLimits:
        """Return today's service quotas.

        Args:
            strategy: Random searches may have 10,000 training jobs, the others 750.
            max_parallel_jobs: 10 for every account; up to 100 after AWS has raised it for yours.
        """
        max_jobs = 10_000 if strategy == "Random" else 750
        return cls(max_jobs=max_jobs, max_parallel_jobs=max_parallel_jobs)
