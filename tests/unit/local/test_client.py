"""The local SageMaker's client when others use its root, and when the machine has its limits."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sagemaker_sift.backends.local.client import LocalSageMaker
from tests.supports.dummy_algorithm import (
    build_training_request,
    build_tuning_request,
    list_training_jobs,
    register,
    wait_for_tuning_job,
    wait_until,
)
from tests.supports.held_launcher import HeldLauncher

CREATE = """
import json, sys
from pathlib import Path
from botocore.exceptions import ClientError
from sagemaker_sift.backends.local.client import LocalSageMaker

client = LocalSageMaker(Path(sys.argv[1]))
for method, request in json.loads(sys.argv[2]):
    try:
        getattr(client, method)(**request)
        print("done")
    except ClientError as error:
        print(error.response["Error"]["Code"], error)
    {}
"""
NOBODY = 65534


def start(root: Path, calls: list[tuple[str, dict[str, Any]]], after: str = "") -> Any:
    """Start a process with a client of its own that makes some calls."""
    program = CREATE.replace("    {}", after)
    return subprocess.Popen(
        [sys.executable, "-c", program, str(root), json.dumps(calls)],
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def client(tmp_path: Path) -> Iterator[LocalSageMaker]:
    client = LocalSageMaker(tmp_path)
    register(client, tmp_path)
    yield client
    client.close()


def test_of_clients_that_create_the_same_jobs_one_does(
    client: LocalSageMaker, tmp_path: Path
) -> None:
    calls = [
        ("create_training_job", build_training_request(tmp_path, f"job-{idx}")) for idx in range(4)
    ]
    calls += [
        (
            "create_hyper_parameter_tuning_job",
            build_tuning_request(tmp_path, f"tuning-{idx}", max_jobs=1, parallel=1),
        )
        for idx in range(2)
    ]
    processes = [start(tmp_path, calls) for _ in range(3)]
    answers = [process.communicate()[0].splitlines() for process in processes]
    for told in zip(*answers, strict=True):
        codes = sorted(line.split()[0] for line in told)
        assert codes == ["ResourceInUse", "ResourceInUse", "done"]
    for idx in range(2):
        ended = wait_for_tuning_job(client, f"tuning-{idx}")
        assert ended["HyperParameterTuningJobStatus"] == "Completed"
        assert len(list_training_jobs(client, f"tuning-{idx}")) == 1

    def all_ended() -> bool:
        rows = client.list_training_jobs(StatusEquals="Completed")["TrainingJobSummaries"]
        return len(rows) == 6

    wait_until(all_ended)


def test_a_disk_that_takes_no_more_is_told_and_nothing_is_lost(tmp_path: Path) -> None:
    """The kernel refuses to let files grow, as it does on a full disk."""
    client = LocalSageMaker(tmp_path, launcher=HeldLauncher(tmp_path))
    register(client, tmp_path)
    client.create_training_job(**build_training_request(tmp_path, "before"))
    calls: list[tuple[str, dict[str, Any]]] = [
        ("describe_training_job", {"TrainingJobName": "before"}),
        ("create_training_job", build_training_request(tmp_path, "job")),
        ("create_hyper_parameter_tuning_job", build_tuning_request(tmp_path, "tuning")),
        ("stop_training_job", {"TrainingJobName": "before"}),
    ]
    limit = """
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64))
"""
    told = start(tmp_path, calls, limit).communicate()[0].splitlines()
    assert told[0] == "done"
    assert len(told) == 4
    for line in told[1:]:
        assert line.startswith("InternalFailure")
        assert "Free space there" in line
    job = client.describe_training_job(TrainingJobName="before")
    assert job["TrainingJobStatus"] == "InProgress"
    client.create_training_job(**build_training_request(tmp_path, "job"))
    assert len(client.list_training_jobs()["TrainingJobSummaries"]) == 2
    assert client.list_hyper_parameter_tuning_jobs()["HyperParameterTuningJobSummaries"] == []
    client.close()


def test_a_root_that_may_not_be_written_is_told(tmp_path: Path) -> None:
    """A privileged process may write everywhere, so it becomes nobody for the calls."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "root"
        client = LocalSageMaker(root, launcher=HeldLauncher(root))
        register(client, root)
        client.create_training_job(**build_training_request(root, "before"))
        for path in (root.parent, root, *root.rglob("*")):
            path.chmod(0o555 if path.is_dir() else 0o444)
        calls: list[tuple[str, dict[str, Any]]] = [
            ("list_tags", {"ResourceArn": "arn:aws:sagemaker:local:000000000000:model/x"}),
            ("create_training_job", build_training_request(tmp_path, "job")),
            ("create_hyper_parameter_tuning_job", build_tuning_request(tmp_path, "tuning")),
        ]
        drop = f"""
    import os
    if os.geteuid() == 0:
        os.seteuid({NOBODY})
"""
        told = start(root, calls, drop).communicate()[0].splitlines()
        for path in (root.parent, root, *root.rglob("*")):
            path.chmod(0o755)
        assert len(told) == 3
        for line in told[1:]:
            assert line.startswith(("InternalFailure", "ValidationException"))
            assert "write" in line
        assert len(client.list_training_jobs()["TrainingJobSummaries"]) == 1
        client.close()


def test_a_root_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="Give LocalSession a root folder that you may write to"):
        LocalSageMaker(tmp_path / "file" / "root")


def test_a_tuning_job_whose_process_cannot_start_says_so_and_can_be_resumed(
    client: LocalSageMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho no memory >&2\nexit 3\n")
    broken.chmod(0o755)
    request = build_tuning_request(tmp_path, max_jobs=1, parallel=1)
    name = {"HyperParameterTuningJobName": "tuning"}
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", str(broken))
        with pytest.raises(Exception, match=r"does not start \(exit code 3\)") as caught:
            client.create_hyper_parameter_tuning_job(**request)
    response = caught.value.response  # type: ignore[attr-defined]
    assert response["Error"]["Code"] == "InternalFailure"
    log = tmp_path / "tuning-jobs" / "tuning" / "coordinator.log"
    assert str(log) in str(caught.value)
    assert log.read_text() == "no memory\n"
    description = client.describe_hyper_parameter_tuning_job(**name)
    assert description["HyperParameterTuningJobStatus"] == "Failed"
    client.resume_hyper_parameter_tuning_job(**name)
    ended = wait_for_tuning_job(client, "tuning")
    assert ended["HyperParameterTuningJobStatus"] == "Completed"
    assert "FailureReason" not in ended


def test_a_copied_root_is_a_root(client: LocalSageMaker, tmp_path: Path) -> None:
    """Records name nothing of a process, so that an archive of a root can be looked at."""
    client.create_hyper_parameter_tuning_job(
        **build_tuning_request(tmp_path, max_jobs=1, parallel=1)
    )
    wait_for_tuning_job(client, "tuning")
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy"
        shutil.copytree(tmp_path, copy)
        other = LocalSageMaker(copy)
        (job,) = list_training_jobs(other, "tuning")
        assert job == list_training_jobs(client, "tuning")[0]
        other.close()
    assert os.path.exists(tmp_path / "store.sqlite")
