"""From a loaded batch to its samples, in a form that can be pooled, and their losses.

Shape suffixes in this file: B = samples in the batch.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch

from smart_sifting._core import log_lines
from smart_sifting._core.cost_watch import CostWatch
from smart_sifting._core.formats import BatchFormats, raise_wrong_number
from smart_sifting._core.layouts import FormattedBatch, copy_containers
from smart_sifting._core.scorer import Scorer, score_unknown
from smart_sifting._core.scoring import LossImplementation, find_inner_model
from smart_sifting._core.statistics import SiftingStatistics
from smart_sifting._core.visit_losses import VisitLosses
from smart_sifting.data_model.data_model_interface import SiftingBatch, SiftingBatchTransform
from smart_sifting.exceptions import UnsupportedDataFormatException


@contextmanager
def time_stage(statistics: SiftingStatistics, name: str) -> Iterator[None]:
    """Count and log the seconds of what is done inside.

    Args:
        statistics: Where they are counted.
        name: One of ``statistics.STAGES``.

    Yields:
        Nothing.
    """
    started = time.perf_counter()
    yield
    elapsed_s = time.perf_counter() - started
    statistics.record_seconds(name, elapsed_s)
    log_lines.log_stage(name, elapsed_s)


class BatchScoring:
    """Transforms batches and scores them.

    Args:
        scorer: Makes the forward passes.
        loss_impl: Gives the losses.
        visits: The losses of every sample's last visit, which come before the scorer's; or None.
        formats: How the loader's batches are indexed.
        statistics: Where samples and seconds are counted.
        model: The model to score with.
        batch_transforms: Turns batches into a SiftingBatch and back, or None for the defaults.
        loader_batch_size: The wrapped loader's batch size, if it has one.
        watch: Times the passes on their device.
    """

    def __init__(
        self,
        *,
        scorer: Scorer,
        loss_impl: LossImplementation,
        visits: VisitLosses | None,
        formats: BatchFormats,
        statistics: SiftingStatistics,
        model: torch.nn.Module,
        batch_transforms: SiftingBatchTransform | None,
        loader_batch_size: int | None,
        watch: CostWatch,
    ) -> None:
        self.scorer = scorer
        self.loss_impl = loss_impl
        self.visits = visits
        self.formats = formats
        self.transforms = batch_transforms
        self.loader_batch_size = loader_batch_size
        self._statistics = statistics
        self._model = model
        self._watch = watch

    def score(
        self, batch: Any, id_B: torch.Tensor | None
    ) -> tuple[FormattedBatch | SiftingBatch, torch.Tensor]:
        """Return a batch in a form that can be pooled, and its losses.

        Args:
            batch: As loaded.
            id_B: Its sample ids, shape ``(B,)``, int64, on the CPU, if it has any.

        Returns:
            The batch, and losses, shape ``(B,)``, float32, on any device.

        Raises:
            ValueError: If samples, losses and ids are not of one number.
        """
        transformed, original = self._transform(batch)
        if self.visits is not None and id_B is not None:
            poolable = self._make_identified(batch, transformed, id_B.numel())
            with self._stage("calculate_relevance_values"), self._device_timer():
                loss_B = self._score_by_visit(poolable, transformed, original, id_B)
            return poolable, loss_B
        with self._stage("calculate_relevance_values"), self._device_timer():
            loss_B = self.scorer.score(transformed, original)
        self._statistics.record(samples_forwarded=loss_B.numel())
        return self._make_poolable(batch, transformed, loss_B.numel()), loss_B

    def probe(self, batch: Any) -> torch.Tensor:
        """Return the losses of a batch that passes unsifted, shape ``(B,)``, float32."""
        transformed, original = self._transform(batch)
        with self._stage("calculate_relevance_values"):
            return self.scorer.score(transformed, original)

    def forward(self, batch: Any) -> torch.Tensor:
        """Return what ``loss_impl`` makes of a batch with the model as it is."""
        transformed, original = self._transform(batch)
        return self.loss_impl.loss(find_inner_model(self._model), transformed, original)

    def state_dict(self) -> dict[str, Any]:
        """Return all that the next losses depend on besides the model, as plain values."""
        return {
            "scorer": self.scorer.state_dict(),
            "visits": None if self.visits is None else self.visits.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what :meth:`state_dict` returned."""
        self.scorer.load_state_dict(state["scorer"])
        if self.visits is not None and state["visits"] is not None:
            self.visits.load_state_dict(state["visits"])

    def _transform(self, batch: Any) -> tuple[Any, Any]:
        """Return the batch as ``loss_impl`` gets it: transformed, and original."""
        if self.transforms is None:
            copied = copy_containers(batch)  # user code may change its own
            return copied, copied
        with self._stage("transform"):
            return self.transforms.transform(batch), batch

    def _make_poolable(
        self, batch: Any, transformed: Any, num_samples: int
    ) -> FormattedBatch | SiftingBatch:
        if self.transforms is not None:
            return check_transformed(transformed, num_samples)
        with self._stage("transform"):
            layout = self.formats.find_layout(
                batch, num_losses=num_samples, loader_batch_size=self.loader_batch_size
            )
            return FormattedBatch(batch, layout, num_samples)

    def _make_identified(
        self, batch: Any, transformed: Any, num_ids: int
    ) -> FormattedBatch | SiftingBatch:
        try:
            return self._make_poolable(batch, transformed, num_ids)
        except (ValueError, UnsupportedDataFormatException) as error:
            num_samples = self.formats.count_samples(
                batch, loader_batch_size=self.loader_batch_size
            )
            if isinstance(transformed, SiftingBatch):
                num_samples = len(transformed)
            if num_samples == num_ids:
                raise
            raise ValueError(
                f"There are {num_ids} sample ids for a batch of {num_samples} samples. Give one "
                "id for each sample of the batch, such as by `sample_ids`."
            ) from error

    def _score_by_visit(
        self,
        poolable: FormattedBatch | SiftingBatch,
        transformed: Any,
        original: Any,
        id_B: torch.Tensor,
    ) -> torch.Tensor:
        assert self.visits is not None

        def score(sample_idx: list[int] | None) -> torch.Tensor:
            if sample_idx is None:
                return self.scorer.score(transformed, original)
            part = poolable.select(sample_idx)
            if isinstance(part, FormattedBatch):
                return self.scorer.score(part.data, part.data)
            assert self.transforms is not None
            return self.scorer.score(part, self.transforms.reverse_transform(part))

        epoch = self._statistics.epoch.index
        loss_B, num_forwarded = score_unknown(self.visits, id_B, epoch=epoch, score=score)
        self._statistics.record(samples_forwarded=num_forwarded)
        return loss_B

    def _device_timer(self) -> AbstractContextManager[None]:
        return self._watch.timer.measure(self._model) if self._watch.is_watching else nullcontext()

    def _stage(self, name: str) -> AbstractContextManager[None]:
        return time_stage(self._statistics, name)


def check_transformed(transformed: Any, num_losses: int) -> SiftingBatch:
    """Return what ``batch_transforms.transform`` gave.

    Args:
        transformed: What it returned.
        num_losses: How many losses there are for it.

    Raises:
        UnsupportedDataFormatException: If it is no SiftingBatch.
        ValueError: If it does not hold as many samples as there are losses.
    """
    if not isinstance(transformed, SiftingBatch):
        raise UnsupportedDataFormatException(
            f"`batch_transforms.transform` returned {type(transformed)}, but must return a "
            "SiftingBatch, such as ListBatch or TensorBatch."
        )
    if len(transformed) != num_losses:
        raise_wrong_number(num_losses, len(transformed))
    return transformed
