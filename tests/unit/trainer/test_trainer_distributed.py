import os
import signal
import socket
import sys
import threading
from pathlib import Path

import pytest
import torch

from sagemaker_sift.trainer import launcher
from sagemaker_sift.trainer.distributed import Cluster, Placement, count_local_processes
from sagemaker_sift.trainer.errors import TrainingError
from sagemaker_sift.trainer.launcher import (
    PARENT_PIPE_VARIABLE,
    describe_exit,
    end_with_parent,
    run_processes,
)
from sagemaker_sift.trainer.ranks import Ranks
from sagemaker_sift.trainer.stop import JoinInterrupted, StopRequest


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


def test_a_name_that_resolves_late_is_waited_for() -> None:
    clock = Clock()
    tries: list[str] = []

    def resolve(name: str) -> None:
        tries.append(name)
        if clock.now_s < 40:
            raise socket.gaierror(-2, "Name or service not known")

    cluster = Cluster(("algo-1", "algo-2"), "algo-2")
    cluster.wait_for_first_host(resolve=resolve, clock=clock, sleep=clock.sleep)
    assert set(tries) == {"algo-1"}
    assert clock.now_s == 40


def test_a_name_that_never_resolves_is_an_error_that_says_so() -> None:
    clock = Clock()

    def resolve(_name: str) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    with pytest.raises(
        TrainingError, match=r"'algo-1', did not resolve within 60 seconds \(.*Name or service"
    ):
        Cluster(("algo-1", "algo-2"), "algo-2").wait_for_first_host(
            timeout_s=60, resolve=resolve, clock=clock, sleep=clock.sleep
        )
    assert 60 <= clock.now_s <= 61


@pytest.mark.parametrize(
    ("text", "num_gpus", "expected"), [("", 0, 1), ("", 8, 8), ("2", 8, 2), ("3", 0, 3)]
)
def test_there_is_one_process_a_gpu_unless_the_environment_says_otherwise(
    text: str, num_gpus: int, expected: int
) -> None:
    environ = {"SIFT_PROCESSES_PER_HOST": text}
    assert count_local_processes(environ, num_gpus=num_gpus) == expected


@pytest.mark.parametrize(("text", "num_gpus"), [("0", 0), ("two", 0), ("-1", 0), ("9", 8)])
def test_a_wrong_number_of_processes_is_refused(text: str, num_gpus: int) -> None:
    with pytest.raises(TrainingError, match=rf"SIFT_PROCESSES_PER_HOST is '{text}', but must be"):
        count_local_processes({"SIFT_PROCESSES_PER_HOST": text}, num_gpus=num_gpus)


def test_the_port_can_be_moved() -> None:
    cluster = Cluster(("algo-1", "algo-2"), "algo-1")
    placement = Placement.from_environment(cluster, {"MASTER_PORT": "1234"})
    assert placement.rendezvous == "tcp://algo-1:1234"


def test_processes_that_do_not_come_are_waited_for_within_bounds(tmp_path: Path) -> None:
    placement = Placement(num_local=2, rendezvous=(tmp_path / "meeting").as_uri())
    with pytest.raises(
        TrainingError, match=r"2 processes .* did not find each other within 0 sec"
    ):
        placement.join(backend="gloo", timeout_s=0)


def test_a_process_that_waits_for_another_is_stopped(tmp_path: Path) -> None:
    placement = Placement(num_local=2, rendezvous=(tmp_path / "meeting").as_uri())
    with pytest.raises(JoinInterrupted):
        placement.join(backend="gloo", is_stopping=lambda: True)


def test_one_process_alone_agrees_with_itself_at_once() -> None:
    ranks = Ranks()
    assert ranks.exchange([True, False]) == [True, False]
    assert ranks.any_of([False, True]) == [False, True]
    assert ranks.gather("a") == ["a"]
    assert ranks.share(7) == 7
    assert ranks.add_up(torch.tensor([1, 2])).tolist() == [1, 2]
    assert ranks.is_first
    assert not ranks.are_many


def run(program: str, stop: StopRequest | None = None, *, num_local: int = 2) -> int:
    return run_processes(
        num_local,
        num_hosts=1,
        environ=dict(os.environ),
        stop=stop or StopRequest(),
        command=[sys.executable, "-c", program],
    )


def test_every_process_gets_its_rank_and_a_meeting_place(tmp_path: Path) -> None:
    program = (
        "import os, pathlib; e = os.environ; "
        f"pathlib.Path({str(tmp_path)!r}, e['SIFT_LOCAL_RANK']).write_text("
        "e['SIFT_PROCESSES_PER_HOST'] + ' ' + e['SIFT_RENDEZVOUS'] + ' ' + e['OMP_NUM_THREADS'])"
    )
    assert run(program) == 0
    texts = [(tmp_path / name).read_text().split() for name in ("0", "1")]
    assert texts[0] == texts[1]
    assert texts[0][0] == "2"
    assert texts[0][1].startswith("file:///")
    assert int(texts[0][2]) >= 1


def test_the_code_of_the_process_that_fails_is_returned_and_the_others_are_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(launcher, "FAILURE_GRACE_S", 0.1)
    program = (
        "import os, signal, sys\n"
        "if os.environ['SIFT_LOCAL_RANK'] == '1': sys.exit(3)\n"
        "signal.pause()"
    )
    assert run(program) == 3


def test_a_stop_is_passed_on_to_every_process(tmp_path: Path) -> None:
    program = (
        "import os, pathlib, signal, sys\n"
        "def stop(number, frame):\n"
        f"    pathlib.Path({str(tmp_path)!r}, os.environ['SIFT_LOCAL_RANK']).touch()\n"
        "    sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, stop)\n"
        "signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})\n"
        f"pathlib.Path({str(tmp_path)!r}, 'up' + os.environ['SIFT_LOCAL_RANK']).touch()\n"
        "signal.pause()"
    )

    class WhenUp(StopRequest):
        def is_set(self) -> bool:
            if len(list(tmp_path.glob("up*"))) == 2:
                self.set("SIGTERM")
            return super().is_set()

    assert run(program, WhenUp()) == 0
    assert sorted(path.name for path in tmp_path.glob("?")) == ["0", "1"]


def test_exits_are_described() -> None:
    assert describe_exit(-signal.SIGKILL) == "signal SIGKILL"
    assert describe_exit(1) == "exit code 1"


def test_a_process_ends_when_the_pipe_of_its_parent_closes() -> None:
    reading_end, writing_end = os.pipe()
    ended = threading.Event()
    thread = end_with_parent({PARENT_PIPE_VARIABLE: str(reading_end)}, end=ended.set)
    assert thread is not None
    assert not ended.is_set()
    os.close(writing_end)
    thread.join(timeout=30)
    assert ended.is_set()
    os.close(reading_end)
    assert end_with_parent({}) is None
