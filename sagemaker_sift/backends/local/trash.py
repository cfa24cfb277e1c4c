"""Folders that are being deleted."""

from __future__ import annotations

import contextlib
import shutil
import uuid
from pathlib import Path

TRASH_NAME = ".trash"
"""Folder of the root; what is in it is deleted sooner or later."""


def discard(folder: Path, root: Path) -> None:
    """Delete a folder, from one moment to the other as others see it.

    It is moved away first: a job of the same name that begins meanwhile has a folder of its own.
    Killed in between, the rest is deleted by the next call.

    Args:
        folder: Somewhere under the root; nothing happens if it is not there.
        root: Folder of the local SageMaker.
    """
    trash = root / TRASH_NAME
    trash.mkdir(exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        folder.rename(trash / uuid.uuid4().hex)
    shutil.rmtree(trash, ignore_errors=True)
