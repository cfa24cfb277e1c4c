"""Objects of the SDK v3 are taken here wherever ours are, and say the same."""

from __future__ import annotations

from typing import Any

import boto3
import pytest
from sagemaker.core import parameter, shapes
from sagemaker.core.helper import session_helper as helper
from sagemaker.core.training import configs
from sagemaker.train import tuner as sdk_tuner

import sagemaker_sift as ours
from tests.supports.algorithms import ROLE, TREES_ARN, EchoClient, build_trees

pytestmark = pytest.mark.interop

S3 = {
    "s3_data_type": "ManifestFile",
    "s3_uri": "s3://bucket/train",
    "s3_data_distribution_type": "ShardedByS3Key",
}
FILE_SYSTEM = {
    "file_system_id": "fs-0123456789abcdef0",
    "file_system_access_mode": "ro",
    "file_system_type": "EFS",
    "directory_path": "/data",
}
OURS: dict[str, Any] = {
    "ranges": {
        "max_leaf_nodes": ours.IntegerParameter(2, 900, "Logarithmic"),
        "min_gain": ours.ContinuousParameter(0.1, 0.5),
        "criterion": ours.CategoricalParameter(["gini", "entropy"]),
    },
    "warm_start_config": ours.WarmStartConfig("TransferLearning", ["second", "first"]),
    "strategy_config": ours.StrategyConfig(ours.HyperbandStrategyConfig(30, 2)),
    "completion_criteria_config": ours.TuningJobCompletionCriteriaConfig(5, True, 0.9),
    "instance_configs": [ours.InstanceConfig(1, "ml.m5.large", 40)],
    "inputs": {
        "training": ours.TrainingInput(
            "s3://bucket/train",
            distribution="ShardedByS3Key",
            content_type="text/csv",
            s3_data_type="ManifestFile",
            input_mode="FastFile",
            shuffle_config=7,
        ),
        "validation": ours.FileSystemInput("fs-0123456789abcdef0", "EFS", "/data"),
    },
}
THEIRS: dict[str, Any] = {
    "ranges": {
        "max_leaf_nodes": parameter.IntegerParameter(2, 900, "Logarithmic"),
        "min_gain": parameter.ContinuousParameter(0.1, 0.5),
        "criterion": parameter.CategoricalParameter(["gini", "entropy"]),
    },
    "warm_start_config": shapes.HyperParameterTuningJobWarmStartConfig(
        warm_start_type="TransferLearning",
        parent_hyper_parameter_tuning_jobs=[
            shapes.ParentHyperParameterTuningJob(hyper_parameter_tuning_job_name=name)
            for name in ("second", "first")
        ],
    ),
    "strategy_config": shapes.HyperParameterTuningJobStrategyConfig(
        hyperband_strategy_config=shapes.HyperbandStrategyConfig(min_resource=2, max_resource=30)
    ),
    "completion_criteria_config": shapes.TuningJobCompletionCriteria(
        target_objective_metric_value=0.9,
        best_objective_not_improving=shapes.BestObjectiveNotImproving(
            max_number_of_training_jobs_not_improving=5
        ),
        convergence_detected=shapes.ConvergenceDetected(complete_on_convergence="Enabled"),
    ),
    "instance_configs": [
        shapes.HyperParameterTuningInstanceConfig(
            instance_type="ml.m5.large", instance_count=1, volume_size_in_gb=40
        )
    ],
    "inputs": [
        shapes.Channel(
            channel_name="training",
            data_source=shapes.DataSource(s3_data_source=shapes.S3DataSource(**S3)),
            content_type="text/csv",
            input_mode="FastFile",
            shuffle_config=shapes.ShuffleConfig(seed=7),
        ),
        shapes.Channel(
            channel_name="validation",
            data_source=shapes.DataSource(
                file_system_data_source=shapes.FileSystemDataSource(**FILE_SYSTEM)
            ),
        ),
    ],
}


def build_client() -> EchoClient:
    client = EchoClient({"scikit-decision-trees": build_trees()})
    client.hides_others = True
    return client


def build_estimator(session: Any, **arguments: Any) -> ours.AlgorithmEstimator:
    given = {
        "role": ROLE,
        "instance_type": "ml.c4.xlarge",
        "output_path": "s3://bucket/models",
        "subnets": ["subnet-1"],
        "security_group_ids": ["sg-1"],
        "sagemaker_session": session,
    } | arguments
    return ours.AlgorithmEstimator(TREES_ARN, **given)


def find_sent(session_class: Any, parts: dict[str, Any]) -> dict[str, Any]:
    """Return the request of a tuning job made of the parts."""
    client = build_client()
    session = session_class(boto3.Session(), client, default_bucket="bucket")
    tuner = ours.HyperparameterTuner(
        build_estimator(session),
        "validation:accuracy",
        parts["ranges"],
        strategy="Hyperband",
        max_jobs=8,
        **{name: parts[name] for name in parts if name.endswith("_config")},
    )
    tuner.override_resource_config(parts["instance_configs"])
    tuner.fit(parts["inputs"], job_name="job", wait=False)
    [(_, request)] = client.sent
    return request


@pytest.mark.parametrize("part", sorted(OURS))
def test_an_object_of_the_sdk_is_taken_for_ours(part: str) -> None:
    mixed = find_sent(ours.Session, OURS | {part: THEIRS[part]})
    assert mixed == find_sent(ours.Session, OURS)


def test_all_of_them_with_a_session_of_the_sdk() -> None:
    assert find_sent(helper.Session, THEIRS) == find_sent(ours.Session, OURS)


INPUTS = {
    "text": (
        "s3://bucket/train",
        ours.TrainingInput("s3://bucket/train", content_type="text/csv"),
    ),
    "S3": (
        shapes.S3DataSource(**S3),
        ours.TrainingInput(
            "s3://bucket/train",
            distribution="ShardedByS3Key",
            content_type="text/csv",
            s3_data_type="ManifestFile",
        ),
    ),
    "file system": (
        shapes.FileSystemDataSource(**FILE_SYSTEM),
        ours.FileSystemInput("fs-0123456789abcdef0", "EFS", "/data", content_type="text/csv"),
    ),
}


@pytest.mark.parametrize("kind", sorted(INPUTS))
def test_input_data_of_the_sdk_is_taken(kind: str) -> None:
    source, expected = INPUTS[kind]
    estimator = build_estimator(
        ours.Session(boto3.Session(), build_client(), default_bucket="bucket"),
        hyperparameters={"max_leaf_nodes": 5},
    )
    data = configs.InputData(channel_name="training", data_source=source, content_type="text/csv")
    named = estimator.request({"training": expected}, "job")
    assert estimator.request([data], "job") == named
    assert estimator.request({"training": data}, "job") == named


def test_warm_start_types_of_the_sdk_are_taken() -> None:
    theirs = ours.WarmStartConfig(sdk_tuner.WarmStartTypes.TRANSFER_LEARNING, ["parent"])
    assert theirs == ours.WarmStartConfig("TransferLearning", ["parent"])


def test_a_field_that_only_the_sdk_knows_is_not_lost() -> None:
    data = configs.InputData(
        channel_name="training", data_source=shapes.S3DataSource(**S3, attribute_names=["a", "b"])
    )
    estimator = build_estimator(
        ours.Session(boto3.Session(), build_client(), default_bucket="bucket"),
        hyperparameters={"max_leaf_nodes": 5},
    )
    with pytest.raises(ours.InvalidRequestError, match="Only an augmented manifest has"):
        estimator.request([data], "job")


def test_a_session_of_the_sdk_gives_clients_bucket_and_defaults() -> None:
    job = {"RoleArn": ROLE, "EnableNetworkIsolation": True}
    config = {"SchemaVersion": "1.0", "SageMaker": {"TrainingJob": job}}
    client = build_client()
    boto_session = boto3.Session()
    theirs = helper.Session(
        boto_session,
        client,
        default_bucket="bucket",
        sagemaker_config=config,
        default_bucket_prefix="team/vision",
    )
    estimator = build_estimator(
        theirs, role=None, output_path=None, hyperparameters={"max_leaf_nodes": 5}
    )
    assert estimator.sagemaker_session.sagemaker_client is client
    assert estimator.sagemaker_session.boto_session is boto_session
    request = estimator.request("s3://bucket/train", "job")
    assert request["RoleArn"] == ROLE
    assert request["EnableNetworkIsolation"] is True
    assert request["OutputDataConfig"]["S3OutputPath"] == "s3://bucket/team/vision/"


def test_a_bucket_that_the_sdk_made_is_found_again() -> None:
    theirs = helper.Session(boto3.Session(), build_client())
    made = theirs.default_bucket()
    estimator = build_estimator(theirs)
    assert estimator.sagemaker_session.default_bucket() == made
    assert made == "sagemaker-us-east-2-123456789012"
