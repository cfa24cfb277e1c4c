"""The walk over the epochs of a training: load, sift, agree with the other ranks, give."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from smart_sifting._core import log_lines
from smart_sifting._core.cost_watch import CostWatch
from smart_sifting._core.pipeline import SiftingPipeline
from smart_sifting._core.pool_state import snapshot
from smart_sifting._core.ranks import Ranks
from smart_sifting._core.sharding import check_model_is_whole, fingerprint
from smart_sifting._core.wrapped_loader import END, WrappedLoader
from smart_sifting.sift_config.sift_configs import SiftingBaseConfig

MAX_CARRIED_BATCHES = 4
"""How many batches' worth of kept samples a rank may carry over to the next epoch."""

_UNEVEN_SHARE = 0.1
_HALF_A_BATCH = 0.5
_FEW_BATCHES = 0.2


class SiftingRun:
    """Goes over the wrapped loader epoch by epoch.

    Every rank makes the same number of steps: it gives a batch only if all ranks have one.

    Args:
        wrapped: The loader to go over.
        pipeline: Scores, selects and pools.
        ranks: The processes that train one model together.
        watch: Finds out whether sifting pays.
        model: The model that is scored with.
        base_config: When sifting starts.
        seed: Seed of the selection; the number of this rank is added.
    """

    def __init__(
        self,
        *,
        wrapped: WrappedLoader,
        pipeline: SiftingPipeline,
        ranks: Ranks,
        watch: CostWatch,
        model: torch.nn.Module,
        base_config: SiftingBaseConfig,
        seed: int,
    ) -> None:
        self.statistics = pipeline.statistics
        self._wrapped = wrapped
        self._pipeline = pipeline
        self._ranks = ranks
        self._watch = watch
        self._model = model
        self._base_config = base_config
        self._seed = seed
        self._num_steps = 0
        self._num_steps_in_epoch = 0
        self._held: list[Any] = []
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
            The number of batches.

        Raises:
            TypeError: If the wrapped loader has no length.
        """
        num_full = len(self._wrapped.loader)
        num_delayed, num_passed_in_all = self._delay - self._num_steps, 0
        num_sifted = 0.0
        for _ in range(num_epochs):
            if self._base_config.repeat_delay_per_epoch:
                num_delayed = self._delay
            num_passed = min(num_full, max(0, num_delayed))
            num_passed_in_all += num_passed
            num_delayed -= num_passed
            num_sifted += self._expect_sifted(num_full - num_passed, kept_fraction)
        if self._ranks.size > 1:
            num_sifted = max(0.0, num_sifted - _HALF_A_BATCH)
        return num_passed_in_all + math.ceil(num_sifted - 1e-9)

    def _expect_sifted(self, num_batches: int, kept_fraction: float) -> float:
        """Return the expected number of sifted batches of one epoch.

        How full the last one gets is as good as uniform, so that a partial batch that is yielded
        counts as half a batch more than its samples, one that is dropped as half a batch less.
        """
        num_kept = num_batches * kept_fraction
        if self._ranks.size > 1:
            return num_kept
        size = self._wrapped.batch_size or 1_000_000
        num_samples = num_batches * size
        spread = math.sqrt(num_samples * kept_fraction * (1 - kept_fraction)) / size
        is_uniform = spread > _FEW_BATCHES and num_kept >= 1
        if self._wrapped.drops_last:
            return num_kept - _HALF_A_BATCH if is_uniform else math.floor(num_kept)
        return num_kept + _HALF_A_BATCH * (1 - 1 / size) if is_uniform else math.ceil(num_kept)

    def state_dict(self) -> dict[str, Any]:
        """Return all that is needed to continue, as plain values."""
        self._seed_this_rank()
        return {
            "num_steps": self._num_steps,
            "num_steps_in_epoch": self._num_steps_in_epoch,
            "is_in_epoch": self._is_in_epoch,
            "held": snapshot(self._held),
            "wrapped": self._wrapped.state_dict(is_in_epoch=self._is_in_epoch),
            "statistics": self.statistics.state_dict(),
            "pipeline": self._pipeline.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what :meth:`state_dict` returned."""
        self._wrapped.load_state_dict(state["wrapped"], is_in_epoch=state["is_in_epoch"])
        self._is_seeded = True
        self._num_steps = state["num_steps"]
        self._num_steps_in_epoch = state["num_steps_in_epoch"]
        self._is_in_epoch = self._is_resuming = state["is_in_epoch"]
        self._held = snapshot(state["held"])
        self.statistics.load_state_dict(state["statistics"])
        self._pipeline.load_state_dict(state["pipeline"])

    def end_epoch(self) -> None:
        """Count the epoch under way as over: the next iteration, or a saved state, begins one."""
        self._is_resuming = False
        if self._is_in_epoch:
            self._end_epoch(is_carried=self._ranks.size > 1)

    @property
    def _delay(self) -> int:
        return self._base_config.sift_delay

    @property
    def _is_delayed(self) -> bool:
        is_repeated = self._base_config.repeat_delay_per_epoch
        return (self._num_steps_in_epoch if is_repeated else self._num_steps) < self._delay

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
        self._is_in_epoch = True
        self._num_steps_in_epoch = 0
        self._wrapped.begin()
        self.statistics.begin_epoch()

    def _fill(self) -> bool:
        """Load and sift until there is a batch to give; return whether there is one."""
        while True:
            if self._held:
                if self._is_delayed:
                    return True
                self._sift_held()
            elif self._pipeline.is_ready and not self._is_delayed:
                return True
            elif not self._load():
                return False

    def _sift_held(self) -> None:
        self._pipeline.sift(self._held[0])
        self._held = []  # not before: an error in user code leaves the batch where it is

    def _load(self) -> bool:
        """Load a batch and hold it; return whether there was one."""
        started = time.perf_counter()
        batch = self._wrapped.read()
        self.statistics.record_seconds("load", time.perf_counter() - started)
        if batch is END:
            return False
        self._held = [batch]
        self.statistics.record(num_batches_loaded=1)
        if self._ranks.size > 1 and self.statistics.num_batches_loaded == 1:
            self._fingerprint = fingerprint(batch)
        return True

    def _all_have_a_batch(self, is_ready: bool) -> bool:
        if self._ranks.size == 1:
            return is_ready
        started = time.perf_counter()
        agreement = self._ranks.agree(
            is_ready=is_ready,
            epoch=self.statistics.epoch.index,
            step=self._num_steps,
            losses=self._pipeline.take_new_losses(),
            fingerprint=self._fingerprint,
        )
        self.statistics.record_seconds("agree", time.perf_counter() - started)
        self._fingerprint = None
        if agreement.is_first_batch_shared and self._ranks.rank == 0:
            log_lines.warn_about_shared_data(self._ranks.size)
        if not agreement.is_ready and not is_ready and not self._num_steps_in_epoch:
            log_lines.warn_about_idle_epoch(self._ranks.rank)
        if agreement.others_losses.numel():
            self._pipeline.selector.history.push(agreement.others_losses)
        return agreement.is_ready

    def _give(self, asked: float) -> Any:
        if self._held:
            (batch,), self._held = self._held, []
            self._pipeline.learn_format(batch)
            num_samples = self._pipeline.count_samples(batch)
            self.statistics.record(samples_seen=num_samples, samples_kept=num_samples)
            self._watch.interrupt()
        else:
            batch, num_samples = self._pipeline.take(asked)
            self._watch_cost(num_samples)
        self._num_steps += 1
        self._num_steps_in_epoch += 1
        self.statistics.record(num_batches=1, samples_yielded=num_samples)
        return batch

    def _watch_cost(self, num_samples: int) -> None:
        if self._watch.is_watching:
            self._watch.see(
                time.perf_counter(),
                self.statistics.seconds,
                num_scored=self.statistics.samples_scored,
                num_yielded=num_samples,
            )
            verdict = self._watch.find_loss()
            if verdict is not None and self._ranks.rank == 0:
                log_lines.warn_about_cost(verdict)

    def _read_on(self) -> None:
        """Read on, as another rank has nothing more, but not more than may be carried over."""
        while not self._is_delayed and not self._pipeline.holds(MAX_CARRIED_BATCHES):
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
            self._pipeline.pool.clear()
            self._held = []
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
