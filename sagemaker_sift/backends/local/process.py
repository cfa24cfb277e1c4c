"""A training process: started in a session of its own, read line by line, stopped with grace."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from sagemaker_sift.backends.local.failure import JobFailure

_CHUNK_BYTES = 1 << 20
_LONGEST_LINE_BYTES = 1 << 20
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_LONGEST_END_S = 5.0
_POLL_S = 0.01
_HAS_PROC = Path("/proc/self/stat").exists()


class TrainingProcess:
    """A running training process.

    Its session is its own: neither Ctrl-C in a terminal nor the end of the notebook reaches it.
    When it ends, what is left of its session is ended too, as with a container.

    Args:
        pid: Of a child of this process, which leads its session.
        output: Descriptor to read its output from; closed here.
        on_end: Called once when it has ended.
    """

    def __init__(self, pid: int, output: int, on_end: Callable[[int], None]) -> None:
        self.pid = pid
        self.exit_code: int | None = None
        self.output: int | None = output
        self._pending = b""
        self._on_end = on_end
        if hasattr(fcntl, "F_SETPIPE_SZ"):
            with contextlib.suppress(OSError):  # a larger one saves time, no more
                fcntl.fcntl(output, fcntl.F_SETPIPE_SZ, _CHUNK_BYTES)

    def poll(self) -> int | None:
        """Return the exit code, or ``None`` while it runs; minus the signal if one ended it."""
        if self.exit_code is None:
            if hasattr(os, "waitid"):
                how = os.WEXITED | os.WNOHANG | os.WNOWAIT
                if os.waitid(os.P_PID, self.pid, how) is not None:
                    self.kill()  # what it left behind, while nobody can have its id
            else:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
                if pid:
                    kill_group(self.pid)
                    self._note_end(status)
        return self.exit_code

    def _note_end(self, status: int) -> None:
        self._on_end(self.pid)
        self.exit_code = os.waitstatus_to_exitcode(status)

    def read(self) -> bytes:
        """Return the complete lines of what is there to read; waits if nothing is.

        A last line without an end, and the parts of one that is very long, count as lines.
        """
        if self.output is None:
            return b""
        chunk = os.read(self.output, _CHUNK_BYTES)
        content = self._pending + chunk
        if not chunk:
            self.close_output()
        if not chunk or (b"\n" not in chunk and len(content) > _LONGEST_LINE_BYTES):
            self._pending = b""
            return content + b"\n" if content else b""
        end = content.rfind(b"\n") + 1
        self._pending = content[end:]
        return content[:end]

    def ask_to_stop(self) -> None:
        """Send SIGTERM to the process itself, not to its helpers, as a container engine does."""
        if self.poll() is None:
            os.kill(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL to the whole session, and wait for the process."""
        if self.exit_code is None:
            kill_group(self.pid)
            self._note_end(os.waitpid(self.pid, 0)[1])

    def close_output(self) -> None:
        """Read no further."""
        if self.output is not None:
            os.close(self.output)
            self.output = None


def start_process(
    command: Sequence[str],
    environment: Mapping[str, str],
    folder: Path,
    output: int,
    on_start: Callable[[], None],
) -> int:
    """Start a program as the leader of a new session and return its process id.

    On Linux it gets SIGTERM when this process dies.

    Args:
        command: Program and arguments.
        environment: Its whole environment.
        folder: Its working directory.
        output: Descriptor of what is to be its output and error output.
        on_start: Called in the new process before the program starts.

    Raises:
        JobFailure: If it cannot be executed.
    """
    parent = os.getpid()

    def prepare() -> None:
        die_with_parent(parent)
        on_start()
        signal.pthread_sigmask(signal.SIG_SETMASK, ())

    try:
        process = subprocess.Popen(
            list(command),
            env=dict(environment),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=prepare,
        )
    except OSError as error:
        raise JobFailure(
            f"ClientError: The program {command[0]!r} cannot be executed ({error.strerror}). If "
            "it is a script, begin it with the line that names its interpreter, such as #!/bin/sh."
        ) from error
    process.returncode = 0  # TrainingProcess waits for it, not this object
    return process.pid


def kill_group(group: int) -> None:
    """Send SIGKILL to a process group, and on Linux to the other groups of its session.

    It is no error if it is gone.

    Args:
        group: Process id of the leader.
    """
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)
    for pid in find_members(group):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def is_alive(group: int) -> bool:
    """Return whether a process of a group, or on Linux of its session, still runs.

    Args:
        group: Process id of the leader.
    """
    if _HAS_PROC:
        return bool(find_members(group))
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def find_members(leader: int) -> list[int]:
    """Return the living processes of a leader's group and session; on Linux, else nothing.

    Args:
        leader: Process id.

    Example:
        >>> import os, sys
        >>> os.getpid() in find_members(os.getpgrp()) or sys.platform != "linux"
        True
    """
    members = []
    for name in os.listdir("/proc") if _HAS_PROC else ():
        fields = _read_stat(name) if name.isdecimal() else ()
        if fields and fields[0] not in "ZX" and str(leader) in fields[2:4]:
            members.append(int(name))
    return members


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent ends; on Linux only.

    So a daemon of a program, which has left its session, can still be found.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def find_children() -> list[int]:
    """Return the children of this process, ended ones included; on Linux, else nothing."""
    parent = str(os.getpid())
    names = os.listdir("/proc") if _HAS_PROC else ()
    stats = ((name, _read_stat(name)) for name in names if name.isdecimal())
    return [int(name) for name, fields in stats if fields and fields[1] == parent]


def end_children(spared: Collection[int] = ()) -> None:
    """Send SIGKILL to the children of this process, and to those that it adopts thereby.

    It waits for their end, but not for ever.

    Args:
        spared: Process ids of children that go on.
    """
    deadline = time.monotonic() + _LONGEST_END_S
    while children := set(find_children()) - set(spared):
        for pid in children:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        if time.monotonic() > deadline:
            return
        time.sleep(_POLL_S)


def read_start_time(pid: int) -> str | None:
    """Return when a process started, in the kernel's clock ticks, or ``None`` if unknown.

    Together with the id it names a process for good: ids are used again.
    """
    fields = _read_stat(str(pid))
    return fields[19] if fields else None


def _read_stat(pid: str) -> Sequence[str]:
    """Return the fields of proc(5)'s ``stat`` from the state on; nothing if it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except (OSError, IndexError):
        return ()


def die_with_parent(parent: int) -> None:
    """Get SIGTERM when the parent dies, or now if it has; on Linux only.

    Args:
        parent: Its process id.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM))
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGTERM)
