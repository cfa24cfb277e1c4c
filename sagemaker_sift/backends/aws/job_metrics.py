"""The metrics of a training job, read from its log as CloudWatch Logs keeps it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sagemaker_sift.backends.aws.clients import AwsClients
from sagemaker_sift.backends.aws.log_streams import LogPosition, read_streams
from sagemaker_sift.backends.errors import translate_errors
from sagemaker_sift.backends.metric_definitions import MetricReader
from sagemaker_sift.contract.metrics import MetricPoint
from sagemaker_sift.exceptions import AccessDeniedError


@dataclass(slots=True)
class _Series:
    """What was read of one job so far."""

    reader: MetricReader
    points: list[MetricPoint] = field(default_factory=list)
    position: LogPosition | None = None


class JobMetrics:
    """Reads the metrics of jobs; what was read once is kept, and only the rest is asked for.

    Args:
        clients: Of the session.
    """

    def __init__(self, clients: AwsClients) -> None:
        self._clients = clients
        self._series: dict[str, _Series] = {}
        self._lock = threading.Lock()

    def read(self, job_name: str) -> list[MetricPoint]:
        """Return every value that a job has reported, by time.

        Where the log may not be read, or is no longer there, it is the last value of each metric
        that the job's description has.

        Raises:
            NotFoundError: If there is no such job.
        """
        with self._lock:  # two readers must not both take the same lines
            return self._read_on(job_name)

    def _read_on(self, job_name: str) -> list[MetricPoint]:
        series = self._series.get(job_name)
        if series is None:
            specification = self._describe(job_name)["AlgorithmSpecification"]
            series = _Series(MetricReader(specification.get("MetricDefinitions", [])))
        try:
            lines, position = read_streams(self._clients.get("logs"), job_name, series.position)
        except AccessDeniedError:
            return _read_final(self._describe(job_name))
        for line in lines:
            series.points += series.reader.read(line.text, line.time_s)
        series.position = position
        self._series[job_name] = series
        if not position or not series.points:  # no log yet, or no definitions to read it with
            return _read_final(self._describe(job_name))
        return sorted(series.points, key=lambda point: point.time_s)

    def _describe(self, job_name: str) -> Mapping[str, Any]:
        with translate_errors():
            description: Mapping[str, Any] = self._clients.get("sagemaker").describe_training_job(
                TrainingJobName=job_name
            )
        return description


def _read_final(description: Mapping[str, Any]) -> list[MetricPoint]:
    points = [
        MetricPoint(entry["MetricName"], float(entry["Value"]), entry["Timestamp"].timestamp())
        for entry in description.get("FinalMetricDataList", [])
    ]
    return sorted(points, key=lambda point: point.time_s)
