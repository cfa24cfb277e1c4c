"""Whether there is anything to spare yet: how much of the loss sifting would drop.

Shape suffixes in this file: B = samples in the batch, N = losses that are looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

SPARE_SHARE = 0.1
"""Sifting starts when the samples that it would drop carry at most this share of the loss."""

MIN_WINDOW_BATCHES = 16
MIN_WINDOW_LOSSES = 1024
"""How many of the latest losses are looked at together, at least."""

PROBE_EVERY = 32
"""Of the batches of a loop that tells no losses, every so manieth is scored to look at them."""


class SpareWatch:
    """Says when sifting may start: once what it would drop carries hardly any loss.

    A sample of percentile ``q`` is dropped with probability ``1 - q ** beta``. Among the latest
    losses, the share of their sum that would so be dropped is expected to be
    ``sum(loss * (1 - q ** beta)) / sum(loss)``: a third if losses are spread evenly and
    ``beta=1``, a quarter if they are exponentially distributed, next to nothing once many samples
    are near zero. Sifting may start when two looks in a row see at most ``SPARE_SHARE``. The rule
    is ours; it needs no scale of what a loss is.

    Losses stay on their device, which is waited for once in sixteen batches.

    Args:
        beta: Selectivity, positive and finite.

    Attributes:
        share: What the latest look saw, in [0, 1].
        num_looks: How many looks there were.
        may_start: Whether sifting may start; once it may, it may for good.

    Example:
        >>> watch = SpareWatch(beta=1)
        >>> for _ in range(2 * MIN_WINDOW_BATCHES):
        ...     watch.see(torch.tensor([0.001, 0.001, 0.001, 2.0] * 16))
        >>> round(watch.share, 3), watch.may_start
        (0.126, False)
    """

    def __init__(self, beta: float) -> None:
        self.share = 1.0
        self.num_looks = 0
        self.may_start = False
        self._beta = beta
        self._num_losses = 0
        self._losses: list[torch.Tensor] = []

    def see(self, loss_B: torch.Tensor) -> None:
        """Look at the losses of a batch.

        Args:
            loss_B: Per-sample losses, shape ``(B,)``, float32, any device. NaN, infinite and
                negative ones count as 0.
        """
        if self.may_start or not loss_B.numel():
            return
        self._losses.append(loss_B.clone())  # the loop may write into its own
        self._num_losses += loss_B.numel()
        if len(self._losses) >= MIN_WINDOW_BATCHES and self._num_losses >= MIN_WINDOW_LOSSES:
            self.num_looks += 1
            was_low = self.share <= SPARE_SHARE
            loss_N = torch.cat([earlier_B.to(loss_B.device) for earlier_B in self._losses])
            self.share = expected_dropped_share(loss_N, self._beta)
            self.may_start = was_low and self.share <= SPARE_SHARE
            self._losses, self._num_losses = [], 0

    def state_dict(self) -> dict[str, Any]:
        """Return everything as plain numbers and a tensor."""
        return {
            "share": self.share,
            "num_looks": self.num_looks,
            "may_start": self.may_start,
            "losses": [loss_B.cpu() for loss_B in self._losses],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what :meth:`state_dict` returned."""
        self.share = state["share"]
        self.num_looks = state["num_looks"]
        self.may_start = state["may_start"]
        self._losses = [loss_B.cpu() for loss_B in state["losses"]]
        self._num_losses = sum(loss_B.numel() for loss_B in self._losses)


def expected_dropped_share(loss_N: torch.Tensor, beta: float) -> float:
    """Return the share of the sum of losses that sifting among them is expected to drop.

    Args:
        loss_N: Losses, shape ``(N,)``, float32, any device; NaN, infinite and negative ones count
            as 0.
        beta: Selectivity, positive and finite.

    Returns:
        In [0, 1]; 1 if all losses are 0, so that nothing says what matters.

    Example:
        >>> round(expected_dropped_share(torch.linspace(0, 1, 1001), beta=1), 2)
        0.33
    """
    loss_N = torch.nan_to_num(loss_N.cpu(), nan=0.0, posinf=0.0, neginf=0.0).clamp(min=0)
    sorted_N = loss_N.sort().values.double()
    count = sorted_N.numel()
    percentile_N = (torch.arange(count, device="cpu") + 0.5) / count
    dropped = (sorted_N * (1 - percentile_N**beta)).sum()
    total, dropped_sum = torch.stack([sorted_N.sum(), dropped]).tolist()
    return dropped_sum / total if total else 1.0
