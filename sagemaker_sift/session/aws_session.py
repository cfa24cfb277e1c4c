"""The session whose jobs run on Amazon SageMaker."""

from __future__ import annotations

import importlib
import os
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from sagemaker_sift.backends.aws.buckets import BucketDirectory
from sagemaker_sift.backends.aws.clients import AwsClients
from sagemaker_sift.backends.aws.download import (
    ObjectCache,
    choose_cache_folder,
    download_objects,
    read_object,
)
from sagemaker_sift.backends.aws.identity import AwsIdentity
from sagemaker_sift.backends.aws.job_metrics import JobMetrics
from sagemaker_sift.backends.aws.log_streams import (
    build_console_url,
    find_console,
    format_lines,
    read_streams,
)
from sagemaker_sift.backends.aws.s3_uri import is_s3_uri, join_key, split_s3_uri
from sagemaker_sift.backends.aws.upload import UploadPlan, upload_files
from sagemaker_sift.backends.local_files import find_files
from sagemaker_sift.contract.metrics import MetricPoint
from sagemaker_sift.contract.problem import Problem
from sagemaker_sift.defaults import Defaults, Setting
from sagemaker_sift.exceptions import InvalidRequestError
from sagemaker_sift.session.explanation import Explanation, explain_defaults
from sagemaker_sift.session.job_session import JobSession

_ROLE = "SageMaker.TrainingJob.RoleArn"
_BUCKET = "SageMaker.PythonSDK.Modules.Session.DefaultS3Bucket"
_PREFIX = "SageMaker.PythonSDK.Modules.Session.DefaultS3ObjectKeyPrefix"
_POLL_S = 5.0
_POLL_JITTER = 0.2
_ARGUMENT = "argument of Session"


class Session(JobSession):
    """Jobs run on Amazon SageMaker, and are billed.

    Argument names and order are those of ``Session`` in the SageMaker SDK v2.

    Args:
        boto_session: A ``boto3.Session``: credentials, region, profile. By default boto3's own.
        sagemaker_client: Used instead of a client of our own.
        sagemaker_runtime_client: Not used here; must be ``None``.
        sagemaker_featurestore_runtime_client: Not used here; must be ``None``.
        default_bucket: Bucket for data and artifacts; it must exist. By default that of the
            config file, else ``sagemaker-{region}-{account}``, which is made when first needed.
        settings: Not used here; must be ``None``.
        sagemaker_metrics_client: Not used here; must be ``None``.
        sagemaker_config: Default values of jobs: a mapping in the form of the SageMaker config
            file, or :class:`~sagemaker_sift.defaults.Defaults`. By default the config files are
            read.
        default_bucket_prefix: What keys in the default bucket begin with; by default that of the
            config file, else nothing.
        cache_folder: Where :meth:`to_local_path` keeps what it fetched; by default
            ``sagemaker-sift`` in ``XDG_CACHE_HOME`` or ``~/.cache``.
        draw: Returns numbers in [0, 1), for the time between two looks at a job.

    Raises:
        TypeError: If an argument that is not used here is given.
        UnreachableError: If no region is configured.
        CredentialsError: If the profile that is asked for does not exist.
        ConfigurationError: If a config file is broken.
    """

    stops_on_interrupt = False
    allows_file_uris = False
    log_lag_s = 5.0

    def __init__(
        self,
        boto_session: Any = None,
        sagemaker_client: Any = None,
        sagemaker_runtime_client: None = None,
        sagemaker_featurestore_runtime_client: None = None,
        default_bucket: str | None = None,
        settings: None = None,
        sagemaker_metrics_client: None = None,
        sagemaker_config: Defaults | Mapping[str, Any] | None = None,
        default_bucket_prefix: str | None = None,
        *,
        cache_folder: str | os.PathLike[str] | None = None,
        draw: Callable[[], float] = random.random,
    ) -> None:
        _refuse_unused(
            sagemaker_runtime_client=sagemaker_runtime_client,
            sagemaker_featurestore_runtime_client=sagemaker_featurestore_runtime_client,
            settings=settings,
            sagemaker_metrics_client=sagemaker_metrics_client,
        )
        self._clients = AwsClients(boto_session, sagemaker_client, _name_program())
        self._identity = AwsIdentity(self._clients)
        self._buckets = BucketDirectory(self._clients, self._identity)
        self._metrics = JobMetrics(self._clients)
        self._cache_folder = cache_folder
        self._draw = draw
        self._poll_s = _POLL_S
        self._own_bucket = ""
        self.sagemaker_client = self._clients.get("sagemaker")
        self.defaults = self._read_defaults(sagemaker_config)
        self._bucket = _choose(default_bucket, self.defaults.find(_BUCKET), "default_bucket")
        self._prefix = _choose(
            default_bucket_prefix, self.defaults.find(_PREFIX), "default_bucket_prefix"
        )

    def __repr__(self) -> str:
        return f"Session(region {self.boto_region_name!r})"

    @property
    def boto_session(self) -> Any:
        """The ``boto3.Session`` in use."""
        return self._clients.boto_session

    @property
    def boto_region_name(self) -> str:
        """The region, such as ``us-east-1``."""
        return self._clients.region

    @property
    def place(self) -> str:
        """The region."""
        return self.boto_region_name

    @property
    def default_bucket_prefix(self) -> str | None:
        """What keys in the default bucket begin with; ``None`` for nothing."""
        return None if self._prefix is None else str(self._prefix.value)

    @property
    def poll_s(self) -> float:
        """About 5 seconds, a fifth more or less: so that many who wait do not ask at once."""
        return self._poll_s * (1 + _POLL_JITTER * (2 * self._draw() - 1))

    @poll_s.setter
    def poll_s(self, value: float) -> None:
        self._poll_s = value

    def account_id(self) -> str:
        """Return the twelve digits of the account; asked for once."""
        return self._identity.account_id

    def get_caller_identity_arn(self) -> str:
        """Return the ARN of the role that runs here, or of the user."""
        return self._identity.arn

    def execution_role(self) -> str:
        """Return the ARN of the role that runs here, whatever the config file says.

        Raises:
            InvalidRequestError: If the credentials are those of a user, not of a role.
        """
        return self._identity.execution_role()

    def default_role(self) -> str:
        """Return the role of the config file, else the one that runs here.

        Raises:
            InvalidRequestError: If there is neither: the credentials are those of a user.
        """
        setting = self.defaults.find(_ROLE)
        return self.execution_role() if setting is None else str(setting.value)

    def expand_role(self, role: str) -> str:
        """Return the ARN of a role; a name is looked up in IAM.

        Raises:
            InvalidRequestError: If there is no such role, or it may not be looked up.
        """
        return self._identity.expand_role(role)

    def default_bucket(self) -> str:
        """Return the bucket for data and artifacts.

        It is that of the argument or the config file; else ``sagemaker-{region}-{account}``, which
        is made if it is not there. One that belongs to another account is never used.

        Raises:
            ConflictError: If the latter belongs to another account.
            BackendError: If it may not be made.
        """
        if self._bucket is not None:
            return str(self._bucket.value)
        if not self._own_bucket:
            self._own_bucket = self._buckets.ensure_default()
        return self._own_bucket

    def default_output_path(self) -> str:
        """Return the URI of the default bucket, with the prefix; nothing is made yet."""
        bucket = self._buckets.default_name() if self._bucket is None else self._bucket.value
        return f"s3://{join_key(str(bucket), self.default_bucket_prefix)}/"

    def prepare_output(self, uri: str) -> None:
        """Make the default bucket if it is to hold the artifacts and is not there.

        Raises:
            ConflictError: If it belongs to another account.
            BackendError: If it may not be made.
        """
        if (
            self._bucket is None
            and is_s3_uri(uri)
            and split_s3_uri(uri)[0] == self._buckets.default_name()
        ):
            self.default_bucket()

    def to_input_uri(self, location: str) -> str:
        """Return ``location`` itself, which must be a URI.

        Raises:
            InvalidRequestError: If it is a path on this machine.
        """
        if "://" in location and not location.startswith("file:"):
            return location
        text = (
            f"has {location!r}, which is on this machine, where SageMaker cannot read it. "
            f"Upload it first: session.upload_data({location.removeprefix('file://')!r})."
        )
        raise InvalidRequestError([Problem("inputs", text)])

    def find_storage_problems(self, request: Mapping[str, Any]) -> list[Problem]:
        """Return which buckets of a request are missing or in another region.

        A bucket that this identity may not ask about is no problem.
        """
        return self._buckets.find_problems(request)

    def upload_data(
        self,
        path: str | os.PathLike[str],
        bucket: str | None = None,
        key_prefix: str = "data",
        callback: Callable[[int], None] | None = None,
        extra_args: Mapping[str, Any] | None = None,
    ) -> str:
        """Upload a file, or all files of a folder, and return the URI when all are there.

        A file that is there already, with the same content and ``extra_args``, is not sent again.
        Objects that are there and not in the folder stay.

        Args:
            path: Of the file or folder; links in it are followed.
            bucket: Where; the default bucket by default, with its prefix before ``key_prefix``.
            key_prefix: What keys begin with.
            callback: Called with each number of bytes that went out, from several threads.
            extra_args: boto3's ``ExtraArgs``, such as ``{"ServerSideEncryption": "aws:kms",
                "SSEKMSKeyId": ...}``.

        Returns:
            ``s3://bucket/key_prefix/name`` of a file, ``s3://bucket/key_prefix`` of a folder.

        Raises:
            FileNotFoundError: If there is nothing at ``path``.
            InvalidRequestError: If a file or the folder cannot be uploaded, or the bucket is in
                another region.
            NotFoundError: If there is no such bucket.
            BackendError: If S3 refuses one; the message names the file.
        """
        source = Path(os.path.expanduser(path))
        files = find_files(source)
        prefix = join_key(None if bucket else self.default_bucket_prefix, key_prefix)
        bucket = bucket or self.default_bucket()
        self._buckets.check_region(bucket)
        arguments = {**self._owner_of(bucket), **(extra_args or {})}
        upload_files(
            self._clients.get("s3"), UploadPlan(files, bucket, prefix, arguments), callback
        )
        return f"s3://{join_key(bucket, prefix, None if source.is_dir() else source.name)}"

    def download_data(
        self,
        path: str | os.PathLike[str],
        bucket: str,
        key_prefix: str = "",
        extra_args: Mapping[str, Any] | None = None,
    ) -> list[str]:
        """Fetch an object, or all below a prefix, into a folder and return the files' paths.

        Args:
            path: The folder; it is made if it is not there.
            bucket: Where the objects are.
            key_prefix: The key of one object, or the folder of many; everything by default.
            extra_args: boto3's ``ExtraArgs`` of downloads.

        Raises:
            ArtifactError: If a key would lead out of the folder; then nothing is written.
            BackendError: If an object cannot be read.
        """
        arguments = {**self._owner_of(bucket), **(extra_args or {})}
        folder = Path(os.path.expanduser(path))
        s3 = self._clients.get("s3")
        return [str(file) for file in download_objects(s3, bucket, key_prefix, folder, arguments)]

    def to_local_path(self, uri: str) -> Path:
        """Return the path of a file with the content of ``uri``.

        An ``s3://`` object is fetched into the cache, unless it is there and has not changed.

        Args:
            uri: ``s3://`` or ``file://``, or a path.

        Raises:
            NotFoundError: If there is no such object.
            BackendError: If it cannot be read.
        """
        if not is_s3_uri(uri):
            return Path(unquote(uri.removeprefix("file://")) if uri.startswith("file://") else uri)
        folder = self._cache_folder or choose_cache_folder(os.environ)
        return ObjectCache(self._clients.get("s3"), Path(folder).expanduser()).fetch(uri)

    def read_log(self, job_name: str, position: Any = None) -> tuple[list[str], Any]:
        """Return the log lines of all hosts from a position on, and the position after them.

        Lines of one call are in the order of time. A job of several hosts has their names before
        the lines.

        Raises:
            AccessDeniedError: If the log may not be read.
        """
        lines, after = read_streams(self._clients.get("logs"), job_name, position)
        return format_lines(lines, after), after

    def read_metrics(self, job_name: str) -> list[MetricPoint]:
        """Return every metric value that the log reports, by time.

        Where the log may not be read, or is gone: the last value of each metric.

        Raises:
            NotFoundError: If there is no such job.
        """
        return self._metrics.read(job_name)

    def describe_log(self, job_name: str) -> str:
        """Return the address of the log in the CloudWatch console."""
        return build_console_url(self.boto_region_name, self._clients.partition(), job_name)

    def describe_metrics(self, job_name: str) -> str:
        """Return the address of the job in the SageMaker console, which shows its metrics."""
        region = self.boto_region_name
        console = find_console(region, self._clients.partition())
        return f"{console}/sagemaker/home?region={region}#/jobs/{job_name}"

    def explain(self) -> Explanation:
        """Return the settings of this session and of its jobs, with their sources.

        Nothing is asked of AWS.
        """
        region = self.boto_region_name
        own = Setting(
            "default_bucket", f"sagemaker-{region}-{{account}}", "made when first needed"
        )
        rows = [Setting("region", region, "boto3 session"), self._bucket or own]
        rows += [self._prefix] if self._prefix is not None else []
        if self.defaults.find(_ROLE) is None:
            rows.append(Setting("role", "the role that runs here", "identity of the credentials"))
        named = {row.path for row in rows}
        rows += [row for row in explain_defaults(self.defaults) if row.path not in named]
        return Explanation(rows)

    def _read_defaults(self, given: Defaults | Mapping[str, Any] | None) -> Defaults:
        if given is None:
            return Defaults.load(read_s3=self._read_object)
        if isinstance(given, Defaults):
            return given
        return Defaults.from_mapping(given, "sagemaker_config")

    def _read_object(self, uri: str) -> bytes:
        return read_object(self._clients.get("s3"), uri)

    def _owner_of(self, bucket: str) -> dict[str, str]:
        """Return the condition that keeps data out of a bucket that merely has our name."""
        return {"ExpectedBucketOwner": self.account_id()} if bucket == self._own_bucket else {}


def _refuse_unused(**arguments: object) -> None:
    given: Sequence[str] = [name for name, value in arguments.items() if value is not None]
    if given:
        names = ", ".join(f"`{name}`" for name in given)
        raise TypeError(f"Session does not use {names}. Leave it out: it is for serving models.")


def _name_program() -> str:
    package = __name__.partition(".")[0]  # by name: the package's public names import this module
    return f"sagemaker-sift/{importlib.import_module(package).__version__}"


def _choose(given: str | None, found: Setting | None, name: str) -> Setting | None:
    return found if given is None else Setting(name, given, _ARGUMENT)
