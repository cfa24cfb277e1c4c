"""What the loader saw, kept and sifted out, and how long each stage took."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from smart_sifting._core.loss_sample import DEFAULT_PERCENTS, LossSample

STAGES = (
    "load",
    "transform",
    "calculate_relevance_values",
    "should_sift",
    "sift",
    "accumulate",
    "reverse_transform",
    "agree",
)


@dataclass(slots=True)
class SiftingCounters:
    """Counts of batches and samples, and seconds by stage.

    At every moment ``samples_seen == samples_yielded + samples_sifted_out +
    samples_dropped_last`` plus the samples that wait in the pool for their batch to fill.

    Attributes:
        num_batches_loaded: Batches taken from the wrapped loader.
        num_batches: Batches yielded to the training loop.
        samples_seen: Samples taken from the wrapped loader.
        samples_kept: Samples not sifted out, those of the delay included.
        samples_sifted_out: Samples dropped because of their low loss.
        samples_scored: Samples that sifting decided upon, thus those after the delay. Only for
            these is the expected kept fraction ``1 / (1 + beta_value)``.
        samples_scored_kept: Those of them that were kept.
        samples_forwarded: Those of them that went through a scoring pass; with
            ``scoring="last_visit"`` the others were decided upon by an earlier loss.
        samples_nonfinite: Scored samples whose loss was NaN or infinite; they are kept.
        samples_yielded: Samples yielded to the training loop.
        samples_dropped_last: Kept samples that were never yielded: the last partial batch of a
            wrapped loader with ``drop_last``, or the pool of an epoch that was left early.
        batches_unread: Batches of the wrapped loader that were left out because other ranks had
            nothing more to give, as far as the loader has a length.
        seconds: Seconds by stage, as the host saw them. ``load`` is the wrapped loader,
            ``calculate_relevance_values`` the scoring pass; on a GPU the waiting for it falls into
            ``should_sift``. ``agree`` is the waiting for other ranks.
    """

    num_batches_loaded: int = 0
    num_batches: int = 0
    samples_seen: int = 0
    samples_kept: int = 0
    samples_sifted_out: int = 0
    samples_scored: int = 0
    samples_scored_kept: int = 0
    samples_forwarded: int = 0
    samples_nonfinite: int = 0
    samples_yielded: int = 0
    samples_dropped_last: int = 0
    batches_unread: int = 0
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STAGES, 0.0))
    losses: LossSample = field(default_factory=LossSample, repr=False)

    @property
    def kept_fraction(self) -> float:
        """Kept share of all samples seen, in 0..1; 1.0 before the first sample."""
        return self.samples_kept / self.samples_seen if self.samples_seen else 1.0

    @property
    def scored_kept_fraction(self) -> float:
        """Kept share of the scored samples, in 0..1; 1.0 before the first one."""
        return self.samples_scored_kept / self.samples_scored if self.samples_scored else 1.0

    def as_dict(self) -> dict[str, Any]:
        """Return the counts and seconds as plain numbers, by attribute name."""
        names = (f.name for f in dataclasses.fields(SiftingCounters) if f.name != "losses")
        return {name: getattr(self, name) for name in names} | {"seconds": dict(self.seconds)}

    def loss_percentiles(self, percents: Sequence[float] = DEFAULT_PERCENTS) -> list[float]:
        """Return percentiles of the finite losses of scored samples.

        They are of up to 1,024 losses, evenly spaced over all of them: good to about 2 percentage
        points of rank (the standard deviation of a median's rank is ``0.5 / sqrt(n)``).

        Args:
            percents: Each in 0..100.

        Returns:
            One loss per percent; NaN before the first scored batch.

        Raises:
            ValueError: If a percent is out of range.
        """
        return self.losses.percentiles(percents)

    def state_dict(self) -> dict[str, Any]:
        """Return everything as plain numbers, dicts and tensors."""
        return self.as_dict() | {"losses": self.losses.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what :meth:`state_dict` returned.

        Args:
            state: That dict.
        """
        for name, value in state.items():
            if name == "losses":
                self.losses.load_state_dict(value)
            else:
                setattr(self, name, dict(value) if name == "seconds" else value)


@dataclass(slots=True)
class EpochStatistics(SiftingCounters):
    """The counters of one epoch.

    Attributes:
        index: Which epoch, from 0, counted by iterations of the loader.
    """

    index: int = 0


class SiftingStatistics(SiftingCounters):
    """The counters of the whole training, and those of each epoch.

    Attributes:
        epochs: One entry per epoch begun, the current one last.

    Example:
        >>> statistics = SiftingStatistics()
        >>> statistics.begin_epoch()
        >>> statistics.record(samples_seen=4, samples_kept=3, samples_sifted_out=1)
        >>> statistics.kept_fraction, statistics.epoch.samples_sifted_out
        (0.75, 1)
    """

    def __init__(self) -> None:
        super().__init__()
        self.epochs: list[EpochStatistics] = []

    @property
    def samples_waiting(self) -> int:
        """Kept samples that wait for their batch to fill."""
        done = self.samples_yielded + self.samples_sifted_out + self.samples_dropped_last
        return self.samples_seen - done

    @property
    def epoch(self) -> EpochStatistics:
        """The current epoch; after an epoch ended and before the next begins, that epoch."""
        return self.epochs[-1] if self.epochs else EpochStatistics()

    def begin_epoch(self) -> None:
        """Start the counters of the next epoch."""
        self.epochs.append(EpochStatistics(index=len(self.epochs)))

    def record(self, **counts: int) -> None:
        """Add counts to the total and to the current epoch.

        Args:
            counts: Increments by attribute name.
        """
        for counters in (self, self.epoch):
            for name, count in counts.items():
                setattr(counters, name, getattr(counters, name) + count)

    def record_seconds(self, stage: str, elapsed_s: float) -> None:
        """Add the time that a stage took.

        Args:
            stage: One of ``STAGES``.
            elapsed_s: Seconds.
        """
        self.seconds[stage] += elapsed_s
        self.epoch.seconds[stage] += elapsed_s

    def record_losses(self, losses: torch.Tensor) -> None:
        """Add the losses of a scored batch.

        Args:
            losses: Per-sample losses, shape ``(B,)``, float32, on the CPU.
        """
        self.losses.add(losses)
        self.epoch.losses.add(losses)

    def state_dict(self) -> dict[str, Any]:
        """Return everything as plain numbers, dicts, lists and tensors."""
        return {
            "total": SiftingCounters.state_dict(self),
            "epochs": [epoch.state_dict() for epoch in self.epochs],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what :meth:`state_dict` returned.

        Args:
            state: That dict.
        """
        SiftingCounters.load_state_dict(self, state["total"])
        self.epochs = []
        for counts in state["epochs"]:
            self.begin_epoch()
            self.epoch.load_state_dict(counts)
