"""Coming back to tuning jobs: what the SDK v2 does, and what happens here.

Every test shows one row of the table in docs/differences.md, and is called like it.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import pytest

from tests.interop.libraries import (
    OURS,
    SDK,
    build_client,
    build_estimator,
    build_session,
    build_tuner,
)
from tests.supports.algorithms import EchoClient

pytestmark = pytest.mark.interop

FILES = {"training": "s3://bucket/train"}
NAME = "base-261121-0930"
SDK_CLASS = "sagemaker.algorithm.AlgorithmEstimator"
STRATEGY = "HyperParameterTuningJobConfig.StrategyConfig.HyperbandStrategyConfig"
DEFINITION = "TrainingJobDefinition"


def launch(library: Any, client: EchoClient, **changes: Any) -> Any:
    """Return the tuner of a job with many settings that runs as ``NAME``."""
    tuner = build_tuner(
        library,
        client,
        hyperparameter_ranges={"min_gain": library.ContinuousParameter(0.1, 0.5, "Logarithmic")},
        metric_definitions=[{"Name": "f1", "Regex": "f1=([0-9.]+)"}],
        strategy="Hyperband",
        strategy_config=library.StrategyConfig(library.HyperbandStrategyConfig(30, 2)),
        base_tuning_job_name="own",
        tags=[{"Key": "team", "Value": "vision"}],
        random_seed=0,
        estimator_volume_kms_key="alias/volume",
        **changes,
    )
    estimator = getattr(tuner, "estimator", None) or tuner.definitions[None].estimator
    estimator.environment = {"LEVEL": "debug"}
    estimator.checkpoint_s3_uri = "s3://bucket/checkpoints"
    estimator.max_retry_attempts = 3
    tuner.fit(FILES, job_name=NAME, wait=False)
    return tuner


def flatten(value: Any, path: str = "") -> dict[str, Any]:
    """Return the leaves of a request by path; lists count as leaves."""
    if not isinstance(value, Mapping):
        return {path: value}
    return {
        place: leaf
        for name, field in value.items()
        for place, leaf in flatten(field, f"{path}.{name}" if path else name).items()
    }


def find_changes(client: EchoClient) -> set[str]:
    """Return where the second request of a client differs from its first one."""
    first, second = (flatten(request) for _, request in client.sent)
    places = {place for place in first.keys() | second.keys() if place != "WarmStartConfig"}
    return {place for place in places if first.get(place) != second.get(place)}


def test_attach_to_a_tuning_job_of_an_algorithm() -> None:
    client = build_client()
    launch(SDK, client)
    session = build_session(SDK, client)
    with pytest.raises(KeyError, match="TrainingImage"):
        SDK.HyperparameterTuner.attach(NAME, session)
    with pytest.raises(KeyError, match="ResourceConfig"):
        SDK.HyperparameterTuner.attach(NAME, session, estimator_cls=SDK_CLASS)
    attached = OURS.HyperparameterTuner.attach(NAME, build_session(OURS, client))
    assert attached.request(FILES, NAME) == client.sent[0][1]


def test_settings_after_attach() -> None:
    client = build_client()
    launch(SDK, client)
    details = client.describe_hyper_parameter_tuning_job(NAME)
    given = copy.deepcopy(details)  # with what the SDK needs to get as far as this
    resources = given[DEFINITION]["HyperParameterTuningResourceConfig"]
    given[DEFINITION]["ResourceConfig"] = resources
    session = build_session(SDK, client)
    attached = SDK.HyperparameterTuner.attach(NAME, session, given, SDK_CLASS)
    attached.fit(FILES, job_name="again", wait=False)
    assert find_changes(client) == {
        "HyperParameterTuningJobName",
        "HyperParameterTuningJobConfig.ParameterRanges.ContinuousParameterRanges",  # the scaling
        f"{STRATEGY}.MinResource",
        f"{STRATEGY}.MaxResource",
        f"{DEFINITION}.CheckpointConfig.S3Uri",
        f"{DEFINITION}.Environment.LEVEL",
        f"{DEFINITION}.HyperParameterTuningResourceConfig.VolumeKmsKeyId",
        f"{DEFINITION}.OutputDataConfig.KmsKeyId",  # empty, where there was none
        f"{DEFINITION}.RetryStrategy.MaximumRetryAttempts",
        "Tags",
    }
    client = build_client()
    launch(OURS, client)
    ours = OURS.HyperparameterTuner.attach(NAME, build_session(OURS, client))
    ours.fit(FILES, job_name="again", wait=False)
    assert find_changes(client) == {"HyperParameterTuningJobName"}


def test_attach_without_metric_definitions() -> None:
    client = build_client()
    build_tuner(SDK, client).fit(FILES, job_name=NAME, wait=False)
    details = client.describe_hyper_parameter_tuning_job(NAME)
    resources = details[DEFINITION]["HyperParameterTuningResourceConfig"]
    details[DEFINITION]["ResourceConfig"] = resources
    with pytest.raises(KeyError, match="MetricDefinitions"):
        SDK.HyperparameterTuner.attach(NAME, build_session(SDK, client), details, SDK_CLASS)
    attached = OURS.HyperparameterTuner.attach(NAME, build_session(OURS, client))
    assert attached.request(FILES, NAME) == client.sent[0][1]


def test_class_of_the_estimators_of_attach() -> None:
    class Own(OURS.AlgorithmEstimator):  # type: ignore[misc]
        """An estimator of somebody else."""

    client = build_client()
    launch(OURS, client)
    session = build_session(OURS, client)
    attached = OURS.HyperparameterTuner.attach(NAME, session, estimator_cls=Own)
    assert type(attached.definitions[None].estimator) is Own


def test_settings_of_a_warm_started_tuner() -> None:
    client = build_client()
    launch(SDK, client).transfer_learning_tuner().fit(FILES, job_name="child", wait=False)
    start = {
        "HyperParameterTuningJobName",
        "WarmStartConfig.ParentHyperParameterTuningJobs",
        "WarmStartConfig.WarmStartType",
    }
    assert find_changes(client) == start | {
        "Tags",
        f"{DEFINITION}.AlgorithmSpecification.MetricDefinitions",
    }
    assert launch(SDK, build_client()).transfer_learning_tuner().base_tuning_job_name is None
    client = build_client()
    tuner = launch(OURS, client).transfer_learning_tuner()
    tuner.fit(FILES, job_name="child", wait=False)
    assert find_changes(client) == start
    assert tuner.base_tuning_job_name == "own"


def test_no_best_training_job_yet() -> None:
    with pytest.raises(Exception, match="Best training job not available") as caught:
        launch(SDK, build_client()).best_training_job()
    assert type(caught.value) is Exception
    with pytest.raises(LookupError):
        launch(OURS, build_client()).best_training_job()


def test_best_estimator_by_name() -> None:
    client = build_client()
    build_estimator(OURS, client).fit(FILES, job_name="best", wait=False)
    with pytest.raises(TypeError, match="string indices must be integers"):
        build_tuner(SDK, client).best_estimator("best")
    assert build_tuner(OURS, client).best_estimator("best").latest_training_job.name == "best"
    summary = {"TrainingJobName": "best"}
    assert build_tuner(OURS, client).best_estimator(summary).latest_training_job.name == "best"
