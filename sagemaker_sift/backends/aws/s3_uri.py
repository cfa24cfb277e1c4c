"""``s3://bucket/key``, taken apart and put together.

Source: "Bucket naming rules", Amazon S3 user guide.
"""

from __future__ import annotations

import re

_BUCKET = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._-]{1,253}[a-zA-Z0-9]")


def is_s3_uri(location: str) -> bool:
    """Return whether ``location`` begins with ``s3://``."""
    return location.startswith("s3://")


def split_s3_uri(uri: str) -> tuple[str, str]:
    """Return bucket and key; the key may be empty.

    Raises:
        ValueError: If it is not an S3 URI with a bucket.

    Example:
        >>> split_s3_uri("s3://bucket/data/train")
        ('bucket', 'data/train')
    """
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if not is_s3_uri(uri) or not _BUCKET.fullmatch(bucket):
        raise ValueError(f"{uri!r} is not an S3 URI. Write it as 's3://bucket/key'.")
    return bucket, key


def join_key(*parts: str | None) -> str:
    """Return the parts as one key; slashes at their ends, and empty parts, fall away.

    Example:
        >>> join_key("team/", None, "/data", "train.rec")
        'team/data/train.rec'
    """
    return "/".join(part.strip("/") for part in parts if part and part.strip("/"))
