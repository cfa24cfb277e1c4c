"""The space that a tuning job searches."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from sagemaker_sift.backends.local.search.axis import (
    Axis,
    CategoricalAxis,
    ContinuousAxis,
    IntegerAxis,
)
from sagemaker_sift.contract.problem import Problem
from sagemaker_sift.exceptions import InvalidRequestError
from sagemaker_sift.parameter import read_ranges

_LISTS = ("IntegerParameterRanges", "ContinuousParameterRanges", "CategoricalParameterRanges")


class Space:
    """All combinations of values of the tuned hyperparameters, as a unit cube.

    Args:
        axes: One for each hyperparameter.

    Attributes:
        axes: In the order in which units are given.
        names: Of the hyperparameters, in that order.
        size: How many points there are; infinite if a hyperparameter is a real number.

    Example:
        >>> space = Space.from_ranges({
        ...     "IntegerParameterRanges": [
        ...         {"Name": "num_layers", "MinValue": "1", "MaxValue": "2"}],
        ...     "CategoricalParameterRanges": [{"Name": "optimizer", "Values": ["sgd", "adam"]}]})
        >>> space.size, space.point(1)
        (4, {'num_layers': '1', 'optimizer': 'adam'})
        >>> space.encode({"num_layers": "2", "optimizer": "sgd"})
        (0.75, 0.25)
    """

    def __init__(self, axes: Sequence[Axis]) -> None:
        self.axes = tuple(axes)
        self.names = tuple(axis.name for axis in axes)
        sizes = [axis.size for axis in axes]
        self.size: float = math.inf if math.inf in sizes else math.prod(sizes)

    @classmethod
    def from_ranges(cls, ranges: Mapping[str, Any]) -> Space:
        """Return the space of the API's ``ParameterRanges``.

        Its axes are the integer ranges, then the continuous, then the categorical ones, each in
        the order given.

        Args:
            ranges: Lists that are missing are empty; ``AutoParameters`` are passed over.

        Raises:
            InvalidRequestError: With everything that is wrong with the ranges.
        """
        lists = {name: ranges.get(name) or [] for name in _LISTS}
        names = [entry["Name"] for entries in lists.values() for entry in entries]
        problems = [
            Problem(f"hyperparameter_ranges[{name!r}]", "is given more than once. Keep one.")
            for name in dict.fromkeys(names)
            if names.count(name) > 1
        ]
        for name, entry in read_ranges(lists).items():
            problems += entry.find_problems(f"hyperparameter_ranges[{name!r}]")
        if problems:
            raise InvalidRequestError(problems)
        return cls(
            [
                *(_build_integer(entry) for entry in lists[_LISTS[0]]),
                *(_build_continuous(entry) for entry in lists[_LISTS[1]]),
                *(CategoricalAxis(entry["Name"], entry["Values"]) for entry in lists[_LISTS[2]]),
            ]
        )

    def decode(self, units: Sequence[float]) -> dict[str, str]:
        """Return the hyperparameters at a point of the unit cube, as the API's text.

        Args:
            units: One number from 0 to 1 for each name.

        Raises:
            ValueError: If there are too few or too many.
        """
        pairs = zip(self.axes, units, strict=True)
        return {axis.name: axis.decode(unit) for axis, unit in pairs}

    def encode(self, values: Mapping[str, str]) -> tuple[float, ...] | None:
        """Return where hyperparameters lie in the unit cube.

        Args:
            values: As text; more names than the space has do no harm.

        Returns:
            ``None`` if one is missing, cannot be read or lies outside its range.
        """
        numbers = self.read(values)
        if numbers is None:
            return None
        return tuple(axis.to_unit(number) for axis, number in zip(self.axes, numbers, strict=True))

    def read(self, values: Mapping[str, str]) -> tuple[float, ...] | None:
        """Return the number that stands for each value; equal points have equal numbers.

        ``"5"`` and ``"5.0"`` are the same whole number; a category's number is its index.

        Returns:
            ``None`` if one is missing, cannot be read or lies outside its range.
        """
        numbers = []
        for axis in self.axes:
            text = values.get(axis.name)
            number = None if text is None else axis.read(text)
            if number is None:
                return None
            numbers.append(number)
        return tuple(numbers)

    def point(self, idx: int) -> dict[str, str]:
        """Return the ``idx``-th point of a finite space; the first name varies slowest.

        Args:
            idx: From 0 to below ``size``.

        Raises:
            IndexError: If there is no such point, or the space is not finite.
        """
        if not 0 <= idx < self.size or math.isinf(self.size):
            raise IndexError(f"`idx` is {idx}, but the space has {self.size} points.")
        values = {}
        for axis in reversed(self.axes):
            idx, remainder = divmod(idx, int(axis.size))
            values[axis.name] = axis.point(remainder)
        return {name: values[name] for name in self.names}

    def find_idx(self, numbers: Sequence[float]) -> int:
        """Return the ``idx`` of :meth:`point` for the numbers of :meth:`read`.

        Raises:
            IndexError: If the space is not finite.
        """
        if math.isinf(self.size):
            raise IndexError("A space with a continuous range has no countable points.")
        idx = 0
        for axis, number in zip(self.axes, numbers, strict=True):
            idx = idx * int(axis.size) + axis.find_idx(number)
        return idx


class TriedPoints:
    """The points of a space that are not to be tried again.

    Args:
        space: Where they lie.
        tried: Hyperparameters of the jobs; those that do not lie in the space are passed over.
    """

    def __init__(self, space: Space, tried: Sequence[Mapping[str, str]]) -> None:
        self._space = space
        found = (space.read(values) for values in tried)
        self._numbers = {numbers for numbers in found if numbers is not None}
        self._finite = sorted(
            space.find_idx(numbers) for numbers in self._numbers if not math.isinf(space.size)
        )

    def __contains__(self, values: Mapping[str, str]) -> bool:
        return self._space.read(values) in self._numbers

    def count_left(self) -> float:
        """Return how many points of the space are left."""
        return self._space.size - len(self._numbers)

    def find_left(self, rank: int) -> dict[str, str]:
        """Return the ``rank``-th point that is left of a finite space, counted from 0."""
        idx = rank
        for tried in self._finite:
            if tried > idx:
                break
            idx += 1
        return self._space.point(idx)


def _build_integer(entry: Mapping[str, Any]) -> IntegerAxis:
    low, high = (_to_integer(entry[end]) for end in ("MinValue", "MaxValue"))
    return IntegerAxis(entry["Name"], low, high, entry.get("ScalingType", "Auto"))


def _build_continuous(entry: Mapping[str, Any]) -> ContinuousAxis:
    low, high = float(entry["MinValue"]), float(entry["MaxValue"])
    return ContinuousAxis(entry["Name"], low, high, entry.get("ScalingType", "Auto"))


def _to_integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:  # "5.0"
        return int(float(text))
