"""The walk over the epochs of a training: load, sift, agree with the other ranks, give."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from smart_sifting._core import log_lines
from smart_sifting._core.batch_norm import update_batch_norm
from smart_sifting._core.cost_watch import CostWatch
from smart_sifting._core.pipeline import SiftingPipeline
from smart_sifting._core.pool_state import snapshot
from smart_sifting._core.ranks import Ranks
from smart_sifting._core.sample_ids import SampleIds
from smart_sifting._core.scoring import one_loss_per_sample
from smart_sifting._core.sharding import check_model_is_whole, fingerprint
from smart_sifting._core.sifting_schedule import SiftingSchedule
from smart_sifting._core.wrapped_loader import END, WrappedLoader

MAX_CARRIED_BATCHES = 4
"""How many batches' worth of kept samples a rank may carry over to the next epoch."""

_UNEVEN_SHARE = 0.1


class SiftingRun:
    """Goes over the wrapped loader epoch by epoch.

    Every rank makes the same number of steps: it gives a batch only if all ranks have one.

    Args:
        wrapped: The loader to go over.
        pipeline: Scores, selects and pools.
        ranks: The processes that train one model together.
        watch: Finds out whether sifting pays.
        stops_if_slower: Whether sifting ends if it does not.
        model: The model that is scored with.
        schedule: When sifting starts and ends.
        sample_ids: Finds the samples' ids.
        seed: Seed of the selection; the number of this rank is added.
    """

    def __init__(
        self,
        *,
        wrapped: WrappedLoader,
        pipeline: SiftingPipeline,
        ranks: Ranks,
        watch: CostWatch,
        stops_if_slower: bool,
        model: torch.nn.Module,
        schedule: SiftingSchedule,
        sample_ids: SampleIds,
        seed: int,
    ) -> None:
        self.statistics = pipeline.statistics
        self._wrapped = wrapped
        self._pipeline = pipeline
        self._ranks = ranks
        self._watch = watch
        self._stops_if_slower = stops_if_slower
        self._verdict: str | None = None
        self._model = model
        self._schedule = schedule
        self._sample_ids = sample_ids
        self._seed = seed
        self._held: list[Any] = []
        self._held_id_B: torch.Tensor | None = None
        self._fingerprint: int | None = None
        self._is_seeded = False
        self._is_in_epoch = False
        self._is_resuming = False
        self._has_warned_of_unread = False
        if ranks.shares_losses:
            pipeline.remember_new_losses()

    def batches(self) -> Iterator[Any]:
        """Yield the batches of one epoch; continues one of which the state was loaded."""
        self._begin_epoch()
        try:
            asked = time.perf_counter()
            while self._all_have_a_batch(self._fill()):
                yield self._give(asked)
                asked = time.perf_counter()
            is_carried = self._ranks.size > 1 or self._is_too_small_for_batch_norm
            if self._ranks.size > 1:
                self._read_on()
            elif self._pipeline.pool.num_samples and not (is_carried or self._wrapped.drops_last):
                yield self._give(asked)
            self._end_epoch(is_carried=is_carried)
        finally:
            self._wrapped.end()

    def expected_num_steps(self, num_epochs: int, *, kept_fraction: float) -> int:
        """Return how many batches the next epochs are expected to have together.

        Args:
            num_epochs: How many epochs, ``>= 0``.
            kept_fraction: The expected share of the samples that are kept once sifting started.

        Returns:
            The number of batches; see :meth:`SiftingSchedule.expected_num_steps`.

        Raises:
            TypeError: If the wrapped loader has no length.
        """
        return self._schedule.expected_num_steps(
            num_epochs,
            wrapped=self._wrapped,
            kept_fraction=kept_fraction,
            num_ranks=self._ranks.size,
        )

    def describe(self) -> str:
        """Return in a few words whether batches are sifted, and if not, why."""
        return self._schedule.describe()

    def progress(self) -> float:
        """Return how many epochs of data the loop has been presented with so far.

        Raises:
            TypeError: If the wrapped loader has no length.
        """
        num_batches = len(self._wrapped.loader)
        if not self.statistics.epochs:
            return 0.0
        share = self._wrapped.num_loaded / num_batches if num_batches else 1.0
        within = min(1.0, share) if self._is_in_epoch else 1.0
        return self.statistics.epoch.index + within

    def record_losses(self, losses: torch.Tensor) -> None:
        """Take the losses that the batch yielded last had in training.

        Args:
            losses: One per sample, shape ``(B, ...)``, any device.

        Raises:
            ValueError: If there is another number of samples in that batch.
        """
        self._pipeline.check_losses(losses)
        loss_B = one_loss_per_sample(losses)
        self._pipeline.record_visit(loss_B)
        self._schedule.see_losses(loss_B, is_feedback=True)

    def update_batch_norm(self, num_batches: int | None) -> int:
        """Take BatchNorm's running statistics anew from unsifted batches.

        Args:
            num_batches: How many at most; None for a whole epoch.

        Returns:
            How many there were.

        Raises:
            RuntimeError: If an epoch is under way.
        """
        if self._is_in_epoch:
            raise RuntimeError(
                "update_batch_norm() was called within an epoch. Call it between two, or call "
                "end_epoch() first if the loop left the epoch early."
            )
        with self._wrapped.unchanged_generators():
            return update_batch_norm(
                self._model,
                self._unsifted(num_batches),
                self._pipeline.forward,
                loss_impl=self._pipeline.loss_impl,
            )

    def _unsifted(self, num_batches: int | None) -> Iterator[Any]:
        """Yield batches beside the epochs; what asking for the first draws is drawn then."""
        for batch in itertools.islice(self._wrapped.loader, num_batches):
            yield self._sample_ids.split(batch)[0]

    def state_dict(self) -> dict[str, Any]:
        """Return all that is needed to continue, as plain values."""
        self._seed_this_rank()
        return {
            "schedule": self._schedule.state_dict(),
            "is_in_epoch": self._is_in_epoch,
            "held": snapshot(self._held),
            "held_ids": self._held_id_B,
            "verdict": self._verdict,
            "wrapped": self._wrapped.state_dict(is_in_epoch=self._is_in_epoch),
            "statistics": self.statistics.state_dict(),
            "pipeline": self._pipeline.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what :meth:`state_dict` returned."""
        self._wrapped.load_state_dict(state["wrapped"], is_in_epoch=state["is_in_epoch"])
        self._is_seeded = True
        self._schedule.load_state_dict(state["schedule"])
        self._is_in_epoch = self._is_resuming = state["is_in_epoch"]
        self._held = snapshot(state["held"])
        self._held_id_B = None if state["held_ids"] is None else state["held_ids"].cpu()
        self._verdict = state["verdict"]
        if not self._stops_if_slower:  # sifted anew, whatever an earlier run found
            self._schedule.is_switched_off, self._verdict = False, None
        self.statistics.load_state_dict(state["statistics"])
        self._pipeline.load_state_dict(state["pipeline"])

    def end_epoch(self) -> None:
        """Count the epoch under way as over: the next iteration, or a saved state, begins one."""
        self._is_resuming = False
        if self._is_in_epoch:
            self._end_epoch(is_carried=self._ranks.size > 1)

    def _begin_epoch(self) -> None:
        self._seed_this_rank()
        self._watch.interrupt()
        if self._is_resuming:
            self._is_resuming = False
            self._wrapped.resume()
            return
        self.end_epoch()
        if self._ranks.size > 1:
            check_model_is_whole(self._model)
            self._pipeline.share_visits(
                self._ranks, epoch=len(self.statistics.epochs), step=self._schedule.num_steps
            )
        self._is_in_epoch = True
        self._wrapped.begin()
        self.statistics.begin_epoch()
        self._schedule.begin_epoch(self.statistics.epoch.index)

    def _fill(self) -> bool:
        """Load and sift until there is a batch to give; return whether there is one."""
        while True:
            if self._held:
                if self._held_id_B is None:  # they were asked for, and user code failed
                    self._held_id_B = self._sample_ids.identify(self._held[0], None)
                if self._schedule.is_passing:
                    return True
                self._sift_held()
            elif self._pipeline.is_ready and not self._waits:
                return True
            elif not self._load():
                return False

    @property
    def _waits(self) -> bool:
        """Whether pooled samples wait for the end of a delay."""
        return self._schedule.is_passing and not self._schedule.is_over

    def _sift_held(self) -> None:
        self._pipeline.sift(self._held[0], self._held_id_B)
        self._held = []  # not before: an error in user code leaves the batch where it is

    def _load(self) -> bool:
        """Load a batch and hold it; return whether there was one."""
        started = time.perf_counter()
        batch = self._wrapped.read()
        self.statistics.record_seconds("load", time.perf_counter() - started)
        if batch is END:
            return False
        batch, ids = self._sample_ids.split(batch)
        self._held, self._held_id_B = [batch], None
        self.statistics.record(num_batches_loaded=1)
        if self._ranks.size > 1 and self.statistics.num_batches_loaded == 1:
            self._fingerprint = fingerprint(batch)
        self._held_id_B = self._sample_ids.identify(batch, ids)
        return True

    def _all_have_a_batch(self, is_ready: bool) -> bool:
        wants_to_start = self._schedule.wants_to_start
        if self._ranks.size == 1:
            self._adjust(wants_to_start, is_costly=self._verdict is not None)
            return is_ready
        started = time.perf_counter()
        agreement = self._ranks.agree(
            is_ready=is_ready,
            epoch=self.statistics.epoch.index,
            step=self._schedule.num_steps,
            losses=self._pipeline.take_new_losses(),
            fingerprint=self._fingerprint,
            may_start=wants_to_start,
            is_costly=self._verdict is not None,
        )
        self.statistics.record_seconds("agree", time.perf_counter() - started)
        self._fingerprint = None
        if agreement.is_first_batch_shared and self._ranks.rank == 0:
            log_lines.warn_about_shared_data(self._ranks.size)
        if not agreement.is_ready and not is_ready and not self._schedule.num_steps_in_epoch:
            log_lines.warn_about_idle_epoch(self._ranks.rank)
        if agreement.others_losses.numel():
            self._pipeline.selector.history.push(agreement.others_losses)
        self._adjust(agreement.may_start, is_costly=agreement.is_costly)
        return agreement.is_ready

    def _adjust(self, may_start: bool, *, is_costly: bool) -> None:
        """Start sifting, or end it, as all ranks do; a batch that is ready stays so."""
        schedule = self._schedule
        if may_start and not schedule.has_started:
            schedule.has_started = True
            if self._ranks.rank == 0 and schedule.spare is not None:
                log_lines.log_start(schedule.spare, step=schedule.num_steps + len(self._held))
        if is_costly and not schedule.is_switched_off:
            schedule.is_switched_off = True
            if self._ranks.rank == 0:
                log_lines.warn_about_switching_off(self._verdict)

    def _give(self, asked: float) -> Any:
        if self._held:
            batch, num_samples = self._give_held()
        else:
            batch, num_samples = self._pipeline.take(asked)
            self._watch_cost(num_samples)
        self._schedule.count_step()
        self.statistics.record(num_batches=1, samples_yielded=num_samples)
        if self._pipeline.uses_visits and self._ranks.rank == 0 and self._schedule.is_untold:
            log_lines.warn_about_untold_losses(self._schedule.num_steps)
        return batch

    def _give_held(self) -> tuple[Any, int]:
        """Return the batch that passes unsifted, and how many samples it holds."""
        batch, id_B = self._held[0], self._held_id_B
        self._pipeline.learn_format(batch)
        if self._schedule.needs_probe:
            self._schedule.see_losses(self._pipeline.probe(batch), is_feedback=False)
        num_samples = self._pipeline.count_samples(batch)
        self._pipeline.pass_unsifted(num_samples, id_B)
        self.statistics.record(samples_seen=num_samples, samples_kept=num_samples)
        self._watch.interrupt()
        self._held, self._held_id_B = [], None
        return batch, num_samples

    def _watch_cost(self, num_samples: int) -> None:
        if self._watch.is_watching:
            self._watch.see(
                time.perf_counter(),
                self.statistics.seconds,
                num_scored=self.statistics.samples_scored,
                num_yielded=num_samples,
            )
            if self._stops_if_slower:
                self._verdict = self._watch.find_waste()
                return
            verdict = self._watch.find_loss()
            if verdict is not None and self._ranks.rank == 0:
                log_lines.warn_about_cost(verdict)

    def _read_on(self) -> None:
        """Read on, as another rank has nothing more, but not more than may be carried over."""
        while not self._schedule.is_passing and not self._pipeline.holds(MAX_CARRIED_BATCHES):
            if self._held:
                self._sift_held()
            elif not self._load():
                break
        num_unread = self._wrapped.num_unread
        self.statistics.record(batches_unread=num_unread)
        num_batches = self._wrapped.num_loaded + num_unread
        is_much = num_unread > _UNEVEN_SHARE * num_batches
        if not self._wrapped.has_length and not self._held:
            is_much = self._load()  # the only way to know; what it gives is carried over too
        if is_much and not self._has_warned_of_unread:
            self._has_warned_of_unread = True
            log_lines.warn_about_uneven_ranks(self._ranks.rank, num_unread)

    def _end_epoch(self, *, is_carried: bool) -> None:
        if not is_carried:
            self.statistics.record(samples_dropped_last=self._pipeline.pool.num_samples)
            self._pipeline.clear_pool()
            self._held, self._held_id_B = [], None
        self._wrapped.end()
        self._is_in_epoch = False

    @property
    def _is_too_small_for_batch_norm(self) -> bool:
        """Whether one sample is left over, of which BatchNorm may be unable to take a variance."""
        if self._pipeline.pool.num_samples != 1 or self._wrapped.drops_last:
            return False
        return any(isinstance(module, _BatchNorm) for module in self._model.modules())

    def _seed_this_rank(self) -> None:
        if not self._is_seeded:
            self._is_seeded = True
            self._pipeline.selector.seed(self._seed + self._ranks.rank)
