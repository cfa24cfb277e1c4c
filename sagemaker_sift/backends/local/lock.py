"""Who is in charge of a job: whoever holds the lock of its folder.

An advisory lock of the operating system goes with its process, however that ends, so a free
lock under a job that still calls itself in progress means that its supervisor died.
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

_TRIES = 10
_PAUSE_S = 0.01


def acquire_lock(path: Path) -> int | None:
    """Take the lock and return its file descriptor, or ``None`` if another process has it.

    Whoever looks at the lock shares it for a moment, so it is tried more than once.

    The lock is held until every copy of the descriptor is closed; a child process that
    inherits it goes on holding it.
    """
    num_tries = 0
    while num_tries < _TRIES:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            num_tries += 1
            time.sleep(_PAUSE_S)
            continue
        if _is_of(descriptor, path):
            return descriptor
        os.close(descriptor)  # the file was deleted before it was locked: it protects nothing
    return None


def wait_for_lock(path: Path, patience_s: float = 10.0) -> int | None:
    """Take the lock as soon as it is free; ``None`` if that takes too long.

    For a lock whose holder has recorded that it is done, and is about to end.

    Args:
        path: The lock.
        patience_s: Seconds to wait.
    """
    end = time.monotonic() + patience_s
    while True:
        descriptor = acquire_lock(path)
        if descriptor is not None or time.monotonic() > end:
            return descriptor


def is_locked(path: Path) -> bool:
    """Return whether a living process holds the lock.

    Those who ask do not get into each other's way: they share the lock for a moment.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _is_of(descriptor: int, path: Path) -> bool:
    """Return whether an open file is still the one at the path."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False
