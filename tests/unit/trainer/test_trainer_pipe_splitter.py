import os
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from sagemaker_sift.trainer.data.pipe import Patience, open_pipe
from sagemaker_sift.trainer.errors import TrainingError
from sagemaker_sift.trainer.launcher import run_processes
from sagemaker_sift.trainer.pipe_splitter import Broadcast, PipeSplitter
from sagemaker_sift.trainer.stop import StopRequest
from tests.supports.pipes import PipeFeeder

DATA = bytes(range(256)) * 20_000
"""5 MB: more than all the pipes of a test hold."""

PATIENCE = Patience(limit_s=60, poll_s=0.002)


@pytest.fixture(autouse=True)
def no_thread_and_no_descriptor_is_left() -> Iterator[None]:
    threads, descriptors = set(threading.enumerate()), len(os.listdir("/proc/self/fd"))
    yield
    assert set(threading.enumerate()) <= threads
    assert len(os.listdir("/proc/self/fd")) == descriptors


class Split:
    """A channel that is fed and split while the block runs."""

    def __init__(self, root: Path, data: bytes = DATA, *, num_readers: int = 2) -> None:
        self.feeder = PipeFeeder(root / "data", "train", data)
        self.splitter = PipeSplitter(
            ["train"], source=root / "data", folder=root / "pipes", num_readers=num_readers
        )

    def __enter__(self) -> "Split":
        self.splitter.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.splitter.__exit__(None, None, None)
        self.feeder.close()

    def open(self, reader: int, number: int = 0):  # type: ignore[no-untyped-def]
        path = self.splitter.folder(reader) / f"train_{number}"
        return open_pipe(path, channel="train", is_stopping=lambda: False, patience=PATIENCE)


def test_every_reader_gets_every_byte_of_every_pipe(tmp_path: Path) -> None:
    with Split(tmp_path, num_readers=3) as split:
        for number in range(3):
            found: list[bytes] = [b""] * 3

            def read(reader: int, number: int = number, found: list[bytes] = found) -> None:
                with split.open(reader, number) as pipe:
                    found[reader] = pipe.read()

            threads = [threading.Thread(target=read, args=(reader,)) for reader in range(3)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert found == [DATA] * 3
        assert split.feeder.endings[:2] == ["done", "done"]


def test_a_slow_reader_keeps_no_other_waiting_and_still_gets_all(tmp_path: Path) -> None:
    with Split(tmp_path) as split, split.open(1) as slow:
        assert slow.read(1) == DATA[:1]
        with split.open(0) as fast:
            assert fast.read() == DATA
        assert slow.read() == DATA[1:]


def test_a_reader_that_opens_late_still_gets_all(tmp_path: Path) -> None:
    with Split(tmp_path) as split:
        with split.open(0) as first:
            assert first.read() == DATA
        with split.open(1) as second:
            assert second.read() == DATA


def test_readers_may_be_far_apart_either_way(tmp_path: Path) -> None:
    with Split(tmp_path) as split, split.open(0) as a, split.open(1) as b:
        positions = {0: 0, 1: 0}
        for step in range(10):
            reader, pipe = (0, a) if step % 2 else (1, b)
            size = min(900_000, len(DATA) - positions[reader])
            expected = DATA[positions[reader] : positions[reader] + size]
            assert pipe.read(size) == expected
            positions[reader] += size
        assert a.read() == DATA[positions[0] :]
        assert b.read() == DATA[positions[1] :]


def test_nothing_is_read_ahead_while_every_reader_has_bytes_waiting(tmp_path: Path) -> None:
    source, targets = tmp_path / "source", [tmp_path / name for name in "ab"]
    for path in (source, *targets):
        os.mkfifo(path)
    keeper = os.open(source, os.O_RDWR | os.O_NONBLOCK)
    readers = [os.open(path, os.O_RDONLY | os.O_NONBLOCK) for path in targets]
    broadcast = Broadcast(source, targets)
    block = bytes(1 << 14)
    most = num_written = 0

    def step() -> bool:
        """Fill the source, go on a step, note the memory; the pass ends after 30 of them."""
        nonlocal most, num_written
        most = max(most, broadcast.num_bytes_waiting)
        try:
            while True:
                os.write(keeper, block)
        except BlockingIOError:
            num_written += 1
        return num_written > 30

    broadcast.run(step)
    assert 0 < most <= 3 << 16
    for descriptor in (keeper, *readers):
        os.close(descriptor)


def test_a_reader_that_closes_early_leaves_the_others_alone(tmp_path: Path) -> None:
    with Split(tmp_path) as split:
        with split.open(0) as other:
            with split.open(1) as early:
                assert early.read(10) == DATA[:10]
            assert other.read() == DATA
        with split.open(1, 1) as pipe, split.open(0, 1) as also:
            assert pipe.read() == also.read() == DATA


def test_when_all_close_early_the_real_pipe_is_closed_and_the_next_comes(tmp_path: Path) -> None:
    with Split(tmp_path) as split:
        for number in range(3):
            for reader in range(2):
                with split.open(reader, number) as pipe:
                    assert pipe.read(10) == DATA[:10]
        assert split.feeder.endings[:2] == ["closed", "closed"]


def test_the_next_pipe_waits_for_the_slowest_reader(tmp_path: Path) -> None:
    with Split(tmp_path) as split:
        with split.open(0) as ahead:
            assert ahead.read(10) == DATA[:10]
        path = split.splitter.folder(0) / "train_1"
        assert not path.exists()
        with split.open(1) as behind:
            assert behind.read() == DATA
        with split.open(0, 1) as ahead:
            assert ahead.read(10) == DATA[:10]


@pytest.mark.parametrize("num_opened", [0, 1, 2])
def test_it_ends_at_once_whatever_is_under_way(tmp_path: Path, num_opened: int) -> None:
    with Split(tmp_path) as split:
        pipes = [split.open(reader) for reader in range(num_opened)]
        for pipe in pipes:
            assert pipe.read(10) == DATA[:10]
    for pipe in pipes:
        pipe.close()


def test_a_reader_that_is_killed_leaves_the_others_alone(tmp_path: Path) -> None:
    with Split(tmp_path) as split:
        program = "import sys, time; f = open(sys.argv[1], 'rb'); f.read(9); print(flush=True); "
        path = split.splitter.folder(1) / "train_0"
        with split.open(0) as pipe:
            process = subprocess.Popen(
                [sys.executable, "-c", program + "input()", str(path)],
                stdout=subprocess.PIPE,
                stdin=subprocess.PIPE,
            )
            assert process.stdout is not None
            process.stdout.readline()
            process.kill()
            process.communicate()
            assert pipe.read() == DATA
        with split.open(0, 1) as pipe:
            assert pipe.read(10) == DATA[:10]


def test_a_plain_file_is_linked(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/train_0").write_bytes(b"abc")
    with PipeSplitter(
        ["train"], source=tmp_path / "data", folder=tmp_path / "pipes", num_readers=2
    ) as splitter:
        for reader in range(2):
            path = splitter.folder(reader) / "train_0"
            with open_pipe(
                path, channel="train", is_stopping=lambda: False, patience=PATIENCE
            ) as pipe:
                assert pipe.read() == b"abc"


def test_every_process_of_a_machine_reads_the_channel(tmp_path: Path) -> None:
    feeder = PipeFeeder(tmp_path / "data", "train", DATA)
    program = (
        "import os, pathlib, select\n"
        "for number in range(2):\n"
        "    path = pathlib.Path(os.environ['SIFT_PIPE_FOLDER'], f'train_{number}')\n"
        "    while not path.exists():\n"
        "        select.select([], [], [], 0.002)\n"
        "    assert len(path.read_bytes()) == 5_120_000\n"
    )
    try:
        code = run_processes(
            2,
            num_hosts=1,
            environ=os.environ,
            stop=StopRequest(),
            pipe_channels=["train"],
            data=tmp_path / "data",
            command=[sys.executable, "-c", program],
        )
    finally:
        feeder.close()
    assert code == 0


def test_a_pipe_that_cannot_be_handed_on_is_told(tmp_path: Path) -> None:
    splitter = PipeSplitter(["train"], source=tmp_path, folder=tmp_path / "pipes", num_readers=1)
    with splitter:
        splitter.check()
        (splitter.folder(0) / "train_0").touch()
        os.mkfifo(tmp_path / "train_0")
        splitter._threads[0].join()
    with pytest.raises(
        TrainingError, match=r"'train': .*train_0 cannot be handed on .*File exists"
    ):
        splitter.check()


def test_a_channel_that_cannot_be_handed_on_ends_the_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    os.mkfifo(tmp_path / "train_0")
    monkeypatch.setattr(os, "mkfifo", fail)
    with pytest.raises(TrainingError, match=r"cannot be handed on .*Operation not permitted"):
        run_processes(
            2,
            num_hosts=1,
            environ=os.environ,
            stop=StopRequest(),
            pipe_channels=["train"],
            data=tmp_path,
            command=[sys.executable, "-c", "import signal; signal.pause()"],
        )


def test_the_readers_pipes_are_pipes(tmp_path: Path) -> None:
    with Split(tmp_path) as split, split.open(0) as pipe:
        assert pipe.read(1) == DATA[:1]
        path = split.splitter.folder(1) / "train_0"
        assert stat.S_ISFIFO(path.stat().st_mode)
