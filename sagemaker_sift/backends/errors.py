"""From the API's error codes to the errors of this package."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import ClientError

from sagemaker_sift.exceptions import BackendError, ConflictError, NotFoundError

_BY_CODE: dict[str, type[BackendError]] = {
    "ResourceNotFound": NotFoundError,
    "ResourceInUse": ConflictError,
    "ConflictException": ConflictError,
}


@contextmanager
def translate_errors() -> Iterator[None]:
    """Turn botocore's ``ClientError`` into an error of this package, inside a ``with`` block.

    Raises:
        BackendError: Or the subclass that goes with the code.
    """
    try:
        yield
    except ClientError as error:
        details = error.response["Error"]
        message, code = details["Message"], details["Code"]
        if code == "ValidationException" and "not found" in message.lower():
            raise NotFoundError(message, operation=error.operation_name, code=code) from error
        cls = _BY_CODE.get(code, BackendError)
        raise cls(message, operation=error.operation_name, code=code) from error
