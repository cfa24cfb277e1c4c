"""The environment of a training process, and what the trainer and this backend agree on."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from sagemaker_sift.backends.local.container import (
    RENDEZVOUS_VARIABLE,
    build_environment,
    describe_bundled_algorithm,
)
from sagemaker_sift.contract.container import ContainerPaths
from sagemaker_sift.trainer import distributed
from tests.supports.local_job import build_record

NUM_CPUS = len(os.sched_getaffinity(0))


def environment_of(parent: dict[str, str], num_hosts: int = 1, **changes: Any) -> dict[str, str]:
    resources = {"InstanceType": "ml.m5.large", "InstanceCount": num_hosts}
    record = build_record(Path("/root"), ResourceConfig=resources, **changes)
    return build_environment(record, ContainerPaths(Path("/jobs/job/ml")), parent)


@pytest.mark.parametrize(
    ("num_hosts", "parent", "local", "expected"),
    [
        (1, {}, {}, None),
        (1, {"OMP_NUM_THREADS": "9"}, {}, "9"),
        (1, {"OMP_NUM_THREADS": "9"}, {"NumThreads": 3}, "3"),
        (2, {}, {}, str(max(1, NUM_CPUS // 2))),
        (3, {}, {"NumThreads": 2}, "1"),
    ],
    ids=["one", "of-the-caller", "of-the-job", "shared-processors", "shared"],
)
def test_how_many_threads_a_process_has(
    num_hosts: int, parent: dict[str, str], local: dict[str, int], expected: str | None
) -> None:
    environment = environment_of(parent, num_hosts, Local=local)
    assert environment.get("OMP_NUM_THREADS") == expected


@pytest.mark.parametrize("said", ["OMP_WAIT_POLICY", "GOMP_SPINCOUNT"])
def test_who_says_how_threads_wait_is_heard(said: str) -> None:
    assert environment_of({})["GOMP_SPINCOUNT"] == "1000"
    for environment in (environment_of({said: "x"}), environment_of({}, Environment={said: "x"})):
        assert environment[said] == "x"
        assert environment.get("GOMP_SPINCOUNT") in {None, "x"}


def test_only_the_job_itself_may_hand_credentials_to_its_program() -> None:
    parent = {"AWS_SECRET_ACCESS_KEY": "secret", "SAGEMAKER_ROLE": "r", "HOME": "/home"}
    environment = environment_of(parent, Environment={"AWS_REGION": "eu-west-1"})
    assert "secret" not in environment.values()
    assert environment["AWS_REGION"] == "eu-west-1"
    assert environment["AWS_EC2_METADATA_DISABLED"] == "true"
    assert environment["HOME"] == "/home"


def test_hosts_find_each_other_through_a_file_of_their_job() -> None:
    assert RENDEZVOUS_VARIABLE == distributed.RENDEZVOUS_VARIABLE
    environment = environment_of({}, 2)
    assert environment[RENDEZVOUS_VARIABLE] == "file:///jobs/job/rendezvous"
    assert environment["MASTER_ADDR"].startswith("127.")
    assert RENDEZVOUS_VARIABLE not in environment_of({})


def test_distributed_training_is_offered() -> None:
    assert describe_bundled_algorithm()["SupportsDistributedTraining"] is True


@pytest.mark.parametrize(
    ("gpus", "given", "visible"),
    [
        (["1", "3"], {}, "1,3"),
        ([], {}, ""),
        (["1"], {"CUDA_VISIBLE_DEVICES": "0"}, "0"),
        (None, {}, None),
    ],
    ids=["two", "none", "own", "no-gpus-here"],
)
def test_a_job_sees_the_gpus_that_it_was_given(
    gpus: list[str] | None, given: dict[str, str], visible: str | None, tmp_path: Path
) -> None:
    local = {} if gpus is None else {"Gpus": gpus}
    record = build_record(tmp_path, Local=local, Environment=given)
    environment = build_environment(record, ContainerPaths(tmp_path), {})
    assert environment.get("CUDA_VISIBLE_DEVICES") == visible
