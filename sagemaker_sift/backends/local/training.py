"""The training processes of a job, one for each of its hosts, started, read and ended together."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sagemaker_sift.backends.local.guard import Guard
from sagemaker_sift.backends.local.host import Host
from sagemaker_sift.backends.local.preparation import Preparation
from sagemaker_sift.backends.local.process import TrainingProcess, start_process
from sagemaker_sift.backends.local.program import TrainingProgram
from sagemaker_sift.contract.container import ContainerPaths

_LAST_WORDS_S = 1.0
_DRAIN_S = 10.0
_POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class HostRun:
    """A host and its process.

    Attributes:
        host: The host.
        paths: Its ``/opt/ml``.
        process: What trains on it.
    """

    host: Host
    paths: ContainerPaths
    process: TrainingProcess


class Training:
    """The running processes of a job.

    Args:
        program: What each runs.
        guard: Ends them if this process dies; ``None`` leaves that to the kernel's signal.
        preparation: What a worker has ready for Python programs.
    """

    def __init__(
        self,
        program: TrainingProgram,
        guard: Guard | None = None,
        preparation: Preparation | None = None,
    ) -> None:
        self._program = program
        self._guard = guard
        self._preparation = preparation
        self.runs: list[HostRun] = []

    def start(self, host: Host, paths: ContainerPaths, environment: Mapping[str, str]) -> None:
        """Start the process of one host.

        Args:
            host: The host.
            paths: Its ``/opt/ml``, which is the working directory.
            environment: Of the process.

        Raises:
            JobFailure: If the program cannot be executed.
        """
        reading_end, writing_end = os.pipe()
        try:
            pid = self._start(environment, paths.root, writing_end)
        except BaseException:
            os.close(reading_end)
            raise
        finally:
            os.close(writing_end)
        on_end = self._guard.release if self._guard else _ignore
        self.runs.append(HostRun(host, paths, TrainingProcess(pid, reading_end, on_end)))

    def _start(self, environment: Mapping[str, str], folder: Path, output: int) -> int:
        on_start = self._guard.enlist if self._guard else _do_nothing
        ready = self._preparation
        if ready and self._program.is_python and ready.suits(environment):
            return ready.start(self._program, environment, folder, output, on_start)
        return start_process(self._program.command, environment, folder, output, on_start)

    @property
    def processes(self) -> Sequence[TrainingProcess]:
        """One a host."""
        return [run.process for run in self.runs]

    def is_over(self) -> bool:
        """Return whether all processes have ended."""
        codes = [process.poll() for process in self.processes]
        return None not in codes

    def find_failed(self) -> HostRun | None:
        """Return the host that failed first, as far as that can be told, or ``None``.

        A process that a signal ended tells most; else the one that first wrote why it failed.
        """
        failed = [run for run in self.runs if run.process.poll()]
        return min(failed, key=_rank_failure, default=None)

    def read(self, timeout_s: float) -> Iterator[tuple[Host, bytes]]:
        """Yield the complete lines that come within ``timeout_s`` seconds, with their host."""
        if all(process.output is None for process in self.processes):
            time.sleep(min(timeout_s, _POLL_S))
        for run in self._find_readable(timeout_s):
            content = run.process.read()
            if content:
                yield run.host, content

    def _find_readable(self, timeout_s: float) -> list[HostRun]:
        runs = {run.process.output: run for run in self.runs if run.process.output is not None}
        poll = select.poll()
        for descriptor in runs:
            poll.register(descriptor, select.POLLIN)
        return [runs[descriptor] for descriptor, _ in poll.poll(timeout_s * 1000)] if runs else []

    def ask_to_stop(self) -> None:
        """Send SIGTERM to the process of every host."""
        for process in self.processes:
            process.ask_to_stop()

    def kill(self) -> None:
        """Send SIGKILL to everything that still runs."""
        for process in self.processes:
            process.kill()

    def finish(self, handle: Callable[[Host, bytes], None]) -> None:
        """End what is left, and hand over the last lines.

        Args:
            handle: Gets the lines of a host.
        """
        self.kill()
        deadline = time.monotonic() + _DRAIN_S
        while any(process.output is not None for process in self.processes):
            readable = self._find_readable(_LAST_WORDS_S) if time.monotonic() < deadline else []
            for run in readable:
                content = run.process.read()
                if content:
                    handle(run.host, content)
            if not readable:  # something that left the session holds it
                for process in self.processes:
                    process.close_output()


def _rank_failure(run: HostRun) -> tuple[bool, float, int]:
    try:
        written = run.paths.failure.stat().st_mtime
    except OSError:
        written = float("inf")
    return ((run.process.exit_code or 0) > 0, written, run.host.idx)


def _ignore(_pid: int) -> None:
    """Nobody has to be told."""


def _do_nothing() -> None:
    """Nobody has to be told."""
