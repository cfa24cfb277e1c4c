"""Which batches are sifted: after the delay, before the last epochs, and as long as it pays."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch

from smart_sifting._core.spare_watch import PROBE_EVERY, SPARE_SHARE, SpareWatch
from smart_sifting._core.wrapped_loader import WrappedLoader
from smart_sifting.sift_config.sift_configs import AUTO, SiftingBaseConfig

_HALF_A_BATCH = 0.5
_FEW_BATCHES = 0.2


class SiftingSchedule:
    """Says for each batch that is about to be yielded whether it passes unsifted.

    Args:
        config: When sifting starts and ends.
        beta: Selectivity.

    Attributes:
        num_steps: Batches yielded so far.
        num_steps_in_epoch: Those of the epoch under way.
        is_switched_off: Whether sifting was found not to pay.
        has_started: Whether the losses have said that sifting may start, with ``"auto"``.

    Example:
        >>> schedule = SiftingSchedule(SiftingBaseConfig(sift_delay=1), beta=1)
        >>> schedule.begin_epoch(0)
        >>> schedule.is_passing
        True
        >>> schedule.count_step()
        >>> schedule.is_passing
        False
    """

    def __init__(self, config: SiftingBaseConfig, *, beta: float) -> None:
        self.num_steps = 0
        self.num_steps_in_epoch = 0
        self.is_switched_off = False
        self.has_started = config.sift_delay != AUTO
        self.spare: SpareWatch | None = None
        if not self.has_started:
            self.spare = SpareWatch(beta)
        self._config = config
        self._epoch = 0
        self._has_feedback = False

    @property
    def is_over(self) -> bool:
        """Whether nothing is sifted from here on, for as long as anyone knows."""
        first = self._config.first_unsifted_epoch
        return self.is_switched_off or (first is not None and self._epoch >= first)

    @property
    def is_passing(self) -> bool:
        """Whether the next batch passes unsifted."""
        if self.is_over or not self.has_started:
            return True
        is_repeated = self._config.repeat_delay_per_epoch
        return (self.num_steps_in_epoch if is_repeated else self.num_steps) < self._delay

    @property
    def needs_probe(self) -> bool:
        """Whether the next batch, though it passes, is to be scored to look at its losses."""
        is_waiting = self.spare is not None and not self.has_started and not self.is_over
        is_due = self.num_steps % PROBE_EVERY == PROBE_EVERY - 1
        return is_waiting and not self._has_feedback and is_due

    @property
    def is_untold(self) -> bool:
        """Whether it is to be said, once, that the training loop tells no losses."""
        return self.num_steps == PROBE_EVERY and not self._has_feedback

    @property
    def wants_to_start(self) -> bool:
        """Whether the losses say that sifting may start; always where they are not asked."""
        return self.has_started or (self.spare is not None and self.spare.may_start)

    def describe(self) -> str:
        """Return in a few words whether batches are sifted, and if not, why."""
        if self.is_switched_off:
            return "switched off, as it would not save time"
        if self.is_over:
            return "over: the last epochs pass unsifted"
        if not self.has_started and self.spare is not None:
            if self.spare.num_looks == 0:
                return "waiting for the first losses"
            return (
                "waiting, as the samples that would be dropped carry "
                f"{100 * self.spare.share:.0f} % of the loss; it starts at "
                f"{100 * SPARE_SHARE:.0f} %"
            )
        return "waiting for the end of its delay" if self.is_passing else "on"

    def see_losses(self, loss_B: torch.Tensor, *, is_feedback: bool) -> None:
        """Look at the losses of a batch, while sifting waits for its start.

        Args:
            loss_B: Per-sample losses, shape ``(B,)``, float32, any device.
            is_feedback: Whether the training loop told them.
        """
        self._has_feedback = self._has_feedback or is_feedback
        if self.spare is not None and not self.has_started:
            self.spare.see(loss_B)

    def begin_epoch(self, epoch: int) -> None:
        """Begin an epoch.

        Args:
            epoch: Counted from 0.
        """
        self._epoch = epoch
        self.num_steps_in_epoch = 0

    def count_step(self) -> None:
        """Count a batch that was yielded."""
        self.num_steps += 1
        self.num_steps_in_epoch += 1

    def expected_num_steps(
        self, num_epochs: int, *, wrapped: WrappedLoader, kept_fraction: float, num_ranks: int
    ) -> int:
        """Return how many batches the next epochs are expected to have together.

        Args:
            num_epochs: How many epochs, ``>= 0``.
            wrapped: The loader that is gone over.
            kept_fraction: The expected share of the samples that are kept once sifting started.
            num_ranks: How many processes train.

        Returns:
            The number of batches. With ``"auto"`` nothing is expected to be sifted before sifting
            has started.

        Raises:
            TypeError: If the loader has no length.
        """
        num_full = len(wrapped.loader)
        num_delayed, num_passed_in_all = self._delay - self.num_steps, 0
        num_sifted = 0.0
        first_unsifted = self._config.first_unsifted_epoch
        next_epoch = self._epoch + 1 if self.num_steps else 0
        for epoch in range(next_epoch, next_epoch + num_epochs):
            if self._config.repeat_delay_per_epoch:
                num_delayed = self._delay
            is_unsifted = self.is_switched_off or not self.has_started
            if is_unsifted or (first_unsifted is not None and epoch >= first_unsifted):
                num_passed = num_full
            else:
                num_passed = min(num_full, max(0, num_delayed))
            num_passed_in_all += num_passed
            num_delayed -= num_passed
            num_sifted += _expect_sifted(
                wrapped, num_full - num_passed, kept_fraction, num_ranks=num_ranks
            )
        if num_ranks > 1:
            num_sifted = max(0.0, num_sifted - _HALF_A_BATCH)
        return num_passed_in_all + math.ceil(num_sifted - 1e-9)

    def state_dict(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return {
            "num_steps": self.num_steps,
            "num_steps_in_epoch": self.num_steps_in_epoch,
            "epoch": self._epoch,
            "is_switched_off": self.is_switched_off,
            "has_started": self.has_started,
            "has_feedback": self._has_feedback,
            "spare": None if self.spare is None else self.spare.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what :meth:`state_dict` returned."""
        self.num_steps = state["num_steps"]
        self.num_steps_in_epoch = state["num_steps_in_epoch"]
        self._epoch = state["epoch"]
        self.is_switched_off = state["is_switched_off"]
        self._has_feedback = state["has_feedback"]
        if self.spare is not None and state["spare"] is not None:
            self.has_started = state["has_started"]
            self.spare.load_state_dict(state["spare"])

    @property
    def _delay(self) -> int:
        delay = self._config.sift_delay
        return 0 if isinstance(delay, str) else delay


def _expect_sifted(
    wrapped: WrappedLoader, num_batches: int, kept_fraction: float, *, num_ranks: int
) -> float:
    """Return the expected number of sifted batches of one epoch.

    How full the last one gets is as good as uniform, so that a partial batch that is yielded
    counts as half a batch more than its samples, one that is dropped as half a batch less.
    """
    num_kept = num_batches * kept_fraction
    if num_ranks > 1:
        return num_kept
    size = wrapped.batch_size or 1_000_000
    num_samples = num_batches * size
    spread = math.sqrt(num_samples * kept_fraction * (1 - kept_fraction)) / size
    is_uniform = spread > _FEW_BATCHES and num_kept >= 1
    if wrapped.drops_last:
        return num_kept - _HALF_A_BATCH if is_uniform else math.floor(num_kept)
    return num_kept + _HALF_A_BATCH * (1 - 1 / size) if is_uniform else math.ceil(num_kept)
