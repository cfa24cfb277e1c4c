"""Which buckets there are and where, and the default one of a session.

Source: API reference of HeadBucket and CreateBucket, and "Verifying bucket ownership with bucket
owner condition", Amazon S3 user guide.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from botocore.exceptions import ClientError

from sagemaker_sift.backends.aws.clients import AwsClients
from sagemaker_sift.backends.aws.identity import AwsIdentity
from sagemaker_sift.backends.aws.s3_uri import is_s3_uri, split_s3_uri
from sagemaker_sift.backends.errors import read_code, translate_errors
from sagemaker_sift.contract.problem import Problem
from sagemaker_sift.exceptions import ConflictError, InvalidRequestError, NotFoundError

_SOURCE = "SageMaker: S3 must be in the job's region"
_REGION_WITHOUT_CONSTRAINT = "us-east-1"


class BucketDirectory:
    """What one identity can learn about buckets; each bucket is asked for once.

    Args:
        clients: Of the session.
        identity: Of the session.
    """

    def __init__(self, clients: AwsClients, identity: AwsIdentity) -> None:
        self._clients = clients
        self._identity = identity
        self._regions: dict[str, str | None] = {}

    @property
    def _s3(self) -> Any:
        return self._clients.get("s3")

    def find_region(self, bucket: str) -> str | None:
        """Return the region of a bucket, or ``None`` if it may not be asked for.

        Raises:
            NotFoundError: If there is no such bucket.
            UnreachableError: If S3 does not answer.
        """
        if bucket not in self._regions:
            self._regions[bucket] = self._ask_region(bucket)
        return self._regions[bucket]

    def _ask_region(self, bucket: str) -> str | None:
        with translate_errors(f"bucket {bucket!r}"):
            try:
                response = self._s3.head_bucket(Bucket=bucket)
            except ClientError as error:
                if read_code(error) in {"404", "NoSuchBucket"}:
                    raise
                response = error.response
        headers = response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
        region = response.get("BucketRegion") or headers.get("x-amz-bucket-region")
        return str(region) if region else None

    def check_region(self, bucket: str) -> None:
        """Check that a bucket, where it can be told, exists and is in the session's region.

        Raises:
            NotFoundError: If there is no such bucket.
            InvalidRequestError: If it is in another region.
        """
        region = self.find_region(bucket)
        if region not in {None, self._clients.region}:
            raise InvalidRequestError([self._describe_region("bucket", bucket, str(region))])

    def find_problems(self, request: Mapping[str, Any]) -> list[Problem]:
        """Return which buckets of a CreateTrainingJob request are missing or elsewhere.

        A bucket that this identity may not ask about is no problem: the job's role may.
        """
        problems = []
        for argument, uri in _find_locations(request):
            try:
                bucket, _ = split_s3_uri(uri)
                region = self.find_region(bucket)
            except ValueError:
                continue  # the service model's own check names it
            except NotFoundError:
                if not argument.startswith("inputs") and bucket == self.default_name():
                    continue  # made when the job is launched
                text = (
                    f"is {uri!r}, but there is no bucket {bucket!r}. Create it, or check its name."
                )
                problems.append(Problem(argument, text, _SOURCE))
                continue
            if region not in {None, self._clients.region}:
                problems.append(self._describe_region(argument, uri, str(region)))
        return problems

    def _describe_region(self, argument: str, value: str, region: str) -> Problem:
        own = self._clients.region
        return Problem(
            argument,
            f"is {value!r} in {region}, but this session's jobs run in {own}. Use a bucket in "
            f"{own}, or a session with boto3.Session(region_name={region!r}).",
            _SOURCE,
        )

    def default_name(self) -> str:
        """Return ``sagemaker-{region}-{account}``."""
        return f"sagemaker-{self._clients.region}-{self._identity.account_id}"

    def ensure_default(self) -> str:
        """Return ``sagemaker-{region}-{account}``, created if it is not there.

        Raises:
            ConflictError: If a bucket of that name belongs to another account.
            BackendError: If it may not be created.
        """
        account, bucket = self._identity.account_id, self.default_name()
        with translate_errors(f"bucket {bucket!r}"):
            try:
                self._s3.head_bucket(Bucket=bucket, ExpectedBucketOwner=account)
            except ClientError as error:
                if read_code(error) == "403":
                    raise _describe_foreign(bucket, account) from error
                if read_code(error) not in {"404", "NoSuchBucket"}:
                    raise
                self._create(bucket, account)
        return bucket

    def _create(self, bucket: str, account: str) -> None:
        """Create a bucket; S3 itself blocks public access to new ones."""
        region = self._clients.region
        place: dict[str, Any] = {"CreateBucketConfiguration": {"LocationConstraint": region}}
        if region == _REGION_WITHOUT_CONSTRAINT:
            place = {}
        with translate_errors(f"bucket {bucket!r} (or give another one: `default_bucket`)"):
            try:
                self._s3.create_bucket(Bucket=bucket, **place)
            except ClientError as error:
                if read_code(error) in {"BucketAlreadyOwnedByYou", "OperationAborted"}:
                    return  # somebody else of this account was faster
                if read_code(error) == "BucketAlreadyExists":
                    raise _describe_foreign(bucket, account) from error
                raise


def _describe_foreign(bucket: str, account: str) -> ConflictError:
    return ConflictError(
        f"The bucket {bucket!r} is not account {account}'s own, or this identity may not look at "
        "it. Nothing is written there. Give a bucket: Session(default_bucket='...').",
        operation="HeadBucket",
        code="403",
    )


def _find_locations(request: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the argument's name and the URI of every place on S3."""
    for channel in request.get("InputDataConfig", []):
        uri = channel.get("DataSource", {}).get("S3DataSource", {}).get("S3Uri", "")
        yield from _keep_s3(f"inputs[{channel.get('ChannelName')!r}]", uri)
    output = request.get("OutputDataConfig", {}).get("S3OutputPath", "")
    yield from _keep_s3("output_path", output)
    checkpoints = request.get("CheckpointConfig", {}).get("S3Uri", "")
    yield from _keep_s3("checkpoint_s3_uri", checkpoints)


def _keep_s3(argument: str, uri: Any) -> Iterator[tuple[str, str]]:
    if isinstance(uri, str) and is_s3_uri(uri):
        yield argument, uri
