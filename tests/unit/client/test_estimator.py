"""Estimators of any algorithm: arguments, defaults of config files, requests, coming back."""

from __future__ import annotations

import inspect
import warnings
from pathlib import Path
from typing import Any

import pytest

from sagemaker_sift import (
    Algorithm,
    AlgorithmEstimator,
    Defaults,
    FileSystemInput,
    InstanceGroup,
    InvalidRequestError,
    LocalSession,
    NotFoundError,
    TrainingInput,
)
from tests.supports.algorithms import (
    ROLE,
    TREES_ARN,
    build_session,
    build_trees,
    build_trees_estimator,
    error,
)
from tests.supports.tuning import INPUTS, LEAVES

FILE = {
    "RoleArn": "arn:aws:iam::111122223333:role/file",
    "OutputDataConfig": {"KmsKeyId": "alias/output"},
    "ResourceConfig": {"VolumeKmsKeyId": "alias/volume"},
    "VpcConfig": {"Subnets": ["subnet-f"], "SecurityGroupIds": ["sg-f"]},
    "EnableNetworkIsolation": True,
    "EnableInterContainerTrafficEncryption": True,
    "Environment": {"FROM": "file"},
    "Tags": [{"Key": "owner", "Value": "file"}, {"Key": "cost", "Value": "file"}],
}


def read_defaults(training_job: dict[str, Any]) -> Defaults:
    content = {"SchemaVersion": "1.0", "SageMaker": {"TrainingJob": training_job}}
    return Defaults.from_mapping(content, "config.yaml")


def build_with_defaults(root: Path, **arguments: Any) -> AlgorithmEstimator:
    session = build_session(root)
    session.defaults = read_defaults(FILE)
    return build_trees_estimator(
        root,
        sagemaker_session=session,
        role=None,
        **({"hyperparameters": {"max_leaf_nodes": 5}} | arguments),
    )


def test_every_default_of_the_file_reaches_training_and_tuning(tmp_path: Path) -> None:
    from sagemaker_sift import HyperparameterTuner

    estimator = build_with_defaults(tmp_path)
    training = estimator.request(INPUTS, "job")
    tuner = HyperparameterTuner(estimator, "validation:accuracy", LEAVES, max_jobs=3)
    tuning = tuner.request(INPUTS, "job")
    definition = tuning["TrainingJobDefinition"]
    resources = definition["HyperParameterTuningResourceConfig"]
    for job, machines in ((training, training["ResourceConfig"]), (definition, resources)):
        assert job["RoleArn"] == FILE["RoleArn"]
        assert job["OutputDataConfig"]["KmsKeyId"] == "alias/output"
        assert machines["VolumeKmsKeyId"] == "alias/volume"
        assert job["VpcConfig"] == FILE["VpcConfig"]
        assert job["EnableNetworkIsolation"] is True
        assert job["EnableInterContainerTrafficEncryption"] is True
        assert job["Environment"] == {"FROM": "file"}
    assert training["Tags"] == FILE["Tags"]
    assert tuning["Tags"] == FILE["Tags"]


def test_what_is_given_beats_the_file_even_if_it_is_false_or_empty(tmp_path: Path) -> None:
    estimator = build_with_defaults(
        tmp_path,
        enable_network_isolation=False,
        encrypt_inter_container_traffic=False,
        environment={},
        output_kms_key="alias/mine",
        tags=[{"Key": "owner", "Value": "me"}],
    )
    request = estimator.unchecked_request(INPUTS, "job")
    assert "EnableNetworkIsolation" not in request
    assert "EnableInterContainerTrafficEncryption" not in request
    assert "Environment" not in request
    assert request["OutputDataConfig"]["KmsKeyId"] == "alias/mine"
    assert request["Tags"] == [
        {"Key": "owner", "Value": "me"},
        {"Key": "cost", "Value": "file"},
    ]


def test_explain_names_the_source_of_every_argument(tmp_path: Path) -> None:
    estimator = build_with_defaults(tmp_path, output_kms_key="alias/mine", tags={"a": "b"})
    rows = {row.path: (row.value, row.source) for row in estimator.explain()}
    assert rows["output_kms_key"] == ("alias/mine", "argument")
    value, source = rows["volume_kms_key"]
    assert value == "alias/volume"
    assert source.startswith("config.yaml")
    assert rows["max_wait"] == (None, "built in")
    assert rows["tags"][1].startswith("argument and config.yaml")


def test_attributes_may_be_changed_before_a_launch(tmp_path: Path) -> None:
    estimator = build_trees_estimator(tmp_path, hyperparameters={"max_leaf_nodes": 5})
    estimator.volume_size = 99
    estimator.subnets, estimator.security_group_ids = ["subnet-1"], ["sg-1"]
    request = estimator.request(INPUTS, "job")
    assert request["ResourceConfig"]["VolumeSizeInGB"] == 99
    assert request["VpcConfig"] == {"Subnets": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}


def test_hyperparameters_of_somebody_else_s_algorithm(tmp_path: Path) -> None:
    estimator = build_trees_estimator(tmp_path)
    with pytest.raises(InvalidRequestError, match="`max_leaf_nodes` is required, but missing"):
        estimator.hyperparameters()
    estimator.set_hyperparameters(max_leaf_nodes=10.0, criterion="entropy")
    assert estimator.hyperparameters() == {
        "min_gain": "0.1",
        "criterion": "entropy",
        "depth": "8",
        "max_leaf_nodes": "10",
    }
    with pytest.raises(InvalidRequestError) as caught:
        estimator.set_hyperparameters(max_leaf_nodes=3.7, min_gain=2, criterion="log", leaves=1)
    assert [problem.path for problem in caught.value.problems] == [
        "max_leaf_nodes",
        "min_gain",
        "criterion",
        "leaves",
    ]
    assert estimator.hyperparameters()["max_leaf_nodes"] == "10"


def test_one_input_is_the_channel_that_the_algorithm_requires(tmp_path: Path) -> None:
    estimator = build_trees_estimator(tmp_path, hyperparameters={"max_leaf_nodes": 5})
    for given in ("s3://bucket/data", TrainingInput("s3://bucket/data")):
        [channel] = estimator.request(given, "job")["InputDataConfig"]
        assert channel["ChannelName"] == "training"
        assert channel["DataSource"]["S3DataSource"]["S3Uri"] == "s3://bucket/data"


def test_fast_file_where_the_algorithm_lists_it(tmp_path: Path) -> None:
    estimator = build_trees_estimator(
        tmp_path, input_mode="FastFile", hyperparameters={"max_leaf_nodes": 5}
    )
    request = estimator.request(INPUTS, "job")
    assert request["AlgorithmSpecification"]["TrainingInputMode"] == "FastFile"


def test_a_file_system_needs_a_vpc_and_file_mode(tmp_path: Path) -> None:
    estimator = build_trees_estimator(tmp_path, hyperparameters={"max_leaf_nodes": 5})
    files = FileSystemInput("fs-0123456789abcdef0", "EFS", "/data")
    with pytest.raises(InvalidRequestError, match=r"`inputs\['training'\]` is a file system"):
        estimator.request({"training": files}, "job")
    estimator.subnets, estimator.security_group_ids = ["subnet-1"], ["sg-1"]
    [channel] = estimator.request({"training": files}, "job")["InputDataConfig"]
    assert channel["DataSource"] == files.config["DataSource"]
    wrong = FileSystemInput("fs-1", "NFS", "/data", "rx")
    with pytest.raises(InvalidRequestError) as caught:
        estimator.request({"training": wrong}, "job")
    assert {problem.path for problem in caught.value.problems} == {
        "inputs['training'].file_system_id",
        "inputs['training'].file_system_access_mode",
        "inputs['training'].file_system_type",
    }


def test_instance_groups_replace_type_and_count(tmp_path: Path) -> None:
    session = build_session(tmp_path, wide=build_trees(SupportsDistributedTraining=True))
    arguments: dict[str, Any] = {
        "algorithm_arn": "wide",
        "sagemaker_session": session,
        "hyperparameters": {"max_leaf_nodes": 5},
        "instance_groups": [
            InstanceGroup("big", "ml.c4.xlarge", 2),
            {"InstanceGroupName": "small", "InstanceType": "ml.m5.large", "InstanceCount": 1},
        ],
    }
    estimator = build_trees_estimator(tmp_path, instance_type=None, **arguments)
    data = TrainingInput("s3://bucket/data", instance_groups=["big"])
    resources = estimator.request({"training": data}, "job")["ResourceConfig"]
    assert [group["InstanceGroupName"] for group in resources["InstanceGroups"]] == [
        "big",
        "small",
    ]
    assert "InstanceType" not in resources
    assert "InstanceCount" not in resources
    with pytest.raises(
        InvalidRequestError, match="`instance_type` is set besides instance_groups"
    ):
        build_trees_estimator(tmp_path, **arguments).request({"training": data}, "job")
    data = TrainingInput("s3://bucket/data", instance_groups=["bg"])
    with pytest.raises(InvalidRequestError, match="has 'bg', which is no instance group"):
        estimator.request({"training": data}, "job")


def test_an_algorithm_needs_no_call_if_it_is_given_itself(tmp_path: Path) -> None:
    session = LocalSession(tmp_path)
    estimator = AlgorithmEstimator(
        Algorithm("offline", build_trees()),
        ROLE,
        instance_type="ml.c4.xlarge",
        sagemaker_session=session,
        hyperparameters={"max_leaf_nodes": 5},
    )
    assert estimator.algorithm_arn == "offline"
    request = estimator.unchecked_request({"training": "s3://b/c"}, "job")
    assert request["AlgorithmSpecification"]["AlgorithmName"] == "offline"


def test_algorithms_of_the_marketplace_run_isolated(tmp_path: Path) -> None:
    product = Algorithm("product", build_trees(), product_id="prod-1")
    estimator = build_trees_estimator(
        tmp_path, algorithm_arn=product, hyperparameters={"max_leaf_nodes": 5}
    )
    assert estimator.request(INPUTS, "job")["EnableNetworkIsolation"] is True
    estimator.enable_network_isolation = False
    with pytest.raises(InvalidRequestError, match="algorithms of AWS Marketplace run isolated"):
        estimator.request(INPUTS, "job")


def test_unknown_arguments_and_algorithms_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"'volume_kms' is not an argument.*'volume_kms_key'"):
        build_trees_estimator(tmp_path, volume_kms="alias/x")
    with pytest.raises(NotFoundError, match="nothing"):
        build_trees_estimator(tmp_path, algorithm_arn="nothing")
    with pytest.raises(TypeError, match="is no session"):
        build_trees_estimator(tmp_path, sagemaker_session="us-east-1")


def test_a_training_job_comes_back_with_every_setting(tmp_path: Path) -> None:
    estimator = build_trees_estimator(
        tmp_path,
        volume_size=77,
        volume_kms_key="alias/volume",
        max_wait=90_000,
        use_spot_instances=True,
        input_mode="Pipe",
        output_kms_key="alias/output",
        subnets=["subnet-1"],
        security_group_ids=["sg-1"],
        metric_definitions=[{"Name": "f1", "Regex": "f1=([0-9.]+)"}],
        encrypt_inter_container_traffic=True,
        enable_network_isolation=True,
        environment={"LEVEL": "debug"},
        checkpoint_s3_uri="s3://bucket/checkpoints",
        max_retry_attempts=3,
        keep_alive_period_in_seconds=0,
        disable_output_compression=True,
        tags={"team": "vision", "run": "7"},
        hyperparameters={"depth": 4, "max_leaf_nodes": 50},
    )
    estimator.fit(INPUTS, wait=False, job_name="job")
    attached = AlgorithmEstimator.attach("job", estimator.sagemaker_session)
    assert attached.request(INPUTS, "again") == estimator.request(INPUTS, "again")
    assert attached.job().name == "job"


def test_a_job_of_an_image_cannot_be_attached_to(tmp_path: Path) -> None:
    estimator = build_trees_estimator(tmp_path, hyperparameters={"max_leaf_nodes": 5})
    estimator.fit(INPUTS, wait=False, job_name="job")
    client = estimator.sagemaker_session.sagemaker_client
    client.created["job"]["AlgorithmSpecification"] = {
        "TrainingImage": "image:1",
        "TrainingInputMode": "File",
    }
    with pytest.raises(ValueError, match="ran a container image, not an Algorithm resource"):
        AlgorithmEstimator.attach("job", estimator.sagemaker_session)


def test_tags_that_may_not_be_listed_are_a_warning(tmp_path: Path) -> None:
    estimator = build_trees_estimator(tmp_path, hyperparameters={"max_leaf_nodes": 5})
    estimator.fit(INPUTS, wait=False, job_name="job")
    session = estimator.sagemaker_session

    def refuse(**call: Any) -> None:
        raise error("ListTags", "AccessDeniedException", "not authorized: sagemaker:ListTags")

    session.sagemaker_client.list_tags = refuse
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        attached = AlgorithmEstimator.attach("job", session)
    assert attached.tags == []
    assert "sagemaker:ListTags" in str(caught[0].message)


def test_the_signature_is_the_sdk_s() -> None:
    parameters = inspect.signature(AlgorithmEstimator).parameters
    names = [name for name, one in parameters.items() if one.kind is one.POSITIONAL_OR_KEYWORD]
    assert names == [
        "algorithm_arn", "role", "instance_count", "instance_type", "volume_size",
        "volume_kms_key", "max_run", "input_mode", "output_path", "output_kms_key",
        "base_job_name", "sagemaker_session", "hyperparameters", "tags", "subnets",
        "security_group_ids", "model_uri", "model_channel_name", "metric_definitions",
        "encrypt_inter_container_traffic", "use_spot_instances", "max_wait",
    ]  # fmt: skip
    assert parameters["volume_size"].default == 30
    assert parameters["max_run"].default == 86_400
    assert parameters["input_mode"].default == "File"


def test_the_arn_stays_as_it_was_given(tmp_path: Path) -> None:
    estimator = build_trees_estimator(tmp_path, hyperparameters={"max_leaf_nodes": 5})
    request = estimator.request(INPUTS)
    assert request["AlgorithmSpecification"]["AlgorithmName"] == TREES_ARN
    assert request["TrainingJobName"].startswith("scikit-decision-trees-")


def test_channels_of_the_bundled_algorithm_that_need_one_another(tmp_path: Path) -> None:
    from tests.supports.algorithms import BUNDLED, build_bundled_estimator

    pretrained = BUNDLED | {"use_pretrained_model": 1, "num_layers": 50}
    estimator = build_bundled_estimator(tmp_path, hyperparameters=pretrained)
    lists = {"train": "s3://b/t", "train_lst": "s3://b/l", "validation_lst": "s3://b/v"}
    with pytest.raises(InvalidRequestError) as caught:
        estimator.request(lists, "job")
    assert [str(problem)[:70] for problem in caught.value.problems] == [
        "`use_pretrained_model` is 1, but the job has no channel 'pretrained'. ",
        "`inputs` has the channel 'validation_lst', but not 'validation' with i",
    ]
    weights = {"train": "s3://b/t", "pretrained": "s3://b/w"}
    assert len(estimator.request(weights, "job")["InputDataConfig"]) == 2
