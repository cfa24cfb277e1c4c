"""Our requests are those of the SDK v3: its shapes take them, and it sends them unchanged."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest
from sagemaker.core import resources, shapes
from sagemaker.core.utils.code_injection import codec

import sagemaker_sift as ours
from tests.supports.algorithms import ROLE, TREES_ARN, EchoClient, build_trees

pytestmark = pytest.mark.interop

GOLDEN = Path(__file__).parents[1] / "golden" / "requests"
CHANNEL = ours.TrainingInput(
    "s3://bucket/train",
    content_type="text/csv",
    s3_data_type="AugmentedManifestFile",
    attribute_names=["source-ref", "class"],
    record_wrapping="RecordIO",
    compression="Gzip",
    input_mode="Pipe",
    shuffle_config=7,
)
FILES = ours.FileSystemInput("fs-0123456789abcdef0", "EFS", "/data", "ro", "text/csv")


def build_estimator(**arguments: Any) -> ours.AlgorithmEstimator:
    """Return an estimator that sets everything that a tuning job can carry."""
    client = EchoClient({"scikit-decision-trees": build_trees()})
    client.hides_others = True
    given: dict[str, Any] = {
        "role": ROLE,
        "instance_type": "ml.c4.xlarge",
        "volume_size": 77,
        "volume_kms_key": "alias/volume",
        "max_run": 3600,
        "output_path": "s3://bucket/models",
        "output_kms_key": "alias/output",
        "sagemaker_session": ours.Session(boto3.Session(), client, default_bucket="bucket"),
        "hyperparameters": {"max_leaf_nodes": 50, "depth": 4, "note": "a b"},
        "tags": {"team": "vision"},
        "subnets": ["subnet-1"],
        "security_group_ids": ["sg-1"],
        "metric_definitions": [{"Name": "f1", "Regex": "f1=([0-9.]+)"}],
        "encrypt_inter_container_traffic": True,
        "use_spot_instances": True,
        "max_wait": 7200,
        "checkpoint_s3_uri": "s3://bucket/checkpoints",
        "checkpoint_local_path": "/opt/ml/checkpoints",
        "environment": {"LEVEL": "debug"},
        "enable_network_isolation": True,
        "max_retry_attempts": 3,
        "disable_output_compression": True,
    } | arguments
    return ours.AlgorithmEstimator(TREES_ARN, **given)


def build_full() -> dict[str, Any]:
    """Return the request of a tuning job with one definition."""
    tuner = ours.HyperparameterTuner(
        build_estimator(),
        "validation:loss",
        {
            "max_leaf_nodes": ours.IntegerParameter(2, 900, "Logarithmic"),
            "min_gain": ours.ContinuousParameter(0.05, 0.5, "ReverseLogarithmic"),
            "criterion": ours.CategoricalParameter(["gini", "entropy"]),
        },
        strategy="Hyperband",
        objective_type="Minimize",
        max_jobs=20,
        max_parallel_jobs=4,
        max_runtime_in_seconds=86_400,
        tags={"run": "7"},
        warm_start_config=ours.WarmStartConfig("TransferLearning", ["second", "first"]),
        strategy_config=ours.StrategyConfig(ours.HyperbandStrategyConfig(30, 2)),
        completion_criteria_config=ours.TuningJobCompletionCriteriaConfig(5, False, 0.01),
        random_seed=3,
    )
    tuner.override_resource_config(
        [ours.InstanceConfig(1, "ml.m5.large", 40), ours.InstanceConfig(1, "ml.c4.xlarge", 50)]
    )
    return tuner.request({"training": CHANNEL, "validation": FILES}, "full")


def build_several() -> dict[str, Any]:
    """Return the request of a tuning job with two definitions, one with reserved capacity."""
    plan = "arn:aws:sagemaker:us-east-2:111122223333:training-plan/plan"
    tuner = ours.HyperparameterTuner.create(
        {
            "trees": build_estimator(),
            "bushes": build_estimator(
                training_plan=plan, use_spot_instances=False, max_wait=None, tags=None
            ),
        },
        dict.fromkeys(["trees", "bushes"], "validation:accuracy"),
        {
            "trees": {"min_gain": ours.ContinuousParameter(0.1, 0.5)},
            "bushes": {"criterion": ours.CategoricalParameter(["gini", "entropy"])},
        },
        max_jobs=6,
    )
    return tuner.request({"trees": {"training": CHANNEL}, "bushes": "s3://bucket/b"}, "several")


def build_auto() -> dict[str, Any]:
    """Return the request of a tuning job whose ranges the service chooses."""
    tuner = ours.HyperparameterTuner(
        build_estimator(), "validation:accuracy", None, max_jobs=4, autotune=True
    )
    return tuner.request({"training": CHANNEL}, "auto")


def find_sent(resource: str, request: dict[str, Any]) -> dict[str, Any]:
    """Return what the SDK's resource sends if our request is read into its shapes."""
    session = boto3.Session()
    sent: list[dict[str, Any]] = []
    session.events.register(
        f"provide-client-params.sagemaker.Create{resource}",
        lambda params, **event: sent.append(params),
    )
    values = codec.transform(request, f"Create{resource}Request")
    getattr(resources, resource).create(**values, session=session)
    [only] = sent
    return only


def drop_empty_lists(value: Any) -> Any:
    """Return a request without empty lists, which the SDK v3 leaves out; they mean the same."""
    if isinstance(value, dict):
        return {name: drop_empty_lists(field) for name, field in value.items() if field != []}
    return [drop_empty_lists(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("build", [build_full, build_several, build_auto])
def test_the_sdk_sends_our_tuning_job(build: Callable[[], dict[str, Any]]) -> None:
    request = build()
    assert find_sent("HyperParameterTuningJob", request) == drop_empty_lists(request)


@pytest.mark.parametrize("name", ["plain", "every_field"])
def test_the_sdk_sends_a_golden_training_job(name: str) -> None:
    request = json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))
    assert find_sent("TrainingJob", request) == request


def test_the_shapes_hold_what_our_request_says() -> None:
    request = build_full()
    values = codec.transform(request, "CreateHyperParameterTuningJobRequest")
    definition = shapes.HyperParameterTrainingJobDefinition(**values["training_job_definition"])
    assert definition.hyper_parameter_tuning_resource_config.volume_kms_key_id == "alias/volume"
    assert definition.enable_network_isolation is True
    config = shapes.HyperParameterTuningJobConfig(**values["hyper_parameter_tuning_job_config"])
    assert config.strategy_config.hyperband_strategy_config.max_resource == 30
    warm_start = shapes.HyperParameterTuningJobWarmStartConfig(**values["warm_start_config"])
    parents = warm_start.parent_hyper_parameter_tuning_jobs
    assert [one.hyper_parameter_tuning_job_name for one in parents] == ["second", "first"]
    assert [shapes.Tag(**tag).key for tag in values["tags"]] == ["run", "team"]
