"""Where a URI lies on this machine."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote, unquote


class LocalStorage:
    """The folders of one local SageMaker.

    Args:
        root: Folder of everything that the local SageMaker keeps.

    Example:
        >>> LocalStorage(Path("/jobs")).to_path("s3://bucket/train").as_posix()
        '/jobs/s3/bucket/train'
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def job_folder(self, job_name: str) -> Path:
        """Return the folder with everything of one training job."""
        return self.root / "training-jobs" / job_name

    def tuning_folder(self, job_name: str) -> Path:
        """Return the folder with everything of one tuning job but its training jobs."""
        return self.root / "tuning-jobs" / job_name

    @property
    def default_output_uri(self) -> str:
        """URI under which artifacts go if a job does not say."""
        return to_file_uri(self.root / "training-jobs")

    def to_path(self, uri: str) -> Path:
        """Return the path of a ``file://`` or ``s3://`` URI.

        ``file://`` is used in place; ``s3://bucket/key`` is the folder ``s3/bucket/key`` of
        the root, so that scripts written for AWS run unchanged. What follows the bucket is the
        key as it stands, ``#``, ``?`` and ``%`` included; in ``file://`` only ``%`` escapes.

        Raises:
            ValueError: If it is neither, or leaves the root.
        """
        scheme, _, rest = uri.partition("://")
        host, slash, key = rest.partition("/")
        if scheme.lower() == "file" and slash and host in {"", "localhost"}:
            return Path(unquote(f"/{key}"))
        if scheme.lower() == "s3" and host not in {"", "."}:
            bucket = self.root / "s3" / host
            path = bucket / key.lstrip("/")
            if ".." in path.parts:
                raise ValueError(f"{uri!r} leaves its bucket; write the key without '..'.")
            return path
        raise ValueError(f"{uri!r} is neither 'file:///folder' nor 's3://bucket/prefix'.")


def check_writable(folder: Path) -> None:
    """Check that a folder can be written, or made, without making it.

    Raises:
        OSError: If it cannot.
    """
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if not existing.is_dir():
        raise NotADirectoryError(f"{str(existing)!r} is not a folder")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise PermissionError(f"{str(existing)!r} is not writable")


def to_file_uri(path: Path) -> str:
    """Return the ``file://`` URI of a path.

    Example:
        >>> to_file_uri(Path("/data/my set"))
        'file:///data/my%20set'
    """
    return "file://" + quote(str(path.absolute()))
