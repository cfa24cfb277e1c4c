"""Put files on S3, and only those that are not there yet.

Beside each object its SHA-256 is kept, and a hash of the settings it was uploaded with, as object
metadata. A file whose size and hashes agree with those of the object is there already.

Source: "Uploading files" of boto3, and "User-defined object metadata", Amazon S3 user guide.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from sagemaker_sift.backends.aws.s3_uri import join_key
from sagemaker_sift.backends.aws.transfer_progress import show_transfer
from sagemaker_sift.backends.errors import read_code, translate_errors
from sagemaker_sift.backends.local_files import LocalFile
from sagemaker_sift.contract.problem import Problem, closest
from sagemaker_sift.exceptions import InvalidRequestError

CONTENT_HASH = "sha256"
"""Name of the metadata with the SHA-256 of an object's content, in hexadecimal."""

SETTINGS_HASH = "upload-settings-sha256"
"""Name of the metadata with the hash of ``extra_args``."""

KEY_MAX_BYTES = 1024
"""Longest key that S3 takes, in UTF-8. Source: "Naming Amazon S3 objects"."""

_NUM_THREADS = 8
_OWN_KEY = "SSECustomerKey"
_HEAD_ARGUMENTS = ("ExpectedBucketOwner", "RequestPayer")


@dataclass(frozen=True, slots=True)
class UploadPlan:
    """Files and the place where they go.

    Attributes:
        files: What to upload.
        bucket: Where.
        prefix: What keys begin with.
        extra_args: As boto3's ``ExtraArgs``.
    """

    files: Sequence[LocalFile]
    bucket: str
    prefix: str
    extra_args: Mapping[str, Any]

    def key(self, file: LocalFile) -> str:
        """Return the key of a file."""
        return join_key(self.prefix, file.name)


def upload_files(
    s3: Any, plan: UploadPlan, callback: Callable[[int], None] | None = None
) -> list[str]:
    """Upload what changed and return its keys, when everything is there.

    Args:
        s3: boto3's client.
        plan: What goes where.
        callback: Called with each number of bytes that went out, from several threads.

    Raises:
        InvalidRequestError: If ``extra_args`` has an unknown argument, or a file changes while it
            is read.
        BackendError: If S3 refuses one; the message names the file.
    """
    from boto3.s3.transfer import S3Transfer, TransferConfig, create_transfer_manager  # noqa: PLC0415  # slow to import, and only an AWS session needs it

    _check(plan, S3Transfer.ALLOWED_UPLOAD_ARGS)
    upload = _Upload(s3, plan)
    config = TransferConfig(max_concurrency=_NUM_THREADS, preferred_transfer_client="classic")
    total_bytes = sum(file.size_bytes for file in plan.files)
    with (
        show_transfer("upload", total_bytes) as advance,
        ThreadPoolExecutor(_NUM_THREADS) as pool,
        create_transfer_manager(s3, config) as manager,
    ):
        sent = []
        for file, metadata in zip(plan.files, pool.map(upload.compare, plan.files), strict=True):
            if metadata is None:
                advance(file.size_bytes)
                continue
            arguments = upload.build_arguments(metadata)
            progress = [_Progress(advance, callback)]
            future = manager.upload(
                str(file.path), plan.bucket, plan.key(file), arguments, progress
            )
            sent.append((file, future))
        for file, future in sent:
            with translate_errors(str(file.path)):
                future.result()
            _check_unchanged(file)
    return [plan.key(file) for file, _ in sent]


class _Upload:
    """Compares files with what is on S3."""

    def __init__(self, s3: Any, plan: UploadPlan) -> None:
        self._s3 = s3
        self._plan = plan
        self._settings = _hash_settings(plan.extra_args)
        self._head = {
            name: plan.extra_args[name] for name in _HEAD_ARGUMENTS if name in plan.extra_args
        }
        self._sizes = {} if _OWN_KEY in plan.extra_args else self._list_sizes()

    def compare(self, file: LocalFile) -> dict[str, str] | None:
        """Return the metadata to upload a file with, or ``None`` if it is there already."""
        metadata = {CONTENT_HASH: file.hash(), SETTINGS_HASH: self._settings}
        _check_unchanged(file)
        key = self._plan.key(file)
        if self._sizes.get(key) == file.size_bytes and metadata.items() <= self._read(key).items():
            return None
        return metadata

    def build_arguments(self, metadata: Mapping[str, str]) -> dict[str, Any]:
        """Return boto3's ``ExtraArgs`` of one file."""
        own = self._plan.extra_args.get("Metadata", {})
        return {**self._plan.extra_args, "Metadata": {**own, **metadata}}

    def _read(self, key: str) -> Mapping[str, str]:
        with translate_errors(f"s3://{self._plan.bucket}/{key}"):
            try:
                response = self._s3.head_object(Bucket=self._plan.bucket, Key=key, **self._head)
            except ClientError:
                return {}  # gone, or not to be looked at: upload it
        metadata: Mapping[str, str] = response.get("Metadata", {})
        return metadata

    def _list_sizes(self) -> dict[str, int]:
        plan = self._plan
        prefix = f"{plan.prefix}/" if plan.prefix else ""
        if len(plan.files) == 1:
            prefix = plan.key(plan.files[0])
        pages = self._s3.get_paginator("list_objects_v2").paginate(
            Bucket=plan.bucket, Prefix=prefix, **self._head
        )
        sizes: dict[str, int] = {}
        with translate_errors(f"bucket {plan.bucket!r}"):
            try:
                for page in pages:
                    sizes |= {item["Key"]: item["Size"] for item in page.get("Contents", [])}
            except ClientError as error:
                if read_code(error) != "AccessDenied":
                    raise
        return sizes


class _Progress:
    """Tells how many bytes went out, in the form that boto3's transfer manager asks for."""

    def __init__(
        self, advance: Callable[[int], None], callback: Callable[[int], None] | None
    ) -> None:
        self._advance = advance
        self._callback = callback

    def on_progress(self, future: Any, bytes_transferred: int, **details: Any) -> None:
        """Pass the number on; it is below 0 when a part is sent again."""
        self._advance(bytes_transferred)
        if self._callback is not None:
            self._callback(bytes_transferred)


def _check_unchanged(file: LocalFile) -> None:
    if not file.is_unchanged():
        text = f"has {str(file.path)!r}, which changed while it was read. Upload it again."
        raise InvalidRequestError([Problem("path", text)])


def _check(plan: UploadPlan, allowed: Sequence[str]) -> None:
    problems = [
        Problem("extra_args", f"has {name!r}, which boto3 does not know.{closest(name, allowed)}")
        for name in plan.extra_args
        if name not in allowed
    ]
    problems += [
        Problem("extra_args", f"has the metadata {name!r}, which is set here. Name it otherwise.")
        for name in plan.extra_args.get("Metadata", {})
        if name.lower() in {CONTENT_HASH, SETTINGS_HASH}
    ]
    for file in plan.files:
        num_bytes = len(plan.key(file).encode("utf-8"))
        if num_bytes > KEY_MAX_BYTES:
            text = f"has {file.name!r}, whose key has {num_bytes} bytes; S3 takes {KEY_MAX_BYTES}."
            problems.append(Problem("path", text))
    if problems:
        raise InvalidRequestError(problems)


def _hash_settings(extra_args: Mapping[str, Any]) -> str:
    kept = {name: value for name, value in extra_args.items() if name != "ExpectedBucketOwner"}
    return hashlib.sha256(json.dumps(kept, sort_keys=True, default=str).encode()).hexdigest()
