"""From a loaded batch to pooled kept samples, and from the pool to sifted batches."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

import torch

from smart_sifting._core import log_lines, pool_state
from smart_sifting._core.accumulator import Accumulator
from smart_sifting._core.batch_scoring import BatchScoring, time_stage
from smart_sifting._core.cost_watch import CostWatch
from smart_sifting._core.layouts import FormattedBatch
from smart_sifting._core.ranks import Ranks
from smart_sifting._core.sample_marks import SampleMarks
from smart_sifting._core.scoring import LossImplementation
from smart_sifting._core.selection import Selection, Selector
from smart_sifting._core.statistics import SiftingStatistics
from smart_sifting._core.weigher import Weigher
from smart_sifting.data_model.data_model_interface import SiftingBatch, take_samples
from smart_sifting.exceptions import UnsupportedDataFormatException


class SiftingPipeline:
    """Scores, selects, pools, and gives sifted batches back in the loader's own format.

    Args:
        selector: Draws which samples are kept.
        scoring: Gives the losses.
        statistics: Where samples and seconds are counted.
        weigher: Gives kept samples their weights; None weighs all alike.
        log_batch_data: Whether to log the samples themselves.
        watch: Finds out whether sifting pays.

    Attributes:
        marks: Of the samples of the batch that was yielded last.
    """

    def __init__(
        self,
        *,
        selector: Selector,
        scoring: BatchScoring,
        statistics: SiftingStatistics,
        weigher: Weigher | None,
        log_batch_data: bool,
        watch: CostWatch,
    ) -> None:
        self.selector = selector
        self.formats = scoring.formats
        self.statistics = statistics
        self.pool: Accumulator[Any] = Accumulator()
        self.marks = SampleMarks.of_unsifted(0, None)
        self._marks_pool: Accumulator[SampleMarks] = Accumulator()
        self._scoring = scoring
        self._weigher = weigher
        self._transforms = scoring.transforms
        self._loader_batch_size = scoring.loader_batch_size
        self._log_batch_data = log_batch_data
        self._watch = watch
        self._new_losses: list[torch.Tensor] | None = None
        self._has_warned = False
        self._num_seen_since = 0
        self._num_kept_since = 0

    @property
    def uses_visits(self) -> bool:
        """Whether samples are known by the losses of their last visit."""
        return self._scoring.visits is not None

    @property
    def loss_impl(self) -> LossImplementation:
        """What gives the losses."""
        return self._scoring.loss_impl

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

    def sift(self, batch: Any, id_B: torch.Tensor | None) -> None:
        """Score a batch and pool the samples that are kept.

        Args:
            batch: A batch as loaded, at least one sample.
            id_B: Its sample ids, shape ``(B,)``, int64, on the CPU, if it has any.
        """
        poolable, loss_B = self._scoring.score(batch, id_B)
        with time_stage(self.statistics, "should_sift"):
            selection = self.selector.select(loss_B)
            self._watch.timer.collect()
        if self._new_losses is not None:
            self._new_losses.append(selection.losses)
        self._pool_kept(poolable, selection, id_B)

    def share_visits(self, ranks: Ranks, *, epoch: int, step: int) -> None:
        """Let every rank know the losses that the others have seen; all ranks call it together.

        Args:
            ranks: Who they are.
            epoch: The epoch that is about to begin.
            step: How many batches this rank has yielded, for messages.
        """
        visits = self._scoring.visits
        if visits is None or ranks.size == 1:
            return
        # A rank that is elsewhere is found out before collectives of another kind meet.
        ranks.agree(is_ready=True, epoch=epoch, step=step, losses=None, fingerprint=None)
        own = visits.state_dict()
        losses = ranks.gather(own["losses"], step=step)
        epochs = ranks.gather(own["epochs"], step=step)
        for losses_N, epochs_N in zip(losses, epochs, strict=True):
            visits.merge(losses_N, epochs_N)

    def probe(self, batch: Any) -> torch.Tensor:
        """Return the losses of a batch that passes unsifted, shape ``(B,)``, float32."""
        return self._scoring.probe(batch)

    def forward(self, batch: Any) -> torch.Tensor:
        """Run the loss of a batch as it is loaded, and touch nothing else."""
        return self._scoring.forward(batch)

    def pass_unsifted(self, num_samples: int, id_B: torch.Tensor | None) -> None:
        """Take note of a batch that is yielded as it was loaded.

        Args:
            num_samples: How many samples it holds.
            id_B: Their ids, if they have any.
        """
        self.marks = SampleMarks.of_unsifted(num_samples if id_B is None else len(id_B), id_B)

    def record_visit(self, loss_B: torch.Tensor) -> None:
        """Remember the losses that the batch yielded last had in training.

        Args:
            loss_B: Per-sample losses, shape ``(B,)``, float32, any device; checked.
        """
        visits, id_B = self._scoring.visits, self.marks.ids
        if visits is not None and id_B is not None:
            visits.record(id_B, loss_B, epoch=self.statistics.epoch.index)

    def check_losses(self, losses: torch.Tensor) -> None:
        """Raise unless losses are those of the batch yielded last.

        Where they are only looked at, and the number of samples is as far as sizes tell, it is
        only checked that they are not reduced to one.

        Args:
            losses: Shape ``(B, ...)``.

        Raises:
            ValueError: If the batch has another number of samples.
        """
        num_losses = losses.shape[0] if losses.dim() else 1
        is_reduced = losses.dim() == 0 and len(self.marks) > 1
        if is_reduced or (self.uses_visits and num_losses != len(self.marks)):
            raise ValueError(
                f"`losses` holds {num_losses} loss(es), but the batch yielded last has "
                f"{len(self.marks)} sample(s). Give one loss per sample (reduction='none'), after "
                "each batch."
            )

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
        with time_stage(self.statistics, "accumulate"):
            pooled = self.pool.take(num_samples)
        with time_stage(self.statistics, "reverse_transform"):
            batch = self._reverse(pooled)
        if self._has_marks:
            self.marks = self._marks_pool.take(num_samples)
        else:
            self.marks = SampleMarks.of_unsifted(num_samples, None)
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
            "pooled_marks": [marks.state_dict() for marks in self._marks_pool.chunks],
            "marks": self.marks.state_dict(),
            "scoring": self._scoring.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what :meth:`state_dict` returned."""
        if self._has_marks and state["pool"] and not state["pooled_marks"]:
            raise ValueError(
                "`state_dict` holds pooled samples without ids or weights: it is of a loader with "
                "another `scoring` or `weighting`. Build the loader alike, or load a state that "
                "was saved between two epochs."
            )
        self.selector.history.load(state["history"])
        self.selector.generator.set_state(state["generator"].cpu())
        self.clear_pool()
        for marks in state["pooled_marks"]:
            self._marks_pool.add(SampleMarks.from_state(marks))
        self.marks = SampleMarks.from_state(state["marks"])
        self._scoring.load_state_dict(state["scoring"])
        for chunk, source_size in zip(state["pool"], state["source_sizes"], strict=True):
            self.pool.add(pool_state.from_plain(chunk), source_size=source_size)
        self.formats.decided = dict(state["formats"])
        if self._new_losses is not None:
            self._new_losses = [] if state["new_losses"] is None else [state["new_losses"].cpu()]
        self._num_seen_since = self._num_kept_since = 0

    def clear_pool(self) -> None:
        """Forget all pooled samples."""
        self.pool.clear()
        self._marks_pool.clear()

    @property
    def _has_marks(self) -> bool:
        return self._weigher is not None or self._scoring.visits is not None

    def _pool_kept(
        self,
        poolable: FormattedBatch | SiftingBatch,
        selection: Selection,
        id_B: torch.Tensor | None,
    ) -> None:
        num_samples, num_kept = len(poolable), selection.num_kept
        kept = None
        with time_stage(self.statistics, "sift"):
            if num_kept:
                is_whole = num_kept == num_samples
                kept = poolable if is_whole else take_samples(poolable, selection.kept_positions)
        with time_stage(self.statistics, "accumulate"):
            if kept is not None:
                self.pool.add(kept, source_size=num_samples)
                if self._has_marks:
                    self._marks_pool.add(self._mark(selection, id_B))
        self._num_seen_since += num_samples
        self._num_kept_since += num_kept
        self.statistics.record(
            samples_seen=num_samples,
            samples_kept=num_kept,
            samples_sifted_out=num_samples - num_kept,
            samples_scored=num_samples,
            samples_scored_kept=num_kept,
            samples_nonfinite=selection.num_nonfinite,
        )
        self.statistics.record_losses(selection.losses)
        self._report(poolable, selection)

    def _mark(self, selection: Selection, id_B: torch.Tensor | None) -> SampleMarks:
        """Return the marks of the samples that are kept."""
        if self._weigher is None:
            weight_B = torch.ones(selection.is_kept.numel(), device="cpu")
        else:
            weight_B = self._weigher.weigh(selection)
        kept = selection.is_kept
        return SampleMarks(weight_B[kept], None if id_B is None else id_B[kept])

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


def _show(batch: FormattedBatch | SiftingBatch) -> Any:
    return batch.data if isinstance(batch, FormattedBatch) else vars(batch)
