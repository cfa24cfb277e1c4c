"""What a worker has ready: modules that are imported, and how a program starts from there.

A program that is started here cannot tell, as far as that is possible, that it did not start in
an interpreter of its own: it has its environment, arguments, signals, output and end.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import importlib
import io
import os
import runpy
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TextIO

from sagemaker_sift.backends.local.guard import close_descriptors
from sagemaker_sift.backends.local.process import die_with_parent
from sagemaker_sift.backends.local.program import TrainingProgram
from sagemaker_sift.backends.local.world import select_load_time

_THREADS = "OMP_NUM_THREADS"
_OPENBLAS_SETTERS = (
    *("scipy_openblas_set_num_threads64_", "scipy_openblas_set_num_threads"),
    *("openblas_set_num_threads64_", "openblas_set_num_threads"),
)


@dataclass(frozen=True, slots=True)
class Preparation:
    """The state of a worker from which programs are started.

    Attributes:
        variables: What was read from the environment for good.
        is_complete: Whether everything that is installed could be imported.
        descriptors: Open files of the libraries.
    """

    variables: Mapping[str, str]
    is_complete: bool = True
    descriptors: Collection[int] = ()

    def suits(self, environment: Mapping[str, str]) -> bool:
        """Return whether a fresh process with this environment would have started alike.

        The number of threads may differ: it is set afterwards.

        Args:
            environment: Of the program.

        Example:
            >>> ready = Preparation({"MKL_DEBUG": "1"})
            >>> ready.suits({"MKL_DEBUG": "1", "OMP_NUM_THREADS": "2"}), ready.suits({})
            (True, False)
        """
        ours, theirs = dict(self.variables), select_load_time(environment)
        if _read_count(theirs.get(_THREADS, "")) is not None:
            ours.pop(_THREADS, None)
            del theirs[_THREADS]
        return self.is_complete and ours == theirs

    def start(
        self,
        program: TrainingProgram,
        environment: Mapping[str, str],
        folder: Path,
        output: int,
        on_start: Callable[[], None],
    ) -> int:
        """Start a Python program as the leader of a new session and return its process id.

        Args:
            program: Written in Python.
            environment: Its whole environment.
            folder: Its working directory.
            output: Descriptor of what is to be its output and error output.
            on_start: Called in the new process before the program starts.
        """
        parent = os.getpid()
        pid = os.fork()
        if pid:
            return pid
        try:
            os.dup2(output, 1)
            os.dup2(output, 2)
            os.setsid()
            die_with_parent(parent)
            on_start()
            close_descriptors({1, 2, *self.descriptors})
            _forget_parent(environment, folder)
            code = _run(program)
        except BaseException:  # noqa: BLE001  # nothing may go on as if it were the supervisor
            traceback.print_exc()
            code = 1
        os._exit(code)


def can_fork() -> bool:
    """Return whether a fork of this process can use the GPU, if torch is loaded and there is one.

    A process that has looked for one in some ways cannot hand it on; then CUDA fails in its
    children, and nowhere before.
    """
    torch = sys.modules.get("torch")
    if torch is None or torch.version.cuda is None:
        return True
    reading_end, writing_end = os.pipe()
    if os.fork() == 0:
        with contextlib.suppress(BaseException):
            if torch.cuda.device_count():
                torch.cuda.init()
            os.write(writing_end, b"1")
        os._exit(0)
    os.close(writing_end)
    with open(reading_end, "rb") as answer:
        return answer.read() == b"1"


def _forget_parent(environment: Mapping[str, str], folder: Path) -> None:
    """Take over environment, folder, signals, random numbers and threads of a fresh process."""
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    output, errors = _open_stream(1, sys.stdout), _open_stream(2, sys.stderr)
    vars(sys).update(stdout=output, __stdout__=output, stderr=errors, __stderr__=errors)
    time.tzset()
    tempfile.tempdir = None
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    if "numpy" in sys.modules:  # Python's own generator does so by itself
        importlib.import_module("numpy.random").seed()
    num_threads = _read_count(environment.get(_THREADS, ""))
    if num_threads is not None:
        _limit_threads(num_threads)


def _open_stream(descriptor: int, model: TextIO) -> TextIO:
    """Return an output stream as ``PYTHONUNBUFFERED`` has it; what it is one is found out anew."""
    raw = io.FileIO(descriptor, "wb", closefd=False)
    raw.name = model.name
    return io.TextIOWrapper(
        raw, encoding=model.encoding, errors=model.errors, newline="\n", write_through=True
    )


def _read_count(text: str) -> int | None:
    return int(text) if text.isdecimal() and int(text) > 0 else None


def _limit_threads(num_threads: int) -> None:
    """Do what ``OMP_NUM_THREADS`` does when the libraries load after it is set."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(num_threads)
    if "cv2" in sys.modules and sys.modules["cv2"].getNumThreads() > num_threads:
        sys.modules["cv2"].setNumThreads(num_threads)
    with contextlib.suppress(OSError):
        lines = Path("/proc/self/maps").read_text().splitlines()
        fields = [line.split(maxsplit=5) for line in lines if "openblas" in line]
        for path in {field[5] for field in fields if len(field) > 5}:
            library = ctypes.CDLL(path)
            for name in _OPENBLAS_SETTERS:
                if hasattr(library, name):
                    getattr(library, name)(num_threads)


def _run(program: TrainingProgram) -> int:
    """Run a program as ``__main__``, with the end of an interpreter, and return the exit code."""
    path = str(program.path)
    sys.argv = [path, *program.arguments]
    sys.path.insert(0, str(program.path.resolve().parent))
    code, is_interrupted = 0, False
    try:
        runpy.run_path(path, run_name="__main__")
    except SystemExit as end:
        code = _read_exit(end)
    except BaseException as error:  # noqa: BLE001  # what the interpreter does at its edge
        code, is_interrupted = 1, isinstance(error, KeyboardInterrupt)
        error = error.with_traceback(_find_start(error.__traceback__, path))
        sys.excepthook(type(error), error, error.__traceback__)
    threading._shutdown()  # type: ignore[attr-defined]  # waits for threads, as an interpreter does
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    if is_interrupted:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    return code


def _read_exit(end: SystemExit) -> int:
    if end.code is None or isinstance(end.code, int):
        return (end.code or 0) & 0xFF
    sys.stderr.write(f"{end.code}\n")
    return 1


def _find_start(trace: TracebackType | None, path: str) -> TracebackType | None:
    """Return the part of a traceback that begins in the program."""
    start = trace
    while start is not None and start.tb_frame.f_code.co_filename != path:
        start = start.tb_next
    return start
