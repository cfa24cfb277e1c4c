"""Feeds the pipe of a channel, pass after pass, in a process of its own.

Source: SageMaker developer guide, "Common data formats for training", Pipe mode: the first pass
comes through ``<channel>_0``, the next through ``<channel>_1``, and so on.
"""

from __future__ import annotations

import contextlib
import os
import signal
import traceback
from collections.abc import Callable
from pathlib import Path

from sagemaker_sift.backends.local.channel_data import ChannelData
from sagemaker_sift.backends.local.guard import close_descriptors
from sagemaker_sift.backends.local.pipe_data import read_pass
from sagemaker_sift.backends.local.process import die_with_parent
from sagemaker_sift.contract.container import FAILURE_MAX_CHARS


class PipeFeeder:
    """Writes a channel's data into its pipes until it is closed.

    Args:
        channel: In Pipe mode.
        folder: Where the pipes are made.
        to_path: Returns where a URI of an augmented manifest lies.

    Raises:
        OSError: If the first pipe cannot be made.
    """

    def __init__(self, channel: ChannelData, folder: Path, to_path: Callable[[str], Path]) -> None:
        self.name = channel.name

        def make(pass_idx: int) -> Path:
            path = folder / f"{channel.name}_{pass_idx}"
            os.mkfifo(path)
            return path

        first = make(0)  # a reader may look for it as soon as it starts
        self._words, writing_end = os.pipe()
        parent = os.getpid()
        self._pid = os.fork()
        if self._pid:
            os.close(writing_end)
            os.set_blocking(self._words, False)
            return
        try:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            die_with_parent(parent)
            close_descriptors({writing_end})
            _feed(channel, first, make, to_path)
        except (OSError, ValueError) as error:
            text = f"Channel {channel.name!r}: {error}"
            os.write(writing_end, text.encode()[:FAILURE_MAX_CHARS])
        except BaseException:  # noqa: BLE001  # it must not go on as if it were the supervisor
            os.write(writing_end, traceback.format_exc().encode()[-FAILURE_MAX_CHARS:])
        finally:
            os._exit(1)

    def read_error(self) -> str:
        """Return why it cannot go on, or ``""`` while it can."""
        with contextlib.suppress(BlockingIOError):
            return os.read(self._words, FAILURE_MAX_CHARS).decode("utf-8", "replace")
        return ""

    def close(self) -> None:
        """End it, whatever it does."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._pid, 0)
        os.close(self._words)


def _feed(
    channel: ChannelData,
    pipe: Path,
    make: Callable[[int], Path],
    to_path: Callable[[str], Path],
) -> None:
    """Write pass after pass; one that the reader closes early is over.

    After an error the pipe stays open until this process ends, so that the reader does not take
    what came for all there is before the error is known.
    """
    pass_idx = 0
    while True:
        descriptor = os.open(pipe, os.O_WRONLY)  # waits for a reader
        with contextlib.suppress(BrokenPipeError):
            for chunk in read_pass(channel, pass_idx, to_path):
                view = memoryview(chunk)
                while view:
                    view = view[os.write(descriptor, view) :]
        following = make(pass_idx + 1)  # before the reader sees the end of this one
        os.close(descriptor)
        pipe.unlink()
        pipe, pass_idx = following, pass_idx + 1
