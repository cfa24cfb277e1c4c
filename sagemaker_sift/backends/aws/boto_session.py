"""boto3's session for a region and a profile that a person names."""

from __future__ import annotations

import os
from typing import Any

from sagemaker_sift.backends.aws.clients import REGION_VARIABLE
from sagemaker_sift.backends.errors import translate_errors


def open_boto_session(region: str | None, profile: str | None) -> Any:
    """Return a ``boto3.Session``.

    Args:
        region: Such as ``us-east-1``; by default that of ``AWS_REGION``, else of boto3's
            configuration.
        profile: Of the AWS config files; boto3's choice by default.

    Raises:
        CredentialsError: If there is no such profile.
    """
    import boto3  # noqa: PLC0415  # slow to import: only when a session of AWS is made

    with translate_errors():
        session = boto3.Session(region_name=region, profile_name=profile)
        fallback = os.environ.get(REGION_VARIABLE)
        if session.region_name is None and fallback:
            return boto3.Session(region_name=fallback, profile_name=profile)
        return session
