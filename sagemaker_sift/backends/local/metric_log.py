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
