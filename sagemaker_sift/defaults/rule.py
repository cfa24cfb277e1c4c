"""Rules that one value of a config file must keep."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sagemaker_sift.contract.problem import closest
from sagemaker_sift.defaults.located import Finding, Located

_MOST_CHARS_SHOWN = 60
_KINDS: tuple[tuple[type, str], ...] = (
    (bool, "true or false"),
    (int, "a number"),
    (float, "a number"),
    (str, "text"),
    (dict, "a section"),
    (list, "a list"),
    (type(None), "empty"),
)


class Rule(ABC):
    """What a value must be."""

    def check(self, path: str, place: Located) -> Iterator[Finding]:
        """Yield what is wrong with the value at ``path``."""
        if not place.is_refused:
            yield from self._check(path, place)

    @abstractmethod
    def _check(self, path: str, place: Located) -> Iterator[Finding]:
        """Yield what is wrong with a value that could be read."""

    def leaves(self, path: str, place: Located) -> Iterator[tuple[str, Located]]:
        """Yield the settings in a value that :meth:`check` has found nothing wrong with."""
        yield path, place


@dataclass(frozen=True, slots=True, kw_only=True)
class Text(Rule):
    """A text.

    Attributes:
        low: Fewest characters.
        high: Most characters.
        pattern: What all of it must match; everything if empty.
        example: One that does.
        is_shown: Whether an error may quote it.
    """

    low: int = 0
    high: int | None = None
    pattern: str = ""
    example: str = ""
    is_shown: bool = True

    def _check(self, path: str, place: Located) -> Iterator[Finding]:
        value = place.value
        if not isinstance(value, str):
            remedy = "Put it in quotes." if _is_scalar(value) else "Give a text."
            yield Finding(place.line, path, f"is {describe_kind(value)}, not text. {remedy}")
            return
        if len(value) < self.low:
            yield self._refuse_length(path, place, f"at least {self.low}")
        elif self.high is not None and len(value) > self.high:
            yield self._refuse_length(path, place, f"at most {self.high}")
        elif self.pattern and not re.fullmatch(self.pattern, value):
            shown = f"is {_shorten(value)}, but" if self.is_shown else ""
            rule = (
                f"must look like {self.example!r}"
                if self.example
                else f"must match {self.pattern}"
            )
            yield Finding(place.line, path, f"{shown} {rule}.".strip())

    def _refuse_length(self, path: str, place: Located, rule: str) -> Finding:
        count = len(place.value)
        return Finding(place.line, path, f"has {count} characters, but must have {rule}.")


@dataclass(frozen=True, slots=True)
class Flag(Rule):
    """``true`` or ``false``."""

    def _check(self, path: str, place: Located) -> Iterator[Finding]:
        if not isinstance(place.value, bool):
            what = f"is {describe_kind(place.value)}, but must be true or false, without quotes."
            yield Finding(place.line, path, what)


@dataclass(frozen=True, slots=True)
class Section(Rule):
    """Settings by name.

    Attributes:
        rules: Of each name that may stand here.
    """

    rules: Mapping[str, Rule]

    def _check(self, path: str, place: Located) -> Iterator[Finding]:
        if not isinstance(place.value, dict):
            what = f"is {describe_kind(place.value)}, but must hold settings, indented below it."
            yield Finding(place.line, path, what)
            return
        for name, entry in place.value.items():
            rule = self.rules.get(name) if isinstance(name, str) else None
            inner = path_of(path, name)
            if rule is None:
                hint = closest(str(name), self.rules) or f" Known: {', '.join(self.rules)}."
                yield Finding(entry.line, inner, f"is not a setting of {path}.{hint}")
            else:
                yield from rule.check(inner, entry)

    def leaves(self, path: str, place: Located) -> Iterator[tuple[str, Located]]:
        """Yield the settings below this one."""
        for name, entry in place.value.items():
            yield from self.rules[name].leaves(path_of(path, name), entry)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs(Rule):
    """Texts under names that the user chooses. The texts may be secrets: no error quotes them.

    Attributes:
        high: Most pairs.
        key_pattern: What a name must match.
        longest: Most characters of a name, and of a text.
        is_one_setting: Whether all pairs together are one setting.
    """

    high: int | None = None
    key_pattern: str = ".*"
    longest: int | None = None
    is_one_setting: bool = False

    def _check(self, path: str, place: Located) -> Iterator[Finding]:
        pairs = place.value
        if not isinstance(pairs, dict):
            what = f"is {describe_kind(pairs)}, but must hold names with texts, indented below it."
            yield Finding(place.line, path, what)
            return
        if self.high is not None and len(pairs) > self.high:
            what = f"has {len(pairs)} entries, but must have at most {self.high}."
            yield Finding(place.line, path, what)
        for name, entry in pairs.items():
            inner = path_of(path, name)
            yield from self._check_name(inner, name, entry.line)
            yield from Text(high=self.longest, is_shown=False).check(inner, entry)

    def _check_name(self, path: str, name: object, line: int | None) -> Iterator[Finding]:
        if not isinstance(name, str):
            what = f"has a name that YAML reads as {describe_kind(name)}. Put it in quotes."
            yield Finding(line, path, what)
        elif self.longest is not None and len(name) > self.longest:
            what = f"has a name of {len(name)} characters, but must have at most {self.longest}."
            yield Finding(line, path, what)
        elif not re.fullmatch(self.key_pattern, name):
            yield Finding(line, path, f"has a name that does not match {self.key_pattern}.")

    def leaves(self, path: str, place: Located) -> Iterator[tuple[str, Located]]:
        """Yield each pair; with the line of all of them if they are one setting."""
        for name, entry in place.value.items():
            line = place.line if self.is_one_setting else entry.line
            yield path_of(path, name), Located(entry.value, line)


@dataclass(frozen=True, slots=True)
class Items(Rule):
    """A list of texts.

    Attributes:
        rule: Of each.
        low: Fewest.
        high: Most.
    """

    rule: Text
    low: int
    high: int

    def _check(self, path: str, place: Located) -> Iterator[Finding]:
        if not isinstance(place.value, list):
            kind, example = describe_kind(place.value), self.rule.example
            what = f"is {kind}, but must be a list, such as [{example}]."
            yield Finding(place.line, path, what)
            return
        yield from _check_count(path, place, self.low, self.high)
        for idx, item in enumerate(place.value):
            yield from self.rule.check(f"{path}[{idx}]", item)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tags(Rule):
    """A list of ``{Key: ..., Value: ...}``.

    Attributes:
        high: Most tags.
    """

    high: int

    def _check(self, path: str, place: Located) -> Iterator[Finding]:
        if not isinstance(place.value, list):
            what = f"is {describe_kind(place.value)}, but must be a list of Key and Value."
            yield Finding(place.line, path, what)
            return
        yield from _check_count(path, place, 0, self.high)
        seen: set[str] = set()
        for idx, tag in enumerate(place.value):
            inner = f"{path}[{idx}]"
            yield from _TAG.check(inner, tag)
            if not isinstance(tag.value, dict):
                continue
            for name in ("Key", "Value"):
                if name not in tag.value:
                    yield Finding(tag.line, inner, f"has no {name}.")
            key = tag.value["Key"].value if "Key" in tag.value else None
            if isinstance(key, str) and key in seen:
                yield Finding(tag.line, inner, f"has the Key {_shorten(key)} a second time.")
            elif isinstance(key, str):
                seen.add(key)


_TAG_PATTERN = r"[\w\s.:/=+\-@]*"
_TAG = Section(
    {
        "Key": Text(low=1, high=128, pattern=_TAG_PATTERN, example="team"),
        "Value": Text(high=256, pattern=_TAG_PATTERN, example="vision"),
    }
)


def path_of(parent: str, name: object) -> str:
    """Return the dotted path of an entry.

    Example:
        >>> path_of("SageMaker", "TrainingJob")
        'SageMaker.TrainingJob'
    """
    return f"{parent}.{name}" if parent else str(name)


def describe_kind(value: Any) -> str:
    """Return in words what a value is, without showing it.

    Example:
        >>> describe_kind(3)
        'a number'
    """
    kinds = (text for kind, text in _KINDS if isinstance(value, kind))
    return next(kinds, "a " + type(value).__name__)


def _is_scalar(value: Any) -> bool:
    return value is not None and not isinstance(value, (dict, list))


def _check_count(path: str, place: Located, low: int, high: int) -> Iterator[Finding]:
    count = len(place.value)
    if not low <= count <= high:
        rule = f"at least {low}" if count < low else f"at most {high}"
        yield Finding(place.line, path, f"has {count} entries, but must have {rule}.")


def _shorten(text: str) -> str:
    shown = repr(text)
    return shown if len(shown) <= _MOST_CHARS_SHOWN else shown[:_MOST_CHARS_SHOWN] + "...'"
