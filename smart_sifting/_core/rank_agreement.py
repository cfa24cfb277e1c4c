"""Whether two ways to score put the samples in the same order.

Shape suffixes in this file: N = samples.
"""

from __future__ import annotations

import math

import torch

MIN_AGREEMENT = 0.99
"""Spearman's rank correlation from which on two orders count as the same."""

_MIN_FINITE = 16
_TRIMMED_SHARE = 0.98
_EQUAL_TO_SMALLEST = 1e-3
_PRACTICALLY_EQUAL = 0.01


def spearman(first_N: torch.Tensor, second_N: torch.Tensor) -> float:
    """Return Spearman's rank correlation, equal values at the middle of their ranks.

    Args:
        first_N: Finite values, shape ``(N,)``.
        second_N: Others of the same samples, shape ``(N,)``.

    Returns:
        -1 to 1; NaN if all values of one side are equal.

    Example:
        >>> spearman(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([5.0, 7.0, 90.0]))
        1.0
    """
    first_N, second_N = (_middle_ranks(values_N) for values_N in (first_N, second_N))
    first_N, second_N = first_N - first_N.mean(), second_N - second_N.mean()
    scale = float(first_N.norm() * second_N.norm())
    return round(float(first_N @ second_N) / scale, 12) if scale > 0 else math.nan


def judge_losses(plain_N: torch.Tensor, other_N: torch.Tensor) -> bool | None:
    """Return whether losses rank like the plain ones.

    Samples whose plain loss is not finite are left out, but must not be finite in the other
    losses either. Losses within a thousandth of the mean above the smallest count as equal to it:
    their order is rounding noise in any precision, and most losses of a network that has learnt
    its data are such. (The largest two per cent do not enter the mean.)

    Args:
        plain_N: Losses as the model itself gives them, shape ``(N,)``.
        other_N: Those of the same samples from elsewhere, shape ``(N,)``.

    Returns:
        Whether they agree; None if that cannot be said, because too few plain losses are finite
        or all are within about one per cent of their mean.

    Example:
        >>> losses_N = torch.linspace(1, 2, 100)
        >>> judge_losses(losses_N, losses_N * 1.001), judge_losses(losses_N, -losses_N)
        (True, False)
    """
    is_finite_N = plain_N.isfinite()
    if not torch.equal(is_finite_N, other_N.isfinite()):
        return False
    plain_N, other_N = plain_N[is_finite_N].double(), other_N[is_finite_N].double()
    if plain_N.numel() < _MIN_FINITE:
        return None
    smallest = plain_N.min()
    mean = plain_N.sort().values[: math.ceil(_TRIMMED_SHARE * plain_N.numel())].mean()
    floor = smallest + _EQUAL_TO_SMALLEST * (mean - smallest)
    if spearman(plain_N.clamp(min=floor), other_N.clamp(min=floor)) >= MIN_AGREEMENT:
        return True
    is_spread = bool(plain_N.std() > _PRACTICALLY_EQUAL * plain_N.abs().mean())
    return False if is_spread else None


def _middle_ranks(values_N: torch.Tensor) -> torch.Tensor:
    """Return ranks from 0, shape ``(N,)``, float64."""
    _, group_N, counts = torch.unique(values_N, return_inverse=True, return_counts=True)
    counts = counts.double()
    rank_N: torch.Tensor = (counts.cumsum(0) - (counts + 1) / 2)[group_N]
    return rank_N
