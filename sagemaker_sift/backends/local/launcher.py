"""Has a training job run: hands it to a worker that is prepared for it.

Next: :mod:`sagemaker_sift.backends.local.worker`. Why there is one: docs/decisions/0008.
"""

from __future__ import annotations

import ast
import os
import socket
import subprocess
import sys
import threading
import weakref
from collections.abc import Sequence
from pathlib import Path

from sagemaker_sift.backends.local.container import prepare_environment, strip_secrets
from sagemaker_sift.backends.local.order import JobOrder, send_order
from sagemaker_sift.backends.local.world import World

IDLE_S = 600.0
"""Seconds after which a worker without a new job ends."""

TRAINER_MODULES = (
    *("torch", "numpy", "cv2", "safetensors", "pydantic", "sagemaker_sift.trainer.main"),
    "torch._dynamo",  # torch.optim imports it at its first step, which takes a second
)
"""What a training process imports; named here, imported by the worker alone."""

_OWN = {"sagemaker_sift", "smart_sifting"}
_TRIES = 3
_guarding = threading.RLock()


class JobLauncher:
    """Starts the processes of training jobs.

    The launchers of a process share a worker. It is started by the first launch and ends when the
    last of them is closed or collected, when the process ends, or when it is idle for long; jobs
    go on in any case.

    **Thread safety**: any thread may call any method. After a fork the child has a worker of its
    own.

    Args:
        root: Folder of the local SageMaker.
        modules: What the worker imports beforehand, in this order. Those that come last may be
            missing when a job is in a hurry.
        idle_s: Seconds after which an idle worker ends.
    """

    def __init__(
        self,
        root: Path,
        *,
        modules: Sequence[str] = TRAINER_MODULES,
        idle_s: float = IDLE_S,
    ) -> None:
        self._root = root
        self._idle_s = idle_s
        self._modules = tuple(modules)
        self._workers: dict[tuple[str, ...], _Worker] = {}

    def launch(self, job_name: str, lock: int, program: str | None = None) -> None:
        """Have a recorded job run; returns before it does.

        Args:
            job_name: A training job that the store knows.
            lock: File descriptor of the job's lock, which the job's processes go on holding; the
                caller closes its own.
            program: Path of what the job runs; the bundled trainer by default. A worker for
                another program imports only what that imports itself.

        Raises:
            OSError: If no process can be started.
        """
        passed_on = strip_secrets(os.environ)
        order = JobOrder(self._root.absolute(), job_name, passed_on)
        environment = prepare_environment(passed_on)
        modules = self._modules
        if program is not None:
            modules = select_imports(Path(program), self._modules)
        with _guarding:
            for _ in range(_TRIES):
                worker = _find_worker((f"{self._idle_s!r}", *modules), environment)
                self._workers[modules] = worker
                try:
                    send_order(worker.connection, order, lock)
                    return
                except ConnectionError:  # it ended: idle for long, or killed
                    worker.close()
                except BaseException:  # half an order may be on its way: nothing may follow it
                    worker.close()
                    raise
        raise OSError(
            f"The process that was to run the training job {job_name!r} ended {_TRIES} times "
            "before it took it. Look whether this machine has run out of memory or processes."
        )

    def close(self) -> None:
        """Let go of what was prepared for further jobs; jobs that run go on."""
        with _guarding:
            self._workers.clear()


def select_imports(program: Path, modules: Sequence[str]) -> tuple[str, ...]:
    """Return which of the modules a Python program imports, as far as its own text tells.

    This package's own need torch; another program than the bundled trainer does not need that.

    Args:
        program: Its file. One that cannot be read as Python imports nothing.
        modules: To choose from.
    """
    try:
        tree = ast.parse(program.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return ()
    names = {
        name.partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
        )
    }
    if names & _OWN:
        names.add("torch")
    return tuple(name for name in modules if name.partition(".")[0] in names - _OWN)


class _Worker:
    """A worker as its launchers see it; closed when none refers to it any more."""

    def __init__(
        self, arguments: Sequence[str], environment: dict[str, str], world: World
    ) -> None:
        self.arguments = tuple(arguments)
        self.world = world
        self.connection, theirs = socket.socketpair()
        self._finalizer = weakref.finalize(self, self.connection.close)
        module = "sagemaker_sift.backends.local.worker"
        with theirs:
            ended = subprocess.run(
                # -P: what lies in the current folder is not imported
                [sys.executable, "-P", "-m", module, str(theirs.fileno()), *arguments],
                cwd="/",
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=[theirs.fileno()],
                check=False,
            )
        if ended.returncode:
            self.close()
            last = ended.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
            raise OSError(
                f"The process that runs local training jobs does not start: {last} "
                f"Check that {sys.executable!r} can import sagemaker_sift from any folder."
            )
        _workers.add(self)

    @property
    def is_open(self) -> bool:
        return self._finalizer.alive

    def close(self) -> None:
        self._finalizer()


_workers: weakref.WeakSet[_Worker] = weakref.WeakSet()


def _find_worker(arguments: Sequence[str], environment: dict[str, str]) -> _Worker:
    """Return the worker that a fresh process would be like, or start it."""
    world = World.of(environment)
    for worker in _workers:
        if worker.is_open and worker.world == world and worker.arguments == tuple(arguments):
            return worker
    return _Worker(arguments, environment, world)


def _forget_workers() -> None:
    """After a fork: they belong to the parent, which alone says when they end."""
    global _guarding  # another thread may have held it when the fork came
    _guarding = threading.RLock()
    for worker in list(_workers):
        worker.close()


os.register_at_fork(after_in_child=_forget_workers)
