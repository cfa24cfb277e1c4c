"""What lies in the folder of a channel."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sagemaker_sift.contract.channels import IMAGE_SUFFIXES, LIST_SUFFIX, RECORDIO_SUFFIX

NUM_FILES_SEEN = 10_000
"""So many files of a channel are looked at to find its form."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelContent:
    """Of which kinds the first files of a channel are. What is hidden does not count.

    Attributes:
        is_empty: Whether there is nothing at all.
        has_folders: Whether there are folders directly in it.
        record_file: Name of a RecordIO file, or empty.
        image_file: Name of an image, or empty.
        list_file: Name of a list, or empty.
    """

    is_empty: bool
    has_folders: bool
    record_file: str = ""
    image_file: str = ""
    list_file: str = ""


def look_into(root: Path) -> ChannelContent:
    """Return what a channel holds.

    Args:
        root: Its folder; or a file, for a channel that is one file.

    Raises:
        OSError: If a folder cannot be read.
    """
    found: dict[str, str] = {}
    for num_seen, path in enumerate(_walk(root)):
        if num_seen == NUM_FILES_SEEN:
            break
        suffix = path.suffix.lower()
        kind = "image" if suffix in IMAGE_SUFFIXES else suffix
        if kind in ("image", RECORDIO_SUFFIX, LIST_SUFFIX):
            found.setdefault(kind, path.name)
    entries = [] if root.is_file() else [path for path in root.iterdir() if path.name[0] != "."]
    return ChannelContent(
        is_empty=not entries and not root.is_file(),
        has_folders=any(path.is_dir() for path in entries),
        record_file=found.get(RECORDIO_SUFFIX, ""),
        image_file=found.get("image", ""),
        list_file=found.get(LIST_SUFFIX, ""),
    )


def list_files(root: Path, suffix: str) -> list[Path]:
    """Return the regular files with a suffix, sorted by path.

    Args:
        root: A folder, searched at any depth but not through links to folders; or one file.
        suffix: In lower case, with its dot; that of a file may be in any case.

    Raises:
        OSError: If a folder cannot be read.
    """
    return sorted(
        path
        for path in _walk(root)
        if path.suffix.lower() == suffix and stat.S_ISREG(path.stat().st_mode)
    )


def _walk(root: Path) -> Iterator[Path]:
    if root.is_file():
        yield root.resolve()
        return

    def fail(error: OSError) -> None:
        raise error

    for parent, folder_names, file_names in os.walk(root, onerror=fail):
        folder_names[:] = sorted(name for name in folder_names if not name.startswith("."))
        for name in file_names:
            if not name.startswith("."):
                yield Path(parent, name)
