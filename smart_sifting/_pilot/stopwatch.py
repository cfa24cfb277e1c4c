"""Seconds by stage, waited for on a GPU."""

from __future__ import annotations

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
        num_kept: How many of its samples were kept.
    """

    num_samples: int
    seconds: Mapping[str, float]
    num_kept: int = 0

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

    def finish(self, *, num_samples: int, num_kept: int = 0) -> BatchTimes:
        """Return the times of the batch at hand and begin with the next one."""
        times = BatchTimes(num_samples, self._seconds, num_kept)
        self._seconds = {}
        return times

    def _wait_for_device(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
