"""Check a request against botocore's own model, more strictly than botocore does.

botocore's client checks types, required members and minimums. Its model also holds patterns,
enumerations and maximums, which only the service enforces; here all of them are checked, before
anything is sent.

Source: the service model that botocore carries (``sagemaker/2017-07-24``).
"""

from __future__ import annotations

import functools
import math
import re
import unicodedata
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import botocore.session

from sagemaker_sift.contract.problem import Problem, closest

_PYTHON_TYPES: dict[str, tuple[type, ...]] = {
    "structure": (Mapping,),
    "map": (Mapping,),
    "list": (list, tuple),
    "string": (str,),
    "integer": (int,),
    "long": (int,),
    "float": (int, float),
    "double": (int, float),
    "boolean": (bool,),
}
_RANGES = {"integer": (-(2**31), 2**31 - 1), "long": (-(2**63), 2**63 - 1)}
_URI_SHAPES = {"S3Uri", "S3ModelUri"}
_UNICODE_CLASSES = {r"\p{L}": "a-zA-Z", r"\p{Z}": " ", r"\p{N}": "0-9"}
_STAND_INS = {"L": "a", "Z": " ", "N": "0"}
SOURCE = "API model"


class WrongType(Problem):
    """A value that the API's type cannot hold, so that nothing below it can be looked at."""


@dataclass(frozen=True, slots=True)
class UnknownWord(Problem):
    """A value that an enumeration of the model does not have.

    Attributes:
        word: The value.
    """

    word: str = ""


@functools.cache
def _load_service_model() -> Any:
    return botocore.session.get_session().get_service_model("sagemaker")


def load_shape(name: str) -> Any:
    """Return botocore's shape ``name`` of the SageMaker service.

    Example:
        >>> load_shape("ShuffleConfig").required_members
        ['Seed']
    """
    return _load_service_model().shape_for(name)


def find_violations(
    operation: str,
    request: Mapping[str, Any],
    *,
    allow_file_uris: bool = False,
    accepted: Collection[str] = (),
) -> list[Problem]:
    """Return every rule of the service model that a request breaks.

    Args:
        operation: API operation, such as ``CreateTrainingJob``.
        request: Its parameters.
        allow_file_uris: Whether ``file://`` may stand where the service wants ``s3://``.
        accepted: Words that are right although the model does not know them, such as instance
            types that are newer than it.

    Example:
        >>> for problem in find_violations("StopTrainingJob", {"TrainingJobName": "a b"}):
        ...     print(problem)
        `TrainingJobName` is 'a b', but must match [a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}. [API model]
    """
    shape = _load_service_model().operation_model(operation).input_shape
    return [
        problem
        for problem in _walk(request, shape, "", allow_file_uris)
        if not (isinstance(problem, UnknownWord) and problem.word in accepted)
    ]


def _walk(value: Any, shape: Any, path: str, allow_files: bool) -> Iterator[Problem]:
    expected = _PYTHON_TYPES.get(shape.type_name)
    is_number_like_bool = isinstance(value, bool) and bool not in (expected or (bool,))
    if expected and (not isinstance(value, expected) or is_number_like_bool):
        shown = "a secret" if "Environment[" in path else _show(value)
        article = "an" if shape.type_name[0] in "aeiou" else "a"
        message = f"is {shown}, but must be {article} {shape.type_name}."
        yield WrongType(path, message, SOURCE)
        return
    rule = _find_range(value, shape.type_name)
    if rule:
        yield WrongType(path, f"is {_show(value)}, but must be {rule}.", SOURCE)
        return
    if shape.type_name == "structure":
        yield from _walk_structure(value, shape, path, allow_files)
    elif shape.type_name == "list":
        for idx, item in enumerate(value):
            yield from _walk(item, shape.member, f"{path}[{idx}]", allow_files)
    elif shape.type_name == "map":
        for key, item in value.items():
            yield from _walk(key, shape.key, f"{path} key {key!r}", allow_files)
            yield from _walk(item, shape.value, f"{path}[{key!r}]", allow_files)
    if shape.type_name != "timestamp":
        yield from _check_rules(value, shape, path, allow_files)


def _find_range(value: Any, type_name: str) -> str:
    """Return what a number or time must be if its type cannot hold it, else nothing."""
    if type_name in _RANGES:
        low, high = _RANGES[type_name]
        return "" if low <= value <= high else f"a whole number from {low} to {high}"
    try:
        if type_name in {"float", "double"} and not math.isfinite(value):
            return "a finite number"
        if type_name == "timestamp":
            read_timestamp(value)
    except OverflowError:
        return "a finite number of at most 1.7e308"
    except ValueError:
        return (
            "a datetime, seconds since 1970 that lie in the years 1 to 9999, or ISO 8601 text "
            "such as '2026-01-31T12:00:00Z'"
        )
    return ""


def read_timestamp(value: Any) -> datetime:
    """Return a time of a request; one without a zone is of UTC, as botocore reads it.

    Args:
        value: A ``datetime``, seconds since 1970, or ISO 8601 text.

    Raises:
        ValueError: If it is none of them, or out of the range of a ``datetime``.

    Example:
        >>> read_timestamp(0) == read_timestamp("1970-01-01")
        True
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return datetime.fromtimestamp(value, tz=UTC)
        except (OverflowError, OSError) as error:
            raise ValueError(f"{_show(value)} seconds are out of range") from error
    if not isinstance(value, datetime | str):
        raise ValueError(f"{_show(value)} is no time")
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    return moment.replace(tzinfo=UTC) if moment.utcoffset() is None else moment


def _show(value: Any) -> str:
    try:
        return repr(value)
    except ValueError:  # Python does not write out a number of thousands of digits
        return "a number of thousands of digits"


def _walk_structure(value: Any, shape: Any, path: str, allow_files: bool) -> Iterator[Problem]:
    prefix = f"{path}." if path else ""
    for name in shape.required_members:
        if name not in value:
            yield Problem(f"{prefix}{name}", "is required, but missing.", SOURCE)
    for name, member in value.items():
        if name in shape.members:
            yield from _walk(member, shape.members[name], f"{prefix}{name}", allow_files)
        else:
            hint = closest(name, shape.members)
            yield Problem(f"{prefix}{name}", f"is not a field of the API.{hint}", SOURCE)


def _check_rules(value: Any, shape: Any, path: str, allow_files: bool) -> Iterator[Problem]:
    if isinstance(value, bool):
        return
    is_sized = hasattr(value, "__len__")
    size = len(value) if is_sized else value
    verb, noun = ("have", " entries") if is_sized else ("be", "")
    if isinstance(value, str):
        noun = " characters"
    what = f"has {size}{noun}" if is_sized else f"is {value!r}"
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    is_sound = True
    if low is not None and size < low:
        is_sound = False
        yield Problem(path, f"{what}, but must {verb} at least {low}.", SOURCE)
    if high is not None and size > high:
        is_sound = False
        yield Problem(path, f"{what}, but must {verb} at most {high}.", SOURCE)
    if isinstance(value, str) and is_sound:
        yield from _check_text(value, shape, path, allow_files)


def _check_text(value: str, shape: Any, path: str, allow_files: bool) -> Iterator[Problem]:
    choices = shape.metadata.get("enum") or shape.enum
    if choices:
        if value not in choices:
            few = f" Known: {', '.join(choices)}." if len(choices) <= 12 else ""
            hint = closest(value, choices)
            message = f"is {value!r}, which the API does not know.{hint}{few}"
            yield UnknownWord(path, message, SOURCE, value)
        return
    if allow_files and shape.name in _URI_SHAPES and value.startswith("file:///"):
        return
    pattern = shape.metadata.get("pattern", ".*")
    if not _matches(pattern, value):
        if shape.name in _URI_SHAPES:
            message = f"is {value!r}, but must be a URI such as 's3://bucket/prefix'."
            yield Problem(path, message, SOURCE)
        else:
            yield Problem(path, f"is {value!r}, but must match {pattern}.", SOURCE)


def _matches(pattern: str, value: str) -> bool:
    """Return whether the whole value matches, Unicode classes included.

    Python's ``re`` has no classes of the Unicode categories L, Z and N: a character of them
    beyond ASCII is replaced by an ASCII one of the same category.
    """
    if r"\p{" in pattern:
        for name, characters in _UNICODE_CLASSES.items():
            pattern = pattern.replace(name, characters)
        value = "".join(
            char if char.isascii() else _STAND_INS.get(unicodedata.category(char)[0], char)
            for char in value
        )
    return r"\p{" in pattern or re.fullmatch(pattern, value, re.DOTALL) is not None
