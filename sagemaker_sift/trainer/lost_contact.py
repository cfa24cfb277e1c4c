"""One process of several is gone: what the others say, and that they say it last."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from torch import distributed

LOST_CONTACT = (
    "Another process of this job ended, so this one could not go on. The reason is in the log of "
    "the process or machine that ended first."
)
"""The reason of a process that fails only because another one did."""

FIRST_WORD_S = 3.0
"""Seconds that the process which failed first has to say why."""

_BACKENDS = ("gloo", "nccl", "c10d")


def is_lost_contact(error: BaseException) -> bool:
    """Return whether an error says no more than that another process is gone.

    Example:
        >>> is_lost_contact(RuntimeError("[../gloo/transport/tcp/pair.cc:537] Read error"))
        True
    """
    if isinstance(error, distributed.DistError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(name in text for name in _BACKENDS)


def wait_for_first_word(
    failure: Path,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Return when the file is there, or after ``FIRST_WORD_S`` seconds.

    Args:
        failure: ``/opt/ml/output/failure``, of which the first writer's text stands.
        clock: Seconds.
        sleep: Waits between two looks.
    """
    deadline_s = clock() + FIRST_WORD_S
    while not failure.exists() and clock() < deadline_s:
        sleep(0.1)
