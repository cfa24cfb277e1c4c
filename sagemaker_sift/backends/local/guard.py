"""Ends the training processes of a job when its supervisor dies.

The guard is a small process that holds the job's lock as the supervisor does. So a free lock says
more than that nobody is in charge of a job: nothing of it runs.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Collection

from sagemaker_sift.backends.local.process import is_alive, kill_group

GRACE_S = 5.0
"""Seconds between SIGTERM and SIGKILL when the supervisor has died."""

_END = b"end"
_POLL_S = 0.05


class Guard:
    """The guard of one job, as its supervisor sees it.

    Each training process names itself when it starts, so that none can be missed.

    Args:
        pid: Of the guard.
        channel: Descriptor of a pipe to it; the guard acts when its last copy is closed.
    """

    def __init__(self, pid: int, channel: int) -> None:
        self._pid = pid
        self._channel = channel

    @classmethod
    def start(cls, lock: int) -> Guard:
        """Start the guard of this process; it is a child of it.

        Args:
            lock: Descriptor of the job's lock, which the guard goes on holding.
        """
        reading_end, writing_end = os.pipe()
        pid = os.fork()
        if pid:
            os.close(reading_end)
            return cls(pid, writing_end)
        try:
            os.setsid()  # a signal to the supervisor's group does not reach it
            close_descriptors({reading_end, lock})
            _watch(reading_end)
        finally:
            os._exit(0)

    def enlist(self) -> None:
        """In a training process: put this process and its session under guard."""
        os.write(self._channel, b"+%d\n" % os.getpid())

    def release(self, pid: int) -> None:
        """Say that a training process has ended and nothing of its session is left."""
        self._tell(b"-%d" % pid)

    def dismiss(self) -> None:
        """End the guard; all training processes have ended."""
        self._tell(_END)
        os.close(self._channel)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._pid, 0)

    def _tell(self, word: bytes) -> None:
        with contextlib.suppress(BrokenPipeError):  # somebody killed the guard
            os.write(self._channel, word + b"\n")


def close_descriptors(kept: Collection[int]) -> None:
    """Close every descriptor of this process but some; the standard ones lead nowhere then.

    Args:
        kept: Which stay open.
    """
    for name in os.listdir("/dev/fd"):
        descriptor = int(name)
        if descriptor > 2 and descriptor not in kept:
            with contextlib.suppress(OSError):
                os.close(descriptor)
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in {0, 1, 2} - set(kept):
        os.dup2(null, descriptor)
    if null > 2:
        os.close(null)


def _watch(channel: int) -> None:
    content = b""
    while part := os.read(channel, 4096):
        content += part
    words = content.splitlines()
    if _END in words:
        return
    enlisted = {int(word[1:]) for word in words if word.startswith(b"+")}
    released = {int(word[1:]) for word in words if word.startswith(b"-")}
    _end_groups(enlisted - released)


def _end_groups(groups: Collection[int]) -> None:
    if sys.platform != "linux":  # there the kernel has done it
        for group in groups:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(group, signal.SIGTERM)
    deadline = time.monotonic() + GRACE_S
    while any(is_alive(group) for group in groups) and time.monotonic() < deadline:
        time.sleep(_POLL_S)
    deadline = time.monotonic() + GRACE_S
    while any(is_alive(group) for group in groups) and time.monotonic() < deadline:
        for group in groups:
            kill_group(group)
        time.sleep(_POLL_S)
