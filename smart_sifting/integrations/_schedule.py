"""Learning-rate schedules over as many steps as sifting is expected to leave."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from torch.optim.lr_scheduler import LambdaLR

from smart_sifting.dataloader.sift_dataloader import SiftingDataloader


def expect_update_steps(
    loader: SiftingDataloader, *, num_epochs: float, accumulation_steps: int
) -> list[int]:
    """Return how many optimizer steps a training is expected to have taken by each epoch's end.

    Each epoch applies what is left of an accumulation at its end, as the Trainer does.

    Args:
        loader: The loader, before its first epoch.
        num_epochs: How many epochs, ``> 0``; may be fractional.
        accumulation_steps: Batches per optimizer step, ``>= 1``.

    Returns:
        One number per epoch, never less than the one before, ``>= 1``.

    Raises:
        TypeError: If the wrapped loader has no length.

    Example:
        >>> import torch
        >>> class SquaredError:
        ...     def loss(self, model, transformed_batch, original_batch):
        ...         return model(original_batch) ** 2
        >>> config = {"beta_value": 1, "loss_history_length": 50,
        ...           "loss_based_sift_config": {"sift_config": {"sift_delay": 4}}}
        >>> loader = SiftingDataloader(config, torch.zeros(100).split(10), None, SquaredError(),
        ...                            torch.nn.Identity())
        >>> expect_update_steps(loader, num_epochs=2.5, accumulation_steps=2)
        [4, 7, 9]
    """
    steps: list[int] = []
    num_before = 0
    for epoch_idx in range(math.ceil(num_epochs)):
        num_batches = loader.expected_len(epoch_idx + 1)
        share = min(1.0, num_epochs - epoch_idx)
        num_steps = math.ceil(share * math.ceil((num_batches - num_before) / accumulation_steps))
        steps.append(max(1, (steps[-1] if steps else 0) + num_steps))
        num_before = num_batches
    return steps


class Pace:
    """Leads a schedule through epochs that have other numbers of steps than expected.

    An epoch begins in the schedule where it was expected to begin, and goes on step by step; if
    it has more steps than expected, the schedule waits for the next epoch. So it never goes back,
    and is off by what one epoch is off, not by the sum.

    Args:
        expected_steps: The expected number of steps by each epoch's end, one per epoch.

    Attributes:
        epoch_idx: Which epoch it is, from 0.
        first_step: The step at which that epoch began.

    Example:
        >>> pace = Pace([4, 8])
        >>> [pace(step) for step in range(6)]
        [0, 1, 2, 3, 4, 4]
        >>> pace.begin_epoch(1, first_step=3)
        >>> [pace(step) for step in range(3, 9)]
        [4, 5, 6, 7, 8, 8]
    """

    def __init__(self, expected_steps: list[int]) -> None:
        self._bounds = [0, *expected_steps]
        self.epoch_idx = 0
        self.first_step = 0

    @property
    def num_steps(self) -> int:
        """How many steps the schedule has, ``>= 1``."""
        return self._bounds[-1]

    def begin_epoch(self, epoch_idx: int, *, first_step: int) -> None:
        """Begin an epoch, or continue it.

        Args:
            epoch_idx: Which one, from 0.
            first_step: How many steps were taken before it began.
        """
        self.epoch_idx = epoch_idx
        self.first_step = first_step

    def __call__(self, step: int) -> int:
        """Return the place in the schedule.

        Args:
            step: How many steps were taken.
        """
        begin, end = (
            self._bounds[min(epoch_idx, len(self._bounds) - 1)]
            for epoch_idx in (self.epoch_idx, self.epoch_idx + 1)
        )
        return min(begin + max(0, step - self.first_step), end)


def set_pace(scheduler: Any, pace: Pace) -> None:
    """Let a schedule go by a pace instead of by steps.

    Args:
        scheduler: A scheduler. Only one by a function of the step is changed (LambdaLR, which
            ``transformers.get_scheduler`` gives for all kinds that are planned ahead).
        pace: Where in the schedule a step is.
    """
    if isinstance(scheduler, LambdaLR):
        scheduler.lr_lambdas = [_paced(factor, pace) for factor in scheduler.lr_lambdas]


def _paced(factor: Callable[[int], float], pace: Pace) -> Callable[[int], float]:
    # A plain function: LambdaLR puts nothing of it into a checkpoint.
    def paced_factor(step: int) -> float:
        return factor(pace(step))

    return paced_factor
