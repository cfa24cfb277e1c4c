"""Show how far a tuning job is: one line whenever something has changed."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol, TextIO

_MAX_SHOWN = 6


class TuningView(Protocol):
    """Shows a tuning job while somebody waits for it."""

    def show(self, description: Mapping[str, Any]) -> None:
        """Take a DescribeHyperParameterTuningJob response."""

    def close(self) -> None:
        """Stop showing."""


class SilentTuning:
    """Shows nothing."""

    def show(self, description: Mapping[str, Any]) -> None:
        """Show nothing."""

    def close(self) -> None:
        """Do nothing."""


class TuningLines:
    """Writes a line for each change of status, counters or best training job.

    Args:
        stream: Where to write.
        max_jobs: Training jobs that the tuning job may launch; ``None`` if unknown.
    """

    def __init__(self, stream: TextIO, max_jobs: int | None) -> None:
        self._stream = stream
        self._max_jobs = max_jobs
        self._shown = ""

    def show(self, description: Mapping[str, Any]) -> None:
        """Take a DescribeHyperParameterTuningJob response."""
        line = describe_progress(description, self._max_jobs)
        if line != self._shown:
            self._stream.write(line + "\n")
            self._stream.flush()
            self._shown = line

    def close(self) -> None:
        """Do nothing."""


def choose_view(
    logs: bool | str | None,
    description: Mapping[str, Any],
    list_jobs: Callable[[], Iterable[Mapping[str, Any]]],
) -> TuningView:
    """Return the view that suits the request and the terminal.

    Args:
        logs: ``False``, ``None`` or ``"None"`` for silence, ``"All"`` for lines between those of
            the logs, else a table on a terminal (with the package rich) and lines elsewhere.
        description: DescribeHyperParameterTuningJob response.
        list_jobs: Lists the summaries of the training jobs in the order of their launch.
    """
    if logs in {False, None, "None"}:
        return SilentTuning()
    if logs != "All" and sys.stdout.isatty() and importlib.util.find_spec("rich"):
        from sagemaker_sift.results.tuning_table import TuningTable  # noqa: PLC0415  # it builds on this module

        return TuningTable(list_jobs)
    return TuningLines(sys.stdout, read_max_jobs(description))


def read_max_jobs(description: Mapping[str, Any]) -> int | None:
    """Return how many training jobs a tuning job may launch; ``None`` if it does not say.

    Args:
        description: DescribeHyperParameterTuningJob response.
    """
    limits = description.get("HyperParameterTuningJobConfig", {}).get("ResourceLimits", {})
    number: int | None = limits.get("MaxNumberOfTrainingJobs")
    return number


def describe_progress(description: Mapping[str, Any], max_jobs: int | None = None) -> str:
    """Return status, counters and the best so far, in one line.

    Args:
        description: A DescribeHyperParameterTuningJob response.
        max_jobs: Training jobs that the tuning job may launch.

    Example:
        >>> describe_progress({"HyperParameterTuningJobStatus": "InProgress",
        ...     "TrainingJobStatusCounters": {"Completed": 3, "InProgress": 2}}, 10)
        'InProgress: 3 of 10 completed, 2 running'
    """
    counters = description.get("TrainingJobStatusCounters", {})
    completed = str(counters.get("Completed", 0))
    parts = [f"{completed} of {max_jobs} completed" if max_jobs else f"{completed} completed"]
    failed = counters.get("NonRetryableError", 0)
    for number, word in (
        (counters.get("InProgress", 0), "running"),
        (counters.get("RetryableError", 0), "to be tried again"),
        (counters.get("Stopped", 0), "stopped"),
        (failed, "failed"),
    ):
        if number:
            parts.append(f"{number} {word}")
    line = f"{description['HyperParameterTuningJobStatus']}: {', '.join(parts)}"
    best = description.get("BestTrainingJob") or {}
    objective = best.get("FinalHyperParameterTuningJobObjectiveMetric")
    if objective:
        line += f"; best {describe_best(best)}"
    return line


def describe_best(job: Mapping[str, Any]) -> str:
    """Return metric, value, name and tuned values of a training job's summary.

    Example:
        >>> describe_best({"TrainingJobName": "t-001", "TunedHyperParameters": {"beta_value": "2"},
        ...     "FinalHyperParameterTuningJobObjectiveMetric": {
        ...         "MetricName": "validation:accuracy", "Value": 0.9171875}})
        'validation:accuracy 0.917188 (t-001: beta_value=2)'
    """
    objective = job["FinalHyperParameterTuningJobObjectiveMetric"]
    tuned = list(job.get("TunedHyperParameters", {}).items())
    values = ", ".join(f"{name}={value}" for name, value in tuned[:_MAX_SHOWN])
    if len(tuned) > _MAX_SHOWN:
        values += ", ..."
    return (
        f"{objective['MetricName']} {objective['Value']:.6g} ({job['TrainingJobName']}: {values})"
    )
