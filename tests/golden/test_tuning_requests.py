"""Whole tuning requests of the main scenarios, as they go to the service."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sagemaker_sift import (
    CategoricalParameter,
    ContinuousParameter,
    HyperbandStrategyConfig,
    HyperparameterTuner,
    InstanceConfig,
    IntegerParameter,
    StrategyConfig,
    TrainingInput,
    TuningJobCompletionCriteriaConfig,
    WarmStartConfig,
)
from sagemaker_sift.requests.service_model import find_violations
from tests.golden.golden import compare
from tests.supports.algorithms import build_bundled_estimator, build_session

SEARCH = {
    "beta_value": ContinuousParameter(0.1, 10, "Logarithmic"),
    "learning_rate": ContinuousParameter(0.001, 0.5, "Logarithmic"),
}
INPUTS = {
    "train": TrainingInput("s3://bucket/train", content_type="application/x-image"),
    "validation": "s3://bucket/validation",
}


def check(name: str, request: dict[str, Any]) -> None:
    compare(f"requests/{name}.json", request)
    assert find_violations("CreateHyperParameterTuningJob", request) == []


def test_a_plain_search(tmp_path: Path) -> None:
    tuner = HyperparameterTuner(
        build_bundled_estimator(tmp_path), "validation:accuracy", SEARCH, max_jobs=20
    )
    check("tune_plain", tuner.request(INPUTS, "plain"))


def test_a_search_that_sets_every_field(tmp_path: Path) -> None:
    estimator = build_bundled_estimator(
        tmp_path,
        volume_size=50,
        volume_kms_key="alias/volume",
        output_kms_key="alias/output",
        max_run=3600,
        max_wait=7200,
        use_spot_instances=True,
        tags={"team": "vision"},
        subnets=["subnet-1", "subnet-2"],
        security_group_ids=["sg-1"],
        encrypt_inter_container_traffic=True,
        enable_network_isolation=True,
        environment={"LOG_LEVEL": "debug"},
        checkpoint_s3_uri="s3://bucket/checkpoints",
        checkpoint_local_path="/opt/ml/checkpoints",
        max_retry_attempts=3,
        disable_output_compression=True,
    )
    tuner = HyperparameterTuner(
        estimator,
        "validation:accuracy",
        SEARCH | {"optimizer": CategoricalParameter(["sgd", "adam"])},
        max_jobs=500,
        max_parallel_jobs=10,
        max_runtime_in_seconds=86_400,
        tags=[{"Key": "run", "Value": "7"}],
        warm_start_config=WarmStartConfig("TransferLearning", ["p1", "p2", "p3", "p4", "p5"]),
        completion_criteria_config=TuningJobCompletionCriteriaConfig(20, True, 0.95),
        early_stopping_type="Auto",
        random_seed=0,
    )
    estimator.sagemaker_session.sagemaker_client.hides_others = True  # the parents
    tuner.override_resource_config(
        [InstanceConfig(1, "ml.g5.xlarge", 50), InstanceConfig(1, "ml.g4dn.xlarge", 60)]
    )
    check("tune_every_field", tuner.request(INPUTS, "every-field"))


def test_a_grid(tmp_path: Path) -> None:
    ranges = {
        "optimizer": CategoricalParameter(["sgd", "adam"]),
        "momentum": CategoricalParameter([0.5, 0.9]),
    }
    tuner = HyperparameterTuner(
        build_bundled_estimator(tmp_path), "validation:accuracy", ranges, strategy="Grid"
    )
    check("tune_grid", tuner.request(INPUTS, "grid"))


def test_hyperband(tmp_path: Path) -> None:
    tuner = HyperparameterTuner(
        build_bundled_estimator(tmp_path),
        "validation:accuracy",
        SEARCH,
        strategy="Hyperband",
        strategy_config=StrategyConfig(HyperbandStrategyConfig(30, 3)),
        max_jobs=40,
        max_parallel_jobs=8,
    )
    check("tune_hyperband", tuner.request(INPUTS, "hyperband"))


def test_autotune(tmp_path: Path) -> None:
    tuner = HyperparameterTuner(
        build_bundled_estimator(tmp_path),
        "validation:accuracy",
        None,
        max_jobs=10,
        autotune=True,
        hyperparameters_to_keep_static=["optimizer", "momentum"],
    )
    check("tune_auto", tuner.request(INPUTS, "auto"))


def test_two_estimators(tmp_path: Path) -> None:
    session = build_session(tmp_path)
    small = build_bundled_estimator(tmp_path, sagemaker_session=session)
    large = build_bundled_estimator(tmp_path, sagemaker_session=session, volume_size=100)
    tuner = HyperparameterTuner.create(
        {"small": small, "large": large},
        {"small": "validation:accuracy", "large": "validation:accuracy"},
        {"small": SEARCH, "large": {"mini_batch_size": IntegerParameter(16, 128)}},
        max_jobs=30,
        max_parallel_jobs=5,
        strategy="Random",
        random_seed=3,
    )
    check("tune_two_estimators", tuner.request({"small": INPUTS, "large": INPUTS}, "two"))
