"""Shared by all comparisons: an empty account in this process, and no telemetry."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
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
CONFIG = """
SchemaVersion: '1.0'
SageMaker:
  PythonSDK:
    Modules:
      TelemetryOptOut: true
"""


@pytest.fixture(autouse=True)
def account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Open an account with the bucket ``bucket`` and the role ``sift``, while a test runs."""
    set_environment(monkeypatch, tmp_path)
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.delenv("SAGEMAKER_ADMIN_CONFIG_OVERRIDE", raising=False)
    config = tmp_path / "config.yaml"
    config.write_text(CONFIG, encoding="utf-8")
    monkeypatch.setenv("SAGEMAKER_USER_CONFIG_OVERRIDE", str(config))
    with mock_aws():
        location = {"LocationConstraint": REGION}
        boto3.client("s3").create_bucket(Bucket="bucket", CreateBucketConfiguration=location)
        boto3.client("iam").create_role(RoleName="sift", AssumeRolePolicyDocument=json.dumps(TRUST))
        yield
