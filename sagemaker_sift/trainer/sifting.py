"""Smart sifting of the training batches, and what it did.

Shape suffixes in this file: B = samples in the batch, C = channels, H = height, W = width.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import nn

from sagemaker_sift.contract.hyperparameters import Hyperparameters
from sagemaker_sift.contract.sifting_report import SiftingReport
from sagemaker_sift.trainer.data.loader import Batch, BatchLoader
from sagemaker_sift.trainer.data.order import build_generator
from sagemaker_sift.trainer.loop import to_input
from sagemaker_sift.trainer.objective import Objective
from sagemaker_sift.trainer.precision import Precision
from sagemaker_sift.trainer.trainee import Trainee
from smart_sifting import SiftingStatistics
from smart_sifting.data_model.data_model_interface import SiftingBatch, SiftingBatchTransform
from smart_sifting.data_model.tensor_batch import TensorBatch
from smart_sifting.dataloader.sift_dataloader import SiftingDataloader
from smart_sifting.loss.abstract_sift_loss_module import Loss
from smart_sifting.sift_config.sift_configs import (
    LossConfig,
    RelativeProbabilisticSiftConfig,
    Scoring,
    SiftingBaseConfig,
    Weighting,
)

_LOG = logging.getLogger(__name__)


class LossPerSample(Loss):
    """The loss of each sample, as training minimises it.

    Args:
        objective: What training minimises.
        precision: Of the forward pass.
    """

    def __init__(self, objective: Objective, precision: Precision) -> None:
        super().__init__()
        self._objective = objective
        self._precision = precision

    def loss(
        self, model: nn.Module, transformed_batch: Any, original_batch: Any = None
    ) -> torch.Tensor:
        """Return the losses in nats, shape ``(B,)``, float32.

        Args:
            model: The network.
            transformed_batch: Images and labels as a ``TensorBatch``.
            original_batch: Not read.
        """
        with self._precision.autocast():
            logits_BK = model(to_input(transformed_batch.inputs))
        return self._objective.losses(logits_BK, transformed_batch.labels)


class ImageBatchTransform(SiftingBatchTransform):
    """Between the trainer's :class:`Batch` and the library's ``TensorBatch``; no copy is made."""

    def transform(self, batch: Batch) -> SiftingBatch:
        """Return the batch for sifting."""
        return TensorBatch(batch.images, batch.labels)

    def reverse_transform(self, sifting_batch: Any) -> Batch:
        """Return the kept samples for training."""
        return Batch(sifting_batch.inputs, sifting_batch.labels)


class SiftedLoader:
    """The training loader behind sifting: the same batches, less the samples of low loss.

    Images stay uint8 while they wait for their batch to fill.
    """

    def __init__(
        self,
        loader: BatchLoader,
        trainee: Trainee,
        hyperparameters: Hyperparameters,
    ) -> None:
        hp = hyperparameters
        self._beta = hp.beta
        self._is_weighted = hp.weighting != "none"
        self._ranks = trainee.ranks
        self._status = ""
        has_ids = loader.has_sample_ids
        if hp.scoring == "last_visit" and not has_ids:
            _LOG.warning(
                "scoring is last_visit, but images from a pipe have no number by which they could "
                "be known again: this job scores fresh."
            )
        self._loader = SiftingDataloader(
            sift_config=build_sift_config(hp),
            orig_dataloader=loader,
            batch_transforms=ImageBatchTransform(),
            loss_impl=LossPerSample(trainee.objective, trainee.precision),
            model=trainee.model,
            log_batch_data=hp.log_batch_data,
            batch_format_index=1,
            seed=build_generator(hp.seed, "sifting").initial_seed(),
            process_group=trainee.ranks.group,
            scoring=cast(Scoring, hp.scoring) if has_ids or hp.scoring == "plain" else "fresh",
            max_score_age=hp.max_score_age,
            sample_ids=lambda _: loader.sample_ids,
            stop_if_slower=hp.stop_if_slower,
        )

    def __iter__(self) -> Iterator[Batch]:
        yield from self._loader

    @property
    def statistics(self) -> SiftingStatistics:
        """What this process has seen, kept and sifted out so far."""
        return self._loader.statistics

    @property
    def num_seen(self) -> int:
        """Samples presented in the current or last epoch."""
        return int(self._loader.statistics.epoch.samples_seen)

    @property
    def num_kept(self) -> int:
        """Samples kept for training in the current or last epoch."""
        return int(self._loader.statistics.epoch.samples_kept)

    @property
    def weights(self) -> torch.Tensor | None:
        """Weights of the samples of the batch handed out last, shape ``(B,)``; None is 1."""
        return self._loader.weights if self._is_weighted else None

    def record_losses(self, losses_B: torch.Tensor) -> None:
        """Take what the batch handed out last lost in training, shape ``(B,)``, float32."""
        self._loader.record_losses(losses_B)

    def log_status(self) -> None:
        """Log whether samples are sifted out, and why not, if that has changed."""
        if self._loader.status != self._status:
            self._status = self._loader.status
            _LOG.info("Sifting: %s", self._status)

    @property
    def state_version(self) -> int:
        """The version of what :meth:`state_dict` returns; no other one can be loaded."""
        return int(self._loader.state_dict()["version"])

    def state_dict(self) -> dict[str, Any]:
        """Return history, generator and counters."""
        return dict(self._loader.state_dict())

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what :meth:`state_dict` returned."""
        self._loader.load_state_dict(state)

    def report(self) -> SiftingReport | None:
        """Return the totals of the job for ``sifting.json``, on the first rank; else ``None``.

        Samples are those of all ranks; batches and seconds, which all ranks spend alike, those of
        the first.
        """
        own = self._loader.statistics
        found = self._ranks.gather(
            (own.samples_seen, own.samples_kept, own.samples_scored, own.samples_scored_kept)
        )
        if not found:
            return None
        seen, kept, scored, scored_kept = (sum(counts) for counts in zip(*found, strict=True))
        return SiftingReport(
            beta_value=self._beta,
            status=self._loader.status,
            samples_seen=seen,
            samples_kept=kept,
            samples_scored=scored,
            samples_scored_kept=scored_kept,
            batches_presented=own.num_batches_loaded,
            batches_trained=own.num_batches,
            seconds=dict(own.seconds),
        )


def build_sift_config(hyperparameters: Hyperparameters) -> RelativeProbabilisticSiftConfig:
    """Return the library's configuration of a job.

    Args:
        hyperparameters: Of the job. Without ``sift_delay`` the losses say when sifting starts.
    """
    hp = hyperparameters
    return RelativeProbabilisticSiftConfig(
        beta_value=hp.beta,
        loss_history_length=hp.loss_history_length,
        loss_based_sift_config=LossConfig(
            sift_config=SiftingBaseConfig(
                sift_delay="auto" if hp.sift_delay is None else hp.sift_delay,
                repeat_delay_per_epoch=hp.repeat_delay_per_epoch,
                unsifted_share=hp.unsifted_share,
                num_epochs=hp.epochs,
            )
        ),
        max_percentile=hp.max_percentile,
        weighting=cast(Weighting, hp.weighting),
    )
