"""Which samples of a batch are kept.

Shape suffixes in this file: B = samples in the batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from smart_sifting._core.loss_history import LossHistory
from smart_sifting._core.relative_probability import keep_probability, percentile


@dataclass(frozen=True, slots=True)
class Selection:
    """Which samples of one batch are kept, on the CPU.

    Attributes:
        is_kept: Whether each sample is kept, bool, shape ``(B,)``.
        losses: The losses, float32, shape ``(B,)``.
        num_nonfinite: How many losses were NaN or infinite; those samples are kept.
    """

    is_kept: torch.Tensor
    losses: torch.Tensor
    num_nonfinite: int

    @property
    def kept_idx(self) -> list[int]:
        """Indices of the kept samples, ascending."""
        idx: list[int] = self.is_kept.nonzero().flatten().tolist()
        return idx

    @property
    def sifted_out_idx(self) -> list[int]:
        """Indices of the sifted-out samples, ascending."""
        idx: list[int] = (~self.is_kept).nonzero().flatten().tolist()
        return idx


class Selector:
    """Draws which samples are kept, against a history of losses.

    Args:
        beta: Selectivity, positive and finite.
        history_length: How many losses the history remembers, ``>= 1``.
        seed: Seed of the selector's own generator; the global one is never used.

    Example:
        >>> selector = Selector(beta=1e-9, history_length=4, seed=0)
        >>> selector.select(torch.tensor([0.5, 0.1, 0.9])).kept_idx
        [0, 1, 2]
    """

    def __init__(self, *, beta: float, history_length: int, seed: int) -> None:
        self._beta = beta
        self.history = LossHistory(history_length)
        self.generator = torch.Generator("cpu")
        self.seed(seed)

    def seed(self, seed: int) -> None:
        """Seed the generator.

        Args:
            seed: Any whole number. What is drawn has nothing to do with what the global random
                state gives after the same seed, of which the user's data may be made.
        """
        mixed = (seed * 0x9E3779B97F4A7C15 + 0xD1B54A32D192ED03) % 2**64  # a bijection
        self.generator.manual_seed(mixed)

    def select(self, loss_B: torch.Tensor) -> Selection:
        """Enter a batch's losses into the history and draw which samples are kept.

        Waits for the losses' device once. A sample whose loss is NaN or infinite is kept; its
        loss does not enter the history.

        Args:
            loss_B: Per-sample losses, shape ``(B,)`` with ``B >= 1``, float32, any device.

        Returns:
            The selection.
        """
        self.history.push(loss_B)
        history_H, num_losses = self.history.reference(loss_B)
        shape = (2, loss_B.numel())
        draw_2B = torch.rand(shape, generator=self.generator, dtype=torch.float32, device="cpu")
        draw_2B = draw_2B.to(loss_B.device, non_blocking=True)
        percentile_B = percentile(loss_B, history_H, num_losses, 1 - draw_2B[0])
        is_finite_B = loss_B.isfinite()
        is_kept_B = draw_2B[1] < keep_probability(percentile_B, beta=self._beta)
        is_kept_B = is_kept_B | ~is_finite_B
        result_3B = torch.stack([is_kept_B.float(), is_finite_B.float(), loss_B]).cpu()
        return Selection(
            is_kept=result_3B[0].bool(),
            losses=result_3B[2],
            num_nonfinite=int((result_3B[1] == 0).sum()),
        )
