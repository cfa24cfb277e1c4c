"""Axes of a picture: from a value to a place between 0 and 1, and what is written beside them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_WIDE = 100
"""From this quotient of its ends on, a range with ScalingType Auto is drawn by logarithm."""

_MARGIN = 0.05
_NUM_TICKS = 5
_MOST_CHARS = 10
_MOST_DECADES = 6


class PlotAxis(ABC):
    """One axis. Places are 0 to 1; a margin keeps marks off the edges."""

    @abstractmethod
    def place(self, value: Any) -> float | None:
        """Return the place of a value, or ``None`` if it cannot be on this axis."""

    @abstractmethod
    def ticks(self) -> Iterator[tuple[float, str]]:
        """Yield the place and the text of what is written beside the axis."""


class NumberAxis(PlotAxis):
    """Real or whole numbers.

    Args:
        low: The least value.
        high: The largest; may be equal to ``low``.
        scaling: ``Linear``, ``Logarithmic`` (``low > 0``) or ``ReverseLogarithmic``
            (``high < 1``): equal steps of ``x``, ``log10(x)`` or ``-log10(1 - x)``.

    Example:
        >>> axis = NumberAxis(0.1, 10.0, "Logarithmic")
        >>> [(round(place, 2), text) for place, text in axis.ticks()]
        [(0.05, '0.1'), (0.5, '1'), (0.95, '10')]
    """

    def __init__(self, low: float, high: float, scaling: str = "Linear") -> None:
        self._scaling = scaling
        self._low, self._high = self._transform(low), self._transform(high)
        if self._low == self._high:
            spread = abs(self._low) * 0.1 or 1.0
            self._low, self._high = self._low - spread, self._high + spread

    def place(self, value: Any) -> float | None:
        """Return the place of a number, or ``None`` if it is none."""
        if not isinstance(value, int | float) or not math.isfinite(value):
            return None
        try:
            transformed = self._transform(value)
        except ValueError:  # no logarithm
            return None
        share = (transformed - self._low) / (self._high - self._low)
        return _MARGIN + share * (1 - 2 * _MARGIN)

    def ticks(self) -> Iterator[tuple[float, str]]:
        """Yield round numbers; of an axis by logarithm the powers of ten, if there are two."""
        values = self._find_decades() if self._scaling != "Linear" else []
        if len(values) < 2:
            values = self._find_round_values()
        for value in values:
            place = self.place(value)
            if place is not None and 0 <= place <= 1:
                yield place, f"{value:.4g}"

    def _transform(self, value: float) -> float:
        if self._scaling == "Logarithmic":
            return math.log10(value)
        if self._scaling == "ReverseLogarithmic":
            return -math.log10(1 - value)
        return float(value)

    def _invert(self, place: float) -> float:
        if self._scaling == "Logarithmic":
            return float(10.0**place)
        return 1 - 10.0**-place if self._scaling == "ReverseLogarithmic" else place

    def _find_decades(self) -> list[float]:
        first, last = math.ceil(self._low - 1e-9), math.floor(self._high + 1e-9)
        step = max(1, math.ceil((last - first) / _MOST_DECADES))
        return [self._invert(float(power)) for power in range(first, last + 1, step)]

    def _find_round_values(self) -> list[float]:
        low, high = self._invert(self._low), self._invert(self._high)
        rough = (high - low) / _NUM_TICKS
        unit = 10.0 ** math.floor(math.log10(rough))
        step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= rough * 0.999)
        first = math.ceil(low / step - 1e-9)
        return [idx * step for idx in range(first, math.floor(high / step + 1e-9) + 1)]


class CategoryAxis(PlotAxis):
    """Words, side by side in the order given; 32 and "32" are one.

    Example:
        >>> axis = CategoryAxis(["sgd", "adam"])
        >>> axis.place("adam"), axis.place("nag")
        (0.75, None)
    """

    def __init__(self, values: Sequence[str]) -> None:
        texts: dict[Any, str] = {}
        for value in values:
            texts.setdefault(_to_key(value), str(value))
        self._keys, self._values = list(texts), list(texts.values())

    def place(self, value: Any) -> float | None:
        """Return the middle of the value's share."""
        key = _to_key(value)
        if key not in self._keys:
            return None
        return (self._keys.index(key) + 0.5) / len(self._keys)

    def ticks(self) -> Iterator[tuple[float, str]]:
        """Yield every value, shortened if it is long; every other one if there are many."""
        step = max(1, math.ceil(len(self._values) / _NUM_TICKS))
        for idx in range(0, len(self._values), step):
            text = self._values[idx]
            shown = text if len(text) <= _MOST_CHARS else f"{text[: _MOST_CHARS - 2]}.."
            yield (idx + 0.5) / len(self._values), shown


def _to_key(value: Any) -> Any:
    try:
        return float(value)
    except (TypeError, ValueError):
        return str(value)


def build_axis(tuned_range: Any, values: Sequence[Any]) -> PlotAxis:
    """Return the axis of a tuned hyperparameter.

    With ScalingType ``Auto`` it is drawn by the scale that the search of this machine takes: see
    ``docs/local.md``; how AWS decides is not published.

    Args:
        tuned_range: The API's entry of the range, a list of categories, or ``None`` if the range
            is not known (Autotune).
        values: What was tried.
    """
    if isinstance(tuned_range, Mapping):
        low, high = float(tuned_range["MinValue"]), float(tuned_range["MaxValue"])
        scaling = tuned_range.get("ScalingType", "Auto")
    elif tuned_range is None and values and all(isinstance(one, int | float) for one in values):
        low, high, scaling = min(values), max(values), "Auto"
    else:
        return CategoryAxis([*(tuned_range or ()), *map(str, values)])
    if scaling == "Auto":
        scaling = _choose_scaling(low, high)
    return NumberAxis(low, high, scaling)


def _choose_scaling(low: float, high: float) -> str:
    wide = _WIDE * (1 - 1e-9)  # 7 / 0.07 is a little less than 100
    if low > 0 and high >= wide * low:
        return "Logarithmic"
    if 0.5 <= low < high < 1 and 1 - low >= wide * (1 - high):
        return "ReverseLogarithmic"
    return "Linear"
