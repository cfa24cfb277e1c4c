"""From the errors of botocore to the errors of this package.

::

    code or class                                            becomes
    =======================================================  =================
    ResourceNotFound, NoSuchBucket, NoSuchKey, 404, ...      NotFoundError
    ValidationException that says that something is missing  NotFoundError
    ResourceInUse, ConflictException, ...                    ConflictError
    AccessDenied..., UnauthorizedOperation, 403              AccessDeniedError
    ExpiredToken, InvalidSignatureException, no credentials  CredentialsError
    Throttling..., TooManyRequests..., SlowDown              ThrottledError
    no connection, no answer in time, no such region         UnreachableError
    anything else that a service answers                     BackendError
    a parameter that botocore itself refuses                 BackendError

The service's own text is kept, without keys and tokens; a sentence on what to do follows it.
Source: "Common Error Types" of the API reference of SageMaker, and the exceptions of botocore.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from botocore import exceptions as botocore_errors
from botocore.exceptions import BotoCoreError, ClientError

from sagemaker_sift.exceptions import (
    AccessDeniedError,
    BackendError,
    ConflictError,
    CredentialsError,
    NotFoundError,
    ThrottledError,
    UnreachableError,
)

_RENEW = "Renew the credentials (such as with `aws sso login`) and try again."
_SET_UP = (
    "Set up credentials (`aws configure`, AWS_PROFILE or a role), or train on this machine with "
    "LocalSession()."
)
_WAIT = "Wait a little and try again, with fewer calls at once."
_CONNECT = "Check the network, a proxy and the region, and try again."
_CLOCK = "Set the clock of this machine and try again."
_QUOTA = (
    "Ask for more in the Service Quotas console, under 'Amazon SageMaker', or use less at a time."
)

_BY_CODE: tuple[tuple[str, type[BackendError], str], ...] = (
    (r"ResourceNotFound|ResourceNotFoundException|RecordNotFound", NotFoundError, ""),
    (r"NoSuch(Bucket|Key|Entity|Upload)|404|NotFound", NotFoundError, ""),
    (r"ResourceInUse|ConflictException|OperationAborted", ConflictError, ""),
    (r"PreconditionFailed|BucketAlreadyExists", ConflictError, ""),
    (r"AccessDenied.*|UnauthorizedOperation|NotAuthorized|403", AccessDeniedError, ""),
    (r"ExpiredToken(Exception)?|RequestExpired|TokenRefreshRequired", CredentialsError, _RENEW),
    (r"UnrecognizedClientException|InvalidClientTokenId", CredentialsError, _RENEW),
    (r"InvalidSignatureException|SignatureDoesNotMatch", CredentialsError, _RENEW),
    (r"InvalidAccessKeyId|InvalidToken|MissingAuthenticationToken", CredentialsError, _RENEW),
    (r"RequestTimeTooSkewed", CredentialsError, _CLOCK),
    (r"Throttl.*|TooManyRequests.*|RequestLimitExceeded", ThrottledError, _WAIT),
    (r"SlowDown|RequestThrottled.*|ProvisionedThroughput.*", ThrottledError, _WAIT),
    (r"ResourceLimitExceeded", BackendError, _QUOTA),
)
_BY_CLASS: tuple[tuple[type[BotoCoreError], type[BackendError], str], ...] = (
    (botocore_errors.NoCredentialsError, CredentialsError, _SET_UP),
    (botocore_errors.PartialCredentialsError, CredentialsError, _SET_UP),
    (botocore_errors.ProfileNotFound, CredentialsError, _SET_UP),
    (botocore_errors.NoAuthTokenError, CredentialsError, _SET_UP),
    (botocore_errors.TokenRetrievalError, CredentialsError, _RENEW),
    (botocore_errors.CredentialRetrievalError, CredentialsError, _RENEW),
    (botocore_errors.MetadataRetrievalError, CredentialsError, _RENEW),
    (botocore_errors.SSOError, CredentialsError, _RENEW),
    (botocore_errors.NoRegionError, UnreachableError, "Set AWS_REGION."),
    (botocore_errors.InvalidRegionError, UnreachableError, "Give a region such as 'us-east-1'."),
    (botocore_errors.EndpointProviderError, UnreachableError, _CONNECT),
    (botocore_errors.ConnectionError, UnreachableError, _CONNECT),
    (botocore_errors.HTTPClientError, UnreachableError, _CONNECT),
    (botocore_errors.IncompleteReadError, UnreachableError, _CONNECT),
    (botocore_errors.ParamValidationError, BackendError, "Nothing was sent."),
    (botocore_errors.FlexibleChecksumError, UnreachableError, "What arrived was damaged."),
)
_MISSING = re.compile(r"not found|could not find|does not exist|RecordNotFound", re.IGNORECASE)
_UNAUTHORIZED = re.compile(r"not authorized to perform:? ([a-z0-9-]+:\w+)")
_SECRETS = (
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"), "***"),
    (
        re.compile(
            r"\b(x-amz-security-token|x-amz-signature|x-amz-credential|signature|credential)"
            r"(\s*[:=]\s*)[^\s&'\",]+",
            re.IGNORECASE,
        ),
        r"\1\2***",
    ),
)
_CANONICAL = re.compile(r"\s*The Canonical String.*", re.DOTALL)
_ACTIONS = {
    "CreateBucket": "s3:CreateBucket",
    "DescribeLogStreams": "logs:DescribeLogStreams",
    "GetCallerIdentity": "sts:GetCallerIdentity",
    "GetLogEvents": "logs:GetLogEvents",
    "GetObject": "s3:GetObject",
    "GetRole": "iam:GetRole",
    "HeadBucket": "s3:ListBucket",
    "HeadObject": "s3:GetObject",
    "ListObjectsV2": "s3:ListBucket",
} | dict.fromkeys(
    ("PutObject", "CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"),
    "s3:PutObject",
)


@contextmanager
def translate_errors(subject: str = "") -> Iterator[None]:
    """Turn botocore's errors into errors of this package, inside a ``with`` block.

    Args:
        subject: What the call is about, such as a file; stands before the message.

    Raises:
        BackendError: Or the subclass that goes with the code.

    Example:
        >>> with translate_errors("s3://bucket/a"):
        ...     raise ClientError({"Error": {"Code": "404", "Message": "Not Found"}}, "HeadObject")
        Traceback (most recent call last):
        sagemaker_sift.exceptions.NotFoundError: s3://bucket/a: Not Found
    """
    try:
        yield
    except ClientError as error:
        raise _translate_answer(error, subject) from error
    except BotoCoreError as error:
        translated = _translate_failure(error, subject)
        if translated is None:
            raise
        raise translated from error


def read_code(error: ClientError) -> str:
    """Return the error code of an answer, such as ``ResourceInUse``."""
    return str(error.response.get("Error", {}).get("Code", ""))


def _translate_answer(error: ClientError, subject: str) -> BackendError:
    code, operation = read_code(error), error.operation_name
    text = str(error.response.get("Error", {}).get("Message") or code)
    cls, remedy = _classify(code, text)
    message = _compose(subject, text, remedy)
    if cls is not AccessDeniedError:
        return cls(message, operation=operation, code=code)
    match = _UNAUTHORIZED.search(text)
    action = match.group(1) if match else _ACTIONS.get(operation, f"sagemaker:{operation}")
    remedy = f"Have {action} allowed for this identity, or use another one."
    message = _compose(subject, text, remedy)
    return AccessDeniedError(message, operation=operation, code=code, action=action)


def _classify(code: str, text: str) -> tuple[type[BackendError], str]:
    if code == "ValidationException" and _MISSING.search(text):
        return NotFoundError, ""
    for pattern, cls, remedy in _BY_CODE:
        if re.fullmatch(pattern, code):
            return cls, remedy
    return BackendError, ""


def _translate_failure(error: BotoCoreError, subject: str) -> BackendError | None:
    for source, cls, remedy in _BY_CLASS:
        if isinstance(error, source):
            message = _compose(subject, str(error), remedy)
            return cls(message, operation="", code=type(error).__name__)
    return None


def _compose(subject: str, text: str, remedy: str) -> str:
    text = _CANONICAL.sub("", text).strip()
    for pattern, shown in _SECRETS:
        text = pattern.sub(shown, text)
    if remedy and not text.endswith((".", "!", "?")):
        text += "."
    return f"{subject}: " * bool(subject) + f"{text} {remedy}".strip()
