"""Single files of a trained model, from a folder, from ``model.tar.gz``, or by themselves.

Nothing is ever unpacked to the disk: the archive may come from anywhere.
"""

from __future__ import annotations

import contextlib
import gzip
import os
import tarfile
import urllib.parse
import urllib.request
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from sagemaker_sift.trainer.data.problem import quote
from sagemaker_sift.trainer.tar import (
    MAX_TAR_BYTES,
    RefusedArchiveError,
    TarFile,
    describe_oversize,
    list_tar_files,
)

WEIGHTS_SUFFIXES = (".params", ".safetensors")
"""A file with such a name is weights by itself; any other file is an archive."""

MAX_EXPANSION = 200
"""One that unpacks to more than so many times its size is refused: weights hardly shrink."""

EXPANSION_SLACK_BYTES = 512 << 20
"""What every archive may unpack to, however small it is."""

_GZIP_MAGIC = b"\x1f\x8b"
_CHUNK_BYTES = 1 << 20
_MAX_TRAILING_BYTES = 16 << 20
_NUM_NAMED = 6


class ModelSource:
    """Where a model's files are.

    Attributes:
        path: The folder, the archive or the file.
        names: Of the files at the top of it, sorted, without hidden ones.
    """

    def __init__(
        self, path: Path, sizes: Mapping[str, int], read: Callable[[str, int], bytes]
    ) -> None:
        self.path = path
        self.names = tuple(sorted(sizes))
        self._sizes = sizes
        self._read = read

    def read(self, name: str, *, max_bytes: int) -> bytes:
        """Return the content of one file.

        Args:
            name: One of ``names``.
            max_bytes: Largest size that the file can have.

        Raises:
            ValueError: If there is no such file, it is too large, or cannot be read.
        """
        if name not in self._sizes:
            raise ValueError(
                f"{self.path} holds no {name}, so it is not a model of this algorithm; "
                f"{describe_names(self.names)}. Give a model folder, or the model.tar.gz of a "
                "training job."
            )
        size_bytes = self._sizes[name]
        if size_bytes > max_bytes:
            text = describe_oversize(name, size_bytes, max_bytes)
            raise ValueError(f"{self.path} is refused: {text}")
        content = self._read(name, size_bytes)
        if len(content) != size_bytes:
            raise ValueError(f"{self.path} is damaged: {name} is cut off. Fetch it again.")
        return content


def describe_names(names: tuple[str, ...]) -> str:
    """Return what there is, for an error's text; of many names the first few.

    Example:
        >>> describe_names(("a.txt", "b.txt"))
        "it has 'a.txt', 'b.txt'"
    """
    if not names:
        return "it is empty"
    rest = f" and {len(names) - _NUM_NAMED} more" if len(names) > _NUM_NAMED else ""
    return f"it has {', '.join(map(quote, names[:_NUM_NAMED]))}{rest}"


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


@contextmanager
def open_model_source(path: Path) -> Iterator[ModelSource]:
    """Open a model to read its files while the block runs.

    Args:
        path: A folder; a tar archive, compressed with gzip or not; or a file of weights, whose
            name ends in one of ``WEIGHTS_SUFFIXES``.

    Raises:
        ValueError: If it cannot be read, is damaged, or is unsafe to read.
    """
    with contextlib.ExitStack() as stack:
        try:
            if path.is_dir():
                source = _open_files(path, path.iterdir())
            elif path.suffix in WEIGHTS_SUFFIXES:
                source = _open_files(path, [path])
            else:
                source = stack.enter_context(_open_archive(path))
        except OSError as error:
            raise _build_unreadable_error(path, error) from error
        yield source


def _open_files(path: Path, files: Iterator[Path] | list[Path]) -> ModelSource:
    found = {file.name: file for file in files if not file.name.startswith(".") and file.is_file()}

    def read(name: str, size_bytes: int) -> bytes:
        try:
            with found[name].open("rb") as file:
                return file.read(size_bytes + 1)
        except OSError as error:
            raise _build_unreadable_error(path, error) from error

    return ModelSource(path, {name: file.stat().st_size for name, file in found.items()}, read)


@contextmanager
def _open_archive(path: Path) -> Iterator[ModelSource]:
    if not path.is_file():
        raise ValueError(
            f"{path} is neither a folder nor a file. Give a model folder, or the model.tar.gz of "
            "a training job."
        )
    with path.open("rb") as packed:
        is_gzip = packed.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
        packed.seek(0)
        file = cast(IO[bytes], gzip.GzipFile(fileobj=packed) if is_gzip else packed)
        max_bytes = MAX_TAR_BYTES
        if is_gzip:
            grown = path.stat().st_size * MAX_EXPANSION + EXPANSION_SLACK_BYTES
            max_bytes = min(max_bytes, grown)
        with _damage_explained(path):
            files = _find_top_files(file, max_bytes)
            if is_gzip:
                _read_to_end(file)

        def read(name: str, size_bytes: int) -> bytes:
            with _damage_explained(path):
                file.seek(files[name].offset)
                return _read_exactly(file, size_bytes)

        yield ModelSource(path, {name: entry.size_bytes for name, entry in files.items()}, read)


def _find_top_files(file: IO[bytes], max_bytes: int) -> dict[str, TarFile]:
    return {
        entry.path: entry
        for entry in list_tar_files(file, max_bytes=max_bytes)
        if "/" not in entry.path and not entry.path.startswith(".") and len(entry.path) <= 255
    }


def _read_to_end(file: IO[bytes]) -> None:
    """Read what follows the archive's end mark, so that gzip compares its checksum."""
    num_bytes = 0
    while chunk := file.read(_CHUNK_BYTES):
        num_bytes += len(chunk)
        if num_bytes > _MAX_TRAILING_BYTES:
            raise tarfile.ReadError("there is more behind its end")


def _read_exactly(file: IO[bytes], size_bytes: int) -> bytes:
    content = bytearray()
    while len(content) < size_bytes:
        chunk = file.read(min(_CHUNK_BYTES, size_bytes - len(content)))
        if not chunk:
            break
        content += chunk
    return bytes(content)


@contextmanager
def _damage_explained(path: Path) -> Iterator[None]:
    """Turn what is wrong with an archive into a ValueError that names it."""
    try:
        yield
    except RefusedArchiveError as error:
        raise ValueError(f"{path} is refused: {error}") from error
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise ValueError(
            f"{path} cannot be read as a tar archive ({error}). "
            "Give the model.tar.gz of a training job, or fetch it again."
        ) from error


def _build_unreadable_error(path: Path, error: OSError) -> ValueError:
    return ValueError(
        f"{path} cannot be read ({error.strerror or error}). Check its rights, or fetch it again."
    )
