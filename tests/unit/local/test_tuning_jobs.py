"""Tuning jobs of the local SageMaker, really run: launched together, looked at one by one."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from sagemaker_sift.backends.local.client import LocalSageMaker
from tests.supports.dummy_algorithm import (
    NAME,
    build_tuning_request,
    list_training_jobs,
    register,
    wait_for_tuning_job,
    wait_until,
)

CATEGORIES = {
    "CategoricalParameterRanges": [
        {"Name": "x", "Values": ["0.1", "0.3"]},
        {"Name": "mode", "Values": ["plain", "nan"]},
    ]
}
JOBS: dict[str, dict[str, Any]] = {
    "plain": {"max_jobs": 5, "parallel": 2, "static": {"epochs": "2"}},
    "grid": {"max_jobs": None, "parallel": 4, "strategy": "Grid", "ranges": CATEGORIES},
    "failing": {"max_jobs": 9, "parallel": 1, "static": {"mode": "fail"}},
    "silent": {"max_jobs": 2, "parallel": 2, "static": {"mode": "silent"}},
    "target": {
        "max_jobs": 9,
        "parallel": 1,
        "TuningJobCompletionCriteria": {"TargetObjectiveMetricValue": 5.0},
    },
    "bayes": {"max_jobs": 3, "parallel": 1, "strategy": "Bayesian"},
}
WARM = {
    "ParentHyperParameterTuningJobs": [
        {"HyperParameterTuningJobName": "plain"},
        {"HyperParameterTuningJobName": "bayes"},
    ]
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("root")


@pytest.fixture(scope="module")
def client(root: Path) -> Iterator[LocalSageMaker]:
    client = LocalSageMaker(root)
    register(client, root)
    for name, options in JOBS.items():
        client.create_hyper_parameter_tuning_job(
            **build_tuning_request(root, name, **options),
            Tags=[{"Key": "team", "Value": "vision"}],
        )
    for name in JOBS:
        wait_for_tuning_job(client, name)
    yield client
    client.close()


@pytest.fixture(scope="module")
def warm(client: LocalSageMaker, root: Path) -> LocalSageMaker:
    """The client after a warm start of either kind."""
    for name, kind in (("same", "IdenticalDataAndAlgorithm"), ("other", "TransferLearning")):
        request = build_tuning_request(root, name, max_jobs=2, strategy="Bayesian")
        request["TrainingJobDefinition"]["StaticHyperParameters"] = {"epochs": "2"}
        request["WarmStartConfig"] = WARM | {"WarmStartType": kind}
        client.create_hyper_parameter_tuning_job(**request)
    for name in ("same", "other"):
        wait_for_tuning_job(client, name)
    return client


def describe(client: LocalSageMaker, name: str) -> dict[str, Any]:
    return client.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)


def test_a_tuning_job_completes_with_all_its_training_jobs(client: LocalSageMaker) -> None:
    description = describe(client, "plain")
    assert description["HyperParameterTuningJobStatus"] == "Completed"
    assert description["TrainingJobStatusCounters"] == {
        "Completed": 5,
        "InProgress": 0,
        "RetryableError": 0,
        "NonRetryableError": 0,
        "Stopped": 0,
    }
    assert description["ObjectiveStatusCounters"] == {"Succeeded": 5, "Pending": 0, "Failed": 0}
    assert description["HyperParameterTuningEndTime"] > description["CreationTime"]
    assert "FailureReason" not in description
    assert "Local" not in description


def test_the_best_is_the_one_whose_last_value_is_least(client: LocalSageMaker) -> None:
    jobs = list_training_jobs(client, "plain")
    values = {
        job["TrainingJobName"]: job["FinalHyperParameterTuningJobObjectiveMetric"]["Value"]
        for job in jobs
    }
    for job in jobs:
        x = float(job["TunedHyperParameters"]["x"])
        assert values[job["TrainingJobName"]] == pytest.approx((x - 0.3) ** 2 + 0.5)
    best = describe(client, "plain")["BestTrainingJob"]
    assert best["TrainingJobName"] == min(values, key=values.__getitem__)
    assert best["TuningJobName"] == "plain"
    assert best["ObjectiveStatus"] == "Succeeded"


def test_training_jobs_are_real_ones(client: LocalSageMaker, root: Path) -> None:
    summary = list_training_jobs(client, "plain")[0]
    name = summary["TrainingJobName"]
    job = client.describe_training_job(TrainingJobName=name)
    assert job["TuningJobArn"] == describe(client, "plain")["HyperParameterTuningJobArn"]
    assert job["HyperParameters"] == {
        "epochs": "2",
        "x": summary["TunedHyperParameters"]["x"],
        "_tuning_objective_metric": "loss",
    }
    assert [one["MetricName"] for one in job["FinalMetricDataList"]] == ["loss"]
    assert len((root / "training-jobs" / name / "log.txt").read_text().splitlines()) == 2
    archive = job["ModelArtifacts"]["S3ModelArtifacts"].removeprefix("file://")
    with tarfile.open(archive) as tar:
        assert tar.getnames() == ["model.txt"]
    listed = client.list_training_jobs(NameContains=name)["TrainingJobSummaries"]
    assert [one["TrainingJobStatus"] for one in listed] == ["Completed"]


def test_no_more_run_at_a_time_than_may(client: LocalSageMaker) -> None:
    moments = []
    for job in list_training_jobs(client, "plain"):
        moments += [(job["CreationTime"], 1), (job["TrainingEndTime"], -1)]
    running = most = 0
    for _, change in sorted(moments):
        running += change
        most = max(most, running)
    assert most == 2


def test_the_grid_is_complete_and_values_that_are_no_numbers_do_not_count(
    client: LocalSageMaker,
) -> None:
    jobs = list_training_jobs(client, "grid")
    tried = [tuple(job["TunedHyperParameters"].values()) for job in jobs]
    assert tried == [("0.1", "plain"), ("0.1", "nan"), ("0.3", "plain"), ("0.3", "nan")]
    states = [job["ObjectiveStatus"] for job in jobs]
    assert states == ["Succeeded", "Failed", "Succeeded", "Failed"]
    best = describe(client, "grid")["BestTrainingJob"]
    assert best["TunedHyperParameters"] == {"x": "0.3", "mode": "plain"}
    assert describe(client, "grid")["HyperParameterTuningJobStatus"] == "Completed"


def test_five_failures_end_a_tuning_job_with_the_services_words(client: LocalSageMaker) -> None:
    description = describe(client, "failing")
    assert description["HyperParameterTuningJobStatus"] == "Failed"
    assert description["FailureReason"].startswith("No training job succeeded after 5 attempts.")
    assert description["TrainingJobStatusCounters"]["NonRetryableError"] == 5
    assert "BestTrainingJob" not in description
    job = list_training_jobs(client, "failing")[0]
    assert "is too much, exit code: 1" in job["FailureReason"]


def test_jobs_that_do_not_report_the_metric_fail_the_tuning_job(client: LocalSageMaker) -> None:
    description = describe(client, "silent")
    assert description["FailureReason"].startswith("No objective metrics found after running 2")
    assert description["ObjectiveStatusCounters"]["Failed"] == 2


def test_a_target_ends_the_search(client: LocalSageMaker) -> None:
    description = describe(client, "target")
    assert description["HyperParameterTuningJobStatus"] == "Completed"
    assert description["TrainingJobStatusCounters"]["Completed"] == 1
    details = description["TuningJobCompletionDetails"]
    assert details["NumberOfTrainingJobsObjectiveNotImproving"] == 0


def test_overall_best_is_of_all_parents_and_only_on_identical_data(warm: LocalSageMaker) -> None:
    same, other = describe(warm, "same"), describe(warm, "other")
    values = [
        job["FinalHyperParameterTuningJobObjectiveMetric"]["Value"]
        for name in ("plain", "bayes", "same")
        for job in list_training_jobs(warm, name)
    ]
    overall = same["OverallBestTrainingJob"]
    assert overall["FinalHyperParameterTuningJobObjectiveMetric"]["Value"] == min(values)
    assert overall["TuningJobName"] in {"plain", "same"}
    assert "OverallBestTrainingJob" not in other
    assert other["BestTrainingJob"]["TuningJobName"] == "other"


def test_parents_results_are_fed_to_the_search(warm: LocalSageMaker, root: Path) -> None:
    """The same job without its parents, and with one of them, tries other points."""
    request = build_tuning_request(root, "cold", max_jobs=2, strategy="Bayesian")
    warm.create_hyper_parameter_tuning_job(**request)
    wait_for_tuning_job(warm, "cold")
    tried = {
        name: [job["TunedHyperParameters"]["x"] for job in list_training_jobs(warm, name)]
        for name in ("cold", "same", "other")
    }
    assert tried["cold"] != tried["same"]
    assert tried["cold"] != tried["other"]


@pytest.mark.parametrize(
    ("parents", "metric", "words"),
    [
        (["plain", "nothing"], "loss", "'nothing']` does not exist"),
        (list("abcdef"), "loss", "at most 5"),
        (["plain"], "accuracy", "accuracy"),
    ],
    ids=["missing", "six", "metric"],
)
def test_parents_that_do_not_go_are_refused(
    parents: list[str], metric: str, words: str, client: LocalSageMaker, root: Path
) -> None:
    request = build_tuning_request(root, "refused", max_jobs=2, static={"epochs": "2"})
    request["WarmStartConfig"] = {
        "ParentHyperParameterTuningJobs": [
            {"HyperParameterTuningJobName": name} for name in parents
        ],
        "WarmStartType": "IdenticalDataAndAlgorithm",
    }
    config = request["HyperParameterTuningJobConfig"]
    config["HyperParameterTuningJobObjective"]["MetricName"] = metric
    with pytest.raises(ClientError) as caught:
        client.create_hyper_parameter_tuning_job(**request)
    assert caught.value.response["Error"]["Code"] == "ValidationException"
    assert words in str(caught.value)


def test_training_jobs_are_listed_by_the_final_objective(client: LocalSageMaker) -> None:
    def names(**request: Any) -> list[str]:
        response = client.list_training_jobs_for_hyper_parameter_tuning_job(
            HyperParameterTuningJobName="grid", SortBy="FinalObjectiveMetricValue", **request
        )
        return [job["TunedHyperParameters"]["x"] for job in response["TrainingJobSummaries"]]

    assert names() == ["0.3", "0.1"]  # the best first; those without a value are left out
    assert names(SortOrder="Descending") == ["0.1", "0.3"]
    assert names(StatusEquals="Failed") == []


def test_tuning_jobs_are_listed_on_pages(client: LocalSageMaker) -> None:
    pages = client.get_paginator("list_hyper_parameter_tuning_jobs").paginate(
        NameContains="AI", PaginationConfig={"PageSize": 1}
    )
    found = [job for page in pages for job in page["HyperParameterTuningJobSummaries"]]
    assert [job["HyperParameterTuningJobName"] for job in found] == ["failing", "plain"]
    assert found[0]["TrainingJobStatusCounters"]["NonRetryableError"] == 5
    assert found[1]["ResourceLimits"]["MaxNumberOfTrainingJobs"] == 5
    assert found[1]["Strategy"] == "Random"


def test_tags_of_a_tuning_job_can_be_changed(client: LocalSageMaker) -> None:
    arn = describe(client, "bayes")["HyperParameterTuningJobArn"]
    client.add_tags(ResourceArn=arn, Tags=[{"Key": "more", "Value": "1"}])
    client.add_tags(ResourceArn=arn, Tags=[{"Key": "team", "Value": "audio"}])
    assert client.list_tags(ResourceArn=arn)["Tags"] == [
        {"Key": "team", "Value": "audio"},
        {"Key": "more", "Value": "1"},
    ]
    client.delete_tags(ResourceArn=arn, TagKeys=["team", "none"])
    assert client.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "more", "Value": "1"}]


def test_a_name_is_taken_in_whatever_case(client: LocalSageMaker, root: Path) -> None:
    with pytest.raises(ClientError) as caught:
        client.create_hyper_parameter_tuning_job(**build_tuning_request(root, "PLAIN"))
    assert caught.value.response["Error"]["Code"] == "ResourceInUse"


def test_a_completed_job_is_neither_stopped_nor_resumed(client: LocalSageMaker) -> None:
    with pytest.raises(ClientError, match=r"has ended already \(Completed\)"):
        client.stop_hyper_parameter_tuning_job(HyperParameterTuningJobName="plain")
    with pytest.raises(ClientError, match="only one that was stopped or interrupted goes on"):
        client.resume_hyper_parameter_tuning_job(HyperParameterTuningJobName="plain")
    assert describe(client, "plain")["HyperParameterTuningJobStatus"] == "Completed"


def test_a_stopped_job_keeps_its_models_and_can_be_resumed(
    client: LocalSageMaker, root: Path
) -> None:
    request = build_tuning_request(root, "stopped", max_jobs=3, static={"mode": "wait"})
    client.create_hyper_parameter_tuning_job(**request)
    wait_until(lambda: len(list_training_jobs(client, "stopped")) == 2)
    with pytest.raises(ClientError) as caught:
        client.delete_hyper_parameter_tuning_job(HyperParameterTuningJobName="stopped")
    assert "Stop it first" in str(caught.value)
    with pytest.raises(ClientError, match="'dummy' is run by"):
        client.delete_algorithm(AlgorithmName=NAME)
    client.stop_hyper_parameter_tuning_job(HyperParameterTuningJobName="stopped")
    assert wait_for_tuning_job(client, "stopped")["HyperParameterTuningJobStatus"] == "Stopped"
    first = list_training_jobs(client, "stopped")
    assert [job["TrainingJobStatus"] for job in first] == ["Stopped", "Stopped"]
    for job in first:
        described = client.describe_training_job(TrainingJobName=job["TrainingJobName"])
        model = described["ModelArtifacts"]["S3ModelArtifacts"].removeprefix("file://")
        assert Path(model).is_file()
    client.resume_hyper_parameter_tuning_job(HyperParameterTuningJobName="stopped")
    third = wait_until(lambda: list_training_jobs(client, "stopped")[2:])[0]
    (root / "training-jobs" / third["TrainingJobName"] / "go").touch()
    assert wait_for_tuning_job(client, "stopped")["HyperParameterTuningJobStatus"] == "Completed"
    assert len(list_training_jobs(client, "stopped")) == 3


def test_a_deleted_tuning_job_leaves_its_training_jobs_and_none_to_its_successor(
    client: LocalSageMaker, root: Path
) -> None:
    request = build_tuning_request(root, "brief", max_jobs=1, parallel=1)
    client.create_hyper_parameter_tuning_job(**request)
    wait_for_tuning_job(client, "brief")
    (job,) = list_training_jobs(client, "brief")
    client.delete_hyper_parameter_tuning_job(HyperParameterTuningJobName="brief")
    client.delete_hyper_parameter_tuning_job(HyperParameterTuningJobName="brief")  # as the API
    with pytest.raises(ClientError):
        describe(client, "brief")
    name = job["TrainingJobName"]
    assert client.describe_training_job(TrainingJobName=name)["TrainingJobStatus"] == "Completed"
    assert not (root / "tuning-jobs" / "brief").exists()
    request["TrainingJobDefinition"]["StaticHyperParameters"] = {"mode": "fail"}
    client.create_hyper_parameter_tuning_job(**request)
    assert wait_for_tuning_job(client, "brief")["HyperParameterTuningJobStatus"] == "Failed"
    (other,) = list_training_jobs(client, "brief")
    assert other["TrainingJobName"] != name


def test_records_on_disk_are_json_with_what_was_found(client: LocalSageMaker, root: Path) -> None:
    record = client._training_jobs._table.list(parent="plain")[0]
    assert record["Local"]["Curve"] == [
        point["value"]
        for point in map(
            json.loads,
            (root / "training-jobs" / record["TrainingJobName"] / "metrics.jsonl")
            .read_text()
            .splitlines(),
        )
    ]
