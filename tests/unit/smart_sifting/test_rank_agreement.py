from __future__ import annotations

import math

import pytest
import torch

from smart_sifting._core.rank_agreement import judge_losses, spearman


def losses(seed: int = 0, size: int = 200) -> torch.Tensor:
    return torch.rand(size, generator=torch.Generator().manual_seed(seed)) ** 3


def test_spearman_knows_ties_by_their_middle_rank() -> None:
    # Ranks 1, 2.5, 2.5, 4 against 1, 3, 2, 4: 4.5 / sqrt(4.5 * 5).
    first, second = torch.tensor([0.0, 1.0, 1.0, 9.0]), torch.tensor([3.0, 5.0, 4.0, 8.0])
    assert spearman(first, second) == pytest.approx(4.5 / math.sqrt(22.5))
    assert spearman(first, -first) == pytest.approx(-1)
    assert math.isnan(spearman(torch.ones(3), first[:3]))


def test_a_slightly_different_order_is_the_same_and_an_unrelated_one_is_not() -> None:
    assert judge_losses(losses(), losses() * 1.01 + 0.001 * losses(1))
    assert judge_losses(losses(), losses() + 0.3 * losses(1)) is False
    assert judge_losses(losses(), losses(1)) is False


def test_what_is_not_finite_must_not_be_so_in_both() -> None:
    plain, other = losses(), losses()
    plain[3] = math.nan
    assert judge_losses(plain, other) is False
    other[3] = math.inf
    assert judge_losses(plain, other)
    other[4] = math.inf
    assert judge_losses(plain, other) is False


def test_what_cannot_be_judged() -> None:
    assert judge_losses(torch.full((200,), 2.3), torch.full((200,), 2.3)) is None
    nearly_equal = 2.3 + 1e-3 * losses()
    assert judge_losses(nearly_equal, nearly_equal.flip(0)) is None
    assert judge_losses(torch.full((200,), math.nan), torch.full((200,), math.nan)) is None


def test_the_order_of_losses_that_are_practically_nothing_does_not_count() -> None:
    plain, other = losses(), losses()
    plain[50:] = 1e-7 * losses()[50:]
    other[50:] = 1e-7 * losses(1)[50:]
    assert spearman(plain, other) < 0.7
    assert judge_losses(plain, other)
