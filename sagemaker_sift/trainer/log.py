"""The job's log: stdout, in the built-in algorithm's format, every line at once."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import TextIO

FORMAT = "[%(asctime)s %(levelname)s %(thread)d] %(message)s"
DATE_FORMAT = "%m/%d/%Y %H:%M:%S"


@contextlib.contextmanager
def log_to(stream: TextIO) -> Iterator[None]:
    """Send the log of the trainer and of sifting to ``stream`` while the block runs.

    CloudWatch and the local backend read metrics from these lines, so each is flushed. Of the
    sifting library warnings come through, and batch data if the job asks for it.
    """
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter(FORMAT, DATE_FORMAT))
    root = logging.getLogger()
    own = logging.getLogger("sagemaker_sift")
    before = root.level, own.level
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    own.setLevel(logging.INFO)
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(before[0])
        own.setLevel(before[1])


def quieten(rank: int) -> None:
    """Let one of several processes log its warnings only; the first one speaks for all.

    Args:
        rank: Which process of the job this is; stands in its lines.
    """
    logging.getLogger("sagemaker_sift").setLevel(logging.WARNING)
    for handler in logging.getLogger().handlers:
        handler.setFormatter(logging.Formatter(f"{FORMAT} (rank {rank})", DATE_FORMAT))
