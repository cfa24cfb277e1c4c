"""Shared by all comparisons: an empty account in this process, and no telemetry."""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
import requests
from moto import mock_aws

from tests.supports.aws import set_environment

os.environ["SAGEMAKER_SUPPRESS_V2_WARNING"] = "1"  # read while the SDK v2 is imported
logging.getLogger("sagemaker").setLevel(logging.ERROR)

REGION = "us-east-2"
TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"Service": "sagemaker.amazonaws.com"},
            "Action": "sts:AssumeRole",
        }
    ],
}


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out what needs an official SDK, unless it is asked for (make test-interop)."""
    needs_sdk = re.match(r"test_sagemaker|libraries", collection_path.name)
    return True if needs_sdk and config.getoption("markexpr") != "interop" else None


@pytest.fixture(autouse=True)
def account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Open an account with the bucket ``bucket`` and the role ``sift``, while a test runs."""
    set_environment(monkeypatch, tmp_path)
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.delenv("SAGEMAKER_ADMIN_CONFIG_OVERRIDE", raising=False)
    monkeypatch.delenv("SAGEMAKER_USER_CONFIG_OVERRIDE", raising=False)
    monkeypatch.setattr(requests, "get", lambda url, *rest, **more: None)  # the SDKs' telemetry
    with mock_aws():
        location = {"LocationConstraint": REGION}
        boto3.client("s3").create_bucket(Bucket="bucket", CreateBucketConfiguration=location)
        boto3.client("iam").create_role(
            RoleName="sift", AssumeRolePolicyDocument=json.dumps(TRUST)
        )
        yield
