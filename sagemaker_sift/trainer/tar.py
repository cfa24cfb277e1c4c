"""The files of a tar archive, found without unpacking it and in little memory.

The archive may come from anywhere, so nothing in it is believed: headers are read one by one, each
of bounded size, and whatever a model does not need (links, devices, sparse files, names that lead
out of the folder) is refused.

Source: POSIX.1-2017, ``pax``, "ustar Interchange Format" and "pax Header Block"; GNU tar manual,
"Basic Tar Format", for long names.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import IO

from sagemaker_sift.trainer.data.problem import quote

MAX_ENTRIES = 100_000
"""More entries than this are no model."""

MAX_ENTRY_BYTES = 4 << 30
"""An entry larger than this is no weights of ours: the largest network has 260 MB."""

MAX_TAR_BYTES = 64 << 30
"""More than this in all is no model, unpacked: 240 epochs of the largest network."""

_BLOCK = tarfile.BLOCKSIZE
_MAX_EXTENSION_BYTES = 1 << 20
_MAX_PATH_CHARS = 4096
_PAX = (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE)
_PASSED_OVER = (tarfile.XGLTYPE, tarfile.GNUTYPE_LONGLINK)
_FILES = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)
_TRUST = "Use an archive from a source you trust."


class RefusedArchiveError(ValueError):
    """The archive can be read, but holds what no model has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TarFile:
    """A regular file in an archive.

    Attributes:
        path: Its path there, without ``./``.
        offset: Where its content begins, in bytes.
        size_bytes: Of its content.
    """

    path: str
    offset: int
    size_bytes: int


def list_tar_files(file: IO[bytes], *, max_bytes: int = MAX_TAR_BYTES) -> Iterator[TarFile]:
    """Yield the regular files of an archive; a path may occur again, and the last one counts.

    Args:
        file: The archive, not compressed; read and moved.
        max_bytes: Largest size of all entries together.

    Raises:
        RefusedArchiveError: If it has an entry that no model has, or too much of anything.
        tarfile.TarError: If it is no tar archive, or is damaged.

    Example:
        >>> import io
        >>> list(list_tar_files(io.BytesIO(b"no archive")))
        Traceback (most recent call last):
        tarfile.ReadError: it ends at byte 10 without the mark of its end
    """
    extension: dict[bytes, str] = {}
    position = num_bytes = 0
    for _ in range(MAX_ENTRIES):
        header = _read_at(file, position, _BLOCK)
        if not any(header):
            return
        entry = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")
        kind = entry.type
        is_extension = kind in _PAX or kind in _PASSED_OVER or kind == tarfile.GNUTYPE_LONGNAME
        size_bytes = 0 if kind == tarfile.DIRTYPE else entry.size
        if kind in _FILES and b"size" in extension:
            size_bytes = _read_size(extension[b"size"])
        _check_size(entry.name, size_bytes, _MAX_EXTENSION_BYTES if is_extension else None)
        num_bytes += size_bytes
        if num_bytes > max_bytes:
            raise RefusedArchiveError(
                f"it has more than {max_bytes} bytes unpacked, which no model of its size has. "
                + _TRUST
            )
        start = position + _BLOCK
        position = start + -(-size_bytes // _BLOCK) * _BLOCK
        if is_extension:
            if kind not in _PASSED_OVER:
                content = _read_at(file, start, size_bytes)
                extension |= _read_pax(content) if kind in _PAX else _read_long_name(content)
            continue
        path = _check_path(extension.get(b"path", entry.name), kind)
        extension = {}
        if kind in _FILES:
            yield TarFile(path=path, offset=start, size_bytes=size_bytes)
    raise RefusedArchiveError(
        f"it has more than {MAX_ENTRIES} entries, which no model has. {_TRUST}"
    )


def describe_oversize(name: str, size_bytes: int, max_bytes: int) -> str:
    """Return the sentence that refuses an entry for its size.

    Example:
        >>> describe_oversize("a", 9, 8)
        "its entry 'a' has 9 bytes, but can have 8 at most. Use an archive from ... you trust."
    """
    return (
        f"its entry {quote(name)} has {size_bytes} bytes, but can have {max_bytes} at most. "
        + _TRUST
    )


def _read_at(file: IO[bytes], position: int, size_bytes: int) -> bytes:
    file.seek(position)
    content = file.read(size_bytes)
    if len(content) < size_bytes:
        raise tarfile.ReadError(
            f"it ends at byte {position + len(content)} without the mark of its end"
        )
    return content


def _check_size(name: str, size_bytes: int, max_bytes: int | None) -> None:
    if size_bytes < 0:
        raise tarfile.ReadError(f"its entry {quote(name)} has a size below 0")
    max_bytes = MAX_ENTRY_BYTES if max_bytes is None else max_bytes
    if size_bytes > max_bytes:
        raise RefusedArchiveError(describe_oversize(name, size_bytes, max_bytes))


def _check_path(path: str, kind: bytes) -> str:
    """Return the path without ``./``."""
    parts = PurePosixPath(path).parts
    if path.startswith(("/", "\\")) or ".." in parts or len(path) > _MAX_PATH_CHARS:
        raise RefusedArchiveError(
            f"its entry {quote(path)} would leave the folder it is unpacked into. {_TRUST}"
        )
    if kind not in (*_FILES, tarfile.DIRTYPE):
        raise RefusedArchiveError(
            f"its entry {quote(path)} is a link, a device or the like, which no model has. "
            + _TRUST
        )
    return "/".join(parts)


def _read_size(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 20):
        raise tarfile.ReadError(f"a pax header has the size {quote(text)}")
    return int(text)


def _read_long_name(content: bytes) -> dict[bytes, str]:
    name = content.partition(b"\0")[0]
    return {b"path": name.decode("utf-8", "surrogateescape")}


def _read_pax(content: bytes) -> dict[bytes, str]:
    """Return path and size if a pax header has them: records of ``length name=value``."""
    found: dict[bytes, str] = {}
    position = 0
    while position < len(content) and content[position]:
        digits, separator, _ = content[position : position + 12].partition(b" ")
        length = int(digits) if separator and digits.isdigit() else 0
        record = content[position : position + length]
        name, equals, value = record[len(digits) + 1 : -1].partition(b"=")
        if not equals or len(record) < length or not record.endswith(b"\n"):
            raise tarfile.ReadError("a pax header is damaged")
        if name.startswith(b"GNU.sparse"):
            raise RefusedArchiveError(f"it has a sparse file, which no model has. {_TRUST}")
        if name in (b"path", b"size"):
            found[name] = value.decode("utf-8", "surrogateescape")
        position += length
    return found
