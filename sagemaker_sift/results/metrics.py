"""The metrics of a training job as a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from sagemaker_sift.contract.metrics import MetricPoint
from sagemaker_sift.exceptions import MissingDependencyError
from sagemaker_sift.session import JobSession, adopt_session

if TYPE_CHECKING:
    import pandas as pd


class TrainingJobAnalytics:
    """The metrics that a training job has reported so far.

    Printing it shows them as a table, one row an epoch. The name and :meth:`dataframe` are those
    of the SageMaker SDK v2.

    Args:
        training_job_name: The job.
        metric_names: Only these; all by default.
        sagemaker_session: Where the job runs.
    """

    def __init__(
        self,
        training_job_name: str,
        metric_names: Sequence[str] | None = None,
        sagemaker_session: Any = None,
    ) -> None:
        self.name = training_job_name
        self._names = None if metric_names is None else set(metric_names)
        self._session: JobSession = adopt_session(sagemaker_session)

    def __str__(self) -> str:
        return format_table(self.rows())

    def points(self) -> list[MetricPoint]:
        """Return every reported value, in the order of reporting; read anew at each call."""
        points = self._session.read_metrics(self.name)
        return [point for point in points if self._names is None or point.name in self._names]

    def values(self, metric_name: str) -> list[float]:
        """Return the values of one metric, one an epoch, in order."""
        return [point.value for point in self.points() if point.name == metric_name]

    def last(self, metric_name: str) -> float | None:
        """Return the newest value of a metric, or ``None`` if it was not reported."""
        values = self.values(metric_name)
        return values[-1] if values else None

    def best(self, metric_name: str) -> float | None:
        """Return the largest value of a metric, or ``None`` if it was not reported."""
        return max(self.values(metric_name), default=None)

    def rows(self) -> list[dict[str, Any]]:
        """Return one row an epoch: ``epoch`` (from 0) and the value of each metric."""
        columns: dict[str, list[float]] = {}
        for point in self.points():
            columns.setdefault(point.name, []).append(point.value)
        num_rows = max(map(len, columns.values()), default=0)
        return [
            {"epoch": epoch}
            | {name: column[epoch] for name, column in columns.items() if epoch < len(column)}
            for epoch in range(num_rows)
        ]

    def dataframe(self) -> pd.DataFrame:
        """Return a DataFrame with the columns timestamp (s since the first), metric_name, value.

        Raises:
            MissingDependencyError: If pandas is not installed.
        """
        try:
            import pandas as pd  # noqa: PLC0415  # an extra, and slow to import: only when called
        except ImportError as error:
            raise MissingDependencyError(
                "pandas is not installed. Run: pip install 'sagemaker-sift[report]'"
            ) from error
        points = self.points()
        start = points[0].time_s if points else 0.0
        return pd.DataFrame(
            {
                "timestamp": [point.time_s - start for point in points],
                "metric_name": [point.name for point in points],
                "value": [point.value for point in points],
            }
        )


def format_table(rows: Sequence[dict[str, Any]]) -> str:
    """Return rows as aligned text, for a terminal.

    Example:
        >>> print(format_table([{"epoch": 0, "validation:accuracy": 0.5}]))
        epoch  validation:accuracy
            0             0.500000
    """
    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = [[_format_cell(row.get(name)) for name in names] for row in rows]
    widths = [
        max(len(name), *(len(line[idx]) for line in cells), 0) for idx, name in enumerate(names)
    ]

    def join(line: Sequence[str]) -> Iterator[str]:
        return (cell.rjust(width) for cell, width in zip(line, widths, strict=True))

    return "\n".join("  ".join(join(line)) for line in [names, *cells])


def _format_cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) >= 2 else f"{value:.6f}"
    return str(value)
