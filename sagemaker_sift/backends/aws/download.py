"""Get objects from S3 onto this machine, each one whole or not at all.

An object is read in one piece: S3 then sends its checksum along, where it has one, and botocore
compares. The size is compared in any case.

Source: "Checking object integrity", Amazon S3 user guide.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from botocore.exceptions import FlexibleChecksumError, HTTPClientError, IncompleteReadError

from sagemaker_sift.backends.aws.s3_uri import split_s3_uri
from sagemaker_sift.backends.errors import translate_errors
from sagemaker_sift.exceptions import ArtifactError

_CHUNK_BYTES = 1 << 20
_MAX_ATTEMPTS = 3
_NUM_THREADS = 8
_NAME_MAX_BYTES = 200


class ObjectCache:
    """Objects of S3 as files of this machine; one that has not changed is not fetched again.

    A file is named by bucket, key and ``ETag``, and is never written to again.

    **Concurrency**: any number of processes may share a folder.

    Args:
        s3: boto3's client.
        folder: Where the files are; made when needed.
    """

    def __init__(self, s3: Any, folder: Path) -> None:
        self._s3 = s3
        self._folder = folder

    def fetch(self, uri: str) -> Path:
        """Return the path of a file with the content of the object at ``uri``.

        Raises:
            ValueError: If it is not an S3 URI of an object.
            NotFoundError: If there is no such object.
            BackendError: If it cannot be read.
        """
        bucket, key = split_s3_uri(uri)
        if not key or key.endswith("/"):
            raise ValueError(f"{uri!r} is a folder. Give the URI of one object.")
        with translate_errors(uri):
            head = self._s3.head_object(Bucket=bucket, Key=key)
        target = self._locate(bucket, key, head["ETag"])
        if not (target.is_file() and target.stat().st_size == head["ContentLength"]):
            download_object(self._s3, bucket, key, target, {"IfMatch": head["ETag"]})
        return target

    def _locate(self, bucket: str, key: str, tag: str) -> Path:
        digest = hashlib.sha256(f"{key}\0{tag}".encode()).hexdigest()[:32]
        name = key.rpartition("/")[2]
        is_plain = name.isascii() and name.isprintable() and not set(name) & set('\\:*?"<>|')
        if name in {".", ".."} or not is_plain or len(name) > _NAME_MAX_BYTES:
            name = "object"
        return self._folder / "s3" / bucket / digest / name


def choose_cache_folder(environ: Mapping[str, str]) -> Path:
    """Return the folder for what can be fetched again.

    Args:
        environ: The environment; ``XDG_CACHE_HOME`` in it comes before ``~/.cache``.

    Example:
        >>> choose_cache_folder({"XDG_CACHE_HOME": "/cache"}).as_posix()
        '/cache/sagemaker-sift'
    """
    base = environ.get("XDG_CACHE_HOME", "")
    folder = Path(base) if Path(base).is_absolute() else Path("~/.cache").expanduser()
    return folder / "sagemaker-sift"


def download_object(
    s3: Any, bucket: str, key: str, target: Path, arguments: Mapping[str, Any]
) -> None:
    """Write the content of an object to ``target``, which appears when it is complete.

    Args:
        s3: boto3's client.
        bucket: Where the object is.
        key: Its key.
        target: Path of the file; its folders are made, and an older file is replaced.
        arguments: More of GetObject's.

    Raises:
        BackendError: If the object cannot be read whole, after three attempts.
        OSError: If the file cannot be written.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with translate_errors(f"s3://{bucket}/{key}"):
        for attempt in range(1, _MAX_ATTEMPTS + 1):
            try:
                _download_once(s3, bucket, key, target, arguments)
            except (HTTPClientError, IncompleteReadError, FlexibleChecksumError):
                if attempt == _MAX_ATTEMPTS:
                    raise
            else:
                return


def _download_once(
    s3: Any, bucket: str, key: str, target: Path, arguments: Mapping[str, Any]
) -> None:
    checked = {"ChecksumMode": "ENABLED", **arguments}
    response = s3.get_object(Bucket=bucket, Key=key, **checked)
    expected = response["ContentLength"]
    with contextlib.closing(response["Body"]) as body, _replacing(target) as file:
        num_bytes = 0
        while chunk := body.read(_CHUNK_BYTES):
            num_bytes += file.write(chunk)
        if num_bytes != expected:
            raise IncompleteReadError(actual_bytes=num_bytes, expected_bytes=expected)


@contextlib.contextmanager
def _replacing(target: Path) -> Iterator[Any]:
    """Open a file that takes the place of ``target`` when the block ends well."""
    descriptor, temporary = tempfile.mkstemp(prefix=".download.", dir=target.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def download_objects(
    s3: Any, bucket: str, prefix: str, folder: Path, arguments: Mapping[str, Any]
) -> list[Path]:
    """Write an object, or every object below a prefix, into a folder, and return the paths.

    Args:
        s3: boto3's client.
        bucket: Where the objects are.
        prefix: The key of an object, or what stands before the ``/`` of many; empty for all.
        folder: Where the files go, under their keys without the prefix.
        arguments: More of GetObject's.

    Raises:
        ArtifactError: If a key would lead out of the folder, or has no place of its own in it;
            then nothing is written.
        BackendError: If an object cannot be read.
    """
    owner = {name: value for name, value in arguments.items() if name == "ExpectedBucketOwner"}
    with translate_errors(f"bucket {bucket!r}"):
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix, **owner)
        keys = [item["Key"] for page in pages for item in page.get("Contents", [])]
    names = {key: name for key in keys if (name := _name_below(key, prefix))}
    unsafe = [key for key, name in names.items() if not _is_safe(name)]
    if unsafe:
        raise ArtifactError(
            f"The bucket {bucket!r} has keys that would lead out of {str(folder)!r}: "
            f"{', '.join(map(repr, unsafe[:3]))}. Nothing was written. Fetch them one by one."
        )
    files = {key: folder / name for key, name in names.items() if not name.endswith("/")}
    _check_places(bucket, folder, files)
    for name in names.values():
        if name.endswith("/"):
            (folder / name).mkdir(parents=True, exist_ok=True)

    def fetch(key: str) -> Path:
        download_object(s3, bucket, key, files[key], arguments)
        return files[key]

    with ThreadPoolExecutor(_NUM_THREADS) as pool:
        return list(pool.map(fetch, files))


def _check_places(bucket: str, folder: Path, files: Mapping[str, Path]) -> None:
    """Refuse keys that have no place of their own: one that is a folder of another one's."""
    uses = Counter(files.values())
    above = {parent for path in uses for parent in path.parents}
    blocked = [
        key for key, path in files.items() if path in above or uses[path] > 1 or path.is_dir()
    ]
    if blocked:
        raise ArtifactError(
            f"The bucket {bucket!r} has keys that would be the same file, or a file and a folder, "
            f"in {str(folder)!r}: {', '.join(map(repr, blocked[:3]))}. Nothing was written. Fetch "
            "them one by one, into folders of their own."
        )


def _name_below(key: str, prefix: str) -> str:
    """Return the key without the prefix, or nothing if it is not below it."""
    folder = prefix if not prefix or prefix.endswith("/") else f"{prefix}/"
    if key == prefix:
        return key.rstrip("/").rpartition("/")[2] if not key.endswith("/") else ""
    return key[len(folder) :] if key.startswith(folder) else ""


def _is_safe(name: str) -> bool:
    parts = name.removesuffix("/").split("/")
    if os.sep == "\\" and ("\\" in name or ":" in name):
        return False
    return not any(part in {"", ".", ".."} or "\0" in part for part in parts)


def read_object(s3: Any, uri: str) -> bytes:
    """Return the content of a small object.

    Raises:
        NotFoundError: If there is no such object.
        BackendError: If it cannot be read.
    """
    bucket, key = split_s3_uri(uri)
    with translate_errors(uri):
        content: bytes = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    return content
