"""One hyperparameter: its type and range, and its way from a string and back.

SageMaker hands a container every hyperparameter as a string; in Python users write numbers,
booleans and tuples. Both are read here, by the same rule.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from sagemaker_sift.contract.problem import closest

Kind = Literal["Integer", "Continuous", "Categorical", "FreeText"]
"""The API's ``ParameterType``."""

Form = Literal["integer", "number", "choice", "flag", "boolean", "image_shape", "epochs"]

_INTEGER = re.compile(r"[+-]?\d{1,18}(?:\.0*)?")
_TRUE = {"true", "1"}
_FALSE = {"false", "0"}


class ImageShape(NamedTuple):
    """Shape of the network's input: channels, height and width in pixels.

    Example:
        >>> str(ImageShape(3, 28, 28))
        '3,28,28'
    """

    channels: int
    height: int
    width: int

    def __str__(self) -> str:
        return f"{self.channels},{self.height},{self.width}"


@dataclass(frozen=True, slots=True, kw_only=True)
class HyperparameterSpec:
    """What the contract says of one hyperparameter.

    Attributes:
        form: How its text is read.
        meaning: What it does, for people.
        low: Smallest value, or ``None``.
        high: Largest value, or ``None``.
        choices: The only values allowed, as text, if there are only so many.
        is_required: Whether the user must give it.
        is_tunable: Whether a tuning job may search it.
        unit: Unit of the value; empty for pure numbers.
        is_builtin: Whether SageMaker's built-in algorithm has it; the others are ours.
    """

    form: Form
    meaning: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    is_required: bool = False
    is_tunable: bool = False
    unit: str = ""
    is_builtin: bool = True

    @property
    def kind(self) -> Kind:
        """The type that the ``TrainingSpecification`` declares."""
        if self.choices or self.form in {"flag", "boolean"}:
            return "Categorical"
        if self.form == "integer":
            return "Integer"
        return "Continuous" if self.form == "number" else "FreeText"

    @property
    def values(self) -> tuple[str, ...]:
        """The values of a categorical, as text."""
        return self.choices or {"flag": ("0", "1"), "boolean": ("True", "False")}.get(
            self.form, ()
        )

    def read(self, value: object) -> Any:
        """Return ``value`` in the form's Python type.

        Args:
            value: A string, as SageMaker sends it, or the Python value itself.

        Raises:
            ValueError: With the rule that it breaks, worded to follow the name.
        """
        reader = getattr(self, f"_read_{self.form}")
        result = reader(value)
        self._check_range(value, result)
        return result

    def _check_range(self, value: object, result: Any) -> None:
        if not isinstance(result, (int, float)) or isinstance(result, bool):
            return
        if self.choices and str(result) not in self.choices:
            raise ValueError(f"is {value!r}, but must be one of {', '.join(self.choices)}.")
        below = self.low is not None and result < self.low
        above = self.high is not None and result > self.high
        if below or above:
            raise ValueError(f"is {value!r}, but must be {self.describe_range()}.")

    def describe_range(self) -> str:
        """Return the allowed values in words.

        Example:
            >>> HyperparameterSpec(form="integer", meaning="", low=1).describe_range()
            'an integer, 1 or more'
        """
        if self.values:
            return "one of " + ", ".join(self.values)
        noun = {
            "integer": "an integer",
            "number": "a number",
            "image_shape": "'channels,height,width', such as '3,224,224'",
            "epochs": "epochs separated by commas, such as '10, 20'",
        }[self.form]
        if self.low is not None and self.high is not None:
            return f"{noun} from {self.low:g} to {self.high:g}"
        return f"{noun}, {self.low:g} or more" if self.low is not None else noun

    def _read_integer(self, value: object) -> int:
        if isinstance(value, float) and value.is_integer():
            return int(value)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        if isinstance(value, str) and _INTEGER.fullmatch(value.strip()):
            return int(value.strip().split(".")[0])
        raise ValueError(f"is {value!r}, but must be {self.describe_range()}.")

    def _read_number(self, value: object) -> float:
        if isinstance(value, (int, float, str)) and not isinstance(value, bool):
            try:
                number = float(value)
            except (ValueError, OverflowError):
                number = math.nan
            if math.isfinite(number) and "_" not in str(value):
                return number
        raise ValueError(f"is {value!r}, but must be {self.describe_range()}.")

    def _read_choice(self, value: object) -> str:
        text = str(value).strip()
        if text not in self.choices:
            raise ValueError(
                f"is {value!r}, but must be {self.describe_range()}.{closest(text, self.choices)}"
            )
        return text

    def _read_boolean(self, value: object) -> bool:
        text = str(value).strip().lower()
        if text not in _TRUE | _FALSE:
            raise ValueError(f"is {value!r}, but must be {self.describe_range()}.")
        return text in _TRUE

    def _read_flag(self, value: object) -> bool:
        return self._read_boolean(value)

    def _read_image_shape(self, value: object) -> ImageShape:
        numbers = _read_integers(value)
        if numbers is None or len(numbers) != 3:
            raise ValueError(f"is {value!r}, but must be {self.describe_range()}.")
        shape = ImageShape(*numbers)
        if shape.channels not in {1, 3} or not all(1 <= n <= 4096 for n in shape[1:]):
            raise ValueError(
                f"is {value!r}, but needs 1 or 3 channels and a height and width "
                "from 1 to 4096 pixels."
            )
        return shape

    def _read_epochs(self, value: object) -> tuple[int, ...]:
        if isinstance(value, int) and not isinstance(value, bool):
            value = (value,)
        numbers = _read_integers(value)
        if numbers is None or any(n < 1 for n in numbers):
            raise ValueError(f"is {value!r}, but must be {self.describe_range()}.")
        return tuple(sorted(set(numbers)))


def _read_integers(value: object) -> tuple[int, ...] | None:
    if isinstance(value, str):
        parts: Iterable[object] = value.strip().strip("[]()").split(",")
        if not value.strip():
            return None
    elif isinstance(value, (tuple, list)):
        parts = value
    else:
        return None
    texts = [str(part).strip() for part in parts]
    if not texts or not all(re.fullmatch(r"\d{1,9}", text) for text in texts):
        return None
    return tuple(map(int, texts))


def to_text(value: object, spec: HyperparameterSpec) -> str:
    """Return ``value`` as the string that SageMaker carries.

    Example:
        >>> to_text((10, 20), HyperparameterSpec(form="epochs", meaning=""))
        '10,20'
    """
    if spec.form == "flag":
        return "1" if value else "0"
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value)


def integer(meaning: str, **rules: Any) -> HyperparameterSpec:
    """Return the spec of a whole number; ``rules`` as in :class:`HyperparameterSpec`."""
    return HyperparameterSpec(form="integer", meaning=meaning, **rules)


def number(meaning: str, **rules: Any) -> HyperparameterSpec:
    """Return the spec of a finite number."""
    return HyperparameterSpec(form="number", meaning=meaning, **rules)


def choice(meaning: str, **rules: Any) -> HyperparameterSpec:
    """Return the spec of one of a few words."""
    return HyperparameterSpec(form="choice", meaning=meaning, **rules)


def flag(meaning: str) -> HyperparameterSpec:
    """Return the spec of a boolean that is written 0 or 1."""
    return HyperparameterSpec(form="flag", meaning=meaning)


def boolean(meaning: str, **rules: Any) -> HyperparameterSpec:
    """Return the spec of a boolean that is written True or False."""
    return HyperparameterSpec(form="boolean", meaning=meaning, **rules)


def image_shape_of(meaning: str) -> HyperparameterSpec:
    """Return the spec of an :class:`ImageShape`."""
    return HyperparameterSpec(form="image_shape", meaning=meaning)


def epochs_list(meaning: str, **rules: Any) -> HyperparameterSpec:
    """Return the spec of a tuple of epochs."""
    return HyperparameterSpec(form="epochs", meaning=meaning, **rules)
