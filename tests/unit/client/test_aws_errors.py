from __future__ import annotations

import pytest
from botocore import exceptions as botocore_errors
from botocore.exceptions import BotoCoreError, ClientError

from sagemaker_sift.backends.errors import translate_errors
from sagemaker_sift.exceptions import (
    AccessDeniedError,
    BackendError,
    ConflictError,
    CredentialsError,
    NotFoundError,
    ThrottledError,
    UnreachableError,
)

ANSWERS = [
    ("ResourceNotFound", "Requested resource not found.", NotFoundError, ""),
    ("ResourceNotFoundException", "The log group does not exist.", NotFoundError, ""),
    ("RecordNotFound", "x", NotFoundError, ""),
    ("NoSuchBucket", "x", NotFoundError, ""),
    ("NoSuchKey", "x", NotFoundError, ""),
    ("NoSuchEntity", "x", NotFoundError, ""),
    ("404", "Not Found", NotFoundError, ""),
    ("ValidationException", "Requested resource not found.", NotFoundError, ""),
    ("ValidationException", "Could not find requested job with name: j", NotFoundError, ""),
    ("ValidationException", "Algorithm a does not exist", NotFoundError, ""),
    ("ValidationException", "RecordNotFound", NotFoundError, ""),
    ("ValidationException", "1 validation error detected", BackendError, ""),
    ("ResourceInUse", "x", ConflictError, ""),
    ("ConflictException", "x", ConflictError, ""),
    ("OperationAborted", "x", ConflictError, ""),
    ("PreconditionFailed", "x", ConflictError, ""),
    ("AccessDenied", "x", AccessDeniedError, "Have sagemaker:CreateTrainingJob allowed"),
    ("AccessDeniedException", "x", AccessDeniedError, "use another one."),
    ("UnauthorizedOperation", "x", AccessDeniedError, "use another one."),
    ("403", "Forbidden", AccessDeniedError, "use another one."),
    ("ExpiredToken", "x", CredentialsError, "Renew the credentials"),
    ("ExpiredTokenException", "x", CredentialsError, "Renew the credentials"),
    ("RequestExpired", "x", CredentialsError, "Renew the credentials"),
    ("UnrecognizedClientException", "x", CredentialsError, "Renew the credentials"),
    ("InvalidClientTokenId", "x", CredentialsError, "Renew the credentials"),
    ("InvalidSignatureException", "x", CredentialsError, "Renew the credentials"),
    ("SignatureDoesNotMatch", "x", CredentialsError, "Renew the credentials"),
    ("InvalidAccessKeyId", "x", CredentialsError, "Renew the credentials"),
    ("RequestTimeTooSkewed", "x", CredentialsError, "Set the clock"),
    ("Throttling", "Rate exceeded", ThrottledError, "Wait a little"),
    ("ThrottlingException", "Rate exceeded", ThrottledError, "Wait a little"),
    ("TooManyRequestsException", "x", ThrottledError, "Wait a little"),
    ("RequestLimitExceeded", "x", ThrottledError, "Wait a little"),
    ("SlowDown", "x", ThrottledError, "Wait a little"),
    ("ProvisionedThroughputExceededException", "x", ThrottledError, "Wait a little"),
    ("ResourceLimitExceeded", "The limit is 0 instances", BackendError, "Service Quotas"),
    ("InternalFailure", "x", BackendError, ""),
]
URL = "https://api.sagemaker.eu-west-1.amazonaws.com"
FAILURES: list[tuple[BotoCoreError, type[BackendError], str]] = [
    (botocore_errors.NoCredentialsError(), CredentialsError, "LocalSession()"),
    (
        botocore_errors.PartialCredentialsError(provider="env", cred_var="x"),
        CredentialsError,
        "aws configure",
    ),
    (botocore_errors.ProfileNotFound(profile="me"), CredentialsError, "aws configure"),
    (
        botocore_errors.TokenRetrievalError(provider="sso", error_msg="expired"),
        CredentialsError,
        "Renew",
    ),
    (botocore_errors.SSOTokenLoadError(error_msg="x"), CredentialsError, "Renew"),
    (botocore_errors.UnauthorizedSSOTokenError(), CredentialsError, "Renew"),
    (
        botocore_errors.CredentialRetrievalError(provider="p", error_msg="x"),
        CredentialsError,
        "Renew",
    ),
    (
        botocore_errors.EndpointConnectionError(endpoint_url=URL),
        UnreachableError,
        "Check the network",
    ),
    (botocore_errors.ConnectTimeoutError(endpoint_url=URL), UnreachableError, "Check the network"),
    (botocore_errors.ReadTimeoutError(endpoint_url=URL), UnreachableError, "Check the network"),
    (
        botocore_errors.ConnectionClosedError(endpoint_url=URL),
        UnreachableError,
        "Check the network",
    ),
    (botocore_errors.HTTPClientError(error="x"), UnreachableError, "Check the network"),
    (
        botocore_errors.IncompleteReadError(actual_bytes=1, expected_bytes=2),
        UnreachableError,
        "Check the network",
    ),
    (
        botocore_errors.FlexibleChecksumError(error_msg="x"),
        UnreachableError,
        "What arrived was damaged",
    ),
    (botocore_errors.NoRegionError(), UnreachableError, "AWS_REGION"),
    (botocore_errors.InvalidRegionError(region_name="x y"), UnreachableError, "us-east-1"),
]


def raise_answer(code: str, message: str, operation: str = "CreateTrainingJob") -> None:
    raise ClientError({"Error": {"Code": code, "Message": message}}, operation)


@pytest.mark.parametrize(
    ("code", "message", "cls", "remedy"), ANSWERS, ids=[f"{a[0]}-{a[1][:20]}" for a in ANSWERS]
)
def test_every_answer_has_its_error_and_keeps_its_text(
    code: str, message: str, cls: type[BackendError], remedy: str
) -> None:
    with pytest.raises(BackendError) as caught, translate_errors():
        raise_answer(code, message)
    assert type(caught.value) is cls
    assert str(caught.value).startswith(message)
    assert remedy in str(caught.value)
    if not remedy:
        assert str(caught.value) == message
    assert (caught.value.operation, caught.value.code) == ("CreateTrainingJob", code)
    assert isinstance(caught.value.__cause__, ClientError)


@pytest.mark.parametrize(
    ("error", "cls", "remedy"), FAILURES, ids=[type(row[0]).__name__ for row in FAILURES]
)
def test_every_failure_to_get_an_answer_has_its_error(
    error: BotoCoreError, cls: type[BackendError], remedy: str
) -> None:
    with pytest.raises(BackendError) as caught, translate_errors():
        raise error
    assert type(caught.value) is cls
    assert remedy in str(caught.value)
    assert str(error).rstrip(".") in str(caught.value)
    assert caught.value.code == type(error).__name__
    assert caught.value.__cause__ is error


def test_a_parameter_that_botocore_refuses_is_a_backend_error() -> None:
    error = botocore_errors.ParamValidationError(report="Invalid bucket name")
    with pytest.raises(BackendError, match="Invalid bucket name") as caught, translate_errors():
        raise error
    assert "Nothing was sent" in str(caught.value)
    assert caught.value.code == "ParamValidationError"


def test_mistakes_of_a_program_are_left_alone() -> None:
    error = botocore_errors.UnknownServiceError(service_name="x", known_service_names="y")
    with pytest.raises(botocore_errors.UnknownServiceError) as caught, translate_errors():
        raise error
    assert caught.value is error


@pytest.mark.parametrize(
    ("operation", "message", "action"),
    [
        (
            "CreateTrainingJob",
            "User: arn:aws:iam::1:user/u is not authorized to perform: iam:PassRole on resource r",
            "iam:PassRole",
        ),
        ("CreateTrainingJob", "denied", "sagemaker:CreateTrainingJob"),
        ("HeadObject", "Forbidden", "s3:GetObject"),
        ("UploadPart", "denied", "s3:PutObject"),
        ("GetLogEvents", "denied", "logs:GetLogEvents"),
        ("GetRole", "denied", "iam:GetRole"),
    ],
)
def test_a_denied_call_says_which_permission_is_missing(
    operation: str, message: str, action: str
) -> None:
    with pytest.raises(AccessDeniedError) as caught, translate_errors():
        raise_answer("AccessDeniedException", message, operation)
    assert caught.value.action == action
    assert f"Have {action} allowed for this identity" in str(caught.value)


def test_keys_and_tokens_never_get_into_a_message() -> None:
    message = (
        "The request signature we calculated does not match. Key AKIAIOSFODNN7EXAMPLE, "
        "X-Amz-Security-Token=FQoGZXIv/Ybx, Signature: abcdef\n\n"
        "The Canonical String for this request should have been\n'POST\nx-amz-security-token:SEC'"
    )
    with pytest.raises(CredentialsError) as caught, translate_errors():
        raise_answer("InvalidSignatureException", message)
    assert str(caught.value) == (
        "The request signature we calculated does not match. Key ***, "
        "X-Amz-Security-Token=***, Signature: ***. "
        "Renew the credentials (such as with `aws sso login`) and try again."
    )


def test_the_subject_stands_before_the_message() -> None:
    with pytest.raises(NotFoundError) as caught, translate_errors("s3://bucket/key"):
        raise_answer("404", "Not Found", "HeadObject")
    assert str(caught.value) == "s3://bucket/key: Not Found"


def test_an_answer_without_text_shows_its_code() -> None:
    with pytest.raises(BackendError, match=r"^500$"), translate_errors():
        raise ClientError({"Error": {"Code": "500"}}, "ListTrainingJobs")
