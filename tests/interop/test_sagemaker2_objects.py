"""Objects of the SDK v2 are taken here wherever ours are, and say the same."""

from __future__ import annotations

from typing import Any

import boto3
import pytest

from sagemaker_sift import HyperparameterTuner
from sagemaker_sift.session.aws_session import Session
from tests.interop.libraries import (
    OURS,
    SDK,
    Library,
    build_client,
    build_estimator,
    build_session,
    build_tuner,
    find_sent,
)
from tests.supports.algorithms import ROLE, EchoClient

pytestmark = pytest.mark.interop

TAKEN = [
    {"AlgorithmEstimator", "Session"},
    {"CategoricalParameter"},
    {"ContinuousParameter"},
    {"FileSystemInput"},
    {"HyperbandStrategyConfig"},
    {"InstanceConfig"},
    {"IntegerParameter"},
    {"Session"},
    {"ShuffleConfig"},
    {"StrategyConfig"},
    {"TrainingInput"},
    {"TuningJobCompletionCriteriaConfig"},
    {"WarmStartTypes"},
    {"WarmStartConfig", "WarmStartTypes"},
]
"""Names that a program takes from the SDK, everything else from here."""


def tune(library: Any, client: EchoClient) -> None:
    """Launch a tuning job that has something of every class."""
    tuner = library.HyperparameterTuner(
        build_estimator(
            library,
            client,
            volume_kms_key="alias/volume",
            tags=[{"Key": "team", "Value": "vision"}],
            encrypt_inter_container_traffic=True,
            use_spot_instances=True,
            max_wait=90_000,
            subnets=["subnet-1"],
            security_group_ids=["sg-1"],
            hyperparameters={"max_leaf_nodes": 10, "depth": 4},
        ),
        "validation:accuracy",
        {
            "max_leaf_nodes": library.IntegerParameter(2, 900, "Logarithmic"),
            "min_gain": library.ContinuousParameter(0.1, 0.5, "Linear"),
            "criterion": library.CategoricalParameter(["gini", "entropy"]),
        },
        strategy="Hyperband",
        max_jobs=8,
        strategy_config=library.StrategyConfig(library.HyperbandStrategyConfig(30, 2)),
        completion_criteria_config=library.TuningJobCompletionCriteriaConfig(5, False, 0.9),
        warm_start_config=library.WarmStartConfig(
            library.WarmStartTypes.TRANSFER_LEARNING, {"b", "a"}
        ),
    )
    tuner.override_resource_config([library.InstanceConfig(1, "ml.m5.large", 40)])
    channel = library.TrainingInput(
        "s3://bucket/train",
        content_type="text/csv",
        input_mode="Pipe",
        shuffle_config=library.ShuffleConfig(7),
    )
    files = library.FileSystemInput("fs-0123456789abcdef0", "EFS", "/data")
    tuner.fit({"training": channel, "validation": files}, job_name="mixed", wait=False)


@pytest.mark.parametrize("names", TAKEN, ids=lambda names: "+".join(sorted(names)))
def test_an_object_of_the_sdk_is_taken_for_ours(names: set[str]) -> None:
    mixed = Library(names)
    request = find_sent(tune, mixed)
    assert names <= mixed.used
    if "WarmStartConfig" in names:  # the SDK has parents in a set
        request["WarmStartConfig"]["ParentHyperParameterTuningJobs"].sort(
            key=lambda parent: parent["HyperParameterTuningJobName"]
        )
    assert request == find_sent(tune, OURS)


def test_everything_of_the_sdk_but_the_tuner_is_taken_at_once() -> None:
    mixed = Library(set().union(*TAKEN))
    request = find_sent(tune, mixed)
    parents = request["WarmStartConfig"]["ParentHyperParameterTuningJobs"]
    parents.sort(key=lambda parent: parent["HyperParameterTuningJobName"])
    assert request == find_sent(tune, OURS)


def test_an_estimator_of_the_sdk_keeps_what_was_set_as_an_attribute() -> None:
    client = build_client()
    estimator = build_estimator(SDK, client, hyperparameters={"max_leaf_nodes": 10, "depth": 4})
    estimator.environment = {"LEVEL": "debug"}
    estimator.checkpoint_s3_uri = "s3://bucket/checkpoints"
    estimator.max_retry_attempts = 3
    tuner = HyperparameterTuner(
        estimator, "validation:accuracy", {"min_gain": OURS.ContinuousParameter(0.1, 0.5)}
    )
    definition = tuner.request({"training": "s3://bucket/train"}, "job")["TrainingJobDefinition"]
    assert definition["Environment"] == {"LEVEL": "debug"}
    assert definition["CheckpointConfig"] == {"S3Uri": "s3://bucket/checkpoints"}
    assert definition["RetryStrategy"] == {"MaximumRetryAttempts": 3}
    assert definition["StaticHyperParameters"] == {
        "max_leaf_nodes": "10",
        "depth": "4",
        "criterion": "gini",
    }


def test_an_estimator_of_the_sdk_stays_isolated_if_it_is_of_the_marketplace() -> None:
    client = build_client()
    describe = client.describe_algorithm
    client.describe_algorithm = (  # type: ignore[method-assign]
        lambda **arguments: describe(**arguments) | {"ProductId": "prod-1"}
    )
    ranges = {"min_gain": OURS.ContinuousParameter(0.1, 0.5)}
    estimator = build_estimator(SDK, client)
    tuner = HyperparameterTuner(estimator, "validation:accuracy", ranges)
    definition = tuner.request({"training": "s3://bucket/train"}, "job")["TrainingJobDefinition"]
    assert definition["EnableNetworkIsolation"] is True


def test_an_instance_group_of_the_sdk_is_taken() -> None:
    def train(library: Any, client: EchoClient) -> None:
        estimator = build_estimator(
            library,
            client,
            instance_count=None,
            instance_type=None,
            instance_groups=[library.InstanceGroup("fast", "ml.c4.xlarge", 1)],
        )
        channel = library.TrainingInput("s3://bucket/train", instance_groups=["fast"])
        estimator.fit({"training": channel}, job_name="groups", wait=False)

    mixed = Library({"InstanceGroup", "TrainingInput"})
    request = find_sent(train, mixed)
    assert mixed.of_sdk <= mixed.used
    assert request == find_sent(train, OURS)
    assert request["ResourceConfig"]["InstanceGroups"][0]["InstanceType"] == "ml.c4.xlarge"


def test_a_session_of_the_sdk_gives_clients_bucket_and_defaults() -> None:
    job = {
        "RoleArn": ROLE,
        "EnableNetworkIsolation": True,
        "Tags": [{"Key": "from", "Value": "file"}],
    }
    config = {"SchemaVersion": "1.0", "SageMaker": {"TrainingJob": job}}
    client = build_client()
    theirs = build_session(
        SDK, client, sagemaker_config=config, default_bucket_prefix="team/vision"
    )
    estimator = build_estimator(
        OURS, client, sagemaker_session=theirs, role=None, output_path=None
    )
    session = estimator.sagemaker_session
    assert isinstance(session, Session)
    assert session.sagemaker_client is client
    assert session.boto_session is theirs.boto_session
    assert session.default_bucket() == "bucket"
    request = estimator.request({"training": "s3://bucket/train"}, "job")
    assert request["RoleArn"] == ROLE
    assert request["OutputDataConfig"]["S3OutputPath"] == "s3://bucket/team/vision/"
    assert request["EnableNetworkIsolation"] is True
    assert request["Tags"] == [{"Key": "from", "Value": "file"}]


def test_a_bucket_that_the_sdk_made_is_found_again() -> None:
    theirs = SDK.Session(boto3.Session(), build_client())
    made = theirs.default_bucket()
    estimator = build_estimator(OURS, build_client(), sagemaker_session=theirs)
    assert estimator.sagemaker_session.default_bucket() == made
    assert made == "sagemaker-us-east-2-123456789012"


def test_an_execution_role_is_found_through_a_session_of_the_sdk() -> None:
    theirs = build_session(SDK, build_client())
    client = boto3.client("sts")
    role = client.assume_role(
        RoleArn="arn:aws:iam::123456789012:role/sift", RoleSessionName="tests"
    )["Credentials"]
    theirs.boto_session = boto3.Session(
        role["AccessKeyId"], role["SecretAccessKey"], role["SessionToken"]
    )
    assert OURS.get_execution_role(theirs) == "arn:aws:iam::123456789012:role/sift"
    assert SDK.get_execution_role(theirs) == "arn:aws:iam::123456789012:role/sift"


def test_a_local_session_of_the_sdk_is_refused_with_the_way_out() -> None:
    theirs = build_session(SDK, build_client())
    theirs.local_mode = True
    with pytest.raises(TypeError, match=r"Give\s+sagemaker_sift.LocalSession\(\) instead"):
        build_estimator(OURS, build_client(), sagemaker_session=theirs)


def test_parents_of_the_sdk_are_all_there() -> None:
    parents = {"first", "second", "third", "fourth", "fifth"}
    config = SDK.WarmStartConfig(SDK.WarmStartTypes.TRANSFER_LEARNING, parents)
    tuner = build_tuner(OURS, build_client(), warm_start_config=config)
    request = tuner.request({"training": "s3://bucket/train"}, "job")
    found = request["WarmStartConfig"]["ParentHyperParameterTuningJobs"]
    assert {parent["HyperParameterTuningJobName"] for parent in found} == parents
