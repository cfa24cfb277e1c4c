"""The same calls to the local SageMaker and to moto's, and the form of what comes back.

Left out, as moto deviates from the service: states (a job of moto is Completed at once), metric
definitions (it answers with its own), names that are taken (it forgets the older job), and
stopping and algorithms, which it does not have.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from sagemaker_sift.backends.local.client import LocalSageMaker
from sagemaker_sift.backends.local.launcher import JobLauncher
from sagemaker_sift.backends.local.store import Record, RecordStore, set_status
from tests.conformance.output_shape import find_deviations
from tests.supports.aws import BUCKET, build_request, make_client, open_account

ECHOED = (
    "TrainingJobName",
    "RoleArn",
    "HyperParameters",
    "InputDataConfig",
    "OutputDataConfig",
    "ResourceConfig",
    "StoppingCondition",
)


class IdleLauncher(JobLauncher):
    """Keeps jobs as if their processes ran, and runs none.

    The lock that a job's process would hold is held here.
    """

    def launch(self, job_name: str, lock: int, program: str | None = None) -> None:
        self.locks = [*getattr(self, "locks", []), os.dup(lock)]

    def close(self) -> None:
        """Let go of the locks."""
        for lock in getattr(self, "locks", []):
            os.close(lock)


@pytest.fixture
def local(tmp_path: Path) -> Iterator[LocalSageMaker]:
    root = tmp_path / "root"
    client = LocalSageMaker(root, launcher=IdleLauncher(root))
    (tmp_path / "root" / "s3" / BUCKET / "data" / "train").mkdir(parents=True)
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


def test_a_job_is_described_as_it_was_asked_for(client: Any) -> None:
    request = build_request()
    arn = client.create_training_job(**request)["TrainingJobArn"]
    assert arn.endswith(":training-job/my-job")
    description = client.describe_training_job(TrainingJobName="my-job")
    assert {name: description[name] for name in ECHOED} == {name: request[name] for name in ECHOED}
    assert description["TrainingJobArn"] == arn
    algorithm = description["AlgorithmSpecification"]
    assert algorithm["AlgorithmName"] == "sift-image-classification"
    assert algorithm["TrainingInputMode"] == "File"


def test_jobs_are_listed(client: Any) -> None:
    assert client.list_training_jobs()["TrainingJobSummaries"] == []
    for name in ("my-job", "other"):
        client.create_training_job(**build_request(name))
    found = client.list_training_jobs(NameContains="job")["TrainingJobSummaries"]
    assert [job["TrainingJobName"] for job in found] == ["my-job"]
    everything = client.list_training_jobs()["TrainingJobSummaries"]
    assert sorted(job["TrainingJobName"] for job in everything) == ["my-job", "other"]


def test_tags_are_kept(client: Any) -> None:
    arn = client.create_training_job(**build_request())["TrainingJobArn"]
    assert client.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "team", "Value": "tests"}]


def test_an_unknown_job_is_a_validation_exception(client: Any) -> None:
    with pytest.raises(ClientError) as caught:
        client.describe_training_job(TrainingJobName="nothing")
    assert caught.value.response["Error"]["Code"] == "ValidationException"
    assert caught.value.operation_name == "DescribeTrainingJob"


def finish(record: Record) -> None:
    set_status(record, "Completed", "Completed", 200.0)
    record |= {"TrainingStartTime": 110.0, "TrainingEndTime": 200.0, "TrainingTimeInSeconds": 90}


def fail(record: Record) -> None:
    record["FailureReason"] = "AlgorithmError: no images, exit code: 1"
    record["ModelArtifacts"]["S3ModelArtifacts"] = ""
    set_status(record, "Failed", "Failed", 200.0, message=record["FailureReason"])


def stop(record: Record) -> None:
    set_status(record, "Stopping", "Stopping", 150.0)
    set_status(record, "Stopped", "MaxRuntimeExceeded", 200.0)


@pytest.mark.parametrize(
    "change", [None, finish, fail, stop], ids=lambda c: getattr(c, "__name__", "new")
)
def test_descriptions_have_the_apis_form(
    change: Callable[[Record], None] | None, local: LocalSageMaker, tmp_path: Path
) -> None:
    local.create_training_job(**build_request())
    if change is not None:
        RecordStore(tmp_path / "root" / "store.sqlite").training_jobs.update("my-job", change)
        metrics = local.storage.job_folder("my-job") / "metrics.jsonl"
        metrics.write_text('{"name": "loss", "value": 0.5, "time_s": 120.0}\n')
    description = local.describe_training_job(TrainingJobName="my-job")
    assert find_deviations("DescribeTrainingJob", description) == []
    assert len(description["FinalMetricDataList"]) == (change is not None)


def test_other_answers_have_the_apis_form(local: LocalSageMaker) -> None:
    created = local.create_training_job(**build_request())
    assert find_deviations("CreateTrainingJob", created) == []
    assert find_deviations("ListTrainingJobs", local.list_training_jobs()) == []
    tags = local.list_tags(ResourceArn=created["TrainingJobArn"])
    assert find_deviations("ListTags", tags) == []
    stopped = local.stop_training_job(TrainingJobName="my-job")
    assert find_deviations("StopTrainingJob", stopped) == []


def test_a_list_of_ended_jobs_has_the_apis_form(local: LocalSageMaker, tmp_path: Path) -> None:
    local.create_training_job(**build_request())
    RecordStore(tmp_path / "root" / "store.sqlite").training_jobs.update("my-job", finish)
    assert find_deviations("ListTrainingJobs", local.list_training_jobs()) == []


def test_an_algorithm_has_the_apis_form(local: LocalSageMaker) -> None:
    algorithm = local.describe_algorithm(AlgorithmName="sift-image-classification")
    assert find_deviations("DescribeAlgorithm", algorithm) == []


def test_deviations_are_found() -> None:
    answer = {
        "TrainingJobSummaries": [
            {
                "TrainingJobName": 3,
                "TrainingJobArn": "a",
                "TrainingJobStatus": "Finished",
                "CreationTime": 100.0,
                "Colour": "red",
            }
        ]
    }
    path = "ListTrainingJobs.TrainingJobSummaries[0]"
    assert sorted(find_deviations("ListTrainingJobs", answer)) == [
        f"{path}.Colour is unknown",
        f"{path}.CreationTime is 100.0, not a timestamp",
        f"{path}.TrainingJobName is 3, not a string",
        f"{path}.TrainingJobStatus is 'Finished', which is not in the enumeration",
    ]
    assert find_deviations("ListTrainingJobs", {}) == [
        "ListTrainingJobs.TrainingJobSummaries is missing"
    ]
