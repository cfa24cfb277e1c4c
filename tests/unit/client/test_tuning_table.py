"""The live table of a tuning job."""

from __future__ import annotations

import io
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from sagemaker_sift.exceptions import BackendError
from sagemaker_sift.results.tuning_progress import SilentTuning, TuningLines, choose_view
from sagemaker_sift.results.tuning_table import MAX_ROWS, TuningTable, build_table, select_rows
from tests.supports.algorithms import NOW, build_session
from tests.unit.client.test_tuning_results import ScriptedClient, describe, summary

START_S = NOW.timestamp()


def draw(description: dict[str, Any], jobs: list[dict[str, Any]], width: int = 120) -> list[str]:
    """Return the lines that stand on a terminal 65 s after the start."""
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    console.print(build_table(description, jobs, START_S + 65))
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_a_row_shows_values_status_objective_and_time_and_marks_the_best() -> None:
    jobs = [
        summary(1, value=0.5) | {"TrainingJobName": "tune-001-0123abcd"},
        summary(2, value=0.75),
        summary(3, "InProgress", None),
        summary(4, "Failed", None),
    ]
    jobs[1]["TunedHyperParameters"]["rate"] = "0.0237336524683"
    limits = {"MaxNumberOfTrainingJobs": 9, "MaxParallelTrainingJobs": 2}
    description = describe("InProgress", 2, 1, BestTrainingJob=jobs[1], CreationTime=NOW)
    config = {"ResourceLimits": limits | {"MaxRuntimeInSeconds": 3600}}
    lines = draw(description | {"HyperParameterTuningJobConfig": config}, jobs)
    assert lines[0] == (
        "tune  InProgress: 2 of 9 completed, 1 running; at most 2 at a time; "
        "ends after 1:00:00; elapsed 1:05"
    )
    assert [line.split() for line in lines[1:]] == [
        ["job", "max_leaf_nodes", "criterion", "rate", "status", "validation:accuracy", "time"],
        ["1", "1", "gini", "Completed", "0.5", "1:31"],
        ["tune-002", "2", "gini", "0.02373", "Completed", "0.75", "*", "1:32"],
        ["tune-003", "3", "gini", "InProgress", "1:05"],
        ["tune-004", "4", "gini", "Failed"],
    ]


def test_many_tuned_values_share_a_column() -> None:
    job = summary(1) | {"TunedHyperParameters": {f"p{idx}": "1.50" for idx in range(5)}}
    lines = draw(describe("InProgress"), [job])
    assert lines[1].split()[:3] == ["job", "values", "status"]
    assert "p0=1.5 p1=1.5 p2=1.5 p3=1.5 p4=1.5" in lines[2]


def test_of_many_jobs_the_best_and_those_that_run_stay() -> None:
    jobs = [summary(idx, value=idx / 100) for idx in range(40)]
    jobs[3] = summary(3, "InProgress", None)
    jobs[39] = summary(39, "Failed", None)
    best = summary(20, value=0.9)
    jobs[20] = best
    numbers = [int(job["TrainingJobName"][-3:]) for job in select_rows(jobs, "tune-020")]
    assert numbers == [3, 20, *range(26, 39)]
    assert len(numbers) == MAX_ROWS
    for job in jobs:
        if "FinalHyperParameterTuningJobObjectiveMetric" in job:
            job["FinalHyperParameterTuningJobObjectiveMetric"]["Type"] = "Minimize"
    numbers = [int(job["TrainingJobName"][-3:]) for job in select_rows(jobs, "tune-000")]
    assert numbers == [0, 1, 2, *range(3, 15)]
    assert draw(describe("InProgress", 39, 1, BestTrainingJob=best), jobs)[-1] == "and 25 more"


def test_of_too_many_that_run_the_latest_stay() -> None:
    jobs = [summary(idx, "InProgress", None) for idx in range(20)]
    jobs[0] = summary(0)
    numbers = [int(job["TrainingJobName"][-3:]) for job in select_rows(jobs, "tune-000", most=4)]
    assert numbers == [0, 17, 18, 19]


def test_it_lists_when_something_changes_and_outlives_a_list_that_fails() -> None:
    console = Console(file=io.StringIO(), width=100, height=10, force_terminal=True)
    answers: list[Any] = [[], BackendError("no", operation="List", code="x"), [summary(1)], []]
    now = [START_S]
    asked = []

    def list_jobs() -> list[dict[str, Any]]:
        answer = answers.pop(0)
        asked.append(answer)
        if isinstance(answer, BackendError):
            raise answer
        return list(answer)

    table = TuningTable(list_jobs, console, lambda: now[0])
    table.show(describe("InProgress"))
    table.show(describe("InProgress"))
    assert len(asked) == 1
    table.show(describe("InProgress", running=1))
    table.show(describe("InProgress", running=1))
    assert len(asked) == 3
    now[0] += 6
    table.show(describe("InProgress", running=1))
    table.close()
    assert answers == []
    assert isinstance(console.file, io.StringIO)
    assert "tune-001" in console.file.getvalue()


def test_nothing_is_drawn_before_anything_is_known() -> None:
    console = Console(file=io.StringIO(), width=100, force_terminal=True)
    TuningTable(lambda: [], console).close()
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue() == ""


class Terminal(io.StringIO):
    """Text that says it is a terminal."""

    def isatty(self) -> bool:
        """Return ``True``."""
        return True


@pytest.mark.parametrize(
    ("logs", "stream", "kind"),
    [
        (False, Terminal(), SilentTuning),
        ("None", Terminal(), SilentTuning),
        (None, Terminal(), SilentTuning),
        (True, Terminal(), TuningTable),
        ("All", Terminal(), TuningLines),
        (True, io.StringIO(), TuningLines),
    ],
    ids=["off", "none as text", "none", "terminal", "all", "pipe"],
)
def test_the_view_suits_the_terminal(
    logs: bool | str | None, stream: io.StringIO, kind: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", stream)
    assert type(choose_view(logs, describe("InProgress"), lambda: [])) is kind


def test_waiting_on_a_terminal_leaves_the_whole_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sagemaker_sift import TuningJob

    stream = Terminal()
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setenv("COLUMNS", "120")
    session = build_session(tmp_path)
    ended = {"HyperParameterTuningEndTime": NOW + timedelta(seconds=30), "CreationTime": NOW}
    session.sagemaker_client = ScriptedClient(
        [describe("InProgress", running=1), describe("Completed", 3, **ended)],
        [summary(1), summary(2), summary(3)],
    )
    TuningJob("tune", session).wait(sleep=lambda seconds: None)
    last = stream.getvalue().rsplit("Completed: 3 of 3", 1)[1]
    assert "elapsed 0:30" in last
    assert all(f"tune-00{number}" in last for number in (1, 2, 3))
    assert last.rstrip().endswith("\x1b[?25h")
