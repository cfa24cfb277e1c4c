"""What a tuning job has tried reads the same with the SDK v2 and here."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.interop.libraries import OURS, SDK, CheckingClient, build_client, build_session
from tests.interop.libraries import build_tuner as build
from tests.supports.algorithms import NOW

pytestmark = pytest.mark.interop


def build_finished(library: Any) -> Any:
    """Return the tuner of a job with three training jobs, on two pages."""
    jobs = [
        {
            "TrainingJobName": f"job-{idx}",
            "TrainingJobStatus": status,
            "TunedHyperParameters": {"min_gain": f"0.{idx}", "criterion": "gini"},
            "TrainingStartTime": NOW + timedelta(minutes=idx),
            **more,
        }
        for idx, (status, more) in enumerate(
            [
                ("Completed", finish(7, 0.9)),
                ("Stopped", finish(3, None)),
                ("InProgress", {}),
            ]
        )
    ]
    client = build_client()

    def list_jobs(NextToken: str = "0", **page: Any) -> dict[str, Any]:
        assert page["HyperParameterTuningJobName"] == "job"
        at = int(NextToken)
        more = {"NextToken": str(at + 2)} if at + 2 < len(jobs) else {}
        return {"TrainingJobSummaries": jobs[at : at + 2], **more}

    client.list_training_jobs_for_hyper_parameter_tuning_job = list_jobs  # type: ignore[attr-defined]
    tuner = build(library, client)
    tuner.fit({"training": "s3://bucket/train"}, job_name="job", wait=False)
    return tuner


def finish(minutes: int, value: float | None) -> dict[str, Any]:
    """Return what the summary of a training job that has ended says besides."""
    ended = {"TrainingEndTime": NOW + timedelta(minutes=minutes)}
    metric = {"MetricName": "validation:accuracy", "Value": value}
    objective = {} if value is None else {"FinalHyperParameterTuningJobObjectiveMetric": metric}
    return ended | objective


def test_the_table_is_the_same() -> None:
    theirs = build_finished(SDK).analytics().dataframe()
    ours = build_finished(OURS).analytics().dataframe()
    assert len(ours) == 3
    assert list(ours.columns) == list(theirs.columns)
    assert ours.to_dict("records")[0] == theirs.to_dict("records")[0]
    assert ours.equals(theirs)


def test_the_ranges_are_the_same() -> None:
    theirs, ours = (build_finished(library).analytics() for library in (SDK, OURS))
    assert ours.tuning_ranges == theirs.tuning_ranges
    assert ours.tuning_ranges["min_gain"]["MaxValue"] == "0.5"
    assert ours.name == theirs.name == "job"


def test_the_table_of_a_session_of_the_sdk() -> None:
    client: CheckingClient = build_finished(SDK).sagemaker_session.sagemaker_client
    analytics = OURS.HyperparameterTuningJobAnalytics("job", build_session(SDK, client))
    assert [row["TrainingJobName"] for row in analytics.rows()] == ["job-0", "job-1", "job-2"]
