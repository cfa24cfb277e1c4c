"""Reads single files of a trained model from a folder or from ``model.tar.gz``.

Nothing is ever unpacked to the disk: the archive may come from anywhere.
"""

from __future__ import annotations

import os
import tarfile
import urllib.parse
import urllib.request
from pathlib import Path

MAX_MEMBERS = 100_000
"""More entries than this are no model."""

MAX_ENTRY_BYTES = 4 << 30
"""An entry larger than this is no weights of ours: the largest network has 260 MB."""

MAX_ARCHIVE_BYTES = 64 << 30
"""More than this in all is no model, unpacked: 240 epochs of the largest network."""


def resolve_model_path(location: str | os.PathLike[str]) -> Path:
    """Return the local path that ``location`` means.

    Args:
        location: A path, or a ``file://`` URI.

    Raises:
        ValueError: If it is a URI of another kind.
        FileNotFoundError: If there is nothing.

    Example:
        >>> resolve_model_path("s3://bucket/model.tar.gz")
        Traceback (most recent call last):
        ValueError: 's3://bucket/model.tar.gz' is not on this machine. Download it first, ...
    """
    text = os.fspath(location)
    scheme, separator, _ = text.partition("://")
    if separator:
        if scheme.lower() != "file":
            raise ValueError(
                f"{text!r} is not on this machine. Download it first, then give its path."
            )
        text = urllib.request.url2pathname(urllib.parse.urlparse(text).path)
    path = Path(text)
    if not path.exists():
        raise FileNotFoundError(
            f"{path} does not exist. Give a model folder, or the model.tar.gz of a training job."
        )
    return path


def read_model_file(path: Path, name: str, *, max_bytes: int) -> bytes:
    """Return the content of one file of a model.

    Args:
        path: A folder, or a tar archive, compressed or not.
        name: A plain file name at the top of it.
        max_bytes: Largest size that the file can have.

    Raises:
        ValueError: If there is no such file, it is too large, or the archive is damaged or unsafe.
    """
    if path.is_dir():
        file = path / name
        if not file.is_file():
            raise ValueError(_describe_missing(path, name))
        _check_size(path, name, file.stat().st_size, max_bytes)
        return file.read_bytes()
    try:
        with tarfile.open(path) as archive:
            return _read_member(archive, path, name, max_bytes)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise ValueError(
            f"{path} cannot be read as a tar archive ({error}). "
            "Give the model.tar.gz of a training job, or fetch it again."
        ) from error


def _read_member(archive: tarfile.TarFile, path: Path, name: str, max_bytes: int) -> bytes:
    found: tarfile.TarInfo | None = None
    num_bytes = 0
    for num_members, member in enumerate(archive):
        _check_member(member, path)
        num_bytes += member.size
        if num_members >= MAX_MEMBERS or num_bytes > MAX_ARCHIVE_BYTES:
            raise ValueError(
                f"{path} is refused: it has more than {MAX_MEMBERS} entries or "
                f"{MAX_ARCHIVE_BYTES} bytes, which no model has. Use an archive from a source you "
                "trust."
            )
        if Path(member.name) == Path(name) and member.isfile():
            found = member
    if found is None:
        raise ValueError(_describe_missing(path, name))
    _check_size(path, name, found.size, max_bytes)
    file = archive.extractfile(found)
    content = b"" if file is None else file.read()
    if len(content) != found.size:
        raise ValueError(f"{path} is damaged: {name} is cut off. Fetch it again.")
    return content


def _check_member(member: tarfile.TarInfo, path: Path) -> None:
    parts = Path(member.name).parts
    if member.name.startswith(("/", "\\")) or ".." in parts:
        raise ValueError(
            f"{path} is refused: its entry {member.name!r} would leave the folder it is unpacked "
            "into. Use an archive from a source you trust."
        )
    if not (member.isfile() or member.isdir()):
        raise ValueError(
            f"{path} is refused: its entry {member.name!r} is a link or a device, which no model "
            "has. Use an archive from a source you trust."
        )
    _check_size(path, member.name, member.size, MAX_ENTRY_BYTES)


def _check_size(path: Path, name: str, size_bytes: int, max_bytes: int) -> None:
    if size_bytes > max_bytes:
        raise ValueError(
            f"{path} is refused: its entry {name!r} has {size_bytes} bytes, but can have "
            f"{max_bytes} at most. Use an archive from a source you trust."
        )


def _describe_missing(path: Path, name: str) -> str:
    return (
        f"{path} holds no {name}, so it is not a model of this algorithm. "
        "Give a model folder, or the model.tar.gz of a training job."
    )
