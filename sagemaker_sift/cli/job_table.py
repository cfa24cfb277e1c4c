"""Jobs of this machine as lines of text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sagemaker_sift.backends.local.disk import StoredJob

_UNITS = ("B", "kB", "MB", "GB", "TB")
_HEADER = ("kind", "name", "status", "created", "time", "result", "size")


@dataclass(frozen=True, slots=True)
class JobRow:
    """One job in the table.

    Attributes:
        job: As it lies on disk.
        description: The API's description of it.
    """

    job: StoredJob
    description: Mapping[str, Any]

    def cells(self, now: float) -> tuple[str, ...]:
        """Return what stands in the columns.

        Args:
            now: Epoch seconds.
        """
        created: datetime = self.description["CreationTime"]
        end = now if self.job.is_running else self.job.end_time
        name = f"  {self.job.name}" if self.job.tuning_job else self.job.name
        return (
            self.job.kind,
            name,
            self.job.status,
            f"{created.astimezone():%Y-%m-%d %H:%M}",
            describe_duration(max(0.0, end - created.timestamp())),
            self._describe_result(),
            describe_size(self.job.num_bytes),
        )

    def _describe_result(self) -> str:
        if self.job.kind == "tuning":
            best = self.description.get("BestTrainingJob", {})
            objective = best.get("FinalHyperParameterTuningJobObjectiveMetric")
            return f"{objective['MetricName']} {objective['Value']:.4g}" if objective else ""
        metrics = {
            one["MetricName"]: one["Value"] for one in self.description["FinalMetricDataList"]
        }
        name = next((name for name in metrics if name.startswith("validation:")), None)
        name = name or next(iter(metrics), None)
        return "" if name is None else f"{name} {metrics[name]:.4g}"


def format_rows(rows: Sequence[JobRow], now: float) -> str:
    """Return the table.

    Args:
        rows: At least one.
        now: Epoch seconds.
    """
    lines = [_HEADER, *(row.cells(now) for row in rows)]
    widths = [max(len(line[idx]) for line in lines) for idx in range(len(_HEADER))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def describe_size(num_bytes: int) -> str:
    """Return a size for people.

    Example:
        >>> describe_size(0), describe_size(4096), describe_size(2_500_000)
        ('0 B', '4.1 kB', '2.5 MB')
    """
    size = float(num_bytes)
    for unit in _UNITS:
        if size < 1000 or unit == _UNITS[-1]:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    raise AssertionError


def describe_duration(seconds: float) -> str:
    """Return a duration for people.

    Example:
        >>> describe_duration(8.4), describe_duration(75), describe_duration(7260)
        ('8 s', '1 min 15 s', '2 h 1 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
