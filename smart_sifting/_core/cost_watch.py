"""Whether sifting pays, found out while training: one look at the first sifted batches."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch

from smart_sifting._core.cost_model import SiftingCosts, round_up

NUM_WARMUP = 5
NUM_WATCHED = 20

WORTHWHILE = 0.97
"""Sifting that takes this share of the time of plain training, or more, is not worth its while."""

_SCORING_STAGES = ("transform", "calculate_relevance_values", "should_sift")
_HOST_STAGES_OF_A_GPU = ("transform",)
_POOLING_STAGES = ("sift", "accumulate", "reverse_transform")


class CostWatch:
    """Measures what scoring and training cost, and says so if sifting makes training slower.

    A cycle goes from one yielded batch to the next. What of it is neither loading nor sifting nor
    waiting for other ranks is training: forward, backward, optimizer step and whatever else the
    loop does. After ``NUM_WARMUP`` cycles the medians of ``NUM_WATCHED`` are taken, and no more is
    measured.

    Args:
        beta: Selectivity.

    Example:
        >>> watch = CostWatch(beta=0.25)
        >>> for cycle in range(NUM_WARMUP + NUM_WATCHED + 1):
        ...     seconds = {"load": 0.0, "calculate_relevance_values": 1.0 * cycle}
        ...     watch.see(3.0 * cycle, seconds, num_scored=8 * cycle, num_yielded=8)
        >>> watch.find_loss()
        'beta_value=0.25 will not save time on this model: scoring costs 50 % of a step ...'
    """

    def __init__(self, beta: float) -> None:
        self._beta = beta
        self._num_cycles = 0
        self._last: tuple[float, Mapping[str, float], int, int] | None = None
        self._scoring_s: list[float] = []
        self._training_s: list[float] = []
        self._loading_s: list[float] = []
        self._pooling_s: list[float] = []
        self.timer = DeviceTimer()

    @property
    def is_watching(self) -> bool:
        """Whether there is still something to measure."""
        return len(self._training_s) < NUM_WATCHED

    def interrupt(self) -> None:
        """Say that the batch yielded next does not end a cycle."""
        self._last = None
        self.timer.seconds = 0.0

    def see(
        self, now: float, seconds: Mapping[str, float], *, num_scored: int, num_yielded: int
    ) -> None:
        """Take note of a sifted batch that is about to be yielded.

        Args:
            now: The clock, in seconds.
            seconds: Seconds by stage so far.
            num_scored: Samples scored so far.
            num_yielded: Samples in the batch.
        """
        last = self._last
        self._last = (now, dict(seconds), num_scored, num_yielded)
        device_s, self.timer.seconds = self.timer.seconds, 0.0
        if last is None:
            return
        began, seconds_before, num_scored_before, num_trained = last

        def spent_s(*stages: str) -> float:
            return sum(seconds.get(name, 0.0) - seconds_before.get(name, 0.0) for name in stages)

        scoring_s = device_s + spent_s(*(_HOST_STAGES_OF_A_GPU if device_s else _SCORING_STAGES))
        pooling_s, loading_s = spent_s(*_POOLING_STAGES), spent_s("load")
        training_s = now - began - scoring_s - pooling_s - loading_s - spent_s("agree")
        num_new = num_scored - num_scored_before
        self._num_cycles += 1
        if self._num_cycles <= NUM_WARMUP or not num_new or training_s <= 0:
            return
        self._scoring_s.append(scoring_s / num_new)
        self._pooling_s.append(pooling_s / num_yielded)
        self._training_s.append(training_s / num_trained)
        self._loading_s.append(loading_s / num_new)

    def find_loss(self) -> str | None:
        """Return in one sentence that sifting makes training slower; None if it does not.

        Only once all cycles were seen there is something to say.
        """
        costs = self.find_costs()
        if costs is None or costs.relative_time(self._beta) <= 1:
            return None
        return costs.verdict(self._beta)

    def find_waste(self) -> str | None:
        """Return in one sentence that sifting is not worth its while; None if it is.

        It is not if it saves less than ``1 - WORTHWHILE`` of the time. Only once all cycles were
        seen there is something to say.
        """
        costs = self.find_costs()
        if costs is None or costs.relative_time(self._beta) < WORTHWHILE:
            return None
        verdict = costs.verdict(self._beta)
        if costs.break_even_beta() is None:
            return verdict
        least, saved = costs.least_beta(WORTHWHILE), f"{100 * (1 - WORTHWHILE):.0f} %"
        if least is None:
            return f"{verdict} No beta_value would save {saved} here."
        return f"{verdict} From beta_value={round_up(least):g} on it would save {saved} or more."

    def find_costs(self) -> SiftingCosts | None:
        """Return what loading, scoring, pooling and training cost; None before it is known."""
        if self.is_watching:
            return None
        return SiftingCosts(
            loading_s=statistics.median(self._loading_s),
            scoring_s=statistics.median(self._scoring_s),
            pooling_s=statistics.fmean(self._pooling_s),
            training_s=statistics.median(self._training_s),
        )


class DeviceTimer:
    """Times scoring passes by the GPU's own clock; on the CPU it does nothing.

    The host only queues a GPU's work, so that its clock would give scoring the time of the
    training step that is still under way.

    Attributes:
        seconds: Of the passes that were collected.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._events: tuple[torch.cuda.Event, torch.cuda.Event] | None = None

    @contextmanager
    def measure(self, model: torch.nn.Module) -> Iterator[None]:
        """Time what is queued inside.

        Args:
            model: The model whose device counts.

        Yields:
            Nothing.
        """
        parameter = next(model.parameters(), None)
        if parameter is None or not parameter.is_cuda:
            yield
            return
        stream = torch.cuda.current_stream(parameter.device)
        begin, end = _make_event(), _make_event()
        begin.record(stream)
        yield
        end.record(stream)
        self._events = (begin, end)

    def collect(self) -> None:
        """Add the pass measured last, once the host has waited for its losses."""
        if self._events is not None:
            begin, end = self._events
            end.synchronize()
            self.seconds += begin.elapsed_time(end) / 1000
            self._events = None


def _make_event() -> torch.cuda.Event:
    return torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
