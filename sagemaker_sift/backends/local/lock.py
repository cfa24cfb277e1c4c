"""Who is in charge of a job: whoever holds the lock of its folder.

An advisory lock of the operating system goes with its process, however that ends, so a free
lock under a job that still calls itself in progress means that its supervisor died.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


def acquire_lock(path: Path) -> int | None:
    """Take the lock and return its file descriptor, or ``None`` if another process has it.

    The lock is held until every copy of the descriptor is closed; a child process that
    inherits it goes on holding it.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def is_locked(path: Path) -> bool:
    """Return whether a living process holds the lock."""
    if not path.exists():
        return False
    descriptor = acquire_lock(path)
    if descriptor is None:
        return True
    os.close(descriptor)
    return False
