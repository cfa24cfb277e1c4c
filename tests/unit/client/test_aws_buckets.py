from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError
from botocore.stub import Stubber

from sagemaker_sift.backends.aws.buckets import BucketDirectory
from sagemaker_sift.backends.aws.clients import AwsClients
from sagemaker_sift.backends.aws.identity import AwsIdentity
from sagemaker_sift.exceptions import (
    AccessDeniedError,
    ConflictError,
    InvalidRequestError,
    NotFoundError,
    UnreachableError,
)
from tests.supports.aws import (
    ACCOUNT,
    BUCKET,
    OTHER_REGION,
    REGION,
    build_request,
    make_bucket,
    make_session,
    open_account,
)

OWN = f"sagemaker-{REGION}-{ACCOUNT}"
HEAD = {"Bucket": OWN, "ExpectedBucketOwner": ACCOUNT}


@pytest.fixture(autouse=True)
def account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    with open_account(monkeypatch, tmp_path):
        yield


def make_directory(region: str = REGION) -> tuple[BucketDirectory, AwsClients]:
    clients = AwsClients(make_session(region))
    return BucketDirectory(clients, AwsIdentity(clients)), clients


def stub_s3(clients: AwsClients) -> Stubber:
    stubber = Stubber(clients.get("s3"))
    stubber.activate()
    return stubber


def refuse(stubber: Stubber, method: str, code: str, headers: Any = None, **expected: Any) -> None:
    stubber.add_client_error(
        method, code, "no", response_meta={"HTTPHeaders": headers or {}}, expected_params=expected
    )


def test_a_request_whose_buckets_are_in_the_region_has_no_problem() -> None:
    directory, _ = make_directory()
    assert directory.find_problems(build_request()) == []


def test_buckets_elsewhere_and_missing_ones_are_problems_of_their_arguments() -> None:
    make_bucket("far-away", OTHER_REGION)
    request = build_request(bucket="far-away")
    request["OutputDataConfig"] = {"S3OutputPath": "s3://nowhere/out"}
    request["CheckpointConfig"] = {"S3Uri": "s3://far-away/checkpoints"}
    directory, _ = make_directory()
    problems = directory.find_problems(request)
    assert [problem.path for problem in problems] == [
        "inputs['train']",
        "output_path",
        "checkpoint_s3_uri",
    ]
    assert problems[0].message == (
        f"is 's3://far-away/data/train' in {OTHER_REGION}, but this session's jobs run in "
        f"{REGION}. Use a bucket in {REGION}, or a session with "
        f"boto3.Session(region_name='{OTHER_REGION}')."
    )
    assert problems[1].message.startswith(
        "is 's3://nowhere/out', but there is no bucket 'nowhere'"
    )
    assert {problem.source for problem in problems} == {
        "SageMaker: S3 must be in the job's region"
    }


def test_what_is_not_on_s3_or_no_bucket_is_left_to_other_checks() -> None:
    request: dict[str, Any] = {
        "InputDataConfig": [
            {"ChannelName": "a", "DataSource": {"FileSystemDataSource": {}}},
            {"ChannelName": "b", "DataSource": {"S3DataSource": {"S3Uri": "https://x/y"}}},
            {"ChannelName": "c", "DataSource": {"S3DataSource": {"S3Uri": "s3:///y"}}},
        ],
        "OutputDataConfig": {"S3OutputPath": 3},
    }
    directory, clients = make_directory()
    stub_s3(clients)  # any call would fail
    assert directory.find_problems(request) == []


def test_a_bucket_is_asked_for_once() -> None:
    directory, clients = make_directory()
    stubber = stub_s3(clients)
    stubber.add_response("head_bucket", {"BucketRegion": REGION}, {"Bucket": BUCKET})
    assert directory.find_problems(build_request()) == []
    assert directory.find_problems(build_request()) == []
    stubber.assert_no_pending_responses()


def test_a_missing_bucket_is_asked_for_again() -> None:
    directory, _ = make_directory()
    with pytest.raises(NotFoundError, match="bucket 'made-later'"):
        directory.find_region("made-later")
    make_bucket("made-later")
    assert directory.find_region("made-later") == REGION


@pytest.mark.parametrize("code", ["403", "400"])
def test_without_permission_to_look_there_is_no_problem(code: str) -> None:
    directory, clients = make_directory()
    refuse(stub_s3(clients), "head_bucket", code, Bucket=BUCKET)
    assert directory.find_problems(build_request()) == []


@pytest.mark.parametrize("code", ["403", "301"])
def test_a_refusal_that_tells_the_region_counts(code: str) -> None:
    directory, clients = make_directory()
    headers = {"x-amz-bucket-region": "ap-south-1"}
    refuse(stub_s3(clients), "head_bucket", code, headers, Bucket=BUCKET)
    problems = directory.find_problems(build_request())
    assert [problem.path for problem in problems] == ["inputs['train']", "output_path"]
    assert "in ap-south-1" in problems[0].message


def test_a_bucket_in_another_region_is_refused() -> None:
    make_bucket("far-away", OTHER_REGION)
    directory, _ = make_directory()
    directory.check_region(BUCKET)
    with pytest.raises(InvalidRequestError, match=rf"'far-away' in {OTHER_REGION}.*in {REGION}"):
        directory.check_region("far-away")


@pytest.mark.parametrize("region", [REGION, "us-east-1"])
def test_the_default_bucket_is_made_where_the_session_is(region: str) -> None:
    directory, clients = make_directory(region)
    name = f"sagemaker-{region}-{ACCOUNT}"
    assert directory.ensure_default() == name
    assert clients.get("s3").head_bucket(Bucket=name)["BucketRegion"] == region
    assert directory.ensure_default() == name


def test_the_default_bucket_of_another_account_is_refused() -> None:
    directory, clients = make_directory()
    stubber = stub_s3(clients)
    refuse(stubber, "head_bucket", "403", **HEAD)
    with pytest.raises(
        ConflictError, match=rf"{OWN}.*not account {ACCOUNT}'s own.*default_bucket="
    ):
        directory.ensure_default()


def make_stubbed_creation(code: str) -> BucketDirectory:
    directory, clients = make_directory()
    stubber = stub_s3(clients)
    refuse(stubber, "head_bucket", "404", **HEAD)
    place = {"LocationConstraint": REGION}
    refuse(stubber, "create_bucket", code, Bucket=OWN, CreateBucketConfiguration=place)
    return directory


@pytest.mark.parametrize("code", ["BucketAlreadyOwnedByYou", "OperationAborted"])
def test_two_sessions_may_make_the_default_bucket_at_once(code: str) -> None:
    assert make_stubbed_creation(code).ensure_default() == OWN


def test_a_bucket_name_that_is_taken_is_a_conflict() -> None:
    with pytest.raises(ConflictError, match="not account"):
        make_stubbed_creation("BucketAlreadyExists").ensure_default()


def test_without_permission_to_make_a_bucket_another_one_is_asked_for() -> None:
    with pytest.raises(AccessDeniedError, match="`default_bucket`") as caught:
        make_stubbed_creation("AccessDenied").ensure_default()
    assert caught.value.action == "s3:CreateBucket"


def test_no_answer_while_looking_for_the_default_bucket_is_typed() -> None:
    directory, clients = make_directory()

    def fail(**call: Any) -> None:
        raise EndpointConnectionError(endpoint_url="https://s3.example")

    clients.get("s3").meta.events.register("before-call.s3.HeadBucket", fail)
    with pytest.raises(UnreachableError, match=OWN):
        directory.ensure_default()


def test_our_own_bucket_need_not_be_there_for_what_a_job_writes() -> None:
    directory, _ = make_directory()
    request = build_request() | {"OutputDataConfig": {"S3OutputPath": f"s3://{OWN}/models"}}
    assert directory.find_problems(request) == []
    request["InputDataConfig"][0]["DataSource"]["S3DataSource"]["S3Uri"] = f"s3://{OWN}/data"
    [problem] = directory.find_problems(request)
    assert problem.path == "inputs['train']"
