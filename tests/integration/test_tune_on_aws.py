"""The documented sample and README's lines, against S3, STS and IAM of moto and over HTTP."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sagemaker_sift import AlgorithmEstimator, ContinuousParameter, IntegerParameter, Session
from sagemaker_sift.contract.specification import build_training_specification
from sagemaker_sift.tuner import HyperparameterTuner
from tests.supports.algorithms import build_trees
from tests.supports.aws import ACCOUNT, REGION, list_keys, make_bucket, make_client, open_account
from tests.supports.sagemaker_endpoint import Endpoint, serve

ROOT = Path(__file__).parents[2]
ARN = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}"
DEFAULT_BUCKET = f"sagemaker-{REGION}-{ACCOUNT}"


def describe_algorithm(name: str, specification: dict[str, Any]) -> dict[str, Any]:
    return {
        "AlgorithmName": name,
        "AlgorithmArn": f"{ARN}:algorithm/{name}",
        "AlgorithmStatus": "Completed",
        "AlgorithmStatusDetails": {},
        "CreationTime": 1_795_000_000,
        "TrainingSpecification": specification,
    }


def describe_job(name: str, **more: Any) -> dict[str, Any]:
    return {
        "HyperParameterTuningJobName": name,
        "HyperParameterTuningJobArn": f"{ARN}:hyper-parameter-tuning-job/{name}",
        "HyperParameterTuningJobStatus": "Completed",
        "CreationTime": 1_795_000_000,
        "TrainingJobStatusCounters": {"Completed": 2},
        "ObjectiveStatusCounters": {"Succeeded": 2},
        "HyperParameterTuningJobConfig": {
            "Strategy": "Bayesian",
            "ResourceLimits": {"MaxNumberOfTrainingJobs": 2, "MaxParallelTrainingJobs": 2},
        },
        **more,
    }


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Endpoint]:
    """SageMaker on loopback; an account with a role and without the default bucket beside it."""
    with open_account(monkeypatch, tmp_path), serve(monkeypatch, {}) as endpoint:
        trust = '{"Version": "2012-10-17", "Statement": []}'
        make_client("iam").create_role(
            RoleName="SageMakerRole", Path="/service-role/", AssumeRolePolicyDocument=trust
        )
        yield endpoint


def test_the_documented_sample(endpoint: Endpoint, tmp_path: Path) -> None:
    endpoint.answers |= {
        "DescribeAlgorithm": describe_algorithm("scikit-decision-trees", build_trees()),
        "CreateHyperParameterTuningJob": {
            "HyperParameterTuningJobArn": f"{ARN}:hyper-parameter-tuning-job/some-name"
        },
        "DescribeHyperParameterTuningJob": describe_job("some-name"),
    }
    data_path = tmp_path / "marketplace" / "training"
    data_path.mkdir(parents=True)
    (data_path / "train.csv").write_text("1,2\n3,4\n")
    hyperparameter_ranges = {
        "max_leaf_nodes": IntegerParameter(2, 900),
        "min_gain": ContinuousParameter(0.1, 0.5),
    }
    sagemaker_session = Session()

    algo = AlgorithmEstimator(
        algorithm_arn=f"{ARN}:algorithm/scikit-decision-trees",
        role="SageMakerRole",
        instance_count=1,
        instance_type="ml.c4.xlarge",
        sagemaker_session=sagemaker_session,
        base_job_name="test-marketplace",
    )
    train_input = algo.sagemaker_session.upload_data(
        path=data_path, key_prefix="integ-test-data/marketplace/train"
    )
    algo.set_hyperparameters(max_leaf_nodes=10)
    tuner = HyperparameterTuner(
        estimator=algo,
        base_tuning_job_name="some-name",
        objective_metric_name="validation:accuracy",
        hyperparameter_ranges=hyperparameter_ranges,
        max_jobs=2,
        max_parallel_jobs=2,
    )
    tuner.fit({"training": train_input}, include_cls_metadata=False)
    tuner.wait()

    assert train_input == f"s3://{DEFAULT_BUCKET}/integ-test-data/marketplace/train"
    assert list_keys(DEFAULT_BUCKET) == ["integ-test-data/marketplace/train/train.csv"]
    [request] = [body for name, body in endpoint.asked if name.startswith("Create")]
    definition = request["TrainingJobDefinition"]
    assert definition["RoleArn"] == f"arn:aws:iam::{ACCOUNT}:role/service-role/SageMakerRole"
    assert definition["OutputDataConfig"] == {"S3OutputPath": f"s3://{DEFAULT_BUCKET}/"}
    [channel] = definition["InputDataConfig"]
    assert channel["DataSource"]["S3DataSource"]["S3Uri"] == train_input
    assert "max_leaf_nodes" not in definition["StaticHyperParameters"]
    ranges = request["HyperParameterTuningJobConfig"]["ParameterRanges"]
    assert [one["Name"] for one in ranges["IntegerParameterRanges"]] == ["max_leaf_nodes"]


def test_asking_for_the_request_makes_no_bucket(endpoint: Endpoint) -> None:
    endpoint.answers["DescribeAlgorithm"] = describe_algorithm("trees", build_trees())
    make_bucket("data-of-tests")
    algo = AlgorithmEstimator("trees", role="SageMakerRole", instance_type="ml.c4.xlarge")
    algo.set_hyperparameters(max_leaf_nodes=10)
    request = algo.request({"training": "s3://data-of-tests/train"})
    assert request["OutputDataConfig"]["S3OutputPath"] == f"s3://{DEFAULT_BUCKET}/"
    buckets = [one["Name"] for one in make_client("s3").list_buckets()["Buckets"]]
    assert DEFAULT_BUCKET not in buckets
    endpoint.answers["CreateTrainingJob"] = {"TrainingJobArn": f"{ARN}:training-job/job"}
    algo.fit("s3://data-of-tests/train", wait=False, job_name="job")
    buckets = [one["Name"] for one in make_client("s3").list_buckets()["Buckets"]]
    assert DEFAULT_BUCKET in buckets


def test_the_lines_of_readme_launch_a_tuning_job(
    endpoint: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    [program] = [
        block
        for block in re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
        if "HyperparameterTuner" in block and "Session(" in block.replace("LocalSession(", "")
    ]
    endpoint.answers |= {
        "DescribeAlgorithm": describe_algorithm("my-sift", build_training_specification("i:1")),
        "CreateHyperParameterTuningJob": {
            "HyperParameterTuningJobArn": f"{ARN}:hyper-parameter-tuning-job/some-name"
        },
    }
    for channel in ("train", "validation"):
        (tmp_path / "data" / channel / "cat").mkdir(parents=True)
        (tmp_path / "data" / channel / "cat" / "1.jpg").write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    exec(compile(program, "README.md", "exec"), {})
    name, request = endpoint.asked[-1]
    assert name == "CreateHyperParameterTuningJob"
    ranges = request["HyperParameterTuningJobConfig"]["ParameterRanges"]
    assert {one["Name"] for one in ranges["ContinuousParameterRanges"]} == {
        "beta_value",
        "learning_rate",
    }
    assert list_keys(DEFAULT_BUCKET) == ["pets/train/cat/1.jpg", "pets/validation/cat/1.jpg"]
