"""One process a GPU: starts them, passes a stop on, and ends all when one fails.

A process that trains is this same program with ``SIFT_LOCAL_RANK`` set.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from sagemaker_sift.contract.container import EXIT_FAILURE, EXIT_SUCCESS
from sagemaker_sift.trainer.distributed import (
    LOCAL_RANK_VARIABLE,
    NUM_LOCAL_VARIABLE,
    RENDEZVOUS_VARIABLE,
)
from sagemaker_sift.trainer.inputs import PIPE_FOLDER_VARIABLE
from sagemaker_sift.trainer.pipe_splitter import PipeSplitter
from sagemaker_sift.trainer.stop import StopRequest, stop_held_back

POLL_S = 0.1
"""Seconds between two looks at the processes."""

FAILURE_GRACE_S = 5.0
"""Seconds that the others have to end by themselves when one has failed."""

PARENT_PIPE_VARIABLE = "SIFT_PARENT_PIPE"
"""File descriptor of a pipe whose other end the starting process holds open while it lives."""


def run_processes(
    num_local: int,
    *,
    num_hosts: int,
    environ: Mapping[str, str],
    stop: StopRequest,
    pipe_channels: Sequence[str] = (),
    data: Path = Path(),
    command: Sequence[str] = (sys.executable, "-m", "sagemaker_sift.trainer.main"),
) -> int:
    """Run one training process for each GPU of this machine, until all have ended.

    Args:
        num_local: How many.
        num_hosts: Machines of the job; the processes of a single one meet through a file.
        environ: The environment that each gets, with its rank.
        stop: A request to stop is passed on to every process, which saves and ends.
        pipe_channels: Channels whose pipes are handed on to all processes.
        data: Folder of those pipes.
        command: The program.

    Returns:
        The exit code: 0 if all have ended well, else that of the first which has not; minus the
        signal if one ended it.

    Raises:
        TrainingError: If a pipe could not be handed on.
    """
    threads = {} if environ.get("OMP_NUM_THREADS") else {"OMP_NUM_THREADS": _share(num_local)}
    with tempfile.TemporaryDirectory(prefix="sift-") as folder:
        meeting = {RENDEZVOUS_VARIABLE: Path(folder, "rendezvous").as_uri()}
        common = {**environ, **threads, **(meeting if num_hosts == 1 else {})}
        common[NUM_LOCAL_VARIABLE] = str(num_local)
        reading_end, writing_end = os.pipe()
        common[PARENT_PIPE_VARIABLE] = str(reading_end)
        processes: list[subprocess.Popen[bytes]] = []
        splitter = PipeSplitter(
            pipe_channels, source=data, folder=Path(folder, "pipes"), num_readers=num_local
        )
        try:
            with splitter:
                for local_rank in range(num_local):
                    own = {**common, LOCAL_RANK_VARIABLE: str(local_rank)}
                    if pipe_channels:
                        own[PIPE_FOLDER_VARIABLE] = str(splitter.folder(local_rank))
                    with stop_held_back():  # until the process can act on it
                        processes.append(
                            subprocess.Popen(list(command), env=own, pass_fds=(reading_end,))
                        )
                return _wait(processes, stop, splitter)
        finally:
            for process in processes:
                process.kill()
                process.wait()
            os.close(reading_end)
            os.close(writing_end)


def _wait(
    processes: Sequence[subprocess.Popen[bytes]], stop: StopRequest, splitter: PipeSplitter
) -> int:
    is_stop_passed_on = False
    while True:
        splitter.check()
        codes = [process.poll() for process in processes]
        if stop.is_set() and not is_stop_passed_on:
            _signal_all(processes, signal.SIGTERM)
            is_stop_passed_on = True
        failed = [code for code in codes if code not in {None, EXIT_SUCCESS}]
        if failed:
            _end_rest(processes)
            return min(code or EXIT_FAILURE for code in failed)  # a signal tells most
        if all(code == EXIT_SUCCESS for code in codes):
            return EXIT_SUCCESS
        time.sleep(POLL_S)


def describe_exit(code: int) -> str:
    """Return an exit code in words.

    Example:
        >>> describe_exit(-9), describe_exit(2)
        ('signal SIGKILL', 'exit code 2')
    """
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def _end_rest(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """Let the others notice that one is gone, so that they can say so; then end them."""
    deadline_s = time.monotonic() + FAILURE_GRACE_S
    for process in processes:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(max(0.0, deadline_s - time.monotonic()))
    for process in processes:
        process.kill()


def _signal_all(processes: Sequence[subprocess.Popen[bytes]], number: int) -> None:
    for process in processes:
        process.send_signal(number)


def _share(num_local: int) -> str:
    return str(max(1, len(os.sched_getaffinity(0)) // num_local))


def end_with_parent(
    environ: Mapping[str, str], *, end: Callable[[], None] | None = None
) -> threading.Thread | None:
    """Let this process end at once if the one that started it is gone.

    Args:
        environ: Holds the pipe's descriptor; without it nothing is done.
        end: What to do then; by default SIGKILL to itself.

    Returns:
        The thread that waits, or ``None``.
    """
    text = environ.get(PARENT_PIPE_VARIABLE, "")
    if not text.isdecimal():
        return None

    def wait_for_end() -> None:
        with contextlib.suppress(OSError):
            if os.read(int(text), 1) == b"":
                (end or _kill_self)()

    thread = threading.Thread(target=wait_for_end, name="parent-watch", daemon=True)
    thread.start()
    return thread


def _kill_self() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
