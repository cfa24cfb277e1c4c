"""A file that is there whole or not at all."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def save_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a file that is there whole or not at all.

    Raises:
        OSError: If it cannot be written; what was there before is left as it was.
    """
    target = Path(os.path.expanduser(path))
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(8)}")
    try:
        with temporary.open("x", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(target.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
