"""The loader of a pilot: iterated from a fresh start, and timed with nothing computed between."""

from __future__ import annotations

import copy
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch.utils.data import DataLoader

from smart_sifting._core.wrapped_loader import END, WrappedLoader
from smart_sifting._pilot.stopwatch import Stopwatch
from smart_sifting.dataloader.sift_dataloader import SiftingDataloader

_FEWEST_ROUNDS = 3


@contextmanager
def one_epoch(loader: WrappedLoader) -> Iterator[None]:
    """Begin an epoch, and let go of its iterator and worker processes at the end.

    Args:
        loader: Read it inside.

    Yields:
        Nothing.
    """
    loader.begin()
    try:
        yield
    finally:
        loader.end()


def detach_loader(orig_dataloader: Any) -> Any:
    """Return a loader over the same data whose worker processes, if any, are its own.

    Args:
        orig_dataloader: The loader to be wrapped.

    Raises:
        TypeError: If sifting wraps it already.
    """
    if isinstance(orig_dataloader, SiftingDataloader):
        raise TypeError(
            "`orig_dataloader` is a SiftingDataloader, but must be the loader that it wraps: the "
            "pilot measures what both would take."
        )
    if not isinstance(orig_dataloader, DataLoader):
        return orig_dataloader
    loader = copy.copy(orig_dataloader)
    loader._iterator = None  # where a loader keeps persistent workers
    return loader


def count_workers(loader: object) -> int:
    """Return how many worker processes load batches; 0 if the loop loads them itself.

    Example:
        >>> count_workers([])
        0
    """
    num_workers = getattr(loader, "num_workers", 0)
    return num_workers if isinstance(num_workers, int) else 0


def drain_loader(
    loader: WrappedLoader,
    stopwatch: Stopwatch,
    *,
    num_workers: int,
    num_batches: int,
    batch_size: int,
) -> list[float]:
    """Return what loading alone takes, in rounds of one batch of every worker.

    Workers finish at about the same time, so that single batches come in bursts. The first round,
    with the start of the workers, is left out if there are more.

    Args:
        loader: With worker processes.
        stopwatch: Times every batch.
        num_workers: Worker processes.
        num_batches: How many batches to time, about.
        batch_size: Samples in a batch.

    Returns:
        Seconds per sample of each round.
    """
    num_rounds = max(_FEWEST_ROUNDS, -(-num_batches // num_workers))
    batch_s: list[float] = []
    with one_epoch(loader):
        while len(batch_s) < (1 + num_rounds) * num_workers:
            with stopwatch.measure("load"):
                is_over = loader.read() is END
            batch_times = stopwatch.finish(num_samples=batch_size)
            if is_over:
                break
            batch_s.append(batch_times.per_sample(["load"]))
    steady_s = batch_s[num_workers:] or batch_s
    size = min(num_workers, len(steady_s))
    rounds = [steady_s[begin : begin + size] for begin in range(0, len(steady_s), size)]
    return [statistics.fmean(seconds) for seconds in rounds if len(seconds) == size]
