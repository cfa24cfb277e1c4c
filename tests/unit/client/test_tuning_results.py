"""What comes back from a tuning job: progress, best job, tables, ends."""

from __future__ import annotations

import csv
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from sagemaker_sift import (
    HyperparameterTuner,
    HyperparameterTuningJobAnalytics,
    NotFoundError,
    TuningJob,
    TuningJobFailedError,
    TuningJobStoppedError,
)
from tests.supports.algorithms import NOW, build_session, build_trees_estimator, error
from tests.supports.tuning import INPUTS, LEAVES


def summary(number: int, status: str = "Completed", value: float | None = 0.5) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "TrainingJobName": f"tune-{number:03d}",
        "TrainingJobStatus": status,
        "TunedHyperParameters": {"max_leaf_nodes": str(number), "criterion": '"gini"'},
        "CreationTime": NOW,
        "TrainingStartTime": NOW,
    }
    if status == "Completed":
        entry["TrainingEndTime"] = NOW + timedelta(seconds=90 + number)
    if value is not None:
        metric = {"MetricName": "validation:accuracy", "Value": value}
        entry["FinalHyperParameterTuningJobObjectiveMetric"] = metric
    return entry


class ScriptedClient:
    """Answers with one description after the other, and with pages of summaries."""

    def __init__(self, descriptions: list[Any], summaries: list[dict[str, Any]]) -> None:
        self.descriptions = descriptions
        self.summaries = summaries
        self.calls: list[dict[str, Any]] = []
        self.stopped: list[str] = []

    def describe_hyper_parameter_tuning_job(
        self, HyperParameterTuningJobName: str
    ) -> dict[str, Any]:
        answer = self.descriptions.pop(0) if len(self.descriptions) > 1 else self.descriptions[0]
        if isinstance(answer, BaseException):
            raise answer
        result: dict[str, Any] = answer
        return result

    def list_training_jobs_for_hyper_parameter_tuning_job(self, **call: Any) -> dict[str, Any]:
        self.calls.append(dict(call))
        at = int(call.get("NextToken", 0))
        more = {"NextToken": str(at + 2)} if at + 2 < len(self.summaries) else {}
        return {"TrainingJobSummaries": self.summaries[at : at + 2], **more}

    def stop_hyper_parameter_tuning_job(self, HyperParameterTuningJobName: str) -> None:
        self.stopped.append(HyperParameterTuningJobName)


def describe(status: str, completed: int = 0, running: int = 0, **more: Any) -> dict[str, Any]:
    return {
        "HyperParameterTuningJobName": "tune",
        "HyperParameterTuningJobStatus": status,
        "HyperParameterTuningJobConfig": {
            "ResourceLimits": {"MaxNumberOfTrainingJobs": 3, "MaxParallelTrainingJobs": 2},
            "ParameterRanges": {
                "IntegerParameterRanges": [
                    {"Name": "max_leaf_nodes", "MinValue": "1", "MaxValue": "9"}
                ],
                "CategoricalParameterRanges": [{"Name": "criterion", "Values": ["gini"]}],
            },
        },
        "TrainingJobStatusCounters": {"Completed": completed, "InProgress": running},
        **more,
    }


def build_job(
    root: Path, descriptions: list[Any], summaries: list[dict[str, Any]] | None = None
) -> tuple[TuningJob, ScriptedClient]:
    session = build_session(root)
    client = ScriptedClient(descriptions, summaries or [])
    session.sagemaker_client = client
    return TuningJob("tune", session), client


def test_waiting_shows_a_line_for_each_change_and_no_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    best = {"BestTrainingJob": summary(2, value=0.91)}
    job, _ = build_job(
        tmp_path,
        [
            describe("InProgress", running=2),
            describe("InProgress", running=2),
            describe("InProgress", completed=1, running=1, **best),
            describe("Completed", completed=3, **best),
        ],
    )
    waits: list[float] = []
    job.wait(sleep=waits.append)
    assert capsys.readouterr().out.splitlines() == [
        "InProgress: 0 of 3 completed, 2 running",
        "InProgress: 1 of 3 completed, 1 running; best validation:accuracy 0.91 "
        '(tune-002: max_leaf_nodes=2, criterion="gini")',
        "Completed: 3 of 3 completed; best validation:accuracy 0.91 "
        '(tune-002: max_leaf_nodes=2, criterion="gini")',
    ]
    assert waits == [job.session.poll_s] * 3


def test_silence_is_silent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job, client = build_job(tmp_path, [describe("InProgress"), describe("Completed")])
    job.wait(logs=False, sleep=lambda seconds: None)
    assert capsys.readouterr().out == ""
    assert client.calls == []


def test_all_logs_follow_the_training_jobs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job, _ = build_job(tmp_path, [describe("InProgress"), describe("Completed")], [summary(1)])
    grown = iter([["one"], ["one", "two"]])

    def read_log(job_name: str, position: Any = None) -> tuple[list[str], Any]:
        lines = next(grown)
        return lines[position or 0 :], len(lines)

    job.session.read_log = read_log  # type: ignore[method-assign]
    job.wait("All", sleep=lambda seconds: None)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("tune-")]
    assert lines == ["tune-001: one", "tune-001: two"]


@pytest.mark.parametrize(
    ("status", "kind", "text"),
    [
        ("Failed", TuningJobFailedError, "Tuning job 'tune': No training job succeeded"),
        ("Stopped", TuningJobStoppedError, "Tuning job 'tune': was stopped."),
    ],
)
def test_other_ends_are_errors(
    tmp_path: Path, status: str, kind: type[Exception], text: str
) -> None:
    reason = "No training job succeeded after 5 attempts."
    job, _ = build_job(tmp_path, [describe(status, FailureReason=reason)])
    with pytest.raises(kind) as caught:
        job.wait(False)
    assert str(caught.value).startswith(text)


def test_a_job_that_is_deleted_meanwhile(tmp_path: Path) -> None:
    gone = error("Describe", "ResourceNotFound", "Requested resource not found.")
    job, _ = build_job(tmp_path, [describe("InProgress"), describe("InProgress"), gone])
    with pytest.raises(NotFoundError, match="'tune' was deleted while it was waited for"):
        job.wait(False, sleep=lambda seconds: None)


def test_an_interrupt_leaves_it_running_and_says_how_to_come_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job, client = build_job(tmp_path, [describe("InProgress")])

    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        job.wait(sleep=interrupt)
    assert "HyperparameterTuner.attach('tune')" in capsys.readouterr().err
    assert client.stopped == []


def test_stopping_leaves_an_ended_job_alone(tmp_path: Path) -> None:
    job, client = build_job(tmp_path, [describe("Completed")])
    job.stop()
    assert client.stopped == []
    job, client = build_job(tmp_path, [describe("InProgress")])
    job.stop()
    assert client.stopped == ["tune"]


def test_a_stop_that_comes_too_late_is_none(tmp_path: Path) -> None:
    job, client = build_job(tmp_path, [describe("InProgress"), describe("Completed")])

    def refuse(HyperParameterTuningJobName: str) -> None:
        raise error("Stop", "ValidationException", "The job is Completed.")

    client.stop_hyper_parameter_tuning_job = refuse  # type: ignore[method-assign]
    job.stop()


def test_children_are_listed_page_by_page(tmp_path: Path) -> None:
    job, client = build_job(tmp_path, [describe("Completed")], [summary(n) for n in range(5)])
    names = [one["TrainingJobName"] for one in job.training_jobs(status="Completed")]
    assert names == [f"tune-{n:03d}" for n in range(5)]
    assert [call.get("NextToken") for call in client.calls] == [None, "2", "4"]
    assert client.calls[0] == {
        "HyperParameterTuningJobName": "tune",
        "MaxResults": 100,
        "SortBy": "FinalObjectiveMetricValue",
        "StatusEquals": "Completed",
    }


def test_the_best_job_or_that_there_is_none(tmp_path: Path) -> None:
    job, _ = build_job(tmp_path, [describe("InProgress", BestTrainingJob=summary(4))])
    assert job.best_training_job()["TrainingJobName"] == "tune-004"
    job, _ = build_job(tmp_path, [describe("InProgress", BestTrainingJob={})])
    with pytest.raises(LookupError, match="'tune' has no best training job yet"):
        job.best_training_job()


def test_analytics_have_the_sdk_s_columns(tmp_path: Path) -> None:
    rows = [summary(1, value=0.5), summary(2, "Failed", None), summary(3, value=0.75)]
    job, client = build_job(tmp_path, [describe("Completed")], rows)
    analytics = HyperparameterTuningJobAnalytics("tune", job.session)
    frame = analytics.dataframe()
    assert list(frame.columns) == [
        "max_leaf_nodes",
        "criterion",
        "TrainingJobName",
        "TrainingJobStatus",
        "FinalObjectiveValue",
        "TrainingStartTime",
        "TrainingEndTime",
        "TrainingElapsedTimeSeconds",
    ]
    assert frame["max_leaf_nodes"].tolist() == [1.0, 2.0, 3.0]
    assert frame["criterion"].tolist() == ["gini"] * 3
    assert frame["TrainingElapsedTimeSeconds"].tolist()[::2] == [91.0, 93.0]
    assert frame["FinalObjectiveValue"].max() == 0.75
    assert analytics.tuning_ranges["max_leaf_nodes"]["MaxValue"] == "9"
    assert analytics.tuning_ranges["criterion"] == ["gini"]
    read = len(client.calls)
    analytics.dataframe()
    assert len(client.calls) == read
    analytics.dataframe(force_refresh=True)
    assert len(client.calls) == 2 * read


def test_analytics_go_to_a_csv_file(tmp_path: Path) -> None:
    job, _ = build_job(tmp_path, [describe("Completed")], [summary(1), summary(2, "Failed", None)])
    job.analytics.export_csv(tmp_path / "jobs.csv")
    with (tmp_path / "jobs.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["TrainingJobName"] for row in rows] == ["tune-001", "tune-002"]
    assert rows[0]["FinalObjectiveValue"] == "0.5"
    assert [path.name for path in tmp_path.glob("*jobs.csv*")] == ["jobs.csv"]


def test_the_best_estimator_describes_the_winning_job(tmp_path: Path) -> None:
    estimator = build_trees_estimator(tmp_path, volume_size=44, tags={"team": "a", "run": "7"})
    tuner = HyperparameterTuner(estimator, "validation:accuracy", LEAVES, max_jobs=3)
    tuner.fit(INPUTS, "tune", wait=False)
    request = estimator.unchecked_request(INPUTS, "tune-002")
    request["HyperParameters"] |= {
        "max_leaf_nodes": "77",
        "_tuning_objective_metric": "validation:accuracy",
    }
    client = tuner.sagemaker_session.sagemaker_client
    client.create_training_job(**request)
    best = tuner.best_estimator("tune-002")
    assert best.hyperparameters()["max_leaf_nodes"] == "77"
    assert "_tuning_objective_metric" not in best.hyperparameters()
    assert best.volume_size == 44
    assert best.tags == [{"Key": "team", "Value": "a"}, {"Key": "run", "Value": "7"}]
    assert best.latest_training_job is not None
    assert best.latest_training_job.name == "tune-002"
    by_summary = tuner.best_estimator({"TrainingJobName": "tune-002"})
    assert by_summary.hyperparameters() == best.hyperparameters()
