"""The training jobs of one tuning job, and what they have come to."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sagemaker_sift.backends.local.metric_log import read_points
from sagemaker_sift.backends.local.response import to_response
from sagemaker_sift.backends.local.storage import LocalStorage
from sagemaker_sift.backends.local.store import LOST_SUPERVISOR, Record
from sagemaker_sift.backends.local.training_jobs import IN_PROGRESS

MAX_ATTEMPTS = 3
"""How often a training job is launched whose own processes were killed from outside."""


@dataclass(frozen=True, slots=True)
class TunedJob:
    """A training job that a tuning job has launched.

    Attributes:
        record: What the store knows of it.
        curve: Values of the objective metric so far, in order.
    """

    record: Record
    curve: Sequence[float] = ()

    @property
    def name(self) -> str:
        """Name of the training job."""
        return str(self.record["TrainingJobName"])

    @property
    def idx(self) -> int:
        """Which point of the search it tries, from 0; a second attempt has the same."""
        return int(self.record["Local"]["Idx"])

    @property
    def attempt(self) -> int:
        """Which attempt at that point it is, from 1."""
        return int(self.record["Local"]["Attempt"])

    @property
    def num_supervisor_losses(self) -> int:
        """How often the point was tried before in vain, as the job's own processes were killed."""
        return int(self.record["Local"].get("SupervisorLosses", 0))

    @property
    def has_lost_supervisor(self) -> bool:
        """Whether its own processes were killed, and not only the tuning job's coordinator."""
        return bool(self.record["Local"].get("Lost") == LOST_SUPERVISOR)

    @property
    def definition(self) -> str | None:
        """``DefinitionName``, or ``None``."""
        name: str | None = self.record["Local"].get("Definition")
        return name

    @property
    def values(self) -> dict[str, str]:
        """Tuned hyperparameters, as text."""
        return dict(self.record["Local"]["Tuned"])

    @property
    def status(self) -> str:
        """The API's ``TrainingJobStatus``."""
        return str(self.record["TrainingJobStatus"])

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self.status in IN_PROGRESS

    @property
    def is_lost(self) -> bool:
        """Whether it ended through no fault of its own, so that its point is tried again.

        That is: the process that supervised it was killed (at most three attempts), or the
        tuning job's coordinator was.
        """
        lost = self.record["Local"].get("Lost")
        if self.is_running or not lost or self.status == "Completed":
            return False
        return not self.has_lost_supervisor or self.num_supervisor_losses + 1 < MAX_ATTEMPTS

    @property
    def objective(self) -> float | None:
        """Final value of the objective metric: the last one reported.

        ``None`` while it runs, if it failed or was lost, and if the last value is not finite.
        """
        if self.is_running or self.is_lost or self.status == "Failed" or not self.curve:
            return None
        return self.curve[-1] if math.isfinite(self.curve[-1]) else None

    @property
    def objective_status(self) -> str:
        """The API's ``ObjectiveStatus``."""
        if self.is_running:
            return "Pending"
        return "Failed" if self.objective is None else "Succeeded"

    @property
    def end_idx(self) -> float:
        """Place in the order in which the coordinator saw training jobs end."""
        return float(self.record["Local"].get("EndIdx", math.inf))

    def summarize(self, tuning_job_name: str, metric: str, *, maximize: bool) -> dict[str, Any]:
        """Return the API's ``HyperParameterTrainingJobSummary``.

        Args:
            tuning_job_name: The tuning job.
            metric: Objective metric.
            maximize: Whether more is better.
        """
        summary = to_response(self.record, "HyperParameterTrainingJobSummary")
        summary["TunedHyperParameters"] = self.values
        summary["TuningJobName"] = tuning_job_name
        summary["ObjectiveStatus"] = self.objective_status
        if self.definition is not None:
            summary["TrainingJobDefinitionName"] = self.definition
        if self.objective is not None:
            summary["FinalHyperParameterTuningJobObjectiveMetric"] = {
                "Type": "Maximize" if maximize else "Minimize",
                "MetricName": metric,
                "Value": self.objective,
            }
        return summary


def read_tuned_job(record: Record, storage: LocalStorage, metric: str) -> TunedJob:
    """Return a recorded training job with its values of the objective metric."""
    noted = record["Local"].get("Curve")
    if noted is not None:
        return TunedJob(record, noted)
    points = read_points(storage.job_folder(record["TrainingJobName"]))
    return TunedJob(record, [point.value for point in points if point.name == metric])


def find_best(jobs: Iterable[TunedJob], *, maximize: bool) -> TunedJob | None:
    """Return the best of the jobs that have a final objective; of equal ones the earliest."""
    sign = 1 if maximize else -1
    best: TunedJob | None = None
    most = -math.inf
    for job in jobs:
        if job.objective is not None and sign * job.objective > most:
            best, most = job, sign * job.objective
    return best


def count_statuses(jobs: Iterable[TunedJob]) -> dict[str, int]:
    """Return the API's ``TrainingJobStatusCounters``."""
    counters = dict.fromkeys(
        ("Completed", "InProgress", "RetryableError", "NonRetryableError", "Stopped"), 0
    )
    for job in jobs:
        counters[_count_as(job)] += 1
    return counters


def _count_as(job: TunedJob) -> str:
    if job.is_running:
        return "InProgress"
    if job.is_lost:
        return "RetryableError"
    return "NonRetryableError" if job.status == "Failed" else job.status


def count_objectives(jobs: Iterable[TunedJob]) -> dict[str, int]:
    """Return the API's ``ObjectiveStatusCounters``."""
    counters = dict.fromkeys(("Succeeded", "Pending", "Failed"), 0)
    for job in jobs:
        counters[job.objective_status] += 1
    return counters
