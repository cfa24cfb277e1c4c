"""Launch, come back to, and go on from tuning jobs."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest

from sagemaker_sift import (
    AlgorithmEstimator,
    CategoricalParameter,
    ConflictError,
    ContinuousParameter,
    HyperbandStrategyConfig,
    HyperparameterTuner,
    InstanceConfig,
    IntegerParameter,
    InvalidRequestError,
    NotFoundError,
    StrategyConfig,
    TuningJobCompletionCriteriaConfig,
    WarmStartConfig,
    WarmStartTypes,
    create_identical_dataset_and_algorithm_tuner,
    create_transfer_learning_tuner,
)
from tests.supports.algorithms import (
    ROLE,
    TREES_ARN,
    build_session,
    build_trees,
    build_trees_estimator,
)
from tests.supports.tuning import INPUTS, LEAVES


def build_full_tuner(root: Path, **changes: Any) -> HyperparameterTuner:
    """Return a tuner that sets every argument."""
    estimator = build_trees_estimator(
        root,
        volume_size=77,
        volume_kms_key="alias/volume",
        output_kms_key="alias/output",
        max_run=3600,
        max_wait=7200,
        use_spot_instances=True,
        tags={"team": "vision"},
        subnets=["subnet-1"],
        security_group_ids=["sg-1"],
        encrypt_inter_container_traffic=True,
        enable_network_isolation=True,
        environment={"LEVEL": "debug"},
        checkpoint_s3_uri="s3://bucket/checkpoints",
        checkpoint_local_path="/opt/ml/checkpoints",
        max_retry_attempts=3,
        disable_output_compression=True,
        hyperparameters={"depth": 4, "max_leaf_nodes": 50},
    )
    arguments: dict[str, Any] = {
        "objective_metric_name": "validation:loss",
        "hyperparameter_ranges": {
            "max_leaf_nodes": IntegerParameter(2, 900, "Logarithmic"),
            "min_gain": ContinuousParameter(0.0, 0.5, "ReverseLogarithmic"),
            "criterion": CategoricalParameter(["gini", "entropy"]),
        },
        "metric_definitions": [{"Name": "f1", "Regex": "f1=([0-9.]+)"}],
        "strategy": "Hyperband",
        "objective_type": "Minimize",
        "max_jobs": 20,
        "max_parallel_jobs": 4,
        "max_runtime_in_seconds": 86_400,
        "tags": [{"Key": "run", "Value": "7"}],
        "base_tuning_job_name": "base",
        "strategy_config": StrategyConfig(HyperbandStrategyConfig(30, 2)),
        "completion_criteria_config": TuningJobCompletionCriteriaConfig(5, False, 0.0),
        "random_seed": 0,
        "warm_start_config": WarmStartConfig("TransferLearning", ["second", "first"]),
    }
    estimator.sagemaker_session.sagemaker_client.hides_others = True
    estimator.sagemaker_session.sagemaker_client.status = "Stopped"
    tuner = HyperparameterTuner(estimator, **(arguments | changes))
    tuner.override_resource_config(
        [InstanceConfig(1, "ml.m5.large", 40), InstanceConfig(1, "ml.c4.xlarge", 50)]
    )
    return tuner


def test_the_documented_sample_runs(tmp_path: Path) -> None:
    session = build_session(tmp_path / "root")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train.csv").write_text("1,2\n")
    algo = AlgorithmEstimator(
        algorithm_arn=TREES_ARN,
        role="SageMakerRole",
        instance_count=1,
        instance_type="ml.c4.xlarge",
        sagemaker_session=session,
        base_job_name="test-marketplace",
        output_path="s3://bucket/models",
    )
    train_input = algo.sagemaker_session.upload_data(
        path=str(tmp_path / "data"), key_prefix="integ-test-data/marketplace/train"
    )
    algo.set_hyperparameters(max_leaf_nodes=10)
    tuner = HyperparameterTuner(
        estimator=algo,
        base_tuning_job_name="some-name",
        objective_metric_name="validation:accuracy",
        hyperparameter_ranges={"min_gain": ContinuousParameter(0.1, 0.5)},
        max_jobs=2,
        max_parallel_jobs=2,
    )
    tuner.fit({"training": train_input}, include_cls_metadata=False, wait=False)
    [(kind, request)] = session.sagemaker_client.sent
    assert kind == "hyper-parameter-tuning-job"
    assert request["HyperParameterTuningJobName"].startswith("some-name-")
    definition = request["TrainingJobDefinition"]
    assert definition["StaticHyperParameters"]["max_leaf_nodes"] == "10"
    assert definition["RoleArn"] == "arn:aws:iam::000000000000:role/SageMakerRole"
    assert definition["AlgorithmSpecification"]["AlgorithmName"] == TREES_ARN
    source = definition["InputDataConfig"][0]["DataSource"]["S3DataSource"]
    assert source["S3Uri"].endswith("/integ-test-data/marketplace/train")


def test_a_job_comes_back_with_every_setting(tmp_path: Path) -> None:
    tuner = build_full_tuner(tmp_path)
    tuner.fit(INPUTS, "base-261121-0930-k3x9", wait=False)
    sent = tuner.request(INPUTS, "again")
    attached = HyperparameterTuner.attach("base-261121-0930-k3x9", tuner.sagemaker_session)
    assert attached.request(INPUTS, "again") == sent
    assert attached.base_tuning_job_name == "base"
    assert attached.random_seed == 0
    assert attached.describe()["HyperParameterTuningJobStatus"] == "Stopped"


def test_defaults_of_a_file_do_not_fill_what_a_job_left_out(tmp_path: Path) -> None:
    from sagemaker_sift import Defaults

    tuner = HyperparameterTuner(
        build_trees_estimator(tmp_path), "validation:accuracy", LEAVES, max_jobs=3
    )
    tuner.fit(INPUTS, "plain", wait=False)
    sent = tuner.request(INPUTS, "again")
    training_job = {
        "ResourceConfig": {"VolumeKmsKeyId": "alias/file"},
        "EnableNetworkIsolation": True,
        "Tags": [{"Key": "from", "Value": "file"}],
    }
    tuner.sagemaker_session.defaults = Defaults.from_mapping(
        {"SchemaVersion": "1.0", "SageMaker": {"TrainingJob": training_job}}, "file"
    )
    attached = HyperparameterTuner.attach("plain", tuner.sagemaker_session)
    assert attached.request(INPUTS, "again") == sent


def test_several_estimators_come_back_too(tmp_path: Path) -> None:
    session = build_session(tmp_path, other=build_trees())
    parts = {
        "trees": build_trees_estimator(tmp_path, sagemaker_session=session, volume_size=11),
        "bushes": build_trees_estimator(
            tmp_path, sagemaker_session=session, algorithm_arn="other", volume_size=12
        ),
    }
    tuner = HyperparameterTuner.create(
        parts,
        {"trees": "validation:loss", "bushes": "validation:loss"},
        {"trees": LEAVES, "bushes": {"max_leaf_nodes": IntegerParameter(5, 6, "Linear")}},
        objective_type="Minimize",
        max_jobs=5,
    )
    inputs = {"trees": INPUTS, "bushes": {"training": "s3://bucket/other"}}
    tuner.fit(inputs, "both", wait=False)
    request = tuner.request(inputs, "again")
    definitions = request["TrainingJobDefinitions"]
    assert [one["DefinitionName"] for one in definitions] == ["bushes", "trees"]
    sizes = [one["HyperParameterTuningResourceConfig"]["VolumeSizeInGB"] for one in definitions]
    assert sizes == [12, 11]
    assert "HyperParameterTuningJobObjective" not in request["HyperParameterTuningJobConfig"]
    assert tuner.hyperparameter_ranges() is None
    assert set(tuner.hyperparameter_ranges_dict() or {}) == {"trees", "bushes"}
    attached = HyperparameterTuner.attach("both", session)
    assert attached.request(inputs, "again") == request


def test_autotune_searches_what_is_tunable_and_not_kept(tmp_path: Path) -> None:
    estimator = build_trees_estimator(tmp_path, hyperparameters={"max_leaf_nodes": 50})
    tuner = HyperparameterTuner(
        estimator,
        "validation:accuracy",
        None,
        max_jobs=4,
        autotune=True,
        hyperparameters_to_keep_static=["criterion"],
    )
    request = tuner.request(INPUTS, "auto")
    assert request["Autotune"] == {"Mode": "Enabled"}
    assert request["HyperParameterTuningJobConfig"]["ParameterRanges"]["AutoParameters"] == [
        {"Name": "min_gain", "ValueHint": "0.1"},
        {"Name": "max_leaf_nodes", "ValueHint": "50"},
    ]
    static = request["TrainingJobDefinition"]["StaticHyperParameters"]
    assert static == {"criterion": "gini", "depth": "8"}
    tuner.fit(INPUTS, "auto", wait=False)
    again = HyperparameterTuner.attach("auto", tuner.sagemaker_session)
    assert again.request(INPUTS, "auto2") == tuner.request(INPUTS, "auto2")


@pytest.mark.parametrize("kind", ["transfer", "identical"])
def test_a_warm_start_keeps_every_setting(tmp_path: Path, kind: str) -> None:
    tuner = build_full_tuner(tmp_path, warm_start_config=None)
    tuner.fit(INPUTS, "parent", wait=False)
    if kind == "transfer":
        warm = tuner.transfer_learning_tuner(["zeta", "alpha", "parent"])
    else:
        warm = tuner.identical_dataset_and_algorithm_tuner(["zeta", "alpha", "parent"])
    expected = tuner.request(INPUTS, "child")
    request = warm.request(INPUTS, "child")
    config = request.pop("WarmStartConfig")
    assert request == expected
    names = [
        one["HyperParameterTuningJobName"] for one in config["ParentHyperParameterTuningJobs"]
    ]
    assert names == ["parent", "zeta", "alpha"]
    assert (
        config["WarmStartType"]
        == {
            "transfer": "TransferLearning",
            "identical": "IdenticalDataAndAlgorithm",
        }[kind]
    )
    assert warm.latest_tuning_job is None
    assert tuner.warm_start_config is None


def test_a_warm_start_by_name_and_with_another_estimator(tmp_path: Path) -> None:
    tuner = build_full_tuner(tmp_path)
    session = tuner.sagemaker_session
    tuner.fit(INPUTS, "parent", wait=False)
    same = create_identical_dataset_and_algorithm_tuner("parent", sagemaker_session=session)
    assert same.warm_start_config == WarmStartConfig("IdenticalDataAndAlgorithm", ["parent"])
    other = build_trees_estimator(tmp_path, sagemaker_session=session, volume_size=99)
    warm = create_transfer_learning_tuner("parent", {"b", "a"}, other, session)
    assert warm.warm_start_config.parents == ("parent", "a", "b")
    definition = warm.request(INPUTS, "child")["TrainingJobDefinition"]
    resources = definition["HyperParameterTuningResourceConfig"]
    assert resources == {
        "InstanceType": "ml.c4.xlarge",
        "InstanceCount": 1,
        "VolumeSizeInGB": 99,
    }
    assert "VpcConfig" not in definition


def test_enums_and_their_texts_are_the_same(tmp_path: Path) -> None:
    by_member = WarmStartConfig(WarmStartTypes.TRANSFER_LEARNING, {"b", "a"})
    assert by_member == WarmStartConfig("TransferLearning", ["a", "b"])
    with pytest.raises(ValueError, match="must be one of IdenticalDataAndAlgorithm"):
        WarmStartConfig("Transfer", ["a"])
    with pytest.raises(ValueError, match="`parents` is empty"):
        WarmStartConfig("TransferLearning", [])


def test_what_is_wrong_with_arguments_is_said_at_once(tmp_path: Path) -> None:
    estimator = build_trees_estimator(tmp_path)
    with pytest.raises(TypeError, match=r"'max_job' is not an argument.*'max_jobs'"):
        HyperparameterTuner(estimator, "validation:accuracy", LEAVES, max_job=3)
    with pytest.raises(ValueError, match="`hyperparameter_ranges` is empty"):
        HyperparameterTuner(estimator, "validation:accuracy", {})
    with pytest.raises(TypeError, match=r"`hyperparameter_ranges\['max_leaf_nodes'\]` is 5"):
        HyperparameterTuner(estimator, "validation:accuracy", {"max_leaf_nodes": 5})
    with pytest.raises(TypeError, match="`estimator` is 'trees', but must be an Algorithm"):
        HyperparameterTuner("trees", "validation:accuracy", LEAVES)
    tuner = HyperparameterTuner(estimator, "validation:accuracy", LEAVES)
    with pytest.raises(TypeError, match=r"'wiat' is not an argument of HyperparameterTuner.fit"):
        tuner.fit(INPUTS, wiat=False)
    with pytest.raises(RuntimeError, match="No tuning job was launched yet"):
        tuner.describe()
    with pytest.raises(ValueError, match="lacks the name 'b'; the estimators are 'a', 'b'"):
        HyperparameterTuner.create(
            {"a": estimator, "b": estimator}, {"a": "x"}, {"a": LEAVES, "b": LEAVES}
        )
    assert tuner.sagemaker_session.sagemaker_client.sent == []


def test_a_taken_name_and_a_missing_job_are_typed_errors(tmp_path: Path) -> None:
    tuner = HyperparameterTuner(
        build_trees_estimator(tmp_path), "validation:accuracy", LEAVES, max_jobs=3
    )
    tuner.fit(INPUTS, "name", wait=False)
    with pytest.raises(ConflictError, match="name exists already"):
        tuner.fit(INPUTS, "name", wait=False)
    with pytest.raises(NotFoundError, match="nothing not found"):
        HyperparameterTuner.attach("nothing", tuner.sagemaker_session)


def test_the_bundled_algorithm_tunes_beta_and_learning_rate_locally_checked(
    tmp_path: Path,
) -> None:
    from sagemaker_sift import LocalSession

    (tmp_path / "train").mkdir()
    inputs = {"train": str(tmp_path / "train"), "validation": str(tmp_path / "train")}
    session = LocalSession(tmp_path / "root")
    estimator = AlgorithmEstimator(
        "sift-image-classification",
        role=ROLE,
        instance_type="ml.g5.xlarge",
        sagemaker_session=session,
        hyperparameters={"num_classes": 10, "num_training_samples": 1437},
    )
    tuner = HyperparameterTuner(
        estimator,
        "validation:accuracy",
        {
            "beta_value": ContinuousParameter(0.1, 10, "Logarithmic"),
            "learning_rate": ContinuousParameter(0.001, 0.5, "Logarithmic"),
        },
        max_jobs=4,
    )
    request = tuner.request(inputs, "local")
    static = request["TrainingJobDefinition"]["StaticHyperParameters"]
    assert not {"beta_value", "learning_rate"} & set(static)
    with pytest.raises(InvalidRequestError, match="there is no such folder"):
        tuner.validate(inputs | {"train": str(tmp_path / "nothing")})


def test_signatures_are_those_of_the_sdk() -> None:
    def names(function: Any) -> list[str]:
        return [
            name
            for name, one in inspect.signature(function).parameters.items()
            if one.kind is one.POSITIONAL_OR_KEYWORD and name != "self"
        ]

    assert names(HyperparameterTuner) == [
        "estimator", "objective_metric_name", "hyperparameter_ranges", "metric_definitions",
        "strategy", "objective_type", "max_jobs", "max_parallel_jobs", "max_runtime_in_seconds",
        "tags", "base_tuning_job_name", "warm_start_config", "strategy_config",
        "completion_criteria_config", "early_stopping_type", "estimator_name", "random_seed",
        "autotune", "hyperparameters_to_keep_static",
    ]  # fmt: skip
    assert names(HyperparameterTuner.create) == [
        "estimator_dict", "objective_metric_name_dict", "hyperparameter_ranges_dict",
        "metric_definitions_dict", "base_tuning_job_name", "strategy", "strategy_config",
        "completion_criteria_config", "objective_type", "max_jobs", "max_parallel_jobs",
        "max_runtime_in_seconds", "tags", "warm_start_config", "early_stopping_type",
        "random_seed", "autotune", "hyperparameters_to_keep_static_dict",
    ]  # fmt: skip
    assert names(HyperparameterTuner.fit) == [
        "inputs", "job_name", "include_cls_metadata", "estimator_kwargs", "wait",
    ]  # fmt: skip
    assert names(HyperparameterTuner.attach) == [
        "tuning_job_name", "sagemaker_session", "job_details", "estimator_cls",
    ]  # fmt: skip
