"""The metrics of one job on disk: one JSON object a line, appended as they are reported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TextIO

from sagemaker_sift.contract.metrics import MetricPoint

METRICS_NAME = "metrics.jsonl"
"""Name of the file in the job's folder."""


def format_point(point: MetricPoint) -> str:
    r"""Return the line of a point, with its end.

    Example:
        >>> format_point(MetricPoint("loss", 0.5, 9.0))
        '{"name": "loss", "value": 0.5, "time_s": 9.0}\n'
    """
    line = {"name": point.name, "value": point.value, "time_s": point.time_s}
    return json.dumps(line) + "\n"


def write_point(file: TextIO, point: MetricPoint) -> None:
    """Append a point and flush it."""
    file.write(format_point(point))
    file.flush()


def read_points(folder: Path) -> list[MetricPoint]:
    """Return the points of a job's folder; a last line that is not complete yet is left out."""
    try:
        text = (folder / METRICS_NAME).read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    complete = text[: text.rfind("\n") + 1].splitlines()
    return [MetricPoint(**json.loads(line)) for line in complete]


class CurveReader:
    """Reads the values of one metric as they come, each line once.

    Args:
        folder: Of the job.
        metric: Name of the metric.
    """

    def __init__(self, folder: Path, metric: str) -> None:
        self._path = folder / METRICS_NAME
        self._metric = metric
        self._position = 0
        self._values: list[float] = []

    def read(self) -> list[float]:
        """Return all values so far, in order."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._position)
                content = file.read()
        except FileNotFoundError:
            return list(self._values)
        complete = content[: content.rfind(b"\n") + 1]
        self._position += len(complete)
        for line in complete.splitlines():
            point = json.loads(line)
            if point["name"] == self._metric:
                self._values.append(point["value"])
        return list(self._values)
