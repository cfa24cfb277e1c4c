"""Training jobs of the local SageMaker: operations on records, and a few real processes."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from sagemaker_sift.backends.local.client import LocalSageMaker
from sagemaker_sift.backends.local.lock import acquire_lock
from sagemaker_sift.backends.local.store import STORE_NAME, Record, RecordStore, set_status
from tests.supports.dummy_algorithm import (
    build_training_request,
    register,
    wait_for_training_job,
    wait_until,
)
from tests.supports.held_launcher import HeldLauncher


@pytest.fixture
def launcher(tmp_path: Path) -> HeldLauncher:
    return HeldLauncher(tmp_path)


@pytest.fixture
def client(tmp_path: Path, launcher: HeldLauncher) -> Iterator[LocalSageMaker]:
    client = LocalSageMaker(tmp_path, launcher=launcher)
    register(client, tmp_path)
    client.create_training_job(**build_training_request(tmp_path, "job", x="0.25"))
    yield client
    client.close()


@pytest.fixture(scope="module")
def real_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("root")


@pytest.fixture(scope="module")
def real(real_root: Path) -> Iterator[LocalSageMaker]:
    client = LocalSageMaker(real_root)
    register(client, real_root)
    yield client
    client.close()


def describe(client: LocalSageMaker, name: str = "job") -> dict[str, Any]:
    return client.describe_training_job(TrainingJobName=name)


def end(root: Path, status: str, name: str = "job") -> None:
    table = RecordStore(root / STORE_NAME).training_jobs
    table.update(name, lambda record: set_status(record, status, status, 200.0))


def code_of(error: pytest.ExceptionInfo[ClientError]) -> str:
    return str(error.value.response["Error"]["Code"])


def test_a_new_job_starts(client: LocalSageMaker) -> None:
    description = describe(client)
    assert description["TrainingJobStatus"] == "InProgress"
    assert description["SecondaryStatus"] == "Starting"
    assert "Local" not in description


@pytest.mark.parametrize("name", ["job", "JOB"])
def test_a_name_is_taken_in_whatever_case(
    name: str, client: LocalSageMaker, tmp_path: Path
) -> None:
    end(tmp_path, "Completed")
    with pytest.raises(ClientError) as caught:
        client.create_training_job(**build_training_request(tmp_path, name))
    assert code_of(caught) == "ResourceInUse"
    assert len(client.list_training_jobs()["TrainingJobSummaries"]) == 1


@pytest.mark.parametrize("status", ["Completed", "Failed", "Stopped"])
def test_an_ended_job_is_not_stopped(status: str, client: LocalSageMaker, tmp_path: Path) -> None:
    end(tmp_path, status)
    with pytest.raises(ClientError) as caught:
        client.stop_training_job(TrainingJobName="job")
    assert code_of(caught) == "ValidationException"
    assert describe(client)["TrainingJobStatus"] == status


def test_a_running_job_is_not_deleted_and_an_ended_one_leaves_its_artifacts(
    client: LocalSageMaker, launcher: HeldLauncher, tmp_path: Path
) -> None:
    with pytest.raises(ClientError) as caught:
        client.delete_training_job(TrainingJobName="job")
    assert code_of(caught) == "ResourceInUse"
    folder = client.storage.job_folder("job")
    (folder / "output").mkdir()
    (folder / "output" / "model.tar.gz").touch()
    (folder / "log.txt").touch()
    end(tmp_path, "Completed")
    launcher.lose("job")
    client.delete_training_job(TrainingJobName="job")
    with pytest.raises(ClientError, match="not found"):
        describe(client)
    assert [path.name for path in folder.iterdir()] == ["output"]


def test_operations_on_an_unknown_job_say_so(client: LocalSageMaker) -> None:
    for method in (
        client.describe_training_job,
        client.stop_training_job,
        client.delete_training_job,
    ):
        with pytest.raises(ClientError, match="'nothing' not found") as caught:
            method(TrainingJobName="nothing")
        assert code_of(caught) == "ValidationException"


def test_everything_that_is_wrong_is_told_at_once(client: LocalSageMaker, tmp_path: Path) -> None:
    request = build_training_request(tmp_path, "wrong", x="2", mode="fast")
    request["ResourceConfig"]["InstanceType"] = "ml.g9.huge"
    request["OutputDataConfig"]["S3OutputPath"] = "ftp://server"
    with pytest.raises(ClientError) as caught:
        client.create_training_job(**request)
    assert code_of(caught) == "ValidationException"
    for words in ("'2'", "'fast'", "ml.g9.huge", "ftp://server"):
        assert words in str(caught.value)
    assert not client.storage.job_folder("wrong").exists()


def add_tuned(client: LocalSageMaker, tmp_path: Path, name: str) -> None:
    """Let a job be one of a tuning job."""
    table = RecordStore(tmp_path / STORE_NAME).training_jobs
    table.update(name, lambda record: record["Local"].update(TuningJob="tuning"))
    client.storage.tuning_folder("tuning").mkdir(parents=True, exist_ok=True)


def read_lost(tmp_path: Path, name: str = "job") -> Record:
    record = RecordStore(tmp_path / STORE_NAME).training_jobs.read(name)
    assert record is not None
    return record


def test_a_job_without_its_processes_has_failed_and_says_so(
    client: LocalSageMaker, launcher: HeldLauncher, tmp_path: Path
) -> None:
    assert describe(client)["TrainingJobStatus"] == "InProgress"
    launcher.lose("job")
    description = describe(client)
    assert description["TrainingJobStatus"] == "Failed"
    assert description["FailureReason"].startswith("InternalServerError: the process that")
    assert description["ModelArtifacts"]["S3ModelArtifacts"] == ""
    assert read_lost(tmp_path)["Local"]["Lost"] == "supervisor"


@pytest.mark.parametrize(
    ("is_coordinated", "lost"), [(True, "supervisor"), (False, "coordinator")]
)
def test_what_a_restart_of_the_machine_ends_is_no_fault_of_the_job(
    is_coordinated: bool,
    lost: str,
    client: LocalSageMaker,
    launcher: HeldLauncher,
    tmp_path: Path,
) -> None:
    add_tuned(client, tmp_path, "job")
    lock = acquire_lock(client.storage.tuning_folder("tuning") / "lock")
    assert lock is not None
    if not is_coordinated:
        os.close(lock)
    launcher.lose("job")
    assert describe(client)["TrainingJobStatus"] == "Failed"
    assert read_lost(tmp_path)["Local"]["Lost"] == lost
    if is_coordinated:
        os.close(lock)


def test_a_job_that_stops_is_stopping_until_its_process_ends(
    client: LocalSageMaker, launcher: HeldLauncher
) -> None:
    client.stop_training_job(TrainingJobName="job")
    client.stop_training_job(TrainingJobName="job")  # again: no harm
    description = describe(client)
    assert description["TrainingJobStatus"] == "Stopping"
    states = [one["Status"] for one in description["SecondaryStatusTransitions"]]
    assert states == ["Starting", "Stopping"]


def test_a_registered_program_runs_and_leaves_log_metrics_and_model(
    real: LocalSageMaker, real_root: Path
) -> None:
    real.create_training_job(**build_training_request(real_root, "real", x="0.25", epochs="3"))
    description = wait_for_training_job(real, "real")
    assert description["TrainingJobStatus"] == "Completed"
    (metric,) = description["FinalMetricDataList"]
    assert metric["MetricName"] == "loss"
    assert metric["Value"] == pytest.approx((0.25 - 0.3) ** 2 + 1 / 3)
    archive = Path(description["ModelArtifacts"]["S3ModelArtifacts"].removeprefix("file://"))
    with tarfile.open(archive) as tar:
        content = tar.extractfile("model.txt")
        assert content is not None
        assert content.read() == b"0.25"


def test_a_failed_program_gives_its_reason(real: LocalSageMaker, real_root: Path) -> None:
    real.create_training_job(**build_training_request(real_root, "bad", x="0.75", mode="fail"))
    description = wait_for_training_job(real, "bad")
    assert description["TrainingJobStatus"] == "Failed"
    reason = "AlgorithmError: x=0.75 is too much, exit code: 1"
    assert description["FailureReason"] == reason


def test_a_stopped_job_keeps_its_model(real: LocalSageMaker, real_root: Path) -> None:
    real.create_training_job(**build_training_request(real_root, "stop", mode="wait"))
    log = real.storage.job_folder("stop") / "log.txt"
    wait_until(lambda: log.is_file() and log.stat().st_size)
    real.stop_training_job(TrainingJobName="stop")
    description = wait_for_training_job(real, "stop")
    assert description["TrainingJobStatus"] == "Stopped"
    assert description["ModelArtifacts"]["S3ModelArtifacts"].endswith("model.tar.gz")
