"""An AWS account for tests: in this process, empty, gone afterwards."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from sagemaker_sift.backends.aws.log_streams import LOG_GROUP

ACCOUNT = "123456789012"
REGION = "eu-west-1"
OTHER_REGION = "us-east-1"
BUCKET = "bucket-of-tests"
FIRST_EVENT_MS = (int(time.time()) - 3600) * 1000
"""Time of the first event that :func:`write_log` writes; CloudWatch Logs refuses old ones."""


def set_environment(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Set credentials that reach nothing, a region, and no configuration at all."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_CONFIG_FILE": str(folder / "no-aws-config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(folder / "no-aws-credentials"),
        "AWS_EC2_METADATA_DISABLED": "true",
        "XDG_CACHE_HOME": str(folder / "cache"),
        "XDG_CONFIG_HOME": str(folder / "config"),
        "XDG_CONFIG_DIRS": str(folder / "site-config"),
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)


@contextmanager
def open_account(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Iterator[None]:
    """Give an empty account in this process, with one bucket, while the block runs."""
    set_environment(monkeypatch, folder)
    with mock_aws():
        make_bucket(BUCKET)
        yield


@functools.cache
def make_session(region: str = REGION) -> boto3.Session:
    """Return a session of boto3; kept, as reading the models of the services takes long."""
    return boto3.Session("testing", "testing", region_name=region)


@functools.cache
def make_client(service: str, region: str = REGION) -> Any:
    """Return a client that no code under test uses."""
    return make_session(region).client(service)


def make_bucket(name: str, region: str = REGION) -> None:
    """Make a bucket."""
    place: Any = {"CreateBucketConfiguration": {"LocationConstraint": region}}
    if region == "us-east-1":
        place = {}
    make_client("s3", region).create_bucket(Bucket=name, **place)


def read_object(key: str, bucket: str = BUCKET) -> bytes:
    """Return the content of an object."""
    content: bytes = make_client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
    return content


def list_keys(bucket: str = BUCKET) -> list[str]:
    """Return the keys of a bucket."""
    response = make_client("s3").list_objects_v2(Bucket=bucket)
    return [item["Key"] for item in response.get("Contents", [])]


def write_log(
    stream: str, messages: Iterable[str | tuple[int, str]], start_ms: int = FIRST_EVENT_MS
) -> None:
    """Append events to a stream of the training jobs' log; group and stream are made.

    Args:
        stream: Such as ``job/algo-1-1``.
        messages: Texts, one millisecond after the other; or times after the start, and texts.
        start_ms: Time of the first event, epoch milliseconds.
    """
    logs = make_client("logs")
    if not logs.describe_log_groups(logGroupNamePrefix=LOG_GROUP)["logGroups"]:
        logs.create_log_group(logGroupName=LOG_GROUP)
    known = logs.describe_log_streams(logGroupName=LOG_GROUP, logStreamNamePrefix=stream)
    if not known["logStreams"]:
        logs.create_log_stream(logGroupName=LOG_GROUP, logStreamName=stream)
    timed = [(idx, item) if isinstance(item, str) else item for idx, item in enumerate(messages)]
    logs.put_log_events(
        logGroupName=LOG_GROUP,
        logStreamName=stream,
        logEvents=[{"timestamp": start_ms + offset, "message": text} for offset, text in timed],
    )


def build_request(name: str = "my-job", bucket: str = BUCKET) -> dict[str, Any]:
    """Return a CreateTrainingJob request."""
    return {
        "TrainingJobName": name,
        "AlgorithmSpecification": {
            "AlgorithmName": "sift-image-classification",
            "TrainingInputMode": "File",
            "MetricDefinitions": [{"Name": "loss", "Regex": "loss=([0-9.]+)"}],
        },
        "RoleArn": f"arn:aws:iam::{ACCOUNT}:role/trainer",
        "HyperParameters": {
            "num_classes": "2",
            "num_training_samples": "8",
            "mini_batch_size": "8",
            "epochs": "1",
        },
        "InputDataConfig": [
            {
                "ChannelName": "train",
                "ContentType": "application/x-image",
                "DataSource": {
                    "S3DataSource": {
                        "S3DataType": "S3Prefix",
                        "S3Uri": f"s3://{bucket}/data/train",
                        "S3DataDistributionType": "FullyReplicated",
                    }
                },
            }
        ],
        "OutputDataConfig": {"S3OutputPath": f"s3://{bucket}/out"},
        "ResourceConfig": {
            "InstanceType": "ml.m5.large",
            "InstanceCount": 1,
            "VolumeSizeInGB": 30,
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
        "Tags": [{"Key": "team", "Value": "tests"}],
    }
