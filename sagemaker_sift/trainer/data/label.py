"""From what a file says about an image to the label that training needs.

Source: "Image Classification - MXNet: input/output interface", SageMaker developer guide: class
indices start at 0; with ``multi_label`` an image has a 0 or 1 for every class, and an augmented
manifest gives them as a JSON array in one of two formats.

Shape suffixes in this file: N = images of the channel, K = classes.
"""

from __future__ import annotations

import json
import re
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sagemaker_sift.trainer.data.image_set import Labels
from sagemaker_sift.trainer.data.problem import quote

LABEL_FORMATS = ("multi-hot", "class-id")
"""How a manifest's array names classes: a 0 or 1 for each; or the indices of those present."""

Label = int | NDArray[np.uint8]
"""Class index; or with ``multi_label`` 0 and 1, uint8, shape ``(K,)``."""

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)


def read_number(text: str) -> float:
    """Return a plain decimal number; ``nan``, ``inf`` and ``1_000`` are none.

    Args:
        text: May be surrounded by blanks.

    Raises:
        ValueError: If it is something else; the text says what, in a few words.

    Example:
        >>> read_number("3.000000")
        3.0
    """
    stripped = text.strip()
    if not _NUMBER.fullmatch(stripped):
        raise ValueError(f"{quote(text)} is not a number")
    return float(stripped)


@dataclass(frozen=True, slots=True)
class LabelRule:
    """What the job's hyperparameters allow as a label.

    Attributes:
        num_classes: The hyperparameter.
        is_multi_label: Whether ``multi_label`` is 1.

    Example:
        >>> LabelRule(3, False).read([2.0]), LabelRule(3, True).read([0, 1, 1]).tolist()
        (2, [0, 1, 1])
        >>> LabelRule(3, False).read([3.0])
        Traceback (most recent call last):
        ValueError: label 3 is no class index: with num_classes=3 it must be a whole number ...
    """

    num_classes: int
    is_multi_label: bool

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names of forms that have only numbers: ``"0"``, ``"1"``, ..."""
        return tuple(str(idx) for idx in range(self.num_classes))

    def read(self, values: Sequence[float] | NDArray[np.float32]) -> Label:
        """Return the label that ``values`` stand for.

        Args:
            values: One class index; or with ``multi_label`` a 0 or 1 for each class.

        Raises:
            ValueError: If they are too many, too few or of another kind; the text says why, to
                stand behind the name of the place.
        """
        if self.is_multi_label:
            return self._read_multi_hot(values)
        if len(values) != 1:
            raise ValueError(
                f"{len(values)} labels, but without multi_label an image has one; set "
                "multi_label=1 if an image may belong to several classes"
            )
        return self.read_class(float(values[0]))

    def read_class(self, value: float) -> int:
        """Return the class index that ``value`` is.

        Raises:
            ValueError: If it is no whole number from 0 to ``num_classes - 1``.
        """
        if not (value == value // 1 and 0 <= value < self.num_classes):
            raise ValueError(
                f"label {_show(value)} is no class index: with num_classes={self.num_classes} it "
                f"must be a whole number from 0 to {self.num_classes - 1}"
            )
        return int(value)

    def read_text(self, text: str, label_format: str) -> Label:
        """Return the label in an augmented manifest: ``"3"``, or ``"[0, 1, 1]"``.

        Args:
            text: The label attribute.
            label_format: One of ``LABEL_FORMATS``; tells only with ``multi_label``.

        Raises:
            ValueError: If it is something else; the text says why.

        Example:
            >>> LabelRule(4, True).read_text("[0, 3]", "class-id").tolist()
            [1, 0, 0, 1]
        """
        value = _read_json(text)
        if not self.is_multi_label:
            if isinstance(value, list):
                raise ValueError(
                    f"label {quote(text)} is an array, but without multi_label an image has one "
                    "class; set multi_label=1 if it may belong to several"
                )
            return self.read_class(_to_number(value, text))
        if not isinstance(value, list):
            raise ValueError(
                f"label {quote(text)} is no JSON array such as '[1, 0, 1]', which multi_label=1 "
                "needs"
            )
        numbers = [_to_number(entry, text) for entry in value]
        if label_format == "multi-hot":
            return self._read_multi_hot(numbers)
        label_K = np.zeros(self.num_classes, np.uint8)
        label_K[[self.read_class(number) for number in numbers]] = 1
        return label_K

    def _read_multi_hot(self, values: Sequence[float] | NDArray[np.float32]) -> NDArray[np.uint8]:
        if len(values) != self.num_classes:
            raise ValueError(
                f"{len(values)} label{'s' * (len(values) != 1)}, but multi_label=1 needs a 0 or 1 "
                f"for each of the num_classes={self.num_classes} classes"
            )
        values_K = np.asarray(values, np.float64)
        wrong = np.flatnonzero((values_K != 0) & (values_K != 1))
        if wrong.size:
            raise ValueError(
                f"label {_show(float(values_K[wrong[0]]))} of class {wrong[0]} is neither 0 nor "
                "1, as multi_label=1 needs"
            )
        return values_K.astype(np.uint8)


class LabelColumn:
    """Gathers the labels of a channel, eight bytes an image, or one a class.

    Example:
        >>> column = LabelColumn(LabelRule(3, False))
        >>> column.append(2)
        >>> column.to_array()
        array([2])
    """

    def __init__(self, rule: LabelRule) -> None:
        self._rule = rule
        self._indices = array("q")
        self._rows = bytearray()

    def append(self, label: Label) -> None:
        """Add the label of the next image."""
        if isinstance(label, int):
            self._indices.append(label)
        else:
            self._rows += label.tobytes()

    def to_array(self) -> Labels:
        """Return the labels so far, int64, shape ``(N,)``, or uint8, ``(N, K)``."""
        if self._rule.is_multi_label:
            return np.array(self._rows, np.uint8).reshape(-1, self._rule.num_classes)
        return np.array(self._indices, np.int64)


def _read_json(text: str) -> Any:
    if _NUMBER.fullmatch(text.strip()):
        return float(text)
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"label {quote(text)} is neither a number nor a JSON array") from error


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


def _to_number(value: Any, text: str) -> float:
    if isinstance(value, str):  # an attribute may hold its number in quotes
        return read_number(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"label {quote(text)} holds something else than numbers")
    try:
        return float(value)
    except OverflowError:
        return float("inf")


def _show(value: float) -> str:
    return repr(value).removesuffix(".0")
