"""The boto3 clients of one session.

boto3 is loaded when the first session is made, not by importing this module. Making clients from
a boto3 session is not safe in several threads, so they are made one at a time; using them is.
Source: "Multithreading or multiprocessing with clients", documentation of boto3.
"""

from __future__ import annotations

import os
import threading
from typing import Any

from botocore.config import Config

from sagemaker_sift.backends.errors import translate_errors
from sagemaker_sift.exceptions import UnreachableError

REGION_VARIABLE = "AWS_REGION"
"""Names the region, as for other SDKs; boto3 itself reads AWS_DEFAULT_REGION and its files."""

_MAX_ATTEMPTS = 10
_MAX_CONNECTIONS = 32


class AwsClients:
    """Clients of one identity in one region, made on first use and kept.

    Args:
        boto_session: A ``boto3.Session``; by default boto3's default session if there is one,
            else a new one.
        sagemaker_client: Used instead of a client of our own.
        user_agent: What calls say of who makes them, such as ``name/1.0``.

    Attributes:
        boto_session: The ``boto3.Session`` in use.
        region: Such as ``us-east-1``.

    Raises:
        UnreachableError: If no region is configured.
        CredentialsError: If the profile that is asked for does not exist.
    """

    def __init__(
        self, boto_session: Any = None, sagemaker_client: Any = None, user_agent: str = ""
    ) -> None:
        self.boto_session = _make_boto_session() if boto_session is None else boto_session
        self._config = Config(
            retries={"mode": "adaptive", "max_attempts": _MAX_ATTEMPTS},
            max_pool_connections=_MAX_CONNECTIONS,
            user_agent_extra=user_agent or None,
        )
        self._lock = threading.Lock()
        self._clients: dict[str, Any] = {}
        self.region: str = self._find_region(sagemaker_client)
        if sagemaker_client is not None:
            self._clients["sagemaker"] = sagemaker_client

    def get(self, service: str) -> Any:
        """Return the client of a service, such as ``s3``."""
        with self._lock:
            if service not in self._clients:
                with translate_errors():
                    self._clients[service] = self.boto_session.client(
                        service, region_name=self.region, config=self._config
                    )
            return self._clients[service]

    def partition(self) -> str:
        """Return the part of AWS that the region is in, such as ``aws`` or ``aws-cn``."""
        return str(self.boto_session.get_partition_for_region(self.region))

    def _find_region(self, sagemaker_client: Any) -> str:
        """Return the region that jobs run in: that of the client, if one is given."""
        region = getattr(getattr(sagemaker_client, "meta", None), "region_name", None)
        region = region or self.boto_session.region_name or os.environ.get(REGION_VARIABLE)
        if not region:
            raise UnreachableError(
                "No AWS region is configured. Set AWS_REGION, or give one: "
                "Session(boto3.Session(region_name='us-east-1')). To train on this machine, use "
                "LocalSession().",
                operation="",
                code="NoRegionError",
            )
        return str(region)


def _make_boto_session() -> Any:
    import boto3  # noqa: PLC0415  # slow to import: only when a session of AWS is made

    with translate_errors():
        return boto3.DEFAULT_SESSION or boto3.Session()
