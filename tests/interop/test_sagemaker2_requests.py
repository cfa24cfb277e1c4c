"""The same program on the SDK v2 and here sends the same request, where the SDK's is right."""

from __future__ import annotations

from typing import Any

import pytest

from tests.interop.libraries import (
    OURS,
    SDK,
    Program,
    build_client,
    build_estimator,
    build_tuner,
    find_sent,
)
from tests.supports.algorithms import EchoClient, build_trees

pytestmark = pytest.mark.interop

FILES = {"training": "s3://bucket/train"}


def build_both(program: Program, **changes: Any) -> tuple[Any, Any]:
    """Return what the program sends with the SDK, and what it sends here."""
    return (
        find_sent(program, SDK, build_client(**changes)),
        find_sent(program, OURS, build_client(**changes)),
    )


def test_a_plain_tuning_job() -> None:
    def program(library: Any, client: EchoClient) -> None:
        build_tuner(library, client).fit(FILES, job_name="plain", wait=False)

    of_sdk, ours = build_both(program)
    assert ours == of_sdk
    assert ours["TrainingJobDefinition"]["StaticHyperParameters"]["max_leaf_nodes"] == "10"


def give_everything(library: Any, client: EchoClient) -> None:
    """Set everything that the SDK carries into a tuning job."""
    tuner = build_tuner(
        library,
        client,
        objective_metric_name="validation:loss",
        hyperparameter_ranges={
            "max_leaf_nodes": library.IntegerParameter(2, 900, "Logarithmic"),
            "min_gain": library.ContinuousParameter(0.05, 0.5, "ReverseLogarithmic"),
            "criterion": library.CategoricalParameter(["gini", "entropy"]),
        },
        metric_definitions=[{"Name": "f1", "Regex": "f1=([0-9.]+)"}],
        strategy="Random",
        objective_type="Minimize",
        max_jobs=20,
        max_parallel_jobs=4,
        max_runtime_in_seconds=86_400,
        tags=[{"Key": "run", "Value": "7"}],
        completion_criteria_config=library.TuningJobCompletionCriteriaConfig(5, True, 0.01),
        early_stopping_type="Auto",
        random_seed=0,
        warm_start_config=library.WarmStartConfig(
            library.WarmStartTypes.TRANSFER_LEARNING, {"parent"}
        ),
        estimator_volume_size=77,
        estimator_volume_kms_key="alias/volume",
        estimator_max_run=3600,
        estimator_output_kms_key="alias/output",
        estimator_tags=[{"Key": "team", "Value": "vision"}],
        estimator_subnets=["subnet-1"],
        estimator_security_group_ids=["sg-1"],
        estimator_encrypt_inter_container_traffic=True,
        estimator_use_spot_instances=True,
        estimator_max_wait=7200,
        estimator_hyperparameters={"depth": 4, "max_leaf_nodes": 50, "note": "a b"},
    )
    estimator = getattr(tuner, "estimator", None) or tuner.definitions[None].estimator
    estimator.environment = {"LEVEL": "debug"}  # arguments that the SDK takes as attributes only
    estimator.checkpoint_s3_uri = "s3://bucket/checkpoints"
    estimator.checkpoint_local_path = "/opt/ml/checkpoints"
    estimator.max_retry_attempts = 3
    tuner.override_resource_config(
        [
            library.InstanceConfig(1, "ml.m5.large", 40),
            library.InstanceConfig(1, "ml.c4.xlarge", 50),
        ]
    )
    channel = library.TrainingInput(
        "s3://bucket/train",
        distribution="ShardedByS3Key",
        content_type="text/csv",
        compression="Gzip",
        record_wrapping="RecordIO",
        s3_data_type="ManifestFile",
        input_mode="Pipe",
        shuffle_config=library.ShuffleConfig(7),
    )
    files = library.FileSystemInput("fs-0123456789abcdef0", "EFS", "/data", "ro", "text/csv")
    tuner.fit({"training": channel, "validation": files}, job_name="everything", wait=False)


def test_a_tuning_job_with_everything_that_the_sdk_carries() -> None:
    of_sdk, ours = build_both(give_everything)
    assert ours == of_sdk
    definition = ours["TrainingJobDefinition"]
    assert definition["RetryStrategy"] == {"MaximumRetryAttempts": 3}
    assert definition["InputDataConfig"][0]["ShuffleConfig"] == {"Seed": 7}
    assert len(definition["HyperParameterTuningResourceConfig"]["InstanceConfigs"]) == 2
    assert ours["HyperParameterTuningJobConfig"]["RandomSeed"] == 0


def test_a_hyperband_job() -> None:
    def program(library: Any, client: EchoClient) -> None:
        config = library.StrategyConfig(library.HyperbandStrategyConfig(30, 2))
        tuner = build_tuner(library, client, strategy="Hyperband", strategy_config=config)
        tuner.fit(FILES, job_name="bands", wait=False)

    of_sdk, ours = build_both(program)
    assert ours == of_sdk
    assert ours["HyperParameterTuningJobConfig"]["StrategyConfig"] == {
        "HyperbandStrategyConfig": {"MinResource": 2, "MaxResource": 30}
    }


def test_a_job_of_several_estimators() -> None:
    def program(library: Any, client: EchoClient) -> None:
        tuner = library.HyperparameterTuner.create(
            {
                "trees": build_estimator(library, client, volume_size=11),
                "bushes": build_estimator(library, client, volume_size=12),
            },
            dict.fromkeys(["trees", "bushes"], "validation:accuracy"),
            {
                "trees": {"min_gain": library.ContinuousParameter(0.1, 0.5)},
                "bushes": {"criterion": library.CategoricalParameter(["gini", "entropy"])},
            },
            {"bushes": [{"Name": "f1", "Regex": "f1=([0-9.]+)"}]},
            max_jobs=6,
            tags=[{"Key": "team", "Value": "vision"}],
        )
        tuner.override_resource_config({"trees": [library.InstanceConfig(1, "ml.m5.large", 40)]})
        inputs = {"trees": FILES, "bushes": {"training": "s3://bucket/other"}}
        tuner.fit(inputs, job_name="several", include_cls_metadata={}, wait=False)

    of_sdk, ours = build_both(program)
    assert ours == of_sdk
    names = [one["DefinitionName"] for one in ours["TrainingJobDefinitions"]]
    assert names == ["bushes", "trees"]


def test_a_warm_start_of_a_tuner_that_was_launched() -> None:
    def program(library: Any, client: EchoClient) -> None:
        tuner = build_tuner(library, client)
        tuner.fit(FILES, job_name="parent", wait=False)
        warm = tuner.identical_dataset_and_algorithm_tuner()
        warm.fit(FILES, job_name="child", wait=False)

    of_sdk, ours = build_both(program)
    assert ours == of_sdk
    assert ours[1]["WarmStartConfig"] == {
        "WarmStartType": "IdenticalDataAndAlgorithm",
        "ParentHyperParameterTuningJobs": [{"HyperParameterTuningJobName": "parent"}],
    }


def test_autotune_of_an_algorithm_whose_hyperparameters_are_all_tunable() -> None:
    def program(library: Any, client: EchoClient) -> None:
        tuner = build_tuner(
            library,
            client,
            hyperparameter_ranges={"min_gain": library.ContinuousParameter(0.1, 0.5)},
            autotune=True,
            hyperparameters_to_keep_static=["criterion"],
        )
        tuner.fit(FILES, job_name="auto", wait=False)

    tunable = [entry for entry in build_trees()["SupportedHyperParameters"] if entry["IsTunable"]]
    of_sdk, ours = build_both(program, SupportedHyperParameters=tunable)
    assert ours == of_sdk
    assert ours["Autotune"] == {"Mode": "Enabled"}


def test_a_training_job_without_the_profiler_and_the_debugger() -> None:
    def program(library: Any, client: EchoClient) -> None:
        estimator = build_estimator(
            library,
            client,
            volume_size=77,
            volume_kms_key="alias/volume",
            output_kms_key="alias/output",
            max_run=3600,
            tags=[{"Key": "team", "Value": "vision"}],
            subnets=["subnet-1"],
            security_group_ids=["sg-1"],
            metric_definitions=[{"Name": "f1", "Regex": "f1=([0-9.]+)"}],
            encrypt_inter_container_traffic=True,
            use_spot_instances=True,
            max_wait=7200,
        )
        estimator.fit(FILES, job_name="train", wait=False)

    of_sdk, ours = build_both(program)
    added = {name: of_sdk.pop(name) for name in ("DebugHookConfig", "ProfilerConfig")}
    assert added == {
        "DebugHookConfig": {"S3OutputPath": "s3://bucket/models", "CollectionConfigurations": []},
        "ProfilerConfig": {"S3OutputPath": "s3://bucket/models", "DisableProfiler": False},
    }
    assert ours == of_sdk


def test_the_channel_of_a_model_to_go_on_from() -> None:
    def program(library: Any, client: EchoClient) -> None:
        estimator = build_estimator(
            library, client, input_mode="Pipe", model_uri="s3://bucket/model.tar.gz"
        )
        estimator.fit(FILES, job_name="train", wait=False)

    channel = {"SupportedContentTypes": [], "SupportedInputModes": ["File", "Pipe"]}
    channels = [
        {"Name": "training", "IsRequired": True, **channel},
        {"Name": "model", "IsRequired": False, **channel},
    ]
    of_sdk, ours = build_both(program, TrainingChannels=channels)
    assert of_sdk["InputDataConfig"][1]["InputMode"] == "File"
    assert ours["InputDataConfig"] == of_sdk["InputDataConfig"]
