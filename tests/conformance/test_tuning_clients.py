"""The same calls on tuning jobs to the local SageMaker and to moto's, and the form of answers.

Left out, as moto deviates from the service: states (a job of moto is Completed at once), counters
and best jobs (it launches nothing), deleting what is not there (the service accepts it), names
that are taken (it forgets the older job), and stopping, which it does not have.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, OperationNotPageableError

from sagemaker_sift.backends.local.client import LocalSageMaker
from tests.conformance.output_shape import find_deviations
from tests.supports.aws import make_client, open_account
from tests.supports.dummy_algorithm import (
    NAME,
    build_tuning_request,
    list_training_jobs,
    register,
    wait_for_tuning_job,
    wait_until,
)

JOB = "HyperParameterTuningJob"
TAGS = [{"Key": "team", "Value": "tests"}]


def describe(client: Any, name: str) -> dict[str, Any]:
    found: dict[str, Any] = client.describe_hyper_parameter_tuning_job(
        HyperParameterTuningJobName=name
    )
    return found


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("root")


@pytest.fixture(scope="module")
def local(root: Path) -> Iterator[LocalSageMaker]:
    """A local SageMaker with tuning jobs that have ended in three ways."""
    client = LocalSageMaker(root)
    register(client, root)
    failing = build_tuning_request(root, "failed", max_jobs=1, parallel=1, static={"mode": "fail"})
    warm = build_tuning_request(root, "warm", max_jobs=1, parallel=1)
    warm["WarmStartConfig"] = {
        "ParentHyperParameterTuningJobs": [{"HyperParameterTuningJobName": "done"}],
        "WarmStartType": "IdenticalDataAndAlgorithm",
    }
    done = build_tuning_request(root, "done", max_jobs=3, parallel=3)
    for request in (failing, done):
        client.create_hyper_parameter_tuning_job(**request, Tags=TAGS)
    for name in ("failed", "done"):
        wait_for_tuning_job(client, name)
    client.create_hyper_parameter_tuning_job(**warm)
    wait_for_tuning_job(client, "warm")
    yield client
    client.close()


@pytest.fixture(params=["local", "moto"])
def client(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Any]:
    if request.param == "local":
        yield request.getfixturevalue("local")
        return
    with open_account(monkeypatch, tmp_path):
        yield make_client("sagemaker")


def test_a_tuning_job_is_described_listed_tagged_and_deleted(client: Any, root: Path) -> None:
    request = build_tuning_request(root, "same-calls", max_jobs=1, parallel=1)
    arn = client.create_hyper_parameter_tuning_job(**request, Tags=TAGS)[f"{JOB}Arn"]
    assert arn.endswith(":hyper-parameter-tuning-job/same-calls")
    described = describe(client, "same-calls")
    for field in (f"{JOB}Name", f"{JOB}Config"):
        assert described[field] == request[field]
    definition = described["TrainingJobDefinition"]
    for field, value in request["TrainingJobDefinition"].items():
        if field != "StaticHyperParameters":  # the service adds the objective's name
            assert definition[field] == value
    assert described[f"{JOB}Arn"] == arn
    listed = client.list_hyper_parameter_tuning_jobs(NameContains="same-")
    (summary,) = listed[f"{JOB}Summaries"]
    assert summary[f"{JOB}Arn"] == arn
    assert summary["Strategy"] == "Random"
    assert client.list_tags(ResourceArn=arn)["Tags"] == TAGS
    wait_for_tuning_job(client, "same-calls")
    client.delete_hyper_parameter_tuning_job(HyperParameterTuningJobName="same-calls")
    left = client.list_hyper_parameter_tuning_jobs(NameContains="same-")
    assert left[f"{JOB}Summaries"] == []
    with pytest.raises(ClientError) as caught:
        describe(client, "same-calls")
    assert caught.value.response["Error"]["Code"] == "ResourceNotFound"
    assert caught.value.operation_name == f"Describe{JOB}"


@pytest.mark.parametrize("name", ["done", "failed", "warm"])
def test_answers_about_ended_jobs_have_the_apis_form(name: str, local: LocalSageMaker) -> None:
    described = describe(local, name)
    assert find_deviations(f"Describe{JOB}", described) == []
    listed = local.list_training_jobs_for_hyper_parameter_tuning_job(
        HyperParameterTuningJobName=name
    )
    assert find_deviations(f"ListTrainingJobsFor{JOB}", listed) == []
    for job in listed["TrainingJobSummaries"]:
        one = local.describe_training_job(TrainingJobName=job["TrainingJobName"])
        assert find_deviations("DescribeTrainingJob", one) == []
        assert one["TuningJobArn"] == described[f"{JOB}Arn"]
    assert ("BestTrainingJob" in described) == (name != "failed")
    assert ("OverallBestTrainingJob" in described) == (name == "warm")


def test_answers_have_the_apis_form_while_a_job_runs_and_stops(
    local: LocalSageMaker, root: Path
) -> None:
    request = build_tuning_request(
        root, "running", max_jobs=1, parallel=1, static={"mode": "stubborn"}
    )
    created = local.create_hyper_parameter_tuning_job(**request, Tags=TAGS)
    assert find_deviations(f"Create{JOB}", created) == []
    (job,) = wait_until(lambda: list_training_jobs(local, "running"))
    log = local.storage.job_folder(job["TrainingJobName"]) / "log.txt"
    wait_until(lambda: log.is_file() and log.stat().st_size)
    seen = []
    for stop in (False, True):
        if stop:
            stopped = local.stop_hyper_parameter_tuning_job(HyperParameterTuningJobName="running")
            assert stopped == {}
        described = describe(local, "running")
        seen.append(described[f"{JOB}Status"])
        assert find_deviations(f"Describe{JOB}", described) == []
        assert find_deviations(f"List{JOB}s", local.list_hyper_parameter_tuning_jobs()) == []
        listed = local.list_training_jobs_for_hyper_parameter_tuning_job(
            HyperParameterTuningJobName="running"
        )
        assert find_deviations(f"ListTrainingJobsFor{JOB}", listed) == []
        assert described["ObjectiveStatusCounters"]["Pending"] == 1
    (local.storage.job_folder(job["TrainingJobName"]) / "go").touch()
    seen.append(wait_for_tuning_job(local, "running")[f"{JOB}Status"])
    assert seen == ["InProgress", "Stopping", "Stopped"]
    assert find_deviations(f"Describe{JOB}", describe(local, "running")) == []
    deleted = local.delete_hyper_parameter_tuning_job(HyperParameterTuningJobName="running")
    assert deleted == {}


def test_algorithms_and_tags_have_the_apis_form(local: LocalSageMaker) -> None:
    described = local.describe_algorithm(AlgorithmName=NAME)
    assert find_deviations("DescribeAlgorithm", described) == []
    assert find_deviations("ListAlgorithms", local.list_algorithms()) == []
    arns = [
        described["AlgorithmArn"],
        describe(local, "done")[f"{JOB}Arn"],
        list_training_jobs(local, "done")[0]["TrainingJobArn"],
    ]
    for arn in arns:
        added = local.add_tags(ResourceArn=arn, Tags=[{"Key": "form", "Value": ""}])
        assert find_deviations("AddTags", added) == []
        assert find_deviations("ListTags", local.list_tags(ResourceArn=arn)) == []
        assert local.delete_tags(ResourceArn=arn, TagKeys=["form"]) == {}


def test_paginators_give_every_row_once(local: LocalSageMaker) -> None:
    def collect(operation: str, rows: str, name: str, **request: Any) -> list[str]:
        config = {"PageSize": 1}
        pages = local.get_paginator(operation).paginate(**request, PaginationConfig=config)
        return [row[name] for page in pages for row in page[rows]]

    tuning = {"HyperParameterTuningJobName": "done"}
    children = [job["TrainingJobName"] for job in list_training_jobs(local, "done")]
    found = collect(
        "list_training_jobs_for_hyper_parameter_tuning_job",
        "TrainingJobSummaries",
        "TrainingJobName",
        **tuning,
    )
    assert found == sorted(children)
    known = collect("list_hyper_parameter_tuning_jobs", f"{JOB}Summaries", f"{JOB}Name")
    assert known == sorted(set(known))
    assert {"done", "failed", "warm"} <= set(known)
    everything = collect("list_training_jobs", "TrainingJobSummaries", "TrainingJobName")
    assert set(children) < set(everything)
    assert len(everything) == len(set(everything))
    assert NAME in collect("list_algorithms", "AlgorithmSummaryList", "AlgorithmName")
    with pytest.raises(OperationNotPageableError):
        local.get_paginator("describe_algorithm")


def test_everything_that_is_wrong_is_told_at_once(local: LocalSageMaker, root: Path) -> None:
    request = build_tuning_request(root, "wrong", max_jobs=501, parallel=11)
    request["HyperParameterTuningJobConfig"]["TrainingJobEarlyStoppingType"] = "auto"
    request["TrainingJobDefinition"]["StaticHyperParameters"] = {"mode": "fast"}
    with pytest.raises(ClientError) as caught:
        local.create_hyper_parameter_tuning_job(**request)
    assert caught.value.response["Error"]["Code"] == "ValidationException"
    told = str(caught.value)
    for words in ("501", "11", "'auto'", "'fast'"):
        assert words in told


@pytest.mark.parametrize(
    ("method", "request_"),
    [
        ("create_hyper_parameter_tuning_job", {"HyperParameterTuningJobName": 3}),
        ("create_hyper_parameter_tuning_job", {}),
        ("create_training_job", {"TrainingJobName": ["a"]}),
        ("describe_hyper_parameter_tuning_job", {}),
        ("describe_hyper_parameter_tuning_job", {"HyperParameterTuningJobName": None}),
        ("list_hyper_parameter_tuning_jobs", {"MaxResults": 101}),
        ("list_training_jobs_for_hyper_parameter_tuning_job", {"SortBy": "Objective"}),
        ("create_algorithm", {"AlgorithmName": "a b", "TrainingSpecification": "train"}),
        ("add_tags", {"ResourceArn": "arn", "Tags": "team"}),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value) or "nothing",
)
def test_wrong_types_and_missing_members_are_validation_exceptions(
    method: str, request_: dict[str, Any], local: LocalSageMaker
) -> None:
    with pytest.raises(ClientError) as caught:
        getattr(local, method)(**request_)
    assert caught.value.response["Error"]["Code"] == "ValidationException"
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
