"""Where losses come from: a forward pass of some kind, or the sample's last visit.

Shape suffixes in this file: B = samples in the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch

from smart_sifting._core.fresh_scorer import FreshScorer
from smart_sifting._core.scoring import LossImplementation, score_batch
from smart_sifting._core.visit_losses import VisitLosses
from smart_sifting.sift_config.sift_configs import Scoring

PAD_TO = 16
"""Samples that are scored on their own are filled up to a multiple of this: kernels are made for
each batch size anew, which costs more than the few rows."""


class Scorer(Protocol):
    """Gives the losses of a batch by a forward pass."""

    @property
    def method(self) -> str:
        """In a few words how the pass is made."""

    def score(self, transformed_batch: Any, original_batch: Any) -> torch.Tensor:
        """Return the losses, shape ``(B,)``, float32."""

    def state_dict(self) -> dict[str, Any]:
        """Return what the next pass depends on besides the model, as plain values."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what :meth:`state_dict` returned."""


class PlainScorer:
    """A forward pass of the model itself, in eval mode.

    Args:
        loss_impl: Gives the losses.
        model: The model to score with.
    """

    method = "plain"

    def __init__(self, loss_impl: LossImplementation, model: torch.nn.Module) -> None:
        self._loss_impl = loss_impl
        self._model = model

    def score(self, transformed_batch: Any, original_batch: Any) -> torch.Tensor:
        """Return the losses, shape ``(B,)``, float32."""
        return score_batch(self._loss_impl, self._model, transformed_batch, original_batch)

    def state_dict(self) -> dict[str, Any]:
        """Return nothing: only the model counts."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take nothing."""


def build_scorer(
    scoring: Scoring, loss_impl: LossImplementation, model: torch.nn.Module
) -> Scorer:
    """Return what makes the forward passes.

    Args:
        scoring: ``plain`` scores with the model as it is; the others with the cheapest copy of it
            that ranks losses alike.
        loss_impl: Gives the losses.
        model: The model to score with.
    """
    if scoring == "plain":
        return PlainScorer(loss_impl, model)
    return FreshScorer(loss_impl, model)


def score_unknown(
    visits: VisitLosses,
    id_B: torch.Tensor,
    *,
    epoch: int,
    score: Callable[[list[int] | None], torch.Tensor],
) -> tuple[torch.Tensor, int]:
    """Return the losses of a batch, those of the last visit where they are recent enough.

    Args:
        visits: Losses by sample id; gets what is scored.
        id_B: Sample ids, shape ``(B,)``, int64, on the CPU.
        epoch: The epoch under way, counted from 0.
        score: Scores the samples at the given indices, which may occur more than once; with None
            the whole batch.

    Returns:
        Losses, shape ``(B,)``, float32, and how many samples were scored for it.

    Raises:
        ValueError: If there are more or fewer losses than samples.
    """
    unknown_idx = (~visits.is_known(id_B, epoch=epoch)).nonzero().flatten()
    num_unknown, num_samples = unknown_idx.numel(), id_B.numel()
    if num_unknown:
        num_padded = min(num_samples, -(-num_unknown // PAD_TO) * PAD_TO)
        if num_padded == num_samples:
            loss_B = score(None)
            unknown_idx, num_unknown = torch.arange(num_samples, device="cpu"), num_samples
        else:
            repeats = unknown_idx.repeat(-(-num_padded // num_unknown))[:num_padded]
            loss_B = score(repeats.tolist())
        if loss_B.numel() != num_padded:
            raise ValueError(
                f"`loss_impl.loss` returned {loss_B.numel()} loss(es) for {num_padded} samples, "
                "but must return one per sample: create the loss function with reduction='none'."
            )
        visits.record(id_B[unknown_idx], loss_B[:num_unknown], epoch=epoch)
    return visits.look_up(id_B), num_unknown
