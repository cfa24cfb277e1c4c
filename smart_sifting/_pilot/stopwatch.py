"""Seconds by stage, waited for on a GPU."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True)
class BatchTimes:
    """What one batch took.

    Attributes:
        num_samples: Samples in the batch.
        seconds: By stage.
    """

    num_samples: int
    seconds: Mapping[str, float]

    def per_sample(self, stages: Iterable[str]) -> float:
        """Return what the stages took together, seconds per sample."""
        return sum(self.seconds.get(stage, 0.0) for stage in stages) / self.num_samples


class Stopwatch:
    """Times the stages of one batch after the other.

    A GPU only queues what it is told to do, so it is waited for before and after each stage.

    Args:
        clock: Seconds, from any origin.
        device: Where the model is.

    Example:
        >>> ticks = iter([1.0, 3.5])
        >>> stopwatch = Stopwatch(lambda: next(ticks), torch.device("cpu"))
        >>> with stopwatch.measure("load"):
        ...     pass
        >>> stopwatch.finish(num_samples=5).per_sample(["load"])
        0.5
    """

    def __init__(self, clock: Callable[[], float], device: torch.device) -> None:
        self._clock = clock
        self._device = device
        self._seconds: dict[str, float] = {}

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Time a block; what the same stage took before, for the same batch, is added to.

        Args:
            stage: Its name.

        Yields:
            Nothing.
        """
        self._wait_for_device()
        began_s = self._clock()
        yield
        self._wait_for_device()
        elapsed_s = self._clock() - began_s
        self._seconds[stage] = self._seconds.get(stage, 0.0) + elapsed_s

    def finish(self, *, num_samples: int) -> BatchTimes:
        """Return the times of the batch at hand and begin with the next one."""
        times = BatchTimes(num_samples, self._seconds)
        self._seconds = {}
        return times

    def _wait_for_device(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)


def spread_over_batches(stage: str, times: Iterable[BatchTimes]) -> list[BatchTimes]:
    """Return the times with one stage's seconds spread evenly over all samples.

    For a stage that has much to do for one batch and nothing for the next, of which a median
    would tell only the one or the other.

    Args:
        stage: Its name.
        times: At least one batch.

    Example:
        >>> bursts = [BatchTimes(4, {"pool": 0.0}), BatchTimes(4, {"pool": 8.0})]
        >>> [batch.per_sample(["pool"]) for batch in spread_over_batches("pool", bursts)]
        [1.0, 1.0]
    """
    batches = list(times)
    weights = [batch.num_samples for batch in batches]
    mean_s = statistics.fmean((batch.per_sample([stage]) for batch in batches), weights)
    return [
        BatchTimes(batch.num_samples, {**batch.seconds, stage: mean_s * batch.num_samples})
        for batch in batches
    ]
