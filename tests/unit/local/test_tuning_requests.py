"""Requests of tuning jobs that are refused, and jobs that lose what they need."""

from __future__ import annotations

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
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("root")


@pytest.fixture(scope="module")
def client(root: Path) -> Iterator[LocalSageMaker]:
    client = LocalSageMaker(root)
    register(client, root)
    yield client
    client.close()


def describe(client: LocalSageMaker, name: str) -> dict[str, Any]:
    return client.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"max_jobs": 501}, "`max_jobs` is 501, but at most 500"),
        ({"parallel": 11, "max_jobs": 20}, "`max_parallel_jobs` is 11, but at most 10"),
        ({"strategy": "Bayesain"}, "Bayesian"),
        ({"static": {"mode": "fast"}}, "mode"),
        ({"ranges": {"ContinuousParameterRanges": []}}, "is empty"),
    ],
    ids=["jobs", "parallel", "strategy", "static", "ranges"],
)
def test_requests_that_break_rules_are_refused(
    change: dict[str, Any], words: str, client: LocalSageMaker, root: Path
) -> None:
    with pytest.raises(ClientError) as caught:
        client.create_hyper_parameter_tuning_job(**build_tuning_request(root, "refused", **change))
    assert caught.value.response["Error"]["Code"] == "ValidationException"
    assert words in str(caught.value)
    with pytest.raises(ClientError, match="not found"):
        describe(client, "refused")


def test_an_unknown_tuning_job_is_told_with_the_services_code(client: LocalSageMaker) -> None:
    for method in (
        client.describe_hyper_parameter_tuning_job,
        client.stop_hyper_parameter_tuning_job,
        client.list_training_jobs_for_hyper_parameter_tuning_job,
        client.resume_hyper_parameter_tuning_job,
    ):
        with pytest.raises(ClientError) as caught:
            method(HyperParameterTuningJobName="nothing")
        assert caught.value.response["Error"]["Code"] == "ResourceNotFound"


def test_a_program_that_is_gone_ends_the_search_after_five_failures(
    client: LocalSageMaker, root: Path
) -> None:
    program = root / "dummy_train.py"
    request = build_tuning_request(root, "gone", max_jobs=50, parallel=2)
    client.create_hyper_parameter_tuning_job(**request)
    program.rename(root / "elsewhere.py")  # long before the first training job starts
    try:
        description = wait_for_tuning_job(client, "gone")
    finally:
        (root / "elsewhere.py").rename(program)
    assert description["FailureReason"].startswith("No training job succeeded after 5 attempts.")
    assert description["TrainingJobStatusCounters"]["NonRetryableError"] < 8
    assert "there is no such file" in list_training_jobs(client, "gone")[0]["FailureReason"]


def make_two(request: dict[str, Any], *names: str) -> None:
    config = request["HyperParameterTuningJobConfig"]
    objective, ranges = (
        config.pop("HyperParameterTuningJobObjective"),
        config.pop("ParameterRanges"),
    )
    only = request.pop("TrainingJobDefinition")
    request["TrainingJobDefinitions"] = [
        only
        | {"DefinitionName": name, "TuningObjective": objective, "HyperParameterRanges": ranges}
        for name in names
    ]


def test_definitions_that_cannot_be_told_apart_are_refused(
    client: LocalSageMaker, root: Path
) -> None:
    request = build_tuning_request(root, "refused")
    make_two(request, "one", "one")
    with pytest.raises(ClientError, match="is 'one' more than once"):
        client.create_hyper_parameter_tuning_job(**request)
    request = build_tuning_request(root, "refused")
    make_two(request, "one", "two")
    other = {"Type": "Maximize", "MetricName": "loss"}
    request["TrainingJobDefinitions"][1]["TuningObjective"] = other
    with pytest.raises(ClientError, match="is 'Maximize' and 'Minimize', but must be one"):
        client.create_hyper_parameter_tuning_job(**request)


@pytest.mark.parametrize(
    "broken",
    [
        {"ranges": {"ContinuousParameterRanges": [{"Name": "x", "MinValue": "0"}]}},
        {"ranges": {"IntegerParameterRanges": [{"MinValue": "1", "MaxValue": "2"}]}},
        {"ranges": {"CategoricalParameterRanges": [{"Name": "mode"}]}},
        {"parents": [{}]},
        {"config": None},
    ],
    ids=["max", "name", "values", "parent", "config"],
)
def test_what_is_missing_in_a_request_is_told(
    broken: dict[str, Any], client: LocalSageMaker, root: Path
) -> None:
    request = build_tuning_request(root, "refused", ranges=broken.get("ranges"))
    if "parents" in broken:
        request["WarmStartConfig"] = {
            "ParentHyperParameterTuningJobs": broken["parents"],
            "WarmStartType": "TransferLearning",
        }
    if "config" in broken:
        del request["HyperParameterTuningJobConfig"]
    with pytest.raises(ClientError, match="is required, but missing") as caught:
        client.create_hyper_parameter_tuning_job(**request)
    assert caught.value.response["Error"]["Code"] == "ValidationException"


def test_a_job_whose_algorithm_is_gone_is_not_resumed(client: LocalSageMaker, root: Path) -> None:
    described = client.describe_algorithm(AlgorithmName=NAME)
    specification = described["TrainingSpecification"]
    client.create_algorithm(AlgorithmName="brief", TrainingSpecification=specification)
    request = build_tuning_request(root, "orphan", max_jobs=2, static={"mode": "wait"})
    request["TrainingJobDefinition"]["AlgorithmSpecification"]["AlgorithmName"] = "brief"
    client.create_hyper_parameter_tuning_job(**request)
    client.stop_hyper_parameter_tuning_job(HyperParameterTuningJobName="orphan")
    assert wait_for_tuning_job(client, "orphan")["HyperParameterTuningJobStatus"] == "Stopped"
    client.delete_algorithm(AlgorithmName="brief")
    with pytest.raises(ClientError, match="'brief' not found"):
        client.resume_hyper_parameter_tuning_job(HyperParameterTuningJobName="orphan")
    assert describe(client, "orphan")["HyperParameterTuningJobStatus"] == "Stopped"
