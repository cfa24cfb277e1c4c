"""Files that are either there in full or not there at all."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from sagemaker_sift.trainer.errors import TrainingError

TEMPORARY_SUFFIX = ".tmp"
"""Ends the name of a file that is being written; such a file is never read."""

_CHUNK_BYTES = 1 << 20
_PROBE = ".write-probe"
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def write_atomically(path: Path, chunks: Iterable[bytes]) -> None:
    """Write a file so that a crash at any moment leaves the old content or the new.

    The content goes to a temporary file in the same folder, is synced to the disk and renamed
    over ``path``; the folder is synced last. Missing parent folders are made.

    Args:
        path: The file; what it held before is replaced.
        chunks: The content, in pieces.

    Raises:
        TrainingError: If the folder cannot be written or the disk is full. ``path`` is as it was
            then, and the temporary file is gone.
    """
    temporary = path.with_name(f".{path.name}{TEMPORARY_SUFFIX}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            for chunk in chunks:
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise build_storage_error(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    _sync_folder(path.parent)


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON, atomically.

    Raises:
        TrainingError: As :func:`write_atomically`.
    """
    write_atomically(path, [encode_json(value)])


def encode_json(value: Any) -> bytes:
    r"""Return ``value`` as indented JSON with a line break at the end.

    Example:
        >>> encode_json([])
        b'[]\n'
    """
    return (json.dumps(value, indent=2) + "\n").encode()


def check_writable(folder: Path) -> None:
    """Make the folder if need be and prove that a file can be written into it.

    Raises:
        TrainingError: If it cannot.
    """
    probe = folder / _PROBE
    write_atomically(probe, [b"probe"])
    remove_file(probe)


def remove_file(path: Path) -> None:
    """Remove a file if it is there.

    Raises:
        TrainingError: If it is there and stays.
    """
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise build_storage_error(path, error) from error


def read_chunks(path: Path) -> Iterator[bytes]:
    """Yield the content of a file in pieces of one MiB."""
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal."""
    digest = hashlib.sha256()
    for chunk in read_chunks(path):
        digest.update(chunk)
    return digest.hexdigest()


def build_storage_error(path: Path, error: OSError) -> TrainingError:
    """Return the error that says what kept ``path`` from being written.

    Example:
        >>> print(build_storage_error(Path("m/a.json"), OSError(errno.ENOSPC, "")))
        The disk of m is full, so a.json was not saved; ... (VolumeSizeInGB).
    """
    if error.errno not in _FULL and path.name == _PROBE:
        return TrainingError(
            f"The folder {path.parent} cannot be written ({error.strerror or error}). The job "
            "must be able to write there: check its permissions and that it is a folder."
        )
    if error.errno in _FULL:
        return TrainingError(
            f"The disk of {path.parent} is full, so {path.name} was not saved; what was saved "
            "before is unharmed. Give the job a larger volume (VolumeSizeInGB)."
        )
    return TrainingError(
        f"The folder {path.parent} cannot be written ({error.strerror or error}), so {path.name} "
        "was not saved. The job must be able to write there: check its permissions and that it "
        "is a folder."
    )


def _sync_folder(folder: Path) -> None:
    """Make a rename last; file systems that cannot sync a folder do without."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
