"""Sessions of other makers as ours, and the role that runs here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sagemaker_sift.defaults import Defaults
from sagemaker_sift.session.aws_session import Session
from sagemaker_sift.session.job_session import JobSession


def adopt_session(value: Any) -> JobSession:
    """Return a session of this package that does what ``value`` stands for.

    Args:
        value: A session of this package, which is returned as it is; ``sagemaker.Session`` of the
            SageMaker SDK v2 or v3, whose clients, default bucket and config are taken over; or
            ``None`` for ``Session()``.

    Raises:
        TypeError: If it is something else, or a local session of the SageMaker SDK.

    Example:
        >>> adopt_session("us-east-1")
        Traceback (most recent call last):
        TypeError: 'us-east-1' is no session. Give Session() for Amazon SageMaker, ...
    """
    if value is None:
        return Session()
    if isinstance(value, JobSession):
        return value
    if not (hasattr(value, "boto_session") and hasattr(value, "sagemaker_client")):
        raise TypeError(
            f"{value!r} is no session. Give Session() for Amazon SageMaker, or LocalSession() for "
            "this machine."
        )
    if getattr(value, "local_mode", False):
        raise TypeError(
            f"{value!r} runs containers on this machine, which is not done here. Give "
            "sagemaker_sift.LocalSession() instead: it runs jobs without containers."
        )
    config = getattr(value, "sagemaker_config", None)
    return Session(
        value.boto_session,
        value.sagemaker_client,
        default_bucket=_find_bucket(value),
        sagemaker_config=config if isinstance(config, Mapping) and config else Defaults(),
        default_bucket_prefix=getattr(value, "default_bucket_prefix", None),
    )


def _find_bucket(value: Any) -> str | None:
    """Return the bucket that a person chose; the one made by rule is found again by the rule."""
    chosen = getattr(value, "_default_bucket_name_override", None)
    if chosen is None and not getattr(value, "_default_bucket_set_by_sdk", False):
        chosen = getattr(value, "_default_bucket", None)
    return None if chosen is None else str(chosen)


def get_execution_role(sagemaker_session: Any = None) -> str:
    """Return the ARN of the role that runs here: of the notebook, or behind the credentials.

    The name is that of the SageMaker SDK v2.

    Args:
        sagemaker_session: A session, as in :func:`adopt_session`. A local one returns the role
            that it records and does not use.

    Raises:
        InvalidRequestError: If the credentials are those of a user, not of a role.
    """
    session = adopt_session(sagemaker_session)
    return session.execution_role() if isinstance(session, Session) else session.default_role()
