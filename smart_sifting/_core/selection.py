"""Which samples of a batch are kept.

Shape suffixes in this file: B = samples in the batch, K = samples kept of them.
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
        kept_positions: Indices of the kept samples, ascending, int64, shape ``(K,)``.
        losses: The losses, float32, shape ``(B,)``.
        probabilities: How likely each sample was to be kept given its percentile, in [0, 1],
            float32, shape ``(B,)``; 1 where the loss is not finite, 0 where the percentile is
            above the cut. The percentile of a loss that others equal is itself drawn, so that
            here equal losses have different probabilities: that of keeping such a loss, before
            its percentile was drawn, is their mean over all positions between its equals.
        num_nonfinite: How many losses were NaN or infinite; those samples are kept.
    """

    is_kept: torch.Tensor
    kept_positions: torch.Tensor
    losses: torch.Tensor
    probabilities: torch.Tensor
    num_nonfinite: int

    @property
    def num_kept(self) -> int:
        """How many samples are kept."""
        return self.kept_positions.numel()

    @property
    def kept_idx(self) -> list[int]:
        """Indices of the kept samples, ascending."""
        idx: list[int] = self.kept_positions.tolist()
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
        max_percentile: The cut: samples of a higher percentile, in (0, 1], are dropped too, whose
            labels may be wrong. At 1 none are. The same samples are drawn with and without.

    Example:
        >>> selector = Selector(beta=1e-9, history_length=4, seed=0)
        >>> selector.select(torch.tensor([0.5, 0.1, 0.9])).kept_idx
        [0, 1, 2]
        >>> selector = Selector(beta=1e-9, history_length=4, seed=0, max_percentile=0.6)
        >>> selector.select(torch.tensor([0.5, 0.1, 0.9])).kept_idx
        [0, 1]
    """

    def __init__(
        self, *, beta: float, history_length: int, seed: int, max_percentile: float = 1.0
    ) -> None:
        self._beta = beta
        self._max_percentile = max_percentile
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

        Waits for the losses' device once, to fetch them: the rest is a few short steps on the
        CPU, which then knows the outcome without asking again. A sample whose loss is NaN or
        infinite is kept; its loss does not enter the history.

        Args:
            loss_B: Per-sample losses, shape ``(B,)`` with ``B >= 1``, float32, any device.

        Returns:
            The selection.
        """
        # Not the very tensor: `loss_impl` may write the losses of the next batch into it.
        loss_B = loss_B.cpu() if loss_B.device.type != "cpu" else loss_B.clone()
        finite = self.history.push(loss_B)
        sorted_H, num_losses = self.history.reference(finite, batch_size=loss_B.numel())
        shape = (2, loss_B.numel())
        draw_2B = torch.rand(shape, generator=self.generator, dtype=torch.float32, device="cpu")
        position_B, threshold_B = draw_2B.unbind()
        position_B = torch.rsub(position_B, 1)  # from [0, 1) to (0, 1]
        percentile_B = percentile(loss_B, sorted_H, num_losses, position_B)
        probability_B = keep_probability(percentile_B, beta=self._beta)
        if self._max_percentile < 1:
            probability_B = probability_B.masked_fill(percentile_B > self._max_percentile, 0.0)
        if finite is not loss_B:
            probability_B = probability_B.masked_fill(~loss_B.isfinite(), 1.0)
        is_kept_B = threshold_B < probability_B  # never at 0 and always at 1: thresholds are < 1
        return Selection(
            is_kept=is_kept_B,
            kept_positions=is_kept_B.nonzero().view(-1),
            losses=loss_B,
            probabilities=probability_B,
            num_nonfinite=loss_B.numel() - finite.numel(),
        )
