"""Tags of training jobs and algorithms; those of tuning jobs are with the tuning jobs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from sagemaker_sift.backends.local.client import LocalSageMaker
from tests.supports.dummy_algorithm import NAME, build_training_request, register
from tests.supports.held_launcher import HeldLauncher


@pytest.fixture
def client(tmp_path: Path) -> Iterator[LocalSageMaker]:
    client = LocalSageMaker(tmp_path, launcher=HeldLauncher(tmp_path))
    register(client, tmp_path)
    yield client
    client.close()


@pytest.fixture(params=["training-job", "algorithm"])
def arn(request: pytest.FixtureRequest, client: LocalSageMaker, tmp_path: Path) -> str:
    if request.param == "algorithm":
        return str(client.describe_algorithm(AlgorithmName=NAME)["AlgorithmArn"])
    return str(client.create_training_job(**build_training_request(tmp_path))["TrainingJobArn"])


def test_tags_are_added_changed_and_deleted(arn: str, client: LocalSageMaker) -> None:
    assert client.list_tags(ResourceArn=arn)["Tags"] == []
    first = [{"Key": "team", "Value": "vision"}, {"Key": "cost", "Value": "1"}]
    assert client.add_tags(ResourceArn=arn, Tags=first)["Tags"] == first
    client.add_tags(ResourceArn=arn, Tags=[{"Key": "cost", "Value": "2"}])
    assert client.list_tags(ResourceArn=arn)["Tags"] == [first[0], {"Key": "cost", "Value": "2"}]
    client.delete_tags(ResourceArn=arn, TagKeys=["team", "unknown"])
    assert client.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "cost", "Value": "2"}]


def test_no_more_than_fifty_tags(arn: str, client: LocalSageMaker) -> None:
    client.add_tags(
        ResourceArn=arn, Tags=[{"Key": f"key-{idx}", "Value": "v"} for idx in range(50)]
    )
    client.add_tags(ResourceArn=arn, Tags=[{"Key": "key-7", "Value": "changed"}])
    with pytest.raises(ClientError, match="would have 51 tags"):
        client.add_tags(ResourceArn=arn, Tags=[{"Key": "one-more", "Value": "v"}])
    assert len(client.list_tags(ResourceArn=arn)["Tags"]) == 50


@pytest.mark.parametrize(
    "tag",
    [{"Key": "", "Value": "v"}, {"Key": "k" * 129, "Value": "v"}, {"Key": "k"}],
    ids=["empty", "long", "no-value"],
)
def test_tags_that_break_rules_are_refused(
    tag: dict[str, str], arn: str, client: LocalSageMaker
) -> None:
    with pytest.raises(ClientError) as caught:
        client.add_tags(ResourceArn=arn, Tags=[tag])
    assert caught.value.response["Error"]["Code"] == "ValidationException"
    assert client.list_tags(ResourceArn=arn)["Tags"] == []


@pytest.mark.parametrize(
    "arn_",
    [
        "arn:aws:sagemaker:local:000000000000:training-job/nothing",
        "arn:aws:sagemaker:local:000000000000:model/job",
        "job",
    ],
    ids=["unknown", "kind", "name"],
)
def test_an_arn_of_nothing_is_told(arn_: str, client: LocalSageMaker) -> None:
    for call in (
        lambda: client.list_tags(ResourceArn=arn_),
        lambda: client.add_tags(ResourceArn=arn_, Tags=[{"Key": "k", "Value": "v"}]),
        lambda: client.delete_tags(ResourceArn=arn_, TagKeys=["k"]),
    ):
        with pytest.raises(
            ClientError, match=r"There is nothing with the ARN|`ResourceArn` is 'job'"
        ) as caught:
            call()
        assert caught.value.response["Error"]["Code"] == "ValidationException"
