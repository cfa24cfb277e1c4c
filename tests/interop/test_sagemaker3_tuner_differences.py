"""Tuning jobs: what the SDK v3's tuner sends, and what is sent here.

Every test shows one row of the table of v3 in docs/differences.md, and is called like it.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from sagemaker import train
from sagemaker.core import parameter as core_parameter
from sagemaker.core import resources, shapes
from sagemaker.core.helper import session_helper as helper
from sagemaker.core.training import configs
from sagemaker.train import tuner as sdk_tuner

import sagemaker_sift as ours
from tests.supports.algorithms import TREES_ARN, EchoClient, build_trees

pytestmark = pytest.mark.interop

ROLE = "arn:aws:iam::123456789012:role/sift"
IMAGE = {"training_image": "111122223333.dkr.ecr.us-east-2.amazonaws.com/trees:1"}
ALGORITHM = {"algorithm_name": TREES_ARN}
INPUTS = {"training": "s3://bucket/train"}
OPT_OUT = "SchemaVersion: '1.0'\nSageMaker: {PythonSDK: {Modules: {TelemetryOptOut: true}}}\n"


class Sdk:
    """The SDK v3 in an account that lets every role do everything.

    Attributes:
        sent: Requests of tuning jobs.
    """

    def __init__(self) -> None:
        boto_session = boto3.Session()
        self.sent: list[dict[str, Any]] = []
        boto_session.events.register(
            "before-call.iam.SimulatePrincipalPolicy",  # moto does not have it
            lambda **event: (SimpleNamespace(status_code=200), {"EvaluationResults": []}),
        )
        boto_session.events.register(
            "provide-client-params.sagemaker.CreateHyperParameterTuningJob",
            lambda params, **event: self.sent.append(params),
        )
        self.session = helper.Session(boto_session, default_bucket="bucket")

    def build_trainer(self, **arguments: Any) -> Any:
        """Return a trainer that says what a security department asks for."""
        return train.ModelTrainer(
            sagemaker_session=self.session,
            role=ROLE,
            base_job_name="base",
            compute=configs.Compute(
                instance_type="ml.c4.xlarge", instance_count=1, volume_kms_key_id="alias/volume"
            ),
            networking=configs.Networking(
                subnets=["subnet-1"],
                security_group_ids=["sg-1"],
                enable_network_isolation=True,
                enable_inter_container_traffic_encryption=True,
            ),
            output_data_config=configs.OutputDataConfig(s3_output_path="s3://bucket/models"),
            **arguments,
        )

    def build_tuner(self, trainer: dict[str, str], **arguments: Any) -> Any:
        return sdk_tuner.HyperparameterTuner(
            self.build_trainer(**trainer),
            "validation:accuracy",
            {"min_gain": core_parameter.ContinuousParameter(0.1, 0.5)},
            **({"max_jobs": 4} | arguments),
        )


@pytest.fixture
def sdk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sdk:
    config = tmp_path / "config.yaml"
    config.write_text(OPT_OUT, encoding="utf-8")
    monkeypatch.setenv("SAGEMAKER_USER_CONFIG_OVERRIDE", str(config))
    return Sdk()


def build_ours(**arguments: Any) -> ours.HyperparameterTuner:
    """Return our tuner of the same job."""
    client = EchoClient({"scikit-decision-trees": build_trees()})
    client.status = "Completed"
    estimator = ours.AlgorithmEstimator(
        TREES_ARN,
        role=ROLE,
        instance_type="ml.c4.xlarge",
        volume_kms_key="alias/volume",
        output_path="s3://bucket/models",
        sagemaker_session=ours.Session(boto3.Session(), client, default_bucket="bucket"),
        hyperparameters={"max_leaf_nodes": 10},
        subnets=["subnet-1"],
        security_group_ids=["sg-1"],
        enable_network_isolation=True,
        encrypt_inter_container_traffic=True,
    )
    ranges = {"min_gain": ours.ContinuousParameter(0.1, 0.5)}
    given = {"max_jobs": 4} | arguments
    return ours.HyperparameterTuner(estimator, "validation:accuracy", ranges, **given)


def test_the_algorithm(sdk: Sdk) -> None:
    with pytest.raises(TypeError, match="expected string or bytes-like object, got 'NoneType'"):
        sdk.build_tuner(ALGORITHM).tune(INPUTS, wait=False)
    sdk.build_tuner(ALGORITHM).tune(INPUTS, job_name="job", wait=False)
    theirs = sdk.sent[0]["TrainingJobDefinition"]["AlgorithmSpecification"]
    assert theirs == {"TrainingInputMode": "File"}
    specification = build_ours().request(INPUTS)["TrainingJobDefinition"]["AlgorithmSpecification"]
    assert specification["AlgorithmName"] == TREES_ARN


def test_an_algorithm_estimator(sdk: Sdk) -> None:
    assert not hasattr(train, "AlgorithmEstimator")
    with pytest.raises(ImportError):
        from sagemaker import AlgorithmEstimator  # noqa: F401  # the import is the test
    with pytest.raises(TypeError, match="must be an AlgorithmEstimator"):
        ours.HyperparameterTuner(
            sdk.build_trainer(**IMAGE),
            "validation:accuracy",
            {"min_gain": ours.ContinuousParameter(0.1, 0.5)},
        )


def test_volume_key_isolation_and_encryption(sdk: Sdk) -> None:
    sdk.build_tuner(IMAGE).tune(INPUTS, job_name="job", wait=False)
    theirs = sdk.sent[0]["TrainingJobDefinition"]
    assert theirs["VpcConfig"] == {"SecurityGroupIds": ["sg-1"], "Subnets": ["subnet-1"]}
    assert "VolumeKmsKeyId" not in theirs["ResourceConfig"]
    lost = {"EnableNetworkIsolation", "EnableInterContainerTrafficEncryption"}
    assert not lost & theirs.keys()
    definition = build_ours().request(INPUTS)["TrainingJobDefinition"]
    assert lost <= definition.keys()
    assert definition["HyperParameterTuningResourceConfig"]["VolumeKmsKeyId"] == "alias/volume"


def test_a_seed_of_0(sdk: Sdk) -> None:
    sdk.build_tuner(IMAGE, random_seed=0).tune(INPUTS, job_name="job", wait=False)
    assert "RandomSeed" not in sdk.sent[0]["HyperParameterTuningJobConfig"]
    request = build_ours(random_seed=0).request(INPUTS)
    assert request["HyperParameterTuningJobConfig"]["RandomSeed"] == 0
    config = shapes.HyperParameterTuningJobConfig(
        strategy="Bayesian",
        resource_limits=shapes.ResourceLimits(max_parallel_training_jobs=1),
        random_seed=0,
    )
    resources.HyperParameterTuningJob.create(
        hyper_parameter_tuning_job_name="seed",
        hyper_parameter_tuning_job_config=config,
        session=sdk.session.boto_session,
    )
    assert "RandomSeed" not in sdk.sent[1]["HyperParameterTuningJobConfig"]


def test_override_resource_config(sdk: Sdk) -> None:
    tuner = sdk.build_tuner(IMAGE)
    tuner.override_resource_config(
        [
            shapes.HyperParameterTuningInstanceConfig(
                instance_type="ml.m5.large", instance_count=1, volume_size_in_gb=40
            )
        ]
    )
    tuner.tune(INPUTS, job_name="job", wait=False)
    definition = sdk.sent[0]["TrainingJobDefinition"]
    assert definition["ResourceConfig"]["InstanceType"] == "ml.c4.xlarge"
    assert "HyperParameterTuningResourceConfig" not in definition
    mine = build_ours()
    mine.override_resource_config([ours.InstanceConfig(1, "ml.m5.large", 40)])
    resources_config = mine.request(INPUTS)["TrainingJobDefinition"][
        "HyperParameterTuningResourceConfig"
    ]
    assert resources_config["InstanceConfigs"][0]["InstanceType"] == "ml.m5.large"


def test_several_estimators(sdk: Sdk) -> None:
    tuner = sdk_tuner.HyperparameterTuner.create(
        {"a": sdk.build_trainer(**IMAGE), "b": sdk.build_trainer(**IMAGE)},
        {"a": "loss", "b": "loss"},
        {name: {"min_gain": core_parameter.ContinuousParameter(0.1, 0.5)} for name in "ab"},
        max_jobs=4,
    )
    with pytest.raises(AttributeError, match="'NoneType' object has no attribute"):
        tuner.tune({"a": INPUTS, "b": INPUTS}, job_name="job", wait=False)
    assert sdk.sent == []
    estimator = build_ours().definitions[None].estimator
    mine = ours.HyperparameterTuner.create(
        {"a": estimator, "b": estimator},
        dict.fromkeys("ab", "validation:accuracy"),
        {name: {"min_gain": ours.ContinuousParameter(0.1, 0.5)} for name in "ab"},
    )
    request = mine.request({"a": INPUTS, "b": INPUTS})
    assert [one["DefinitionName"] for one in request["TrainingJobDefinitions"]] == ["a", "b"]


def test_transfer_learning_tuner(sdk: Sdk) -> None:
    tuner = sdk.build_tuner(IMAGE)
    tuner.tune(INPUTS, job_name="job", wait=False)
    with pytest.raises(ValueError, match="parent_hyper_parameter_tuning_jobs"):
        tuner.transfer_learning_tuner()
    mine = build_ours()
    mine.fit(INPUTS, "job", wait=False)
    config = mine.transfer_learning_tuner().request(INPUTS)["WarmStartConfig"]
    assert config["WarmStartType"] == "TransferLearning"


def test_attach_and_best_estimator() -> None:
    gone = {"attach", "best_estimator", "identical_dataset_and_algorithm_tuner", "fit"}
    assert not gone & set(dir(sdk_tuner.HyperparameterTuner))
    assert gone <= set(dir(ours.HyperparameterTuner))


def test_settings_that_no_service_takes(sdk: Sdk) -> None:
    nonsense = {"strategy": "Bayes", "max_jobs": 100_000, "max_parallel_jobs": 9999}
    sdk.build_tuner(IMAGE, **nonsense).tune(INPUTS, job_name="x" * 60, wait=False)
    assert sdk.sent[0]["HyperParameterTuningJobConfig"]["Strategy"] == "Bayes"
    with pytest.raises(ours.InvalidRequestError) as caught:
        build_ours(**nonsense).request(INPUTS, "x" * 60)
    found = {problem.path for problem in caught.value.problems}
    assert found == {"strategy", "max_jobs", "max_parallel_jobs", "job_name"}
