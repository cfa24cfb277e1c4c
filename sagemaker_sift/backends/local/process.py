"""A training process: started in a group of its own, read line by line, stopped with grace."""

from __future__ import annotations

import contextlib
import ctypes
import os
import selectors
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_CHUNK_BYTES = 1 << 16
_LONGEST_LINE_BYTES = 1 << 20
_PR_SET_PDEATHSIG = 1


class TrainingProcess:
    """A running ``train``.

    Its group is its own: neither Ctrl-C in a terminal nor the end of the notebook reaches it.
    On Linux it gets SIGTERM when the process that supervises it dies.

    Args:
        command: Program and arguments.
        environment: Its whole environment.
        folder: Its working directory.
    """

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], folder: Path
    ) -> None:
        parent = os.getpid()
        self._process = subprocess.Popen(
            list(command),
            env=dict(environment),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=lambda: _die_with_parent(parent),
        )
        self._pending = b""
        if self._process.stdout is None:
            raise RuntimeError("The training process has no standard output to read.")
        self._output = self._process.stdout
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._output, selectors.EVENT_READ)
        self._is_open = True

    @property
    def pid(self) -> int:
        """Process id, which is the id of its group too."""
        return self._process.pid

    def poll(self) -> int | None:
        """Return the exit code, or ``None`` while it runs; minus the signal if one ended it."""
        return self._process.poll()

    def read_lines(self, timeout_s: float) -> list[str]:
        """Return the complete lines that came within ``timeout_s`` seconds, without their ends."""
        if not self._is_open:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout_s)
            return []
        if not self._selector.select(timeout_s):
            return []
        chunk = os.read(self._output.fileno(), _CHUNK_BYTES)
        if not chunk:
            self._close_output()
        lines = (self._pending + chunk).split(b"\n")
        self._pending = lines.pop()
        if not chunk or len(self._pending) > _LONGEST_LINE_BYTES:
            if self._pending:
                lines.append(self._pending)
            self._pending = b""
        return [line.decode("utf-8", "replace").rstrip("\r") for line in lines]

    def ask_to_stop(self) -> None:
        """Send SIGTERM to the process itself, not to its helpers, as a container engine does."""
        if self.poll() is None:
            self._process.terminate()

    def kill(self) -> None:
        """Send SIGKILL to the whole group."""
        kill_group(self.pid)

    def finish(self, handle_line: Callable[[str], None]) -> None:
        """End what is left of the group and hand over the last lines."""
        self.kill()
        while self._is_open:
            lines = self.read_lines(1.0)
            for line in lines:
                handle_line(line)
            if not lines:
                self._close_output()
        self._process.wait()

    def _close_output(self) -> None:
        if self._is_open:
            self._selector.close()
            self._output.close()
            self._is_open = False


def kill_group(group: int) -> None:
    """Send SIGKILL to a process group; no error if it is gone."""
    try:
        os.killpg(group, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


def read_start_time(pid: int) -> str | None:
    """Return when a process started, in the kernel's clock ticks, or ``None`` if unknown.

    Together with the id it names a process for good: ids are used again.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except (OSError, IndexError):
        return None
    return fields[19]


def _die_with_parent(parent: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM))
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGTERM)
