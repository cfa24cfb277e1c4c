"""Whether sifting saves time: arithmetic on what one sample costs.

A sample that is presented is loaded and scored; the share ``r = 1 / (1 + beta_value)`` that is
kept is pooled, that is put together into full batches, and trained on. Without sifting every
sample is loaded and trained on.

Source: the kept fraction from
https://docs.aws.amazon.com/sagemaker/latest/dg/train-smart-sifting-pysdk-reference.html; that a
separate scoring pass costs what it costs whatever is kept, from A. H. Jiang et al., "Accelerating
Deep Learning by Focusing on the Biggest Losers", 2019, section 3, https://arxiv.org/abs/1910.00762
"""

from __future__ import annotations

import math
from dataclasses import dataclass

_LOADING_WORTH_SAYING = 0.1
_POOLING_WORTH_SAYING = 0.01
_ROUNDING_ERROR = 1e-9
_SAVING_WORTH_A_NUMBER = 0.01


@dataclass(frozen=True, slots=True)
class SiftingCosts:
    """Seconds that one sample costs in each part of a training loop.

    Attributes:
        loading_s: Loading, per presented sample, seconds, ``>= 0``. With
            ``is_loading_overlapped``, of all worker processes together: one by the throughput.
        scoring_s: Sifting, per scored sample, seconds, ``>= 0``: the batch transform, the scoring
            pass, selection, and pooling where ``pooling_s`` does not hold it.
        training_s: Training, per trained sample, seconds, ``> 0``: forward, backward, optimizer
            step.
        is_loading_overlapped: Whether worker processes load while the loop computes.
        pooling_s: Pooling, per kept sample, seconds, ``>= 0``: taking it out of its batch, joining
            it with others, and the way back from the batch transform.

    Raises:
        ValueError: If a number is negative, infinite or NaN, or ``training_s`` is 0.

    Example:
        >>> costs = SiftingCosts(loading_s=1.0, scoring_s=1.0, training_s=3.0)
        >>> costs.break_even_beta(), costs.relative_time(1)
        (0.5, 0.875)
        >>> costs = SiftingCosts(loading_s=1.0, scoring_s=1.0, training_s=3.0, pooling_s=1.0)
        >>> costs.break_even_beta(), costs.relative_time(1)
        (1.0, 1.0)
    """

    loading_s: float
    scoring_s: float
    training_s: float
    is_loading_overlapped: bool = False
    pooling_s: float = 0.0

    def __post_init__(self) -> None:
        for name in ("loading_s", "scoring_s", "training_s", "pooling_s"):
            value = getattr(self, name)
            is_positive = value > 0 or (value == 0 and name != "training_s")
            if not (math.isfinite(value) and is_positive):
                rule = "positive" if name == "training_s" else "0 or more"
                raise ValueError(
                    f"`{name}` is {value!r}, but must be {rule} and finite: the seconds that one "
                    "sample takes. Measure it over more batches."
                )

    @property
    def scoring_share(self) -> float:
        """What scoring a sample costs, as a multiple of training on it: the ``s`` of the model."""
        return self.scoring_s / self.training_s

    @property
    def is_loading_the_bottleneck(self) -> bool:
        """Whether the loop waits for its workers even without sifting; no selectivity helps."""
        return self.is_loading_overlapped and self.loading_s >= self.training_s

    def relative_time(self, beta: float) -> float:
        """Return the expected time of an epoch, relative to one without sifting.

        ``(loading + scoring + r * (training + pooling)) / (loading + training)``; with overlapped
        loading ``max(loading, scoring + r * (training + pooling)) / max(loading, training)``.

        Args:
            beta: Selectivity, positive and finite.

        Returns:
            Below 1 if sifting saves time.

        Raises:
            ValueError: If ``beta`` is not positive and finite.
        """
        computing_s = self._computing_s(beta)
        if self.is_loading_overlapped:
            return max(self.loading_s, computing_s) / max(self.loading_s, self.training_s)
        return (self.loading_s + computing_s) / (self.loading_s + self.training_s)

    def break_even_beta(self) -> float | None:
        """Return the selectivity above which sifting saves time: ``(s + p) / (1 - s)``.

        ``s`` is what scoring a sample costs and ``p`` what pooling a kept one costs, as multiples
        of training on it. At this ``beta`` the relative time is 1, up to rounding; above it is
        less, below it more.

        Returns:
            A number ``>= 0``, or None if no selectivity saves time: scoring costs as much as
            training, or worker processes load more slowly than the loop trains.
        """
        spared_s = self.training_s - self.scoring_s
        if spared_s <= 0 or self.is_loading_the_bottleneck:
            return None
        break_even = (self.scoring_s + self.pooling_s) / spared_s
        return break_even if math.isfinite(break_even) else None

    def least_beta(self, relative_time: float) -> float | None:
        """Return the selectivity from which on an epoch takes at most so much time.

        Args:
            relative_time: Relative to an epoch without sifting, in (0, 1]. Loading is taken as not
                overlapped.

        Returns:
            A number ``>= 0``, or None if no selectivity does.

        Example:
            >>> SiftingCosts(loading_s=0.0, scoring_s=1.0, training_s=2.0).least_beta(0.75)
            3.0
        """
        fixed_s = self.loading_s + self.scoring_s
        left_s = relative_time * (self.loading_s + self.training_s) - fixed_s
        if left_s <= 0:
            return None
        return max(0.0, (self.training_s + self.pooling_s) / left_s - 1)

    def verdict(self, beta: float) -> str:
        """Return in a sentence whether a selectivity saves time, and why.

        Args:
            beta: Selectivity, positive and finite.

        Returns:
            One sentence. The break-even in it is rounded up.

        Raises:
            ValueError: If ``beta`` is not positive and finite.

        Example:
            >>> print(SiftingCosts(loading_s=0.0, scoring_s=1.0, training_s=3.0).verdict(0.25))
            beta_value=0.25 will not save time on this model: scoring costs 33 % of a step and
            80.0 % of the samples are still trained; from beta_value=0.51 on it does.
        """
        relative_time = self.relative_time(beta)
        break_even = self.break_even_beta()
        scoring = f"scoring costs {_percent(self.scoring_share)} of a step"
        sifting = scoring + self._explain_pooling(beta)
        kept = f"{100 * kept_fraction(beta):.1f} % of the samples are"
        if self.is_loading_the_bottleneck:
            return self._explain_bottleneck(beta, relative_time)
        if break_even is None:
            return (
                f"beta_value={beta:g} will not save time on this model: {scoring}, so that no "
                "beta_value saves any."
            )
        if relative_time >= 1:
            return (
                f"beta_value={beta:g} will not save time on this model: {sifting} and {kept} "
                f"still trained; from beta_value={round_up(break_even):g} on it does."
            )
        if 1 - relative_time < _SAVING_WORTH_A_NUMBER:
            expected = "save less than 1 % of the time per epoch"
        else:
            expected = f"take {relative_time:.2f} of the time per epoch"
        return (
            f"beta_value={beta:g} is expected to {expected}: {sifting} and {kept} trained"
            f"{self._explain_loading(beta)}."
        )

    def _computing_s(self, beta: float) -> float:
        """Return what the loop computes per presented sample, seconds."""
        return self.scoring_s + kept_fraction(beta) * (self.training_s + self.pooling_s)

    def _explain_pooling(self, beta: float) -> str:
        share = self.pooling_s / self.training_s
        if kept_fraction(beta) * share < _POOLING_WORTH_SAYING:
            return ""
        return f", putting a kept sample into a new batch {_percent(share)},"

    def _explain_bottleneck(self, beta: float, relative_time: float) -> str:
        sentence = (
            f"beta_value={beta:g} will not save time: loading takes longer than training "
            f"({1000 * self.loading_s:.3g} ms and {1000 * self.training_s:.3g} ms per sample), so "
            "that no beta_value saves any"
        )
        if relative_time > 1 + _SAVING_WORTH_A_NUMBER:
            sentence += f", and this one takes {relative_time:.2f} of the time per epoch"
        return f"{sentence}. Load faster first, such as by more worker processes."

    def _explain_loading(self, beta: float) -> str:
        if self.is_loading_overlapped:
            if self.loading_s >= self._computing_s(beta):
                return "; loading takes as long, so that a larger beta_value saves no more"
            return ""
        share = self.loading_s / (self.loading_s + self.training_s)
        if share < _LOADING_WORTH_SAYING:
            return ""
        return f"; loading, {_percent(share)} of the time without sifting, stays what it is"


def kept_fraction(beta: float) -> float:
    """Return the share of samples that is expected to be kept: ``1 / (1 + beta)``.

    Args:
        beta: Selectivity, positive and finite.

    Returns:
        A number in (0, 1).

    Raises:
        ValueError: If ``beta`` is not positive and finite.

    Example:
        >>> kept_fraction(3)
        0.25
    """
    if not (math.isfinite(beta) and beta > 0):
        raise ValueError(
            f"`beta_value` is {beta!r}, but must be positive and finite. The expected kept "
            "fraction is 1 / (1 + beta_value): 1 keeps half, 3 a quarter."
        )
    return 1 / (1 + beta)


def round_up(value: float) -> float:
    """Return the next number of two significant digits above ``value``.

    A number that holds "from here on" is never less than what it stands for, nor equal to it, nor
    greater by a rounding error only.

    Args:
        value: ``>= 0`` and finite.

    Returns:
        A greater number; 0.01 for all below 0.01.

    Example:
        >>> round_up(0.5), round_up(1.234), round_up(99.5)
        (0.51, 1.3, 100.0)
    """
    if value < 0.01:
        return 0.01
    digits = 1 - math.floor(math.log10(value))
    shown = round(value, digits)
    while shown <= value * (1 + _ROUNDING_ERROR):
        shown = round(shown + 10.0**-digits, digits)
    return shown


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.1 else f"{100 * share:.1f} %"
