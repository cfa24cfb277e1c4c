"""How strongly, from when on and against which history samples are sifted.

Each configuration may hold its inner one as an object or as a dict with the same keys.

Source: names and documented defaults from
https://docs.aws.amazon.com/sagemaker/latest/dg/train-smart-sifting-pysdk-reference.html
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import numbers
from collections.abc import Mapping
from typing import Any, Final, Literal, TypeVar, get_args

from smart_sifting.exceptions import SiftConfigValidationException

__all__ = [
    "LossConfig",
    "RelativeProbabilisticSiftConfig",
    "SiftConfigValidationException",
    "SiftingBaseConfig",
    "read_sift_config",
]

AUTO: Final = "auto"
"""The ``sift_delay`` that lets the losses say when sifting starts."""

Weighting = Literal["none", "inverse"]

Scoring = Literal["plain", "fresh", "last_visit"]
"""Where losses come from: see ``SiftingDataloader``."""

ConfigT = TypeVar("ConfigT", "RelativeProbabilisticSiftConfig", "LossConfig", "SiftingBaseConfig")


@dataclasses.dataclass(frozen=True, slots=True)
class SiftingBaseConfig:
    """When sifting starts, and when it ends.

    Attributes:
        sift_delay: Training steps (batches) that pass unsifted before sifting starts, ``>= 0``.
            With ``"auto"`` it starts when there is something to spare: when the samples that
            would be dropped carry at most a tenth of the loss, as they do once many are near
            zero. A training that never gets there is never sifted. The rule is ours.
        repeat_delay_per_epoch: Whether every epoch waits anew. By default the steps are counted
            over the whole training. Not with ``"auto"``.
        unsifted_share: Share of the epochs, at the end of the training, that pass unsifted, in
            [0, 1), rounded down to whole epochs, so that BatchNorm statistics and the last steps
            are those of all the data. Needs ``num_epochs``.
        num_epochs: Epochs of the whole training, ``>= 1``; read with ``unsifted_share`` only.

    Raises:
        SiftConfigValidationException: If a value has the wrong type or is out of range.

    Example:
        >>> SiftingBaseConfig(sift_delay=10)
        SiftingBaseConfig(sift_delay=10, repeat_delay_per_epoch=False, unsifted_share=0.0, ...)
        >>> SiftingBaseConfig("auto", unsifted_share=0.1, num_epochs=40).first_unsifted_epoch
        36
    """

    sift_delay: int | Literal["auto"] = 1000
    repeat_delay_per_epoch: bool = False
    unsifted_share: float = dataclasses.field(default=0.0, kw_only=True)
    num_epochs: int | None = dataclasses.field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if self.sift_delay != AUTO:
            delay = _read_delay(self.sift_delay)
            object.__setattr__(self, "sift_delay", delay)
        if not isinstance(self.repeat_delay_per_epoch, bool):
            raise SiftConfigValidationException(
                f"`repeat_delay_per_epoch` is {self.repeat_delay_per_epoch!r}, "
                "but must be True or False."
            )
        if self.repeat_delay_per_epoch and self.sift_delay == AUTO:
            raise SiftConfigValidationException(
                "`repeat_delay_per_epoch` is True, but `sift_delay` is 'auto', which starts once. "
                "Give a number of steps, or leave `repeat_delay_per_epoch` out."
            )
        share = _read_number("unsifted_share", self.unsifted_share)
        if not 0 <= share < 1:
            raise SiftConfigValidationException(
                f"`unsifted_share` is {share!r}, but must be in [0, 1): the share of the epochs "
                "at the end that pass unsifted, such as 0.1."
            )
        object.__setattr__(self, "unsifted_share", share)
        if self.num_epochs is not None:
            num_epochs = _read_whole_number("num_epochs", self.num_epochs, minimum=1)
            object.__setattr__(self, "num_epochs", num_epochs)
        elif share:
            raise SiftConfigValidationException(
                f"`unsifted_share` is {share!r}, but `num_epochs` is not given. Say how many "
                "epochs the training has in all."
            )

    @property
    def first_unsifted_epoch(self) -> int | None:
        """The epoch, from 0, from which on nothing is sifted; None if there is none."""
        if not self.unsifted_share or self.num_epochs is None:
            return None
        num_unsifted = math.floor(self.unsifted_share * self.num_epochs + 1e-9)
        return self.num_epochs - num_unsifted if num_unsifted else None


@dataclasses.dataclass(frozen=True, slots=True)
class LossConfig:
    """Sifting by loss.

    Attributes:
        sift_config: When sifting starts: a :class:`SiftingBaseConfig`, or a dict with its keys,
            which is turned into one.

    Raises:
        SiftConfigValidationException: If ``sift_config`` is neither, or is a dict that misses a
            key, has an unknown key or an unsupported value.

    Example:
        >>> LossConfig({"sift_delay": 0}).sift_config
        SiftingBaseConfig(sift_delay=0, repeat_delay_per_epoch=False, unsifted_share=0.0, ...)
    """

    sift_config: SiftingBaseConfig | Mapping[str, Any]

    def __post_init__(self) -> None:
        inner = _read_config("sift_config", self.sift_config, SiftingBaseConfig)
        object.__setattr__(self, "sift_config", inner)


@dataclasses.dataclass(frozen=True, slots=True)
class RelativeProbabilisticSiftConfig:
    """Keep a sample with probability ``percentile(loss) ** beta_value``.

    The percentile is taken among the ``loss_history_length`` latest losses. The expected kept
    fraction is ``1 / (1 + beta_value)``: ``beta_value`` is not the proportion to keep.

    Attributes:
        beta_value: Selectivity, positive and finite. 1 keeps half, 3 a quarter.
        loss_history_length: How many of the latest losses are remembered, ``>= 1``.
        loss_based_sift_config: A :class:`LossConfig`, or a dict with its keys, which is turned
            into one.
        max_percentile: Samples above this percentile are dropped, in (0, 1]: an upper cut where
            labels are noisy, as those samples keep the highest losses. 1 drops none.
        weighting: ``"inverse"`` gives a kept sample the weight ``kept fraction / P(keep)``, at
            most ``max_weight``: with these weights the mean loss over kept samples estimates that
            over all samples (that ``max_percentile`` leaves) without bias, but for the limit. The
            loop must use ``SiftingDataloader.weights``. Source: D. G. Horvitz and D. J. Thompson,
            "A Generalization of Sampling Without Replacement From a Finite Universe", 1952.
        max_weight: The largest weight, ``>= 1`` and finite.

    Raises:
        SiftConfigValidationException: If a value has the wrong type or is out of range, or a dict
            misses a key or has an unknown one.

    Example:
        >>> config = RelativeProbabilisticSiftConfig(
        ...     beta_value=3, loss_history_length=500,
        ...     loss_based_sift_config={"sift_config": {"sift_delay": 10}})
        >>> config.beta_value, config.loss_based_sift_config.sift_config.sift_delay
        (3.0, 10)
    """

    beta_value: float
    loss_history_length: int
    loss_based_sift_config: LossConfig | Mapping[str, Any]
    max_percentile: float = dataclasses.field(default=1.0, kw_only=True)
    weighting: Weighting = dataclasses.field(default="none", kw_only=True)
    max_weight: float = dataclasses.field(default=5.0, kw_only=True)

    def __post_init__(self) -> None:
        beta = _read_number("beta_value", self.beta_value)
        if not (math.isfinite(beta) and beta > 0):
            raise SiftConfigValidationException(
                f"`beta_value` is {beta!r}, but must be positive and finite. The expected kept "
                "fraction is 1 / (1 + beta_value): 1 keeps half, 3 a quarter."
            )
        length = _read_whole_number("loss_history_length", self.loss_history_length, minimum=1)
        loss_config = _read_config(
            "loss_based_sift_config", self.loss_based_sift_config, LossConfig
        )
        object.__setattr__(self, "beta_value", beta)
        object.__setattr__(self, "loss_history_length", length)
        object.__setattr__(self, "loss_based_sift_config", loss_config)
        object.__setattr__(self, "max_percentile", _read_cut(self.max_percentile))
        if self.weighting not in get_args(Weighting):
            raise SiftConfigValidationException(
                f"`weighting` is {self.weighting!r}, but must be 'none' or 'inverse'."
            )
        max_weight = _read_number("max_weight", self.max_weight)
        if not (math.isfinite(max_weight) and max_weight >= 1):
            raise SiftConfigValidationException(
                f"`max_weight` is {max_weight!r}, but must be at least 1 and finite."
            )
        object.__setattr__(self, "max_weight", max_weight)


def read_sift_config(
    sift_config: RelativeProbabilisticSiftConfig | Mapping[str, Any],
) -> tuple[RelativeProbabilisticSiftConfig, SiftingBaseConfig]:
    """Return a sift configuration, from an object or a dict, and its innermost part.

    Args:
        sift_config: A :class:`RelativeProbabilisticSiftConfig`, or a dict with its keys.

    Returns:
        The configuration, and the :class:`SiftingBaseConfig` inside it.

    Raises:
        SiftConfigValidationException: If it is neither, or is a dict that misses a key, has an
            unknown key or an unsupported value.

    Example:
        >>> config, base = read_sift_config({
        ...     "beta_value": 1, "loss_history_length": 500,
        ...     "loss_based_sift_config": {"sift_config": {}}})
        >>> base.sift_delay
        1000
    """
    config = _read_config("sift_config", sift_config, RelativeProbabilisticSiftConfig)
    loss_config = _read_config("loss_based_sift_config", config.loss_based_sift_config, LossConfig)
    return config, _read_config("sift_config", loss_config.sift_config, SiftingBaseConfig)


def _read_config(name: str, value: object, config_class: type[ConfigT]) -> ConfigT:
    if isinstance(value, config_class):
        return value
    if not isinstance(value, Mapping):
        raise SiftConfigValidationException(
            f"`{name}` is {value!r}, but must be a {config_class.__name__} or a dict with its "
            "keys."
        )
    fields = {field.name: field for field in dataclasses.fields(config_class)}
    for key in value:
        if key not in fields:
            close = difflib.get_close_matches(str(key), fields, n=1, cutoff=0.5)
            remedy = f"Did you mean {close[0]!r}?" if close else f"Its keys are {sorted(fields)}."
            raise SiftConfigValidationException(
                f"`{name}` has the key {key!r}, but {config_class.__name__} has none. {remedy}"
            )
    for key, field in fields.items():
        if key not in value and field.default is dataclasses.MISSING:
            raise SiftConfigValidationException(
                f"`{name}` misses the key {key!r}, which {config_class.__name__} needs. Add it."
            )
    return config_class(**value)


def _read_delay(value: object) -> int:
    try:
        return _read_whole_number("sift_delay", value, minimum=0)
    except SiftConfigValidationException as error:
        raise SiftConfigValidationException(f"{error} Or give 'auto'.") from None


def _read_cut(value: object) -> float:
    cut = _read_number("max_percentile", value)
    if not 0 < cut <= 1:
        raise SiftConfigValidationException(
            f"`max_percentile` is {cut!r}, but must be in (0, 1]: samples above it are dropped, "
            "and 1 drops none."
        )
    return cut


def _read_number(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise SiftConfigValidationException(
            f"`{name}` is {value!r}, but must be a number, such as 1.0."
        )
    return float(value)


def _read_whole_number(name: str, value: object, *, minimum: int) -> int:
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise SiftConfigValidationException(f"`{name}` is {value!r}, but must be a whole number.")
    if value < minimum:
        raise SiftConfigValidationException(
            f"`{name}` is {value!r}, but must be at least {minimum}."
        )
    return int(value)
