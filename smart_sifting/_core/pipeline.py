"""From a loaded batch to pooled kept samples, and from the pool to sifted batches."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any

import torch

from smart_sifting._core import log_lines, pool_state
from smart_sifting._core.accumulator import Accumulator
from smart_sifting._core.cost_watch import CostWatch
from smart_sifting._core.formats import BatchFormats, raise_wrong_number
from smart_sifting._core.layouts import FormattedBatch, copy_containers
from smart_sifting._core.scoring import LossImplementation, score_batch
from smart_sifting._core.selection import Selection, Selector
from smart_sifting._core.statistics import SiftingStatistics
from smart_sifting.data_model.data_model_interface import SiftingBatch, SiftingBatchTransform
from smart_sifting.exceptions import UnsupportedDataFormatException


class SiftingPipeline:
    """Scores, selects, pools, and gives sifted batches back in the loader's own format.

    Args:
        selector: Draws which samples are kept.
        formats: How the loader's batches are indexed.
        statistics: Where samples and seconds are counted.
        loss_impl: Gives the losses.
        model: The model to score with.
        batch_transforms: Turns batches into a SiftingBatch and back, or None for the defaults.
        loader_batch_size: The wrapped loader's batch size, if it has one.
        log_batch_data: Whether to log the samples themselves.
        watch: Finds out whether sifting pays.
    """

    def __init__(
        self,
        *,
        selector: Selector,
        formats: BatchFormats,
        statistics: SiftingStatistics,
        loss_impl: LossImplementation,
        model: torch.nn.Module,
        batch_transforms: SiftingBatchTransform | None,
        loader_batch_size: int | None,
        log_batch_data: bool,
        watch: CostWatch,
    ) -> None:
        self.selector = selector
        self.formats = formats
        self.statistics = statistics
        self.pool: Accumulator[Any] = Accumulator()
        self._loss_impl = loss_impl
        self._model = model
        self._transforms = batch_transforms
        self._loader_batch_size = loader_batch_size
        self._log_batch_data = log_batch_data
        self._watch = watch
        self._new_losses: list[torch.Tensor] | None = None
        self._has_warned = False
        self._num_seen_since = 0
        self._num_kept_since = 0

    @property
    def batch_size(self) -> int:
        """How many samples the next sifted batch is to have.

        It is as large as the wrapped loader's, or, if that does not say, as the largest batch of
        which samples are pooled; 0 before the first one.
        """
        return max(self._loader_batch_size or 0, *self.pool.source_sizes, 0)

    @property
    def is_ready(self) -> bool:
        """Whether the pool holds a full batch."""
        return 0 < self.batch_size <= self.pool.num_samples

    def holds(self, num_batches: int) -> bool:
        """Return whether as many batches' worth of samples are pooled."""
        return 0 < num_batches * self.batch_size <= self.pool.num_samples

    def learn_format(self, batch: Any) -> None:
        """Find out from a full batch of the delay how the loader's batches are indexed.

        Args:
            batch: A batch that is not scored.
        """
        size = self._loader_batch_size
        if self._transforms is not None or size is None or self.formats.decided:
            return
        if self.count_samples(batch) == size:
            with suppress(UnsupportedDataFormatException, ValueError):  # said when it matters
                self.formats.find_layout(batch, num_losses=size, loader_batch_size=size)

    def count_samples(self, batch: Any) -> int:
        """Return how many samples an unscored batch holds, as far as its sizes tell."""
        return self.formats.count_samples(batch, loader_batch_size=self._loader_batch_size)

    def sift(self, batch: Any) -> None:
        """Score a batch and pool the samples that are kept.

        Args:
            batch: A batch as loaded, at least one sample.
        """
        if self._transforms is None:
            transformed = original = copy_containers(batch)  # user code may change its own
        else:
            original = batch
            with self._stage("transform"):
                transformed = self._transforms.transform(batch)
        with self._stage("calculate_relevance_values"), self._device_timer():
            loss_B = score_batch(self._loss_impl, self._model, transformed, original)
        poolable: FormattedBatch | SiftingBatch
        if self._transforms is None:
            with self._stage("transform"):
                poolable = self._format(batch, loss_B.numel())
        else:
            poolable = check_transformed(transformed, loss_B.numel())
        with self._stage("should_sift"):
            selection = self.selector.select(loss_B)
            self._watch.timer.collect()
        if self._new_losses is not None:
            self._new_losses.append(selection.losses)
        self._pool_kept(poolable, selection)

    def remember_new_losses(self) -> None:
        """Keep what is scored from now on for :meth:`take_new_losses`."""
        self._new_losses = []

    def take_new_losses(self) -> torch.Tensor | None:
        """Return the losses scored since the last call, shape ``(N,)``; None if there are none."""
        if not self._new_losses:
            return None
        losses, self._new_losses = torch.cat(self._new_losses), []
        return losses

    def take(self, started: float) -> tuple[Any, int]:
        """Return a sifted batch from the pool, in the loader's own format, and its size.

        Args:
            started: When the batch was asked for, as ``time.perf_counter()`` gave it.

        Returns:
            A full batch, or all that is pooled if that is less.
        """
        batch_size = self.batch_size
        num_samples = min(batch_size or self.pool.num_samples, self.pool.num_samples)
        with self._stage("accumulate"):
            pooled = self.pool.take(num_samples)
        with self._stage("reverse_transform"):
            batch = self._reverse(pooled)
        log_lines.log_sifted_batch(
            num_seen=self._num_seen_since,
            num_kept=self._num_kept_since,
            elapsed_s=time.perf_counter() - started,
            next_size=self.batch_size or batch_size,
        )
        self._num_seen_since = self._num_kept_since = 0
        return batch, num_samples

    def _reverse(self, pooled: Any) -> Any:
        if self._transforms is None:
            return pooled.data
        try:
            return self._transforms.reverse_transform(pooled)
        except BaseException:
            self.pool.put_back(pooled)
            raise

    def state_dict(self) -> dict[str, Any]:
        """Return history, generator, pooled samples and known formats, as plain values."""
        return {
            "history": self.selector.history.losses(),
            "generator": self.selector.generator.get_state(),
            "pool": [pool_state.to_plain(chunk) for chunk in self.pool.chunks],
            "source_sizes": self.pool.source_sizes,
            "formats": dict(self.formats.decided),
            "new_losses": None if not self._new_losses else torch.cat(self._new_losses),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what :meth:`state_dict` returned."""
        self.selector.history.load(state["history"])
        self.selector.generator.set_state(state["generator"].cpu())
        self.pool.clear()
        for chunk, source_size in zip(state["pool"], state["source_sizes"], strict=True):
            self.pool.add(pool_state.from_plain(chunk), source_size=source_size)
        self.formats.decided = dict(state["formats"])
        if self._new_losses is not None:
            self._new_losses = [] if state["new_losses"] is None else [state["new_losses"].cpu()]
        self._num_seen_since = self._num_kept_since = 0

    def _device_timer(self) -> AbstractContextManager[None]:
        return self._watch.timer.measure(self._model) if self._watch.is_watching else nullcontext()

    def _format(self, batch: Any, num_losses: int) -> FormattedBatch:
        layout = self.formats.find_layout(
            batch, num_losses=num_losses, loader_batch_size=self._loader_batch_size
        )
        return FormattedBatch(batch, layout, num_losses)

    def _pool_kept(self, poolable: FormattedBatch | SiftingBatch, selection: Selection) -> None:
        num_samples = len(poolable)
        kept_idx = selection.kept_idx
        kept = None
        with self._stage("sift"):
            if kept_idx:
                is_whole = len(kept_idx) == num_samples
                kept = poolable if is_whole else poolable.select(kept_idx)
        with self._stage("accumulate"):
            if kept is not None:
                self.pool.add(kept, source_size=num_samples)
        self._num_seen_since += num_samples
        self._num_kept_since += len(kept_idx)
        self.statistics.record(
            samples_seen=num_samples,
            samples_kept=len(kept_idx),
            samples_sifted_out=num_samples - len(kept_idx),
            samples_scored=num_samples,
            samples_scored_kept=len(kept_idx),
            samples_nonfinite=selection.num_nonfinite,
        )
        self.statistics.record_losses(selection.losses)
        self._report(poolable, selection)

    def _report(self, poolable: FormattedBatch | SiftingBatch, selection: Selection) -> None:
        if selection.num_nonfinite and not self._has_warned:
            self._has_warned = True
            log_lines.warn_about_nonfinite(selection.num_nonfinite)
        if not log_lines.is_logging():
            return
        log_lines.log_relevance_values(
            selection.losses.tolist(), selection.losses[selection.is_kept].tolist()
        )
        if self._log_batch_data:
            parts = (selection.kept_idx, selection.sifted_out_idx)
            log_lines.log_batch_data(
                *(
                    _show(poolable.select(sample_idx)) if sample_idx else None
                    for sample_idx in parts
                )
            )

    @contextmanager
    def _stage(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        elapsed_s = time.perf_counter() - started
        self.statistics.record_seconds(name, elapsed_s)
        log_lines.log_stage(name, elapsed_s)


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


def _show(batch: FormattedBatch | SiftingBatch) -> Any:
    return batch.data if isinstance(batch, FormattedBatch) else vars(batch)
