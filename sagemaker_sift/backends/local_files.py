"""The files of a folder that is to be uploaded, found and read."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sagemaker_sift.contract.problem import Problem
from sagemaker_sift.exceptions import InvalidRequestError

_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A regular file.

    Attributes:
        path: Where it is; may be a link to it.
        name: Below the folder, with ``/``.
        size_bytes: When it was found.
        mtime_ns: When it was found, epoch nanoseconds.
    """

    path: Path
    name: str
    size_bytes: int
    mtime_ns: int

    def is_unchanged(self) -> bool:
        """Return whether the file still has the size and time that it was found with."""
        status = self.path.stat()
        return (status.st_size, status.st_mtime_ns) == (self.size_bytes, self.mtime_ns)

    def hash(self) -> str:
        """Return the SHA-256 of the content, in hexadecimal."""
        digest = hashlib.sha256()
        with self.path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
        return digest.hexdigest()


def find_files(path: Path) -> list[LocalFile]:
    """Return a file, or every file below a folder, sorted by name.

    Links are followed; one that leads back to a folder it lies in is not, so that the search
    ends.

    Raises:
        FileNotFoundError: If there is nothing at ``path``.
        InvalidRequestError: With everything that cannot be uploaded: an empty folder, links that
            lead nowhere, pipes and devices, names that are not UTF-8.
    """
    if not path.exists():
        raise FileNotFoundError(
            f"{str(path)!r} does not exist. Give the path of a file or folder."
        )
    problems: list[Problem] = []
    files: list[LocalFile] = []
    entries = _walk(path, "", (path.resolve(),)) if path.is_dir() else iter([(path, path.name)])
    for entry, name in entries:
        found = _examine(entry, name)
        if isinstance(found, Problem):
            problems.append(found)
        else:
            files.append(found)
    if not files and not problems:
        text = f"is {str(path)!r}, a folder without files. Give one with files in it."
        problems.append(Problem("path", text))
    if problems:
        raise InvalidRequestError(problems)
    return sorted(files, key=lambda file: file.name)


def _walk(folder: Path, prefix: str, ancestors: tuple[Path, ...]) -> Iterator[tuple[Path, str]]:
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        path, name = Path(entry.path), prefix + entry.name
        if not entry.is_dir():
            yield path, name
            continue
        target = path.resolve()
        if target not in ancestors:
            yield from _walk(path, f"{name}/", (*ancestors, target))


def _examine(path: Path, name: str) -> LocalFile | Problem:
    try:
        status = path.stat()
        name.encode("utf-8")
    except UnicodeEncodeError:
        return Problem("path", f"has {name!r}, a name that is not UTF-8. Rename it.")
    except OSError as error:
        return Problem("path", f"has {name!r}, which cannot be read ({error.strerror}).")
    if not stat.S_ISREG(status.st_mode):
        return Problem("path", f"has {name!r}, which is no regular file. Take it out.")
    return LocalFile(path, name, status.st_size, status.st_mtime_ns)
