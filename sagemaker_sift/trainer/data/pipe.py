"""The pipe of a channel in one epoch: ``/opt/ml/input/data/<channel>_<epoch>``.

Source: "How Amazon SageMaker AI provides training information", SageMaker developer guide: a pipe
is read to its end or closed early; that of the next epoch may not be there yet.

A pipe is opened without waiting for its writer, so that a job that is asked to stop never hangs in
the system call. A plain file of that name is read the same way.
"""

from __future__ import annotations

import io
import os
import select
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sagemaker_sift.trainer.errors import TrainingError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

BUFFER_BYTES = 1 << 20
"""Read ahead of the records, 1 MiB."""


class PipeStopped(Exception):  # noqa: N818  # it is no error: the job ends early
    """The job was asked to stop while it waited for a pipe."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long to wait for a pipe.

    Attributes:
        limit_s: Seconds without the pipe, or without a byte from it, that end the job.
        poll_s: Seconds between two looks at ``is_stopping``.
        clock: Seconds of a clock that never goes back.
        sleep: Waits for so many seconds.
    """

    limit_s: float = 600.0
    poll_s: float = 0.1
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


def open_pipe(
    path: Path,
    *,
    channel: str,
    is_stopping: Callable[[], bool],
    patience: Patience | None = None,
) -> io.BufferedReader:
    """Return an open pipe as soon as it is there; its writer may come later.

    Reading from it raises :class:`PipeStopped` when the job is asked to stop, and
    ``TrainingError`` when no byte comes for too long. Closing it early tells the writer to end.

    Args:
        path: ``<channel>_<epoch>``, a pipe or a plain file.
        channel: Name of the channel, for messages.
        is_stopping: Asked while waiting.
        patience: How long to wait.

    Raises:
        PipeStopped: If the job is asked to stop before the pipe is there.
        TrainingError: If the pipe does not appear, is something else, or cannot be opened.
    """
    patience = patience or Patience()
    source = f"Channel {channel!r}: {path}"
    start_s = patience.clock()
    while True:
        if is_stopping():
            raise PipeStopped
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            break
        except FileNotFoundError:
            if patience.clock() - start_s >= patience.limit_s:
                raise TrainingError(
                    f"{source} did not appear within {patience.limit_s:g} s. SageMaker makes this "
                    "pipe for a channel with TrainingInputMode 'Pipe'; use 'File' if the channel "
                    "is a folder."
                ) from None
            patience.sleep(patience.poll_s)
        except OSError as error:
            raise TrainingError(
                f"{source} cannot be opened ({error.strerror}). Check the channel's "
                "TrainingInputMode and the rights of the file."
            ) from error
    mode = os.fstat(descriptor).st_mode
    if not (stat.S_ISFIFO(mode) or stat.S_ISREG(mode)):
        os.close(descriptor)
        raise TrainingError(
            f"{source} is neither a pipe nor a file, but the channel has TrainingInputMode "
            "'Pipe'. Use 'File' if the channel is a folder."
        )
    raw = _RawPipe(descriptor, source, is_stopping, patience)
    return io.BufferedReader(raw, BUFFER_BYTES)


class _RawPipe(io.RawIOBase):
    """Reads a descriptor that does not block, but looks up from waiting now and then."""

    def __init__(
        self,
        descriptor: int,
        source: str,
        is_stopping: Callable[[], bool],
        patience: Patience,
    ) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._source = source
        self._is_stopping = is_stopping
        self._patience = patience
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLIN)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Fill the buffer with what is there; 0 means that the writer is done."""
        self._wait()
        try:
            return os.readv(self._descriptor, [buffer])
        except OSError as error:
            raise TrainingError(
                f"{self._source} cannot be read ({error.strerror}). Start the job again."
            ) from error

    def close(self) -> None:
        if not self.closed:
            os.close(self._descriptor)
        super().close()

    def _wait(self) -> None:
        """Return when there is a byte, or when the writer is done.

        Before the first writer has come there is neither, so this is no end of the data.
        """
        start_s = self._patience.clock()
        while True:
            if self._is_stopping():
                raise PipeStopped
            if self._poll.poll(1000 * self._patience.poll_s):
                return
            if self._patience.clock() - start_s >= self._patience.limit_s:
                raise TrainingError(
                    f"{self._source} gave no byte for {self._patience.limit_s:g} s. Check that "
                    "the channel's S3Uri can still be read, and start the job again."
                )
