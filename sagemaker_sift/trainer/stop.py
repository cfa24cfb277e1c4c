"""Being asked to stop: SIGTERM from SageMaker, SIGINT from a keyboard.

Source: "How Amazon SageMaker AI runs your training image", SageMaker developer guide: SIGTERM,
then SIGKILL after 120 seconds.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType


class EpochInterrupted(Exception):  # noqa: N818  # no error: the job was asked to stop
    """The job was asked to stop while it waited for data, so the epoch has no end."""


class JoinInterrupted(Exception):  # noqa: N818  # no error: the job was asked to stop
    """The job was asked to stop while its processes waited for each other."""


STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopRequest:
    """Whether the job was asked to stop. Training looks at it between steps.

    Attributes:
        signal_name: The signal that asked, or ``None``.
    """

    def __init__(self) -> None:
        self.signal_name: str | None = None

    def is_set(self) -> bool:
        """Return whether the job was asked to stop."""
        return self.signal_name is not None

    def set(self, signal_name: str) -> None:
        """Ask the job to stop."""
        self.signal_name = signal_name


@contextlib.contextmanager
def stop_held_back() -> Iterator[None]:
    """Let a stop wait while the block runs; processes that it starts begin with it held back."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def listen_for_stop() -> Iterator[StopRequest]:
    """Turn SIGTERM and SIGINT into a request while the block runs; main thread only.

    Signals that the starting process has blocked, and that came meanwhile, are taken now.
    """
    request = StopRequest()

    def ask(number: int, _frame: FrameType | None) -> None:
        request.set(signal.Signals(number).name)

    before = {number: signal.signal(number, ask) for number in STOP_SIGNALS}
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
