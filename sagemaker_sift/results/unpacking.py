"""Unpack an archive that may come from anywhere, whole or not at all.

Nothing in it is believed: names that lead out of the folder, links, devices and sparse files are
refused, the number of entries and of bytes is bounded, and no header is read that is larger than
a header can be.

Source: "Extraction filters" in the documentation of Python's ``tarfile``, and what lies behind
them.
"""

from __future__ import annotations

import gzip
import os
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, cast

from sagemaker_sift.exceptions import ArtifactError

MAX_ENTRIES = 100_000
"""An archive with more entries is refused, as the trainer does."""

MAX_BYTES = 64 << 30
"""An archive with more bytes, unpacked, is refused, as the trainer does."""

_CHUNK_BYTES = 1 << 20
_TRUST = "Use an archive from a source you trust."
_DAMAGE = (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, UnicodeError)


def unpack_archive(
    archive: Path,
    folder: Path,
    *,
    overwrite: bool = False,
    max_bytes: int = MAX_BYTES,
    max_entries: int = MAX_ENTRIES,
) -> list[Path]:
    """Unpack a ``.tar.gz`` into a folder and return the files, sorted.

    It is unpacked beside the folder first. Only when all of it is on disk does it get its place:
    a folder that is new appears at once, into one that is there the files are moved one by one.

    Args:
        archive: Path of the ``.tar.gz``.
        folder: Where its content goes; it is made if it is not there.
        overwrite: Whether files that are there may be replaced.
        max_bytes: Most bytes of all its entries together, unpacked.
        max_entries: Most entries.

    Raises:
        ArtifactError: If it is missing, damaged or unsafe. Nothing is left then.
        FileExistsError: If a file is there already and ``overwrite`` is not set. Nothing is
            changed then.
        OSError: If the folder cannot be written.
    """
    folder = folder.absolute()
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        names = _unpack(archive, temporary, max_bytes, max_entries)
        temporary.chmod(0o755)
        _put(temporary, folder, names, overwrite)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return [folder / name for name in names]


def _unpack(archive: Path, folder: Path, max_bytes: int, max_entries: int) -> list[str]:
    """Write every entry below ``folder`` and return the names of the files, sorted."""
    names: dict[str, None] = {}
    num_entries = 0
    with _open_tar(archive, max_bytes + _CHUNK_BYTES + 3 * max_entries * tarfile.BLOCKSIZE) as tar:
        for entry in _read_entries(tar, archive):
            num_entries += 1
            if num_entries > max_entries:
                raise _refuse(archive, f"it has more than {max_entries} entries")
            name = _check_entry(entry, archive)
            if not name:
                continue
            max_bytes -= entry.size if entry.isreg() else 0
            if max_bytes < 0:
                raise _refuse(archive, "it has more bytes, unpacked, than may be")
            _check_place(folder, name, archive, is_folder=entry.isdir())
            if entry.isdir():
                (folder / name).mkdir(parents=True, exist_ok=True)
            else:
                _write_file(tar, entry, folder / name, archive)
                names[name] = None
    return sorted(names)


@contextmanager
def _open_tar(archive: Path, max_position: int) -> Iterator[tarfile.TarFile]:
    try:
        packed = archive.open("rb")
    except OSError as error:
        raise ArtifactError(f"{str(archive)!r} cannot be read: {error.strerror}.") from error
    with packed, gzip.GzipFile(fileobj=packed) as plain, ExitStack() as stack:
        bounded = _BoundedFile(plain, max_position)
        with _damage_explained(archive):
            tar = stack.enter_context(tarfile.open(fileobj=cast("IO[bytes]", bounded), mode="r:"))
        yield tar
        with _damage_explained(archive):
            bounded.check_end()


def _read_entries(tar: tarfile.TarFile, archive: Path) -> Iterator[tarfile.TarInfo]:
    while True:
        with _damage_explained(archive):
            entry = tar.next()
        if entry is None:
            return
        yield entry


def _check_entry(entry: tarfile.TarInfo, archive: Path) -> str:
    """Return the name of an entry without ``./``; empty for the folder itself."""
    if not (entry.isreg() or entry.isdir()) or entry.issparse():
        raise _refuse(archive, f"its entry {entry.name!r} is a link, a device or the like")
    posix, windows = PurePosixPath(entry.name), PureWindowsPath(entry.name)
    is_outside = ".." in posix.parts or ".." in windows.parts
    if is_outside or posix.is_absolute() or windows.drive or windows.root or "\0" in entry.name:
        raise _refuse(archive, f"its entry {entry.name!r} would leave the folder")
    return "/".join(posix.parts)


def _check_place(folder: Path, name: str, archive: Path, *, is_folder: bool) -> None:
    """Refuse an entry that is a file where another one needs a folder, or the other way round."""
    path = folder / name
    parents = [parent for parent in path.parents if parent.is_relative_to(folder)]
    if any(parent.is_file() for parent in parents) or (
        path.is_file() if is_folder else path.is_dir()
    ):
        raise _refuse(archive, f"its entry {name!r} is both a file and a folder")


def _write_file(tar: tarfile.TarFile, entry: tarfile.TarInfo, path: Path, archive: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    source = tar.extractfile(entry)
    num_bytes = 0
    with path.open("wb") as target:
        while source is not None:
            with _damage_explained(archive):
                chunk = source.read(_CHUNK_BYTES)
            if not chunk:
                break
            num_bytes += target.write(chunk)
        target.flush()
        os.fsync(target.fileno())
    if num_bytes != entry.size:
        raise ArtifactError(f"{str(archive)!r} is damaged: {entry.name!r} is cut off.")


def _put(source: Path, folder: Path, names: list[str], overwrite: bool) -> None:
    """Give the unpacked files their place; a folder that is there stays the one that it is."""
    if not os.path.lexists(folder):
        os.rename(source, folder)
        return
    if not folder.is_dir():
        raise NotADirectoryError(f"{str(folder)!r} is a file. Give a folder.")
    blocked = [name for name in names if _is_blocked(folder, name)]
    if blocked:
        raise FileExistsError(
            f"{str(folder)!r} has a file where {blocked[0]!r} needs a folder, or a folder in its "
            "place. Give another folder."
        )
    there = [name for name in names if os.path.lexists(folder / name)]
    if there and not overwrite:
        raise FileExistsError(
            f"{str(folder)!r} already has {', '.join(map(repr, there[:3]))}"
            f"{' and more' if len(there) > 3 else ''}. Give another folder, or overwrite=True."
        )
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        os.replace(source / name, folder / name)


def _is_blocked(folder: Path, name: str) -> bool:
    """Return whether what is in the folder leaves no place for a file."""
    path = folder / name
    above = [parent for parent in path.parents if parent.is_relative_to(folder)]
    return path.is_dir() or any(os.path.lexists(one) and not one.is_dir() for one in above)


@contextmanager
def _damage_explained(archive: Path) -> Iterator[None]:
    try:
        yield
    except _TooMuchError as error:
        raise _refuse(archive, str(error)) from error
    except _DAMAGE as error:
        raise ArtifactError(
            f"{str(archive)!r} cannot be read as a .tar.gz ({error}). Fetch it again."
        ) from error


def _refuse(archive: Path, reason: str) -> ArtifactError:
    return ArtifactError(f"{str(archive)!r} is refused: {reason}. {_TRUST}")


class _TooMuchError(Exception):
    """More was to be read than an archive has a use for."""


class _BoundedFile:
    """A file that is read in small pieces, and not endlessly: headers say how much they need."""

    def __init__(self, file: gzip.GzipFile, max_position: int) -> None:
        self._file = file
        self._max_position = max_position
        self._last = b""

    def read(self, size: int = -1) -> bytes:
        if size < 0 or size > _CHUNK_BYTES:
            raise _TooMuchError(f"it has a header of more than {_CHUNK_BYTES} bytes")
        content = self._file.read(size)
        self._check(self._file.tell())
        self._last = content
        return content

    def seek(self, position: int) -> int:
        self._check(position)
        return self._file.seek(position)

    def tell(self) -> int:
        return self._file.tell()

    def check_end(self) -> None:
        """Check that the last block is the mark of the end, and read what follows it.

        ``tarfile`` takes a damaged header for the end; gzip compares its checksum at its own end.
        """
        if len(self._last) != tarfile.BLOCKSIZE or any(self._last):
            raise tarfile.ReadError("it ends without the mark of its end")
        while self.read(_CHUNK_BYTES):
            pass

    def _check(self, position: int) -> None:
        if position > self._max_position:
            raise _TooMuchError("it has more bytes, unpacked, than may be")
