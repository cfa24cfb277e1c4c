"""What a pilot measured, and what follows from it for each ``beta_value``."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from smart_sifting._core.cost_model import SiftingCosts, kept_fraction, round_up
from smart_sifting._pilot.stopwatch import BatchTimes

STAGE_LABELS = {
    "load": "loading",
    "transform": "batch transform",
    "score": "scoring pass",
    "select": "selection",
    "scoring": "scoring, together",
    "pool": "pooling, per kept sample",
    "forward": "forward",
    "backward": "backward",
    "step": "optimizer step",
    "training": "training, together",
}
"""The stages of a pilot, in order, and how they are shown."""

MOST_VERDICTS = 3
_NOISY_SPREAD = 0.25


@dataclass(frozen=True, slots=True)
class StageSeconds:
    """How long one stage takes, seconds per sample; of pooling, per kept sample.

    Attributes:
        stage: Its name, a key of ``STAGE_LABELS``.
        median_s: Median over the measured batches; of pooling, which comes in bursts, the mean.
        lower_s: Lower quartile.
        upper_s: Upper quartile.
    """

    stage: str
    median_s: float
    lower_s: float
    upper_s: float


class PilotRow(NamedTuple):
    """What one selectivity is expected to do.

    Attributes:
        beta: The selectivity.
        kept_fraction: Expected share of samples trained on, in (0, 1).
        relative_time: Expected time of an epoch, relative to one without sifting.
    """

    beta: float
    kept_fraction: float
    relative_time: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PilotReport:
    """What sifting costs and saves on one model, loss and loader. ``print`` it.

    A larger ``beta_value`` always takes less time, because fewer samples are trained on. What
    that does to the accuracy is not measured here.

    Attributes:
        costs: Seconds per sample: the figures that all expectations follow from.
        stages: Seconds per sample by stage, with quartiles; of pooling, per kept sample.
        betas: Selectivities to look at, ascending.
        beta_value: The selectivity that was asked for first, or None.
        batch_size: Samples in a measured batch; the median, if they differ.
        num_batches: Batches measured.
        num_warmup: Batches that ran before, unmeasured.
        num_workers: Worker processes of the loader.
        device: Where the model is, in words.
        num_threads: Threads of torch on the processor.
        torch_version: Version of torch.
        scoring_method: How the batches were scored, ``"folded bfloat16 copy"`` for example.
        note: What else there is to know, in sentences; empty if there is nothing.

    Example:
        >>> from smart_sifting import PilotReport
        >>> report = PilotReport(
        ...     costs=SiftingCosts(loading_s=0, scoring_s=1, training_s=3), stages=(),
        ...     betas=(0.25, 3), beta_value=3, batch_size=64, num_batches=20, num_warmup=3,
        ...     num_workers=0, device="CPU", num_threads=1, torch_version="2.13.0")
        >>> report.break_even_beta, report.rows[1].kept_fraction
        (0.5, 0.25)
    """

    costs: SiftingCosts
    stages: tuple[StageSeconds, ...]
    betas: tuple[float, ...]
    beta_value: float | None
    batch_size: int
    num_batches: int
    num_warmup: int
    num_workers: int
    device: str
    num_threads: int
    torch_version: str
    scoring_method: str = "plain"
    note: str = ""

    @property
    def rows(self) -> tuple[PilotRow, ...]:
        """What each of ``betas`` is expected to do, in their order."""
        return tuple(
            PilotRow(beta, kept_fraction(beta), self.costs.relative_time(beta))
            for beta in self.betas
        )

    @property
    def break_even_beta(self) -> float | None:
        """The selectivity above which sifting saves time, or None if none does."""
        return self.costs.break_even_beta()

    def verdict(self, beta: float) -> str:
        """Return in a sentence whether a selectivity saves time, and why.

        Args:
            beta: Any selectivity, positive and finite.

        Raises:
            ValueError: If ``beta`` is not positive and finite.
        """
        return self.costs.verdict(beta)

    def as_dict(self) -> dict[str, Any]:
        """Return everything as strings, numbers, lists and dicts, ready for JSON.

        Seconds are per sample, of pooling per kept sample; ``break_even_beta`` is None if no
        selectivity saves time.
        """
        break_even = self.break_even_beta
        plain = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.name not in ("costs", "stages", "betas")
        }
        return plain | {
            "costs": dataclasses.asdict(self.costs),
            "scoring_share": self.costs.scoring_share,
            "break_even_beta": break_even,
            "stages": {
                seconds.stage: {
                    "median_s": seconds.median_s,
                    "lower_s": seconds.lower_s,
                    "upper_s": seconds.upper_s,
                }
                for seconds in self.stages
            },
            "rows": [row._asdict() | {"verdict": self.verdict(row.beta)} for row in self.rows],
        }

    def __str__(self) -> str:
        parts = [self._describe_conditions(), self._describe_stages(), self._describe_betas()]
        parts += [self.verdict(beta) for beta in self._find_telling_betas()]
        parts.append(
            "A larger beta_value always takes less time; what it does to the accuracy is not "
            "measured here."
        )
        if self.note:
            parts.append(self.note)
        if self._is_noisy:
            parts.append(
                "The quartiles are far apart: the machine was busy with something else, or the "
                "batches differ. Measure again, or over more batches."
            )
        return "\n\n".join(parts)

    @property
    def _is_noisy(self) -> bool:
        return any(
            seconds.upper_s - seconds.lower_s > _NOISY_SPREAD * seconds.median_s
            for seconds in self.stages
            if seconds.stage in ("scoring", "training")
        )

    def _find_telling_betas(self) -> list[float]:
        """Return the asked for beta, then all if they are few, else those next to break-even."""
        asked = [] if self.beta_value is None else [self.beta_value]
        if len(self.betas) <= MOST_VERDICTS:
            return list(dict.fromkeys([*asked, *self.betas]))
        losing = [row.beta for row in self.rows if row.relative_time >= 1][-1:]
        saving = [row.beta for row in self.rows if row.relative_time < 1][:1]
        return list(dict.fromkeys([*asked, *losing, *saving]))

    def _describe_conditions(self) -> str:
        threads = "1 thread" if self.num_threads == 1 else f"{self.num_threads} threads"
        return (
            f"Pilot: {self.num_batches} batches of {self.batch_size} samples after "
            f"{self.num_warmup} to warm up, on {self.device}, {threads}, "
            f"torch {self.torch_version}. Scored by this method: {self.scoring_method}."
        )

    def _describe_stages(self) -> str:
        lines = [f"{'ms per sample':<25}{'median':>10}     quartiles"]
        for seconds in self.stages:
            label = STAGE_LABELS[seconds.stage]
            if seconds.stage == "load" and self.costs.is_loading_overlapped:
                label = f"{label} ({self.num_workers} workers)"
            median, lower, upper = (
                f"{1000 * value:.4f}"
                for value in (seconds.median_s, seconds.lower_s, seconds.upper_s)
            )
            lines.append(f"{label:<25}{median:>10}     {lower} to {upper}")
        if self.costs.is_loading_overlapped:
            lines.append("Loading is what the workers can do, with nothing computed meanwhile.")
        if not any(seconds.stage == "step" for seconds in self.stages):
            lines.append("No optimizer was given, so training is without its step.")
        return "\n".join(lines)

    def _describe_betas(self) -> str:
        lines = ["beta_value   trained on   time of an epoch (1 = without sifting)"]
        for beta, kept, relative_time in self.rows:
            lines.append(f"{beta:>10g}{100 * kept:>11.1f} %{relative_time:>11.2f}")
        break_even = self.break_even_beta
        if break_even is None:
            lines.append("No beta_value saves time here.")
        else:
            lines.append(f"From beta_value={round_up(break_even):g} on sifting saves time.")
        return "\n".join(lines)


def summarise_stage(stage: str, seconds: Sequence[float]) -> StageSeconds:
    """Return median and quartiles of what one stage took in several batches.

    Args:
        stage: Its name.
        seconds: Seconds per sample, at least one value.

    Returns:
        The summary; quartiles are interpolated between the values, ends included.

    Example:
        >>> summarise_stage("load", [1.0, 2.0, 3.0, 4.0, 100.0])
        StageSeconds(stage='load', median_s=3.0, lower_s=2.0, upper_s=4.0)
    """
    if len(seconds) == 1:
        return StageSeconds(stage, seconds[0], seconds[0], seconds[0])
    lower_s, median_s, upper_s = statistics.quantiles(seconds, n=4, method="inclusive")
    return StageSeconds(stage, median_s, lower_s, upper_s)


def summarise_pooling(times: Sequence[BatchTimes]) -> StageSeconds:
    """Return what pooling takes per kept sample: the mean, and quartiles of the batches.

    Pooling has much to do for a batch that fills the pool and little for the next, so that a
    median would tell only the one or the other.

    Args:
        times: Of the measured batches.

    Returns:
        The summary; 0 if no sample was kept.

    Example:
        >>> bursts = [BatchTimes(4, {"pool": 1.0}, 2), BatchTimes(4, {"pool": 8.0}, 1)]
        >>> summarise_pooling(bursts).median_s
        3.0
    """
    pooling = [(batch.seconds.get("pool", 0.0), batch.num_kept) for batch in times]
    num_kept = sum(kept for _, kept in pooling)
    if not num_kept:
        return StageSeconds("pool", 0.0, 0.0, 0.0)
    quartiles = summarise_stage("pool", [seconds / kept for seconds, kept in pooling if kept])
    mean_s = sum(seconds for seconds, _ in pooling) / num_kept
    return dataclasses.replace(quartiles, median_s=mean_s)
