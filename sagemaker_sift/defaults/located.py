"""Values that know where they stand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Located:
    """A value and its line.

    Attributes:
        value: A scalar; a ``dict`` or ``list`` whose values are :class:`Located` again.
        line: Of the key, or of the value if it has none; ``None`` if there is no file.
        is_refused: Whether the reader has refused it already, so that nobody need complain again.
    """

    value: Any
    line: int | None
    is_refused: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong in a file.

    Attributes:
        line: ``None`` if there is no file, or if something is missing in all of it.
        path: Dotted; may be empty.
        message: Worded to follow the path.
    """

    line: int | None
    path: str
    message: str

    def __str__(self) -> str:
        return f"`{self.path}` {self.message}" if self.path else self.message


def locate(value: Any) -> Located:
    """Return plain values, as a program holds them, without lines.

    Example:
        >>> locate({"a": [1]}).value["a"].value[0].value
        1
    """
    if isinstance(value, Mapping):
        return Located({key: locate(item) for key, item in value.items()}, None)
    if isinstance(value, (list, tuple)):
        return Located([locate(item) for item in value], None)
    return Located(value, None)


def to_plain(located: Located) -> Any:
    """Return the value without its lines.

    Example:
        >>> to_plain(locate({"a": [1]}))
        {'a': [1]}
    """
    value = located.value
    if isinstance(value, dict):
        return {key: to_plain(item) for key, item in value.items()}
    return [to_plain(item) for item in value] if isinstance(value, list) else value
