"""Values as the API takes them: of enums, paths and numpy, what they stand for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from enum import Enum
from typing import Any


def to_plain(value: Any) -> Any:
    """Return what a value stands for.

    Args:
        value: An enum's member, a path or a scalar of numpy; anything else stays as it is.

    Example:
        >>> from pathlib import PurePosixPath
        >>> to_plain(PurePosixPath("/opt/ml/checkpoints"))
        '/opt/ml/checkpoints'
    """
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if type(value).__module__ == "numpy" and getattr(value, "ndim", None) == 0:
        return value.item()
    return value


def drop_unset(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that are not ``None``.

    Example:
        >>> drop_unset({"KmsKeyId": None, "S3OutputPath": "s3://bucket"})
        {'S3OutputPath': 's3://bucket'}
    """
    return {name: value for name, value in fields.items() if value is not None}
