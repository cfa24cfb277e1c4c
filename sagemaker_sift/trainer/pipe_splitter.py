"""A pipe of its own for every process of a machine, all with the same bytes.

SageMaker makes one pipe a channel and epoch, and what one process reads from it no other gets.
So the process that starts the others reads it, and writes every byte into a pipe for each, which
they read as they would SageMaker's: which records are their own they find by counting.

Source of the pipes' names and order: "How Amazon SageMaker AI provides training information",
SageMaker developer guide.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import stat
import threading
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

from sagemaker_sift.trainer.errors import TrainingError

POLL_S = 0.02
"""Seconds between two looks for a pipe that has appeared or was opened."""

CHUNK_BYTES = 1 << 18
"""Read at once, at most: 256 KiB."""


class PipeSplitter:
    """Hands channels on while it is entered as a context; a thread a channel.

    A pipe ``<channel>_<number>`` appears in every reader's folder when the real one is there, and
    the real one is opened when the first reader opens its own. More is read from it as soon as
    *any* reader has nothing left, so that no reader waits for a slower one: ranks wait for each
    other's gradients, and would wait for ever. A reader that closes its pipe early is left out;
    when all have read or closed theirs, the real one is closed and the next is awaited.

    **Memory**: what the fastest reader has read and the slowest has not, once for all of them. A
    process reads ahead of its training by its shuffle's buffer and a few batches; sifting, where
    each rank reads until it has kept enough, adds how far ranks drift apart within an epoch.

    Args:
        channels: Names of the channels.
        source: Folder of SageMaker's pipes, ``/opt/ml/input/data``.
        folder: Where the readers' folders are made, by their number.
        num_readers: Processes of this machine.
    """

    def __init__(
        self, channels: Sequence[str], *, source: Path, folder: Path, num_readers: int
    ) -> None:
        self._folders = [folder / str(number) for number in range(num_readers)]
        self._source = source
        self._closing = threading.Event()
        self._failures: list[TrainingError] = []
        self._threads = [
            threading.Thread(target=self._run, args=(name,), name=f"split-{name}", daemon=True)
            for name in channels
        ]

    def folder(self, number: int) -> Path:
        """Return the folder of one reader's pipes."""
        return self._folders[number]

    def check(self) -> None:
        """Raise what has gone wrong.

        Raises:
            TrainingError: If a pipe could not be handed on.
        """
        for failure in self._failures:
            raise failure

    def __enter__(self) -> PipeSplitter:
        for folder in self._folders:
            folder.mkdir(parents=True)
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._closing.set()
        for thread in self._threads:
            thread.join()

    def _run(self, channel: str) -> None:
        number = 0
        while not self._closing.is_set():
            path = self._source / f"{channel}_{number}"
            try:
                if not path.exists():
                    self._closing.wait(POLL_S)
                    continue
                self._hand_on(path)
            except OSError as error:
                self._failures.append(
                    TrainingError(
                        f"Channel {channel!r}: {path} cannot be handed on to the processes of "
                        f"this machine ({error.strerror}). Check the rights of the folder, and "
                        "start the job again."
                    )
                )
                return
            number += 1

    def _hand_on(self, path: Path) -> None:
        targets = [folder / path.name for folder in self._folders]
        if not stat.S_ISFIFO(path.stat().st_mode):
            for target in targets:  # what can be read more than once needs no splitting
                target.symlink_to(path)
            return
        for target in targets:
            os.mkfifo(target)
        Broadcast(path, targets).run(self._closing.is_set)
        for target in targets:
            target.unlink()


class _Reader:
    """One of those that get the bytes.

    Attributes:
        chunk_idx: Which chunk it gets next, counted from the beginning of the pipe.
        is_over: Whether it has got everything, or wants no more.
    """

    def __init__(self, path: Path) -> None:
        self.chunk_idx = 0
        self.is_over = False
        self.descriptor: int | None = None
        self._path = path
        self._offset = 0

    def open(self) -> None:
        """Open the pipe if its reader has."""
        try:
            self.descriptor = os.open(self._path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise

    def write(self, chunk: bytes) -> None:
        """Write of the next chunk as much as there is room for."""
        assert self.descriptor is not None
        try:
            self._offset += os.write(self.descriptor, memoryview(chunk)[self._offset :])
        except BlockingIOError:
            return
        except BrokenPipeError:
            self.close()
            return
        if self._offset == len(chunk):
            self.chunk_idx += 1
            self._offset = 0

    def close(self) -> None:
        """Give nothing more."""
        if self.descriptor is not None:
            os.close(self.descriptor)
        self.descriptor = None
        self.is_over = True


class Broadcast:
    """One pass: what comes from a pipe goes to several.

    Args:
        source: The pipe to read.
        targets: The pipes to write; they are there.
    """

    def __init__(self, source: Path, targets: Sequence[Path]) -> None:
        self._source = source
        self._descriptor: int | None = None
        self._is_at_end = False
        self._readers = [_Reader(path) for path in targets]
        self._chunks: deque[bytes] = deque()
        self._num_dropped = 0

    @property
    def num_bytes_waiting(self) -> int:
        """Bytes in memory."""
        return sum(map(len, self._chunks))

    def run(self, is_closing: Callable[[], bool]) -> None:
        """Return when all readers have got everything or have closed their pipe.

        Args:
            is_closing: Asked now and then; ends the pass early.

        Raises:
            OSError: If a pipe cannot be opened, read or written.
        """
        try:
            while not is_closing() and not all(reader.is_over for reader in self._readers):
                self._step()
        finally:
            for reader in self._readers:
                reader.close()
            self._close_source()

    def _step(self) -> None:
        """Wait until something can be done, and do it."""
        for reader in self._readers:
            if reader.descriptor is None and not reader.is_over:
                reader.open()
        opened = {r.descriptor: r for r in self._readers if r.descriptor is not None}
        poll = select.poll()
        for descriptor, reader in opened.items():
            poll.register(descriptor, select.POLLOUT if self._has_more_for(reader) else 0)
        if any(not self._has_more_for(reader) for reader in opened.values()):
            if self._descriptor is None and not self._is_at_end:
                self._descriptor = os.open(self._source, os.O_RDONLY | os.O_NONBLOCK)
            if self._descriptor is not None:
                poll.register(self._descriptor, select.POLLIN)
        for descriptor, event in poll.poll(1000 * POLL_S):
            if descriptor == self._descriptor:
                self._read()
            elif event & select.POLLERR:
                opened[descriptor].close()
            else:
                opened[descriptor].write(self._next_chunk(opened[descriptor]))
        for reader in opened.values():
            if self._is_at_end and not reader.is_over and not self._has_more_for(reader):
                reader.close()
        self._forget()

    def _has_more_for(self, reader: _Reader) -> bool:
        return reader.chunk_idx < self._num_dropped + len(self._chunks)

    def _next_chunk(self, reader: _Reader) -> bytes:
        return self._chunks[reader.chunk_idx - self._num_dropped]

    def _read(self) -> None:
        assert self._descriptor is not None
        with contextlib.suppress(BlockingIOError):
            chunk = os.read(self._descriptor, CHUNK_BYTES)
            if chunk:
                self._chunks.append(chunk)
                return
            self._is_at_end = True
            self._close_source()

    def _forget(self) -> None:
        """Let go of what every reader has."""
        waiting = [reader.chunk_idx for reader in self._readers if not reader.is_over]
        num_done = min(waiting, default=self._num_dropped + len(self._chunks))
        while self._num_dropped < num_done:
            self._chunks.popleft()
            self._num_dropped += 1

    def _close_source(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
