"""How likely a sample is to be kept, from its loss among recent losses.

Source: Jiang et al. 2019, "Accelerating Deep Learning by Focusing on the Biggest Losers",
https://arxiv.org/abs/1910.00762; the published kept percentages equal ``1 / (1 + beta)``.

Shape suffixes in this file: B = samples in the batch, H = places in the loss history.
"""

from __future__ import annotations

import torch


def percentile(
    loss_B: torch.Tensor,
    sorted_H: torch.Tensor,
    num_losses: torch.Tensor | int,
    position_B: torch.Tensor,
) -> torch.Tensor:
    """Return where each loss stands among recent losses, ties resolved at random.

    The percentile lies between the share of losses strictly below and the share not above; where
    between the two is ``position_B``. With uniform positions the percentile of a loss that is
    itself in the history is uniform on (0, 1], however many losses are equal.

    Args:
        loss_B: Finite per-sample losses, shape ``(B,)``, float32.
        sorted_H: Recent losses, ascending, shape ``(H,)``, float32, same device; unused places
            hold +inf.
        num_losses: How many places are used, ``>= 1``; a number or a 0-d tensor.
        position_B: Positions between the two shares, in ``[0, 1]``, shape ``(B,)``, float32.

    Returns:
        Percentiles in ``[0, 1]``, shape ``(B,)``, float32, on ``loss_B``'s device.

    Example:
        >>> history = torch.tensor([1.0, 2.0, 2.0, 4.0])
        >>> percentile(torch.tensor([2.0, 4.0]), history, 4, torch.tensor([0.5, 1.0]))
        tensor([0.5000, 1.0000])
    """
    num_below_B = torch.searchsorted(sorted_H, loss_B, right=False)
    num_not_above_B = torch.searchsorted(sorted_H, loss_B, right=True)
    rank_B = position_B * (num_not_above_B - num_below_B)
    return rank_B.add_(num_below_B).div_(num_losses)


def keep_probability(percentile_B: torch.Tensor, *, beta: float) -> torch.Tensor:
    """Return the probability of keeping each sample: ``percentile ** beta``.

    With uniform percentiles the expected kept fraction is ``1 / (1 + beta)``.

    Args:
        percentile_B: Percentiles in ``[0, 1]``, shape ``(B,)``, float32.
        beta: Selectivity, ``> 0``. Larger keeps fewer.

    Returns:
        Probabilities in ``[0, 1]``, shape ``(B,)``, float32.

    Example:
        >>> keep_probability(torch.tensor([0.0, 0.5, 1.0]), beta=2.0)
        tensor([0.0000, 0.2500, 1.0000])
    """
    return percentile_B.pow(beta)


def mean_keep_probability(beta: float, *, max_percentile: float = 1.0) -> float:
    """Return the expected kept fraction: ``max_percentile ** (1 + beta) / (1 + beta)``.

    It is the mean of ``percentile ** beta`` over uniform percentiles, those above the cut as 0.

    Args:
        beta: Selectivity, positive and finite.
        max_percentile: Samples of a higher percentile are dropped, in (0, 1].

    Returns:
        A number in (0, 1).

    Example:
        >>> mean_keep_probability(1), mean_keep_probability(1, max_percentile=0.5)
        (0.5, 0.125)
    """
    kept: float = max_percentile ** (1 + beta) / (1 + beta)
    return kept
