"""Workers come and go as they are needed, and no job is lost between two of them."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sagemaker_sift.backends.local.launcher import TRAINER_MODULES, JobLauncher, select_imports
from sagemaker_sift.backends.local.lock import is_locked
from sagemaker_sift.backends.local.store import STORE_NAME, RecordStore, set_status
from tests.supports.local_job import (
    add_job,
    find_parent,
    is_running,
    launch,
    read_log,
    run_job,
    wait_for_end,
    wait_until,
)

WHO = """
import os, pathlib
stat = pathlib.Path(f"/proc/{os.getppid()}/stat").read_text()
print(stat.rsplit(")", 1)[1].split()[1])
"""
"""Prints the process id of the worker."""

WAIT = "import signal; signal.alarm(90); print('ready', flush=True); signal.pause()"


@pytest.fixture
def launcher(tmp_path: Path) -> Iterator[JobLauncher]:
    launcher = JobLauncher(tmp_path, modules=())
    yield launcher
    launcher.close()


def run_who(launcher: JobLauncher, root: Path, name: str) -> int:
    record = run_job(launcher, root, WHO, name=name)
    assert record["TrainingJobStatus"] == "Completed"
    return int(read_log(root, name)[0])


def test_launchers_share_a_worker_until_the_last_is_closed(tmp_path: Path) -> None:
    first = JobLauncher(tmp_path / "a", modules=(), idle_s=601)
    second = JobLauncher(tmp_path / "b", modules=(), idle_s=601)
    worker = run_who(first, tmp_path / "a", "one")
    assert run_who(first, tmp_path / "a", "two") == worker
    assert run_who(second, tmp_path / "b", "one") == worker
    first.close()
    assert run_who(second, tmp_path / "b", "two") == worker
    del second
    gc.collect()
    wait_until(lambda: not is_running(worker), "the end of the worker")
    assert run_who(first, tmp_path / "a", "three") != worker
    first.close()


def test_jobs_go_on_when_the_launcher_is_closed(launcher: JobLauncher, tmp_path: Path) -> None:
    folder = add_job(tmp_path, "import threading; threading.Event().wait(0.3); print('done')")
    launch(launcher, folder)
    launcher.close()
    assert wait_for_end(tmp_path)["TrainingJobStatus"] == "Completed"
    assert sorted(path.name for path in folder.iterdir()) == ["log.txt", "metrics.jsonl"]


LAUNCH_AND_DIE = """
import os, sys
from pathlib import Path
from sagemaker_sift.backends.local.launcher import TRAINER_MODULES, JobLauncher, select_imports
from sagemaker_sift.backends.local.store import STORE_NAME, RecordStore, set_status
from tests.supports.local_job import launch
launcher = JobLauncher(Path(sys.argv[1]), modules=())
for name in ("one", "two"):
    launch(launcher, Path(sys.argv[1], "training-jobs", name))
os.kill(os.getpid(), 9)
"""


def test_what_was_launched_before_a_kill_runs_and_the_worker_ends(tmp_path: Path) -> None:
    for name in ("one", "two"):
        add_job(tmp_path, WHO, name=name)
    repository = Path(__file__).resolve().parents[3]
    command = [sys.executable, "-c", LAUNCH_AND_DIE, str(tmp_path)]
    assert subprocess.run(command, check=False, cwd=repository).returncode == -9
    for name in ("one", "two"):
        assert wait_for_end(tmp_path, name)["TrainingJobStatus"] == "Completed"
    worker = int(read_log(tmp_path, "two")[0])
    wait_until(lambda: not is_running(worker), "the end of the worker")


def test_the_caller_has_no_children(launcher: JobLauncher, tmp_path: Path) -> None:
    worker = run_who(launcher, tmp_path, "job")
    assert find_parent(worker) != os.getpid()
    command = ["ps", "--no-headers", "-o", "pid", "--ppid", str(os.getpid())]
    listed = subprocess.run(command, check=False, capture_output=True, text=True).stdout.split()
    assert str(worker) not in listed


def test_a_worker_that_was_killed_is_replaced(launcher: JobLauncher, tmp_path: Path) -> None:
    worker = run_who(launcher, tmp_path, "one")
    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: not is_running(worker), "the end of the worker")
    assert run_who(launcher, tmp_path, "two") != worker


def test_an_idle_worker_ends_and_the_next_job_gets_another(tmp_path: Path) -> None:
    launcher = JobLauncher(tmp_path, modules=(), idle_s=0.05)
    worker = run_who(launcher, tmp_path, "one")
    wait_until(lambda: not is_running(worker), "the end of the worker")
    assert run_who(launcher, tmp_path, "two") != worker
    launcher.close()


def test_no_job_is_lost_while_workers_end_for_idleness(tmp_path: Path) -> None:
    launcher = JobLauncher(tmp_path, modules=(), idle_s=0.0)
    names = [f"job{n}" for n in range(8)]
    for name in names:
        launch(launcher, add_job(tmp_path, "print('done')", name=name))
    ends = [wait_for_end(tmp_path, name)["TrainingJobStatus"] for name in names]
    launcher.close()
    assert ends == ["Completed"] * len(names)


def test_a_lock_on_its_way_is_held_and_is_free_if_nobody_takes_it(
    launcher: JobLauncher, tmp_path: Path
) -> None:
    worker = run_who(launcher, tmp_path, "one")
    os.kill(worker, signal.SIGSTOP)
    folder = add_job(tmp_path, "print('never')", name="two")
    launch(launcher, folder)
    assert is_locked(folder / "lock")
    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: not is_locked(folder / "lock"), "the lock")
    assert read_log(tmp_path, "two") == []


def test_a_change_of_what_libraries_read_means_another_worker(
    launcher: JobLauncher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = run_who(launcher, tmp_path, "one")
    monkeypatch.setenv("SOME_LEVEL", "1")
    assert run_who(launcher, tmp_path, "two") == worker
    monkeypatch.setenv("MALLOC_ARENA_MAX", "2")
    assert run_who(launcher, tmp_path, "three") != worker


def test_a_job_gets_the_environment_of_its_launch(
    launcher: JobLauncher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = "import os; print(os.environ.get('LEVEL'), os.environ.get('AWS_PROFILE'))"
    for level in ("1", "2"):
        monkeypatch.setenv("LEVEL", level)
        monkeypatch.setenv("AWS_PROFILE", "prod")
        run_job(launcher, tmp_path, program, name=f"job{level}")
    logs = [read_log(tmp_path, f"job{level}") for level in (1, 2)]
    assert logs == [["1 None"], ["2 None"]]


def test_a_forked_child_has_a_worker_of_its_own(launcher: JobLauncher, tmp_path: Path) -> None:
    worker = run_who(launcher, tmp_path, "one")
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = 0 if run_who(launcher, tmp_path, "two") != worker else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert run_who(launcher, tmp_path, "three") == worker


def test_what_lies_in_the_users_folder_is_not_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    for name in ("json", "sqlite3", "logging"):
        (here / f"{name}.py").write_text("raise SystemExit('the wrong one')")
    monkeypatch.chdir(here)
    launcher = JobLauncher(tmp_path, modules=("logging", "nowhere"))
    record = run_job(launcher, tmp_path, "import json, sqlite3, logging")
    launcher.close()
    assert record["TrainingJobStatus"] == "Completed"


def test_a_broken_interpreter_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sitecustomize.py").write_text("")
    (tmp_path / "pydantic.py").write_text("raise ImportError('half installed')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    launcher = JobLauncher(tmp_path, modules=())
    folder = add_job(tmp_path, "")
    with pytest.raises(OSError, match="does not start: ImportError: half installed"):
        launch(launcher, folder)
    assert not is_locked(folder / "lock")


def test_two_jobs_run_side_by_side(launcher: JobLauncher, tmp_path: Path) -> None:
    waiting = add_job(tmp_path, WAIT, name="first")
    launch(launcher, waiting)
    wait_until(lambda: read_log(tmp_path, "first") == ["ready"], "the first job")
    assert run_job(launcher, tmp_path, "", name="second")["TrainingJobStatus"] == "Completed"
    assert is_locked(waiting / "lock")
    RecordStore(tmp_path / STORE_NAME).training_jobs.update(
        "first", lambda record: set_status(record, "Stopping", "Stopping", 1.0)
    )
    assert wait_for_end(tmp_path, "first")["TrainingJobStatus"] == "Stopped"


@pytest.mark.parametrize(
    ("text", "imports"),
    [
        ("import json", ()),
        ("import torch.nn as nn", ("torch", "torch._dynamo")),
        ("def f():\n    from cv2 import imread", ("cv2",)),
        ("import numpy, torchvision", ("numpy",)),
        ("from smart_sifting.dataloader import x", ("torch", "torch._dynamo")),
        ("from . import torch", ()),
        ("this is no Python", ()),
        ("\0", ()),
    ],
    ids=["none", "torch", "inside", "numpy", "sifting", "relative", "syntax", "zero"],
)
def test_a_worker_imports_what_the_text_of_its_program_imports(
    text: str, imports: tuple[str, ...], tmp_path: Path
) -> None:
    program = tmp_path / "train.py"
    program.write_text(text)
    assert select_imports(program, TRAINER_MODULES) == imports


def test_a_program_that_is_not_there_imports_nothing(tmp_path: Path) -> None:
    assert select_imports(tmp_path / "none.py", TRAINER_MODULES) == ()
