"""Arguments and values: what the SDK v2 does, and what happens here.

Every test shows one row of the table in docs/differences.md, and is called like it.
"""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from typing import Any

import pytest
import requests

from sagemaker_sift import InvalidRequestError
from sagemaker_sift.session.aws_session import Session
from tests.interop.libraries import (
    OURS,
    SDK,
    build_client,
    build_estimator,
    build_session,
    find_sent,
)
from tests.supports.algorithms import EchoClient

pytestmark = pytest.mark.interop

FILES = {"training": "s3://bucket/train"}


def find_messages(call: Any, *arguments: Any, **more: Any) -> str:
    """Return the problems that a call is refused with."""
    with pytest.raises(InvalidRequestError) as caught:
        call(*arguments, **more)
    return "\n".join(map(str, caught.value.problems))


def test_arguments_that_do_not_exist() -> None:
    build_estimator(SDK, build_client(), volume_kms="alias/volume")
    with pytest.raises(TypeError, match=r"'volume_kms' is not an argument.*'volume_kms_key'"):
        build_estimator(OURS, build_client(), volume_kms="alias/volume")


def test_arguments_of_other_estimators() -> None:
    def train(library: Any, client: EchoClient) -> None:
        estimator = build_estimator(
            library,
            client,
            environment={"LEVEL": "debug"},
            checkpoint_s3_uri="s3://bucket/checkpoints",
            max_retry_attempts=3,
            enable_network_isolation=True,
        )
        estimator.fit(FILES, job_name="job", wait=False)

    fields = {"Environment", "CheckpointConfig", "RetryStrategy", "EnableNetworkIsolation"}
    assert not fields & find_sent(train, SDK).keys()
    ours = find_sent(train, OURS)
    assert fields <= ours.keys()
    assert ours["RetryStrategy"] == {"MaximumRetryAttempts": 3}


def test_input_mode_fastfile() -> None:
    with pytest.raises(ValueError, match="Invalid input mode: FastFile"):
        build_estimator(SDK, build_client(), input_mode="FastFile")
    estimator = build_estimator(OURS, build_client(), input_mode="FastFile")
    request = estimator.request(FILES)
    assert request["AlgorithmSpecification"]["TrainingInputMode"] == "FastFile"


def test_input_mode_of_a_channel_that_is_not_used() -> None:
    # The validation channel takes File only.
    with pytest.raises(ValueError, match="Invalid input mode: Pipe"):
        build_estimator(SDK, build_client(), input_mode="Pipe")
    estimator = build_estimator(OURS, build_client(), input_mode="Pipe")
    assert estimator.request(FILES)["AlgorithmSpecification"]["TrainingInputMode"] == "Pipe"
    both = FILES | {"validation": "s3://bucket/validation"}
    assert "inputs['validation'].input_mode` is 'Pipe'" in find_messages(estimator.request, both)


def test_instance_count_left_out() -> None:
    with pytest.raises(TypeError, match="'>' not supported"):
        build_estimator(SDK, build_client(), instance_count=None)
    estimator = build_estimator(OURS, build_client(), instance_count=None)
    assert estimator.request(FILES)["ResourceConfig"]["InstanceCount"] == 1


def test_subnets_without_security_groups() -> None:
    with pytest.raises(RuntimeError, match="both subnets and security_group_ids"):
        build_estimator(SDK, build_client(), subnets=["subnet-1"])
    estimator = build_estimator(OURS, build_client(), subnets=["subnet-1"])
    assert "`security_group_ids` has 0 entries" in find_messages(estimator.request, FILES)


def test_a_single_input() -> None:
    estimator = build_estimator(SDK, build_client())
    with pytest.raises(ValueError, match="Unknown input channel: s"):
        estimator.fit("s3://bucket/train", wait=False)
    with pytest.raises(TypeError, match="'TrainingInput' object is not iterable"):
        estimator.fit(SDK.TrainingInput("s3://bucket/train"), wait=False)
    ours = build_estimator(OURS, build_client())
    named = ours.request(FILES, "job")
    assert named["InputDataConfig"][0]["ChannelName"] == "training"
    assert ours.request("s3://bucket/train", "job") == named
    assert ours.request(OURS.TrainingInput("s3://bucket/train"), "job") == named


def test_content_type_that_the_channel_does_not_take() -> None:
    def train(library: Any, client: EchoClient) -> None:
        channel = library.TrainingInput("s3://bucket/train", content_type="image/png")
        build_estimator(library, client).fit({"training": channel}, job_name="job", wait=False)

    [channel] = find_sent(train, SDK)["InputDataConfig"]
    assert channel["ContentType"] == "image/png"
    found = find_messages(train, OURS, build_client())
    assert "inputs['training'].content_type` is 'image/png'" in found


def test_hyperparameters_that_are_whole_numbers() -> None:
    assert SDK.IntegerParameter.cast_to_type(3.7) == 3
    estimator = build_estimator(SDK, build_client(), hyperparameters={"max_leaf_nodes": 3.7})
    assert estimator.hyperparameters()["max_leaf_nodes"] == 3
    with pytest.raises(ValueError, match=r"3\.7 is not a whole number"):
        OURS.IntegerParameter.cast_to_type(3.7)
    found = find_messages(
        build_estimator, OURS, build_client(), hyperparameters={"max_leaf_nodes": 3.7}
    )
    assert "is 3.7, but must be an integer from 1 to 100000" in found


def test_what_hyperparameters_returns() -> None:
    theirs = build_estimator(SDK, build_client()).hyperparameters()
    assert theirs["max_leaf_nodes"] == 10
    assert theirs["min_gain"] == "0.1"  # a default: text
    ours = build_estimator(OURS, build_client()).hyperparameters()
    assert ours == {"min_gain": "0.1", "criterion": "gini", "depth": "8", "max_leaf_nodes": "10"}


def test_required_hyperparameter_left_out_for_now() -> None:
    with pytest.raises(ValueError, match="Required hyperparameter: max_leaf_nodes is not set"):
        build_estimator(SDK, build_client(), hyperparameters={"depth": 4})
    estimator = build_estimator(OURS, build_client(), hyperparameters={"depth": 4})
    assert "`max_leaf_nodes` is required" in find_messages(estimator.hyperparameters)
    estimator.set_hyperparameters(max_leaf_nodes=10)
    assert estimator.hyperparameters()["depth"] == "4"


def test_a_tuple_of_categories() -> None:
    assert SDK.CategoricalParameter(("sgd", "adam")).values == ["('sgd', 'adam')"]
    assert OURS.CategoricalParameter(("sgd", "adam")).values == ["sgd", "adam"]


def test_warm_start_type_as_text() -> None:
    with pytest.raises(ValueError, match="Invalid type: TransferLearning"):
        SDK.WarmStartConfig("TransferLearning", {"parent"})
    config = OURS.WarmStartConfig("TransferLearning", {"parent"})
    assert config == OURS.WarmStartConfig(OURS.WarmStartTypes.TRANSFER_LEARNING, {"parent"})


ORDER = """
import warnings
warnings.simplefilter("ignore")
from {module} import WarmStartConfig, WarmStartTypes
for parents in (["e", "d", "c", "b", "a"], {{"e", "d", "c", "b", "a"}}):
    config = WarmStartConfig(WarmStartTypes.TRANSFER_LEARNING, parents)
    found = config.to_input_req()["ParentHyperParameterTuningJobs"]
    print(*(parent["HyperParameterTuningJobName"] for parent in found), sep="")
"""


def test_order_of_parents() -> None:
    def find_orders(module: str, seed: str) -> list[str]:
        """Return the order of parents that were given as a list, and as a set."""
        command = [sys.executable, "-c", ORDER.format(module=module)]
        variables = os.environ | {"PYTHONHASHSEED": seed}
        done = subprocess.run(command, env=variables, check=True, capture_output=True, text=True)
        return done.stdout.splitlines()[-2:]

    assert find_orders("sagemaker.tuner", "1")[0] != find_orders("sagemaker.tuner", "2")[0]
    assert find_orders("sagemaker_sift", "1") == ["edcba", "abcde"]
    assert find_orders("sagemaker_sift", "2") == ["edcba", "abcde"]


def test_instance_config_read_back() -> None:
    described = {"InstanceCount": 2, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 40}
    with pytest.raises(KeyError, match=" InstanceType "):
        SDK.InstanceConfig.from_job_desc(described)
    config = OURS.InstanceConfig.from_job_desc(described)
    assert config == OURS.InstanceConfig(2, "ml.m5.large", 40)
    assert config.to_input_req() == described


def test_profiler_and_debugger_of_a_training_job() -> None:
    def train(library: Any, client: EchoClient) -> None:
        build_estimator(library, client).fit(FILES, job_name="job", wait=False)

    added = {"DebugHookConfig", "ProfilerConfig"}
    assert added <= find_sent(train, SDK).keys()
    assert not added & find_sent(train, OURS).keys()


def test_telemetry(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(requests, "get", lambda url, *rest, **more: asked.append(url))

    def train(library: Any, client: EchoClient) -> None:
        build_estimator(library, client).fit(FILES, job_name="job", wait=False)

    find_sent(train, OURS)
    assert asked == []
    find_sent(train, SDK)
    assert "https://sm-pysdk-t-us-east-2.s3" in asked[0]
    assert "estimator.fit" in asked[0]


def test_no_session_given(monkeypatch: pytest.MonkeyPatch) -> None:
    for library, kind in ((SDK, SDK.Session), (OURS, Session)):
        asked: list[str] = []
        monkeypatch.setattr(
            "botocore.client.BaseClient._make_api_call",
            lambda client, operation, parameters, asked=asked: (
                asked.append(operation) or build_client().describe_algorithm(**parameters)
            ),
        )
        estimator = build_estimator(library, build_client(), sagemaker_session=None)
        assert type(estimator.sagemaker_session) is kind
        assert asked == ["DescribeAlgorithm"]


def test_clients_of_a_session_for_serving() -> None:
    build_session(SDK, build_client(), sagemaker_runtime_client="anything")
    with pytest.raises(TypeError, match="does not use `sagemaker_runtime_client`"):
        build_session(OURS, build_client(), sagemaker_runtime_client="anything")


def test_what_was_set_can_be_seen() -> None:
    assert not hasattr(SDK.AlgorithmEstimator, "request")
    assert inspect.isfunction(OURS.AlgorithmEstimator.request)
    estimator = build_estimator(OURS, build_client())
    assert estimator.request(FILES, "job")["TrainingJobName"] == "job"
    assert estimator.sagemaker_session.sagemaker_client.sent == []
