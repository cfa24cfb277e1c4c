"""Programs that a worker starts find what a fresh interpreter would have given them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sagemaker_sift.backends.local.launcher import JobLauncher
from sagemaker_sift.backends.local.preparation import Preparation
from sagemaker_sift.backends.local.store import Record
from tests.supports.local_job import (
    add_job,
    is_running,
    launch,
    read_log,
    run_job,
    wait_until,
)

TELL = """
import json, os, signal, sys
signals = {
    number: repr(signal.getsignal(number))
    for number in sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})
}
descriptors = [os.readlink(f"/proc/self/fd/{n}") for n in (0, 1, 2)]
told = {
    "argv": sys.argv, "path": sys.path, "name": __name__, "file": __file__, "folder": os.getcwd(),
    "signals": signals, "mask": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
    "stdin": descriptors[0], "same": descriptors[1] == descriptors[2], "first": descriptors[1][:5],
    "stdout": [sys.stdout.encoding, sys.stdout.errors, sys.stdout.line_buffering, sys.stdout.name],
    "stderr": [sys.stderr.encoding, sys.stderr.errors, sys.stderr.write_through],
    "leader": os.getsid(0) == os.getpid() == os.getpgrp(),
    "main": sys.modules["__main__"].__file__,
    "environment": dict(os.environ),
}
print(json.dumps(told))
"""
COLD = {"OMP_DYNAMIC": "FALSE"}


@pytest.fixture
def launcher(tmp_path: Path) -> Iterator[JobLauncher]:
    launcher = JobLauncher(tmp_path, modules=())
    yield launcher
    launcher.close()


def run(launcher: JobLauncher, root: Path, program: str, **changes: Any) -> tuple[Record, str]:
    record = run_job(launcher, root, program, **changes)
    return record, "\n".join(read_log(root, record["TrainingJobName"]))


def test_a_program_cannot_tell_that_it_did_not_start_in_a_fresh_interpreter(
    launcher: JobLauncher, tmp_path: Path
) -> None:
    (tmp_path / "warm").mkdir()
    told = []
    for name, environment in (("warmed", {}), ("chilled", COLD)):
        _, log = run(launcher, tmp_path, TELL, name=name, Environment=environment | {"LEVEL": "1"})
        told.append(json.loads(log.replace(name, "JOB")))
    warm, cold = told
    assert warm["environment"]["LEVEL"] == "1"
    assert cold["environment"].pop("OMP_DYNAMIC") == "FALSE"
    assert warm == cold
    assert warm["argv"] == [warm["file"], "train"]
    assert warm["folder"].endswith("training-jobs/JOB/ml")


IS_WARM = "import sys; print('sagemaker_sift.backends.local.supervisor' in sys.modules)\n"


def test_a_warm_program_is_forked_and_a_cold_one_is_not(
    launcher: JobLauncher, tmp_path: Path
) -> None:
    assert run(launcher, tmp_path, IS_WARM, name="warm")[1] == "True"
    assert run(launcher, tmp_path, IS_WARM, name="cold", Environment=COLD)[1] == "False"


TORCH = """
import os
pid = os.getpid()
class version:
    cuda = "12.6"
class cuda:
    def device_count():
        return 1
    def init():
        if {fails} and os.getpid() != pid:
            raise RuntimeError("initialization error")
def set_num_threads(_):
    pass
"""


@pytest.mark.parametrize("fails", [False, True])
def test_programs_start_afresh_if_the_gpu_would_not_bear_a_fork(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    (tmp_path / "torch.py").write_text(TORCH.format(fails=fails))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    launcher = JobLauncher(tmp_path, modules=("torch", "nowhere"))
    _, log = run(launcher, tmp_path, IS_WARM)
    launcher.close()
    assert log == str(not fails)


@pytest.mark.parametrize("environment", [{}, COLD], ids=["warm", "cold"])
@pytest.mark.parametrize(
    ("program", "exit_code", "log"),
    [
        ("print('a', end='')", 0, "a"),
        ("import sys; sys.exit()", 0, ""),
        ("import sys; sys.exit(3)", 3, ""),
        ("import sys; sys.exit('so long')", 1, "so long"),
        ("import sys; sys.exit(True)", 1, ""),
        (
            "import atexit, threading\n"
            "atexit.register(print, 'last')\n"
            "def work(): threading.Event().wait(0.1); print('thread')\n"
            "threading.Thread(target=work).start()\n"
            "print('main')",
            0,
            "main\nthread\nlast",
        ),
        ("import os; os.kill(os.getpid(), 10)", -10, ""),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", -15, ""),
    ],
    ids=["end", "exit", "code", "text", "true", "threads", "signal", "term"],
)
def test_a_program_ends_as_in_an_interpreter(
    launcher: JobLauncher,
    tmp_path: Path,
    program: str,
    exit_code: int,
    log: str,
    environment: dict[str, str],
) -> None:
    record, said = run(launcher, tmp_path, program, Environment=environment)
    assert (record["Local"]["ExitCode"], said) == (exit_code, log)
    assert record["TrainingJobStatus"] == ("Failed" if exit_code else "Completed")


def test_tracebacks_begin_in_the_program(launcher: JobLauncher, tmp_path: Path) -> None:
    failing = "def f():\n    raise ValueError('no')\ntry:\n    {}[1]\nexcept KeyError:\n    f()\n"
    logs = []
    for environment in ({}, COLD):
        name = f"job{len(logs)}"
        record, log = run(launcher, tmp_path, failing, name=name, Environment=environment)
        assert record["Local"]["ExitCode"] == 1
        logs.append(log.replace(name, "job"))
    assert logs[0] == logs[1]
    assert logs[0].endswith("ValueError: no")


def test_an_interrupt_that_is_not_caught_ends_by_the_signal(
    launcher: JobLauncher, tmp_path: Path
) -> None:
    record, log = run(launcher, tmp_path, "raise KeyboardInterrupt")
    assert record["Local"]["ExitCode"] == -2
    assert log.endswith("KeyboardInterrupt")


def test_a_program_inherits_no_descriptor(launcher: JobLauncher, tmp_path: Path) -> None:
    program = """
import os
found = []
for name in os.listdir("/proc/self/fd"):
    try:
        found.append((int(name), os.readlink(f"/proc/self/fd/{name}")))
    except OSError:
        pass
print([target for number, target in sorted(found) if number > 2])
"""
    assert run(launcher, tmp_path, program)[1] == "[]"


NUMBERS = """
import random, sys
import numpy
print(random.random(), numpy.random.random(), "numpy" in sys.modules)
"""


def test_two_programs_draw_different_random_numbers(tmp_path: Path) -> None:
    launcher = JobLauncher(tmp_path, modules=("random", "numpy", "nowhere"))
    drawn = [run(launcher, tmp_path, NUMBERS, name=f"job{n}")[1].split() for n in range(2)]
    launcher.close()
    assert drawn[0][0] != drawn[1][0]
    assert drawn[0][1] != drawn[1][1]


THREADS = """
import ctypes, os
import numpy, torch, cv2
fields = [line.split()[-1] for line in open("/proc/self/maps")]
library = ctypes.CDLL([field for field in fields if "scipy_openblas" in field][0])
print(torch.get_num_threads(), cv2.getNumThreads(), library.scipy_openblas_get_num_threads64_())
worker = open(f"/proc/{os.getppid()}/stat").read().rsplit(")", 1)[1].split()[1]
print(len(os.listdir(f"/proc/{worker}/task")), os.environ["GOMP_SPINCOUNT"])
"""


def test_threads_are_what_the_job_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    launcher = JobLauncher(tmp_path)
    for num_threads in (1, 2):
        _, log = run(
            launcher, tmp_path, THREADS, name=f"j{num_threads}", Local={"NumThreads": num_threads}
        )
        limits, world = log.splitlines()
        assert limits.split()[::2] == [str(num_threads)] * 2
        assert int(limits.split()[1]) <= num_threads
        assert world == "1 1000"  # OpenBLAS ends the threads of the worker when it forks
    launcher.close()


def test_a_module_that_fails_to_import_leaves_programs_to_a_fresh_interpreter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_library.py").write_text("import nothing_of_that_name")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    launcher = JobLauncher(tmp_path, modules=("broken_library", "nowhere"))
    record, log = run(launcher, tmp_path, IS_WARM + "import broken_library")
    launcher.close()
    assert record["Local"]["ExitCode"] == 1
    assert log.splitlines()[0] == "False"
    assert log.splitlines()[-1] == "ModuleNotFoundError: No module named 'nothing_of_that_name'"


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"OMP_NUM_THREADS": "4"}, True),
        ({"OMP_NUM_THREADS": "4", "HOME": "/"}, True),
        ({}, False),
        ({"OMP_NUM_THREADS": "4,2"}, False),
        ({"OMP_NUM_THREADS": "4", "LD_PRELOAD": "x"}, False),
        ({"OMP_NUM_THREADS": "4", "PYTHONHASHSEED": "0"}, False),
    ],
    ids=["threads", "home", "unset", "list", "preload", "hash"],
)
def test_what_loads_with_the_libraries_must_be_the_same(
    environment: dict[str, str], expected: bool
) -> None:
    assert Preparation({"OMP_NUM_THREADS": "1"}).suits(environment) is expected
    assert not Preparation(environment, is_complete=False).suits(environment)


DAEMON = """
import os, signal
reading, writing = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.setsid()
        is_first = os.fork() != 0
        signal.alarm(90)
        os.write(writing, b"%d " % os.getpid())
        for descriptor in (1, 2, reading, writing):
            os.close(descriptor)
        while True:
            signal.pause()
    os._exit(0)
os.close(writing)
os.wait()
print(os.read(reading, 100).decode() + os.read(reading, 100).decode())
"""


def test_a_daemon_of_the_program_ends_with_its_job(launcher: JobLauncher, tmp_path: Path) -> None:
    record, log = run(launcher, tmp_path, DAEMON)
    assert record["TrainingJobStatus"] == "Completed"
    pids = [int(word) for word in log.split()]
    assert pids
    assert not any(map(is_running, pids))
    assert not (tmp_path / "training-jobs" / "job" / "lock").exists()


def test_the_lock_of_another_job_of_the_same_name_is_left_alone(
    launcher: JobLauncher, tmp_path: Path
) -> None:
    program = """
import os
os.unlink("../lock")
open("../lock", "w").close()
print(os.getppid())
"""
    folder = add_job(tmp_path, program)
    launch(launcher, folder)
    wait_until(lambda: bool(read_log(tmp_path)), "the first line")
    supervisor = int(read_log(tmp_path)[0])
    wait_until(lambda: not is_running(supervisor), "the end of the supervisor")
    assert (folder / "lock").exists()
