"""One tuned hyperparameter: its way from text to a number between 0 and 1, and back.

Source: developer guide, "Define hyperparameter ranges", section on hyperparameter scaling.
"""

from __future__ import annotations

import math
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

_LARGEST_LOG = math.log(sys.float_info.max)
_WIDE = 100
"""From this quotient of its ends on, a range with ScalingType Auto is searched by logarithm."""


class Axis(ABC):
    """One side of the unit cube.

    Attributes:
        name: The hyperparameter.
        size: How many values it can take; infinite for real numbers between two different ends.
    """

    name: str
    size: float

    @abstractmethod
    def decode(self, unit: float) -> str:
        """Return the text of the value at ``unit``, 0 to 1, both included."""

    @abstractmethod
    def read(self, text: str) -> float | None:
        """Return the number that stands for a value, or ``None`` if it is not in the range."""

    @abstractmethod
    def to_unit(self, number: float) -> float:
        """Return where the number from :meth:`read` lies, 0 to 1.

        A whole number or a category lies in the middle of its share.
        """

    def point(self, idx: int) -> str:
        """Return the text of the ``idx``-th of finitely many values, the smallest first."""
        raise NotImplementedError

    def find_idx(self, number: float) -> int:
        """Return the ``idx`` at which :meth:`point` gives the number from :meth:`read`."""
        raise NotImplementedError


class ContinuousAxis(Axis):
    """Real numbers.

    Uniform between 0 and 1 becomes uniform in ``x`` (Linear), in ``log(x)`` (Logarithmic) or in
    ``log(1 - x)`` (ReverseLogarithmic). ``Auto`` is a rule of this project: Logarithmic if
    ``min > 0`` and ``max / min >= 100``; ReverseLogarithmic if ``0.5 <= min``, ``max < 1`` and
    ``(1 - min) / (1 - max) >= 100``; Linear otherwise.

    Values are written as the shortest text that reads back as the same number.

    Args:
        name: The hyperparameter.
        low: Smallest value, included.
        high: Largest value, included.
        scaling: The API's ``ScalingType``.

    Example:
        >>> axis = ContinuousAxis("learning_rate", 0.01, 1.0, "Logarithmic")
        >>> axis.decode(1.0), axis.to_unit(0.1)
        ('1.0', 0.5)
    """

    def __init__(self, name: str, low: float, high: float, scaling: str = "Auto") -> None:
        self.name = name
        self.low, self.high = low + 0.0, high + 0.0  # -0.0 would be written with its sign
        self.size = 1 if low == high else math.inf
        if scaling == "Auto":
            scaling = self._choose_scaling()
        self._forward, self._backward = _SCALES[scaling]
        self._start, self._end = self._forward(low), self._forward(high)

    def decode(self, unit: float) -> str:
        """Return the text of the value at ``unit``."""
        if self.size == 1:
            return repr(self.low)
        position = self._start * (1 - unit) + self._end * unit
        return repr(min(max(self._backward(position), self.low), self.high) + 0.0)

    def read(self, text: str) -> float | None:
        """Return the number that stands for a value, or ``None`` outside the range."""
        number = _read_float(text)
        return number if number is not None and self.low <= number <= self.high else None

    def to_unit(self, number: float) -> float:
        """Return where the number from :meth:`read` lies."""
        return _locate(self._forward(number), self._start, self._end)

    def point(self, idx: int) -> str:
        """Return the text of the ``idx``-th value."""
        return self.decode(0.5)

    def find_idx(self, number: float) -> int:
        """Return the ``idx`` of :meth:`point`."""
        return 0

    def _choose_scaling(self) -> str:
        if self.low > 0 and _is_wide(self.high / self.low):
            return "Logarithmic"
        if 0.5 <= self.low < self.high < 1 and _is_wide((1 - self.low) / (1 - self.high)):
            return "ReverseLogarithmic"
        return "Linear"


class IntegerAxis(Axis):
    """Whole numbers.

    Linear gives every number the same share of 0 to 1. Logarithmic gives ``k`` a share
    proportional to ``log((k + 0.5) / (k - 0.5))``, about ``1 / k``. ``Auto`` is a rule of this
    project: Logarithmic if ``min > 0`` and ``max / min >= 100``, Linear otherwise.

    Args:
        name: The hyperparameter.
        low: Smallest value, included.
        high: Largest value, included.
        scaling: The API's ``ScalingType``, but ReverseLogarithmic.

    Example:
        >>> axis = IntegerAxis("num_layers", 1, 4, "Linear")
        >>> [axis.decode(unit) for unit in (0.0, 0.24, 0.25, 1.0)], axis.to_unit(2)
        (['1', '1', '2', '4'], 0.375)
    """

    def __init__(self, name: str, low: int, high: int, scaling: str = "Auto") -> None:
        self.name = name
        self.low, self.high = low, high
        self.size = high - low + 1
        is_wide = low > 0 and high >= _WIDE * low
        self._is_log = scaling == "Logarithmic" or (scaling == "Auto" and is_wide)
        if self._is_log:
            self._start, self._end = math.log(low - 0.5), math.log(high + 0.5)

    def decode(self, unit: float) -> str:
        """Return the text of the value at ``unit``."""
        if self._is_log:
            position = self._start * (1 - unit) + self._end * unit
            number = int(_exp(position) + 0.5)
        else:  # in whole numbers, so that the largest ones lose nothing
            numerator, denominator = unit.as_integer_ratio()
            number = self.low + numerator * int(self.size) // denominator
        return str(min(max(number, self.low), self.high))

    def read(self, text: str) -> int | None:
        """Return the number that stands for a value, or ``None`` outside the range."""
        number = _read_integer(text)
        return number if number is not None and self.low <= number <= self.high else None

    def to_unit(self, number: float) -> float:
        """Return where the number from :meth:`read` lies."""
        if self._is_log:
            middle = (math.log(number - 0.5) + math.log(number + 0.5)) / 2
            return _locate(middle, self._start, self._end)
        return (2 * (int(number) - self.low) + 1) / (2 * int(self.size))

    def point(self, idx: int) -> str:
        """Return the text of the ``idx``-th value."""
        return str(self.low + idx)

    def find_idx(self, number: float) -> int:
        """Return the ``idx`` of :meth:`point`."""
        return int(number) - self.low


class CategoricalAxis(Axis):
    """A choice of texts; every one has the same share.

    Args:
        name: The hyperparameter.
        values: The texts, each once.
    """

    def __init__(self, name: str, values: Sequence[str]) -> None:
        self.name = name
        self.values = tuple(values)
        self.size = len(self.values)
        self._idx_of = {value: idx for idx, value in enumerate(self.values)}

    def decode(self, unit: float) -> str:
        """Return the text of the value at ``unit``."""
        return self.values[min(int(unit * len(self.values)), len(self.values) - 1)]

    def read(self, text: str) -> int | None:
        """Return the number that stands for a value, or ``None`` outside the range."""
        return self._idx_of.get(text)

    def to_unit(self, number: float) -> float:
        """Return where the number from :meth:`read` lies."""
        return (number + 0.5) / len(self.values)

    def point(self, idx: int) -> str:
        """Return the text of the ``idx``-th value."""
        return self.values[idx]

    def find_idx(self, number: float) -> int:
        """Return the ``idx`` of :meth:`point`."""
        return int(number)


def _is_wide(quotient: float) -> bool:
    return quotient >= _WIDE * (1 - 1e-9)  # 7 / 0.07 is a little less than 100


def _exp(exponent: float) -> float:
    return math.exp(min(exponent, _LARGEST_LOG))


_SCALES: dict[str, tuple[Callable[[float], float], Callable[[float], float]]] = {
    "Linear": (lambda number: number, lambda position: position),
    "Logarithmic": (math.log, _exp),
    "ReverseLogarithmic": (
        lambda number: -math.log1p(-number),
        lambda position: -math.expm1(-position),
    ),
}
"""By scaling: the function in which uniform draws are uniform, and its inverse."""


def _locate(position: float, start: float, end: float) -> float:
    """Return the share of the way from ``start`` to ``end``; 0.5 if there is no way.

    Halves, because the distance of the two largest floats is no float.
    """
    if start == end:
        return 0.5
    return min(max((position / 2 - start / 2) / (end / 2 - start / 2), 0.0), 1.0)


def _read_float(text: str) -> float | None:
    if "_" in text:  # Python would read it, the container's side does not
        return None
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _read_integer(text: str) -> int | None:
    if "_" in text:
        return None
    try:
        return int(text)
    except ValueError:
        number = _read_float(text)
    return int(number) if number is not None and number.is_integer() else None
