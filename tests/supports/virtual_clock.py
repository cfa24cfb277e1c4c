"""A clock that stands still but for what scoring and training are said to take."""

from __future__ import annotations

from typing import Any

import torch

from tests.conformance.loader_suite import LossOfIds


class Clock:
    """In place of the ``time`` module in the modules of a sifting loader.

    Attributes:
        now: Seconds.
        slowdown: How many times longer scoring takes than it is said to.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self.slowdown = 1.0

    def perf_counter(self) -> float:
        return self.now


class TimedLoss(LossOfIds):
    """Takes so many seconds for each sample.

    Args:
        clock: Shows it.
        seconds: For each sample.
    """

    def __init__(self, clock: Clock, seconds: float) -> None:
        super().__init__(lambda batch: batch[0].tolist())
        self.clock = clock
        self.seconds = seconds

    def loss(self, model: Any, transformed_batch: Any, original_batch: Any = None) -> torch.Tensor:
        self.clock.now += self.clock.slowdown * self.seconds * len(original_batch[0])
        return super().loss(model, transformed_batch, original_batch)
