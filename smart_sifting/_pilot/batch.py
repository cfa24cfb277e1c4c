"""One batch of a pilot: sifted as a SiftingDataloader would, and trained on whole.

Shape suffixes in this file: B = samples in the batch.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from smart_sifting._core.accumulator import Accumulator
from smart_sifting._core.batch_scoring import check_transformed
from smart_sifting._core.formats import BatchFormats
from smart_sifting._core.fresh_scorer import NUM_COMPARED, FreshScorer
from smart_sifting._core.layouts import FormattedBatch, copy_containers
from smart_sifting._core.scorer import build_scorer
from smart_sifting._core.scoring import LossImplementation, find_inner_model
from smart_sifting._core.selection import Selector
from smart_sifting._pilot.stopwatch import Stopwatch
from smart_sifting.data_model.data_model_interface import (
    SiftingBatch,
    SiftingBatchTransform,
    take_samples,
)
from smart_sifting.sift_config.sift_configs import Scoring

_BETA = 1.0  # keeps one half: the price of pooling, per kept sample, is hardly another elsewhere
_HISTORY_LENGTH = 500
_MOST_COMPARISONS = 4 * NUM_COMPARED  # there are three methods; of each, so many single samples
_TOO_FEW = "more than 1 value per channel"  # what torch says of a variance of one value


class BatchPilot:
    """Sifts and trains batch by batch under a stopwatch.

    Args:
        model: The model; of a DDP model the inner one is used.
        loss_impl: Gives the losses.
        batch_transforms: Turns batches into a SiftingBatch and back, or None.
        optimizer: Takes a step after each backward, or None.
        formats: How the loader's batches are indexed.
        loader_batch_size: The loader's batch size, if it has one.
        scoring: ``plain`` or ``fresh``.
        stopwatch: Gets ``transform``, ``score``, ``select``, ``pool``, ``forward``, ``backward``
            and ``step``.
    """

    def __init__(
        self,
        *,
        model: torch.nn.Module,
        loss_impl: LossImplementation,
        batch_transforms: SiftingBatchTransform | None,
        optimizer: torch.optim.Optimizer | None,
        formats: BatchFormats,
        loader_batch_size: int | None,
        scoring: Scoring,
        stopwatch: Stopwatch,
    ) -> None:
        self._model = find_inner_model(model)
        self._is_shared = self._model is not model
        self._loss_impl = loss_impl
        self._transforms = batch_transforms
        self._optimizer = optimizer
        self._formats = formats
        self._loader_batch_size = loader_batch_size
        self._stopwatch = stopwatch
        self._scorer = build_scorer(scoring, loss_impl, self._model)
        self._selector = Selector(beta=_BETA, history_length=_HISTORY_LENGTH, seed=0)
        self._pool: Accumulator[Any] = Accumulator()

    @property
    def scoring_method(self) -> str:
        """How the batch sifted last was scored, ``"folded bfloat16 copy"`` for example."""
        return self._scorer.method

    def sift(self, batch: Any) -> tuple[Any, int, int]:
        """Score a batch, select, pool what is kept, and take a batch when the pool is full.

        Args:
            batch: As loaded.

        Returns:
            The transformed batch, how many samples it holds, and how many of them were kept.

        Raises:
            UnsupportedDataFormatException: If samples cannot be taken from the batch.
            ValueError: If there is not one loss per sample.
            TypeError: If the loss is no tensor.
        """
        measure = self._stopwatch.measure
        transformed = batch
        scored = original = copy_containers(batch) if self._transforms is None else batch
        if self._transforms is not None:
            with measure("transform"):
                scored = transformed = self._transforms.transform(batch)
        self._settle_method(scored, original)
        with measure("score"):
            loss_B = self._scorer.score(scored, original)
        num_samples = loss_B.numel()
        with measure("transform"):
            poolable = self._to_poolable(transformed, num_samples)
        with measure("select"):
            selection = self._selector.select(loss_B)
        with measure("pool"):
            if selection.num_kept:
                is_whole = selection.num_kept == num_samples
                kept = poolable if is_whole else take_samples(poolable, selection.kept_positions)
                self._pool.add(kept)
            batch_size = max(self._loader_batch_size or 0, num_samples)
            if self._pool.num_samples >= batch_size:
                self._give(self._pool.take(batch_size))
        return transformed, num_samples, selection.num_kept

    def train(self, transformed: Any, batch: Any, num_samples: int) -> None:
        """Train on the whole batch: forward, backward and, with an optimizer, its step.

        Args:
            transformed: The transformed batch.
            batch: As loaded.
            num_samples: How many samples it holds.

        Raises:
            ValueError: If the losses carry no gradient, or the model needs a larger batch.
        """
        measure = self._stopwatch.measure
        for parameter in self._model.parameters():
            parameter.grad = None
        if self._optimizer is not None:
            with measure("step"):
                self._optimizer.zero_grad()
        torch.clear_autocast_cache()  # scoring left weights there that carry no gradient
        with measure("forward"):
            loss = self._compute_loss(transformed, batch, num_samples)
        self._check_gradient(loss)
        with measure("backward"):
            self._run_backward(loss)
        if self._optimizer is not None:
            with measure("step"):
                self._optimizer.step()
        torch.clear_autocast_cache()

    def set_training(self) -> None:
        """Put the model into train mode; one that is in it stays as it is, frozen layers too."""
        if not self._model.training:
            self._model.train()

    def _settle_method(self, scored: Any, original: Any) -> None:
        """Let methods be compared outside the measured passes, as a training does once."""
        for _ in range(_MOST_COMPARISONS):
            if not (isinstance(self._scorer, FreshScorer) and self._scorer.is_comparing):
                return
            self._scorer.score(scored, original)

    def _to_poolable(self, transformed: Any, num_losses: int) -> FormattedBatch | SiftingBatch:
        if self._transforms is None:
            layout = self._formats.find_layout(
                transformed, num_losses=num_losses, loader_batch_size=self._loader_batch_size
            )
            return FormattedBatch(transformed, layout, num_losses)
        return check_transformed(transformed, num_losses)

    def _give(self, pooled: Any) -> Any:
        return pooled if self._transforms is None else self._transforms.reverse_transform(pooled)

    def _compute_loss(self, transformed: Any, batch: Any, num_samples: int) -> torch.Tensor:
        try:
            return self._loss_impl.loss(self._model, transformed, batch).mean()
        except ValueError as error:
            if num_samples > 1 or not self._takes_batch_statistics() or _TOO_FEW not in str(error):
                raise
            raise ValueError(
                "`orig_dataloader` gave a batch of 1 sample, but the BatchNorm layers of `model` "
                "need 2 samples or more in training. Give a loader of larger batches, with "
                "drop_last if one sample is left over."
            ) from error

    def _takes_batch_statistics(self) -> bool:
        return any(isinstance(m, _BatchNorm) and m.training for m in self._model.modules())

    def _run_backward(self, loss: torch.Tensor) -> None:
        """Compute the gradients; of a DDP model without the hooks by which it counts them."""
        if not self._is_shared:
            loss.backward()  # type: ignore[no-untyped-call]
            return
        parameters = [p for p in self._model.parameters() if p.requires_grad]
        gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient

    def _check_gradient(self, loss: torch.Tensor) -> None:
        if loss.requires_grad:
            return
        if not any(parameter.requires_grad for parameter in self._model.parameters()):
            raise ValueError(
                "`model` has no parameter that requires a gradient, but training, which the pilot "
                "measures, needs one. Unfreeze what is to be trained."
            )
        raise ValueError(
            "`loss_impl.loss` gave losses without a gradient, but the pilot trains with them too. "
            "Compute them without torch.no_grad(), detach() and item(): sifting switches "
            "gradients off by itself."
        )
