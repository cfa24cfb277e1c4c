"""The form of answers: times, errors, and only the fields that a shape has."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

from sagemaker_sift.backends.local.store import STORE_NAME
from sagemaker_sift.contract.problem import Problem
from sagemaker_sift.exceptions import InvalidRequestError
from sagemaker_sift.requests.service_model import find_violations, load_shape

ACCOUNT = "000000000000"
"""Account number in the ARNs of this machine."""

_TIME_FIELDS = ("Time", "Timestamp")


def build_arn(noun: str, name: str) -> str:
    """Return the ARN of something that lies on this machine.

    Example:
        >>> build_arn("training-job", "first")
        'arn:aws:sagemaker:local:000000000000:training-job/first'
    """
    return f"arn:aws:sagemaker:local:{ACCOUNT}:{noun}/{name}"


def build_error(operation: str, code: str, message: str) -> ClientError:
    """Return the error that boto3 would raise."""
    status = 400 if code != "InternalFailure" else 500
    return ClientError(
        {
            "Error": {"Code": code, "Message": message},
            "ResponseMetadata": {"HTTPStatusCode": status},
        },
        operation,
    )


def build_validation_error(operation: str, problems: list[Problem]) -> ClientError:
    """Return the error of a request that breaks rules: all of them at once."""
    return build_error(operation, "ValidationException", str(InvalidRequestError(problems)))


def check_request(operation: str, request: Mapping[str, Any]) -> None:
    """Check the parameters of a call against the service model.

    Raises:
        ClientError: ``ValidationException`` with everything that is wrong.
    """
    problems = find_violations(operation, request)
    if problems:
        raise build_validation_error(operation, problems)


@contextmanager
def storage_errors(operation: str) -> Iterator[None]:
    """Raise ``InternalFailure`` in place of what a machine says that is full or broken."""
    try:
        yield
    except sqlite3.OperationalError as error:
        message = (
            f"The records under the root folder cannot be read or written ({error}). "
            "Free space there, or make it writable, and call again; nothing was changed."
        )
        raise build_error(operation, "InternalFailure", message) from error
    except sqlite3.DatabaseError as error:
        message = (
            f"The file {STORE_NAME!r} under the root folder is damaged or not one of this program "
            f"({error}). Restore it from a copy, or choose another root folder."
        )
        raise build_error(operation, "InternalFailure", message) from error
    except OSError as error:
        message = (
            f"This machine cannot do it: {error}. A job that is already recorded has not started "
            "and says so; a training job needs another name then, a tuning job can be resumed."
        )
        raise build_error(operation, "InternalFailure", message) from error


def to_datetime(seconds: float) -> datetime:
    """Return epoch seconds as the ``datetime`` that boto3 returns."""
    return datetime.fromtimestamp(seconds, tz=UTC)


def to_response(record: Mapping[str, Any], shape_name: str) -> dict[str, Any]:
    """Return a record as an answer: the fields that the shape has, times as ``datetime``.

    Args:
        record: In the form of the API, with times as epoch seconds.
        shape_name: Of the service model.

    Example:
        >>> to_response({"TrainingJobName": "a", "CreationTime": 0.0, "Local": {}},
        ...     "TrainingJobSummary")["CreationTime"].year
        1970
    """
    fields = load_shape(shape_name).members
    return {name: _convert(value, name) for name, value in record.items() if name in fields}


def _convert(value: Any, name: str) -> Any:
    if isinstance(value, Mapping):
        return {key: _convert(item, key) for key, item in value.items()}
    if isinstance(value, list):
        return [_convert(item, "") for item in value]
    if name.endswith(_TIME_FIELDS) and isinstance(value, int | float):
        return to_datetime(value)
    return value
