"""Show a tuning job as a live table: one row a training job."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sagemaker_sift.exceptions import BackendError
from sagemaker_sift.results.tuning_progress import describe_progress, read_max_jobs

if TYPE_CHECKING:
    from rich.console import RenderableType

MAX_ROWS = 15
_OTHER_LINES = 5  # header, which may take two, column names, footer, cursor
_MAX_COLUMNS = 4
_LIST_EVERY_S = 5.0
_RUNNING = {"InProgress", "Stopping"}
_STYLES = {"Completed": "green", "Failed": "red", "Stopped": "yellow"}
_FINAL = "FinalHyperParameterTuningJobObjectiveMetric"

Summary = Mapping[str, Any]


class TuningTable:
    """A table on a terminal that is drawn anew until it is closed; needs the package rich.

    Training jobs are listed when a counter has changed, and every five seconds: listing is what
    a service throttles. If they cannot be listed the last rows stay.

    Args:
        list_jobs: Lists the summaries of the training jobs in the order of their launch.
        console: A rich console; that of ``sys.stdout`` by default.
        clock: Epoch seconds.
    """

    def __init__(
        self,
        list_jobs: Callable[[], Iterable[Summary]],
        console: Any = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        from rich.live import Live  # noqa: PLC0415  # an extra, loaded where it is used

        self._list_jobs = list_jobs
        self._clock = clock
        self._description: Mapping[str, Any] = {}
        self._jobs: Sequence[Summary] = ()
        self._listed: tuple[Any, float] = (None, 0.0)
        self._live = Live(
            console=console,
            get_renderable=self._render,
            refresh_per_second=2,
        )
        self._is_started = False

    def show(self, description: Mapping[str, Any]) -> None:
        """Take a DescribeHyperParameterTuningJob response."""
        state = (
            description["HyperParameterTuningJobStatus"],
            description.get("TrainingJobStatusCounters"),
            description.get("BestTrainingJob"),
        )
        now = self._clock()
        if state != self._listed[0] or now - self._listed[1] > _LIST_EVERY_S:
            try:
                self._jobs = list(self._list_jobs())
                self._listed = state, now
            except BackendError:  # what is shown must not end the waiting
                self._listed = None, now
        self._description = description
        if not self._is_started:
            self._is_started = True
            self._live.start()
        self._live.refresh()

    def close(self) -> None:
        """Leave the table as it is."""
        if self._is_started:
            self._live.stop()

    def _render(self) -> RenderableType:
        if not self._description:  # rich asks once before anything is known
            return ""
        most = min(MAX_ROWS, max(1, self._live.console.height - _OTHER_LINES))
        return build_table(self._description, self._jobs, self._clock(), most)


def build_table(
    description: Mapping[str, Any], jobs: Sequence[Summary], now: float, most: int = MAX_ROWS
) -> RenderableType:
    """Return the header line and the table, for rich.

    Args:
        description: DescribeHyperParameterTuningJob response.
        jobs: Summaries of its training jobs in the order of their launch.
        now: Epoch seconds.
        most: Rows at most.
    """
    from rich.console import Group  # noqa: PLC0415  # an extra, loaded where it is used
    from rich.table import Table  # noqa: PLC0415  # the same
    from rich.text import Text  # noqa: PLC0415  # the same

    best = (description.get("BestTrainingJob") or {}).get("TrainingJobName")
    names = list(dict.fromkeys(name for job in jobs for name in job["TunedHyperParameters"]))
    columns = names if len(names) <= _MAX_COLUMNS else ["values"]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    metric = next((job[_FINAL]["MetricName"] for job in jobs if _FINAL in job), "objective")
    for name in ("job", *columns, "status", metric, "time"):
        is_number = name in {metric, "time"}
        table.add_column(Text(name), justify="right" if is_number else "left", no_wrap=True)
    rows = select_rows(jobs, best, most)
    for job in rows:
        tuned = {name: shorten(text) for name, text in job["TunedHyperParameters"].items()}
        if len(names) > _MAX_COLUMNS:
            tuned = {"values": " ".join(f"{name}={text}" for name, text in tuned.items())}
        status = job["TrainingJobStatus"]
        mark = " *" if job["TrainingJobName"] == best else "  "
        objective = f"{job[_FINAL]['Value']:.6g}" if _FINAL in job else ""
        table.add_row(
            Text(read_number(job["TrainingJobName"])),
            *(Text(tuned.get(name, "")) for name in columns),
            Text(status, style=_STYLES.get(status, "cyan")),
            Text(objective + mark),
            Text(_describe_elapsed(job, now)),
            style="bold" if job["TrainingJobName"] == best else None,
        )
    header = Text(describe_header(description, now), style="bold", overflow="fold")
    hidden = len(jobs) - len(rows)
    footer = [Text(f"and {hidden} more", style="dim")] if hidden else []
    return Group(header, *([table] if rows else []), *footer)


def select_rows(jobs: Sequence[Summary], best: str | None, most: int = MAX_ROWS) -> list[Summary]:
    """Return the training jobs to show, in the order of their launch.

    The best one stays, then come those that run (the latest, if they are too many), those with
    the best objectives, and the latest of the others.

    Args:
        jobs: Summaries in the order of their launch.
        best: Name of the best one, if there is one.
        most: Rows at most.

    Example:
        >>> jobs = [{"TrainingJobName": name, "TrainingJobStatus": status}
        ...     for name, status in (("a", "Failed"), ("b", "Completed"), ("c", "InProgress"))]
        >>> [job["TrainingJobName"] for job in select_rows(jobs, "b", most=2)]
        ['b', 'c']
    """

    def rank(idx: int) -> tuple[bool, bool, float, int]:
        job = jobs[idx]
        return (
            job["TrainingJobName"] != best,
            job["TrainingJobStatus"] not in _RUNNING,
            -_read_merit(job),
            -idx,
        )

    chosen = sorted(range(len(jobs)), key=rank)[:most]
    return [jobs[idx] for idx in sorted(chosen)]


def _read_merit(job: Summary) -> float:
    """Return the objective, more is better; without one the least."""
    objective = job.get(_FINAL)
    if objective is None:
        return float("-inf")
    value = float(objective["Value"])
    return -value if objective.get("Type") == "Minimize" else value


def describe_header(description: Mapping[str, Any], now: float) -> str:
    """Return name, status, counters, limits and elapsed time, in one line.

    Args:
        description: DescribeHyperParameterTuningJob response.
        now: Epoch seconds.

    Example:
        >>> describe_header({"HyperParameterTuningJobName": "t",
        ...     "HyperParameterTuningJobStatus": "InProgress",
        ...     "HyperParameterTuningJobConfig": {"ResourceLimits": {
        ...         "MaxNumberOfTrainingJobs": 9, "MaxParallelTrainingJobs": 2}}}, 0.0)
        't  InProgress: 0 of 9 completed; at most 2 at a time'
    """
    counters = {**description, "BestTrainingJob": None}
    parts = [describe_progress(counters, read_max_jobs(description))]
    limits = description.get("HyperParameterTuningJobConfig", {}).get("ResourceLimits", {})
    if "MaxParallelTrainingJobs" in limits:
        parts.append(f"at most {limits['MaxParallelTrainingJobs']} at a time")
    if "MaxRuntimeInSeconds" in limits:
        parts.append(f"ends after {format_duration(limits['MaxRuntimeInSeconds'])}")
    created: datetime | None = description.get("CreationTime")
    if created is not None:
        ended: datetime | None = description.get("HyperParameterTuningEndTime")
        end_s = ended.timestamp() if ended is not None else now
        parts.append(f"elapsed {format_duration(end_s - created.timestamp())}")
    return f"{description['HyperParameterTuningJobName']}  {'; '.join(parts)}"


def read_number(name: str) -> str:
    """Return the number in the name of a training job, or the name if it has none.

    Example:
        >>> read_number("digits-003-6d5afe4d"), read_number("job")
        ('3', 'job')
    """
    found = re.search(r"-0*(\d+)-[0-9a-f]{8}$", name)
    return found[1] if found else name


def shorten(text: str) -> str:
    """Return a tuned value with four digits; one that is no real number as it is.

    Example:
        >>> shorten("0.0237336524683"), shorten('"sgd"'), shorten("50000")
        ('0.02373', 'sgd', '50000')
    """
    plain = text.strip('"')
    try:
        return f"{float(plain):.4g}" if re.search(r"[.eE]", plain) else plain
    except ValueError:
        return plain


def format_duration(seconds: float) -> str:
    """Return a duration as ``minutes:seconds`` or ``hours:minutes:seconds``.

    Example:
        >>> format_duration(75.4), format_duration(3600)
        ('1:15', '1:00:00')
    """
    minutes, rest = divmod(max(0, int(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _describe_elapsed(job: Summary, now: float) -> str:
    start: datetime | None = job.get("TrainingStartTime")
    if start is None:
        return ""
    end: datetime | None = job.get("TrainingEndTime")
    if end is None and job["TrainingJobStatus"] not in _RUNNING:
        return ""
    return format_duration((end.timestamp() if end else now) - start.timestamp())
