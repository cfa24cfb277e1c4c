"""A process that has imported what training needs, and starts each job from there.

It trains nothing itself: for each job it forks a supervisor, which forks the training processes.
Started by :mod:`sagemaker_sift.backends.local.launcher`; it ends when its launchers are gone, or
when it was idle for long. Why there is one: docs/decisions/0008.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import select
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from sagemaker_sift.backends.local.detached import leave_caller
from sagemaker_sift.backends.local.guard import Guard, close_descriptors
from sagemaker_sift.backends.local.order import JobOrder, receive_order
from sagemaker_sift.backends.local.preparation import Preparation, can_fork
from sagemaker_sift.backends.local.process import adopt_orphans, end_children, find_children
from sagemaker_sift.backends.local.storage import LocalStorage
from sagemaker_sift.backends.local.supervisor import Supervisor, write_error
from sagemaker_sift.backends.local.world import select_load_time


class Worker:
    """Imports modules, then starts the jobs that it is told of.

    Args:
        connection: To the launcher.
        modules: What to import, in this order; once a job waits only the last one may be missing.
        idle_s: Seconds without a job after which it ends.
    """

    def __init__(self, connection: socket.socket, modules: Sequence[str], idle_s: float) -> None:
        self._connection = connection
        self._modules = list(modules)
        self._idle_s = idle_s
        self._variables = select_load_time(os.environ)
        self._is_complete = True
        self._has_worked = False

    def serve(self) -> None:
        """Start jobs until no more can come."""
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the supervisors
        os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"  # so that imports leave CUDA alone
        while len(self._modules) > 1:
            self._import_next()
        self._is_complete &= can_fork()
        while self._wait():
            received = receive_order(self._connection)
            if received is None:
                return
            order, lock = received
            self._has_worked = True
            try:
                self._start_job(order, lock)
            except OSError:  # no process or memory: the lock is free, so the job is lost
                write_error(LocalStorage(order.root).job_folder(order.job_name))
            finally:
                os.close(lock)

    def _wait(self) -> bool:
        """Wait for the next job; after long, let none come that is not on its way already."""
        while self._modules:
            if select.select([self._connection], [], [], 0)[0]:
                return True
            self._import_next()
            self._is_complete &= can_fork()
        patience_s = self._idle_s if self._has_worked else None  # it was started for a job
        if not select.select([self._connection], [], [], patience_s)[0]:
            self._connection.shutdown(socket.SHUT_RD)
        return True

    def _import_next(self) -> None:
        name = self._modules.pop(0)
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            self._is_complete &= error.name == name.partition(".")[0]
        except (Exception, SystemExit):  # noqa: BLE001  # the job then fails by itself, with its own words
            self._is_complete = False
        gc.collect()
        gc.freeze()  # what is shared with the jobs is not written to

    def _start_job(self, order: JobOrder, lock: int) -> None:
        descriptors = _list_descriptors() - {self._connection.fileno(), lock}
        if os.fork():
            return
        folder = LocalStorage(order.root).job_folder(order.job_name)
        try:
            self._connection.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.setsid()
            os.chdir(folder)
            preparation = Preparation(self._variables, self._is_complete, descriptors)
            _supervise(order, lock, preparation)
        except BaseException:  # noqa: BLE001  # it must not go on as if it were the worker
            write_error(folder)
        finally:
            os._exit(0)


def _supervise(order: JobOrder, lock: int, preparation: Preparation) -> None:
    guard = Guard.start(lock)
    guards = find_children()
    adopt_orphans()
    supervisor = Supervisor(
        order.root,
        order.job_name,
        environment=order.environment,
        guard=guard,
        preparation=preparation,
    )
    signal.signal(signal.SIGTERM, lambda *_: supervisor.ask_to_stop())
    supervisor.run()
    end_children(spared=guards)  # daemons of the program
    guard.dismiss()  # not if that raised: then it ends what may still train
    _remove_lock(supervisor.folder / "lock", lock)


def _remove_lock(path: Path, lock: int) -> None:
    """Delete the file of a lock unless it is that of another job, which has taken the name."""
    with contextlib.suppress(FileNotFoundError):
        if os.path.samestat(os.fstat(lock), os.stat(path)):
            path.unlink()


def _list_descriptors() -> set[int]:
    """Return the open descriptors of this process but the standard ones."""
    found = set()
    for name in os.listdir("/dev/fd"):
        try:
            os.fstat(int(name))
        except OSError:  # the one that the list was read with
            continue
        found.add(int(name))
    return found - {0, 1, 2}


def main(arguments: Sequence[str]) -> None:
    """Detach, then start the jobs that come over an inherited socket.

    Args:
        arguments: Its descriptor; the seconds of idleness; modules to import.
    """
    descriptor, idle_s, *modules = arguments
    leave_caller()
    close_descriptors({0, 1, int(descriptor)})  # the launcher waits for the end of 2
    with socket.socket(fileno=int(descriptor)) as connection:
        os.set_inheritable(connection.fileno(), False)
        Worker(connection, modules, float(idle_s)).serve()


if __name__ == "__main__":
    main(sys.argv[1:])
