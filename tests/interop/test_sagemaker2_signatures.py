"""Classes, functions and arguments are called as in the SDK v2, but for what the page lists."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import pytest

from tests.interop.libraries import HOMES, OURS, SDK
from tests.interop.page import read_table

pytestmark = pytest.mark.interop

ENUM = "WarmStartTypes"


def find_arguments(function: Any) -> dict[str, Any]:
    """Return the arguments that may be given by place, with their defaults."""
    return {
        name: "required" if one.default is one.empty else one.default
        for name, one in inspect.signature(function).parameters.items()
        if one.kind is one.POSITIONAL_OR_KEYWORD and name not in {"self", "cls"}
    }


def find_keywords(function: Any) -> dict[str, Any]:
    """Return the arguments that are given by name only, with their defaults."""
    parameters = inspect.signature(function).parameters.values()
    return {one.name: one.default for one in parameters if one.kind is one.KEYWORD_ONLY}


def find_pairs() -> Iterator[tuple[str, Any, Any]]:
    """Yield every class, function and method that both libraries have, but the enumeration."""
    for name in HOMES:
        theirs, ours = getattr(SDK, name), getattr(OURS, name)
        if name == ENUM:
            continue
        yield name, theirs, ours
        if inspect.isclass(theirs):
            for method in sorted(find_names(theirs) & find_names(ours)):
                if callable(getattr(theirs, method)):
                    yield f"{name}.{method}", getattr(theirs, method), getattr(ours, method)


def find_names(cls: Any) -> set[str]:
    """Return the public names of a class, without its constants."""
    return {name for name in dir(cls) if not name.startswith("_") and not name.isupper()}


PAIRS = {name: (theirs, ours) for name, theirs, ours in find_pairs()}


def write(value: Any) -> str:
    return "a function" if callable(value) else str(value)


def test_arguments_stand_in_the_same_places() -> None:
    assert len(PAIRS) > 60
    for name, pair in PAIRS.items():
        theirs, ours = (list(find_arguments(function)) for function in pair)
        assert ours == theirs[: len(ours)], name  # nothing in between, nothing after


def test_arguments_and_defaults_differ_where_the_page_says_so() -> None:
    found = set()
    for name, (theirs, ours) in PAIRS.items():
        before, after = find_arguments(theirs), find_arguments(ours)
        after |= find_keywords(ours)
        for argument in before.keys() | after.keys():
            old, new = (write(side.get(argument, "absent")) for side in (before, after))
            if old != new:
                found.add((name, argument, old, new))
    listed = [tuple(cell.strip("`") for cell in row[:4]) for row in read_table("Arguments")]
    assert sorted(listed) == sorted(found)


def test_names_that_are_not_here_are_those_of_the_page() -> None:
    missing = {}
    for name in HOMES:
        theirs, ours = getattr(SDK, name), getattr(OURS, name)
        if inspect.isclass(theirs) and name != "Session":
            gone = find_names(theirs) - find_names(ours)
            missing |= {f"`{name}`": gone} if gone else {}
    listed = {
        row[0]: {name.strip("` ") for name in row[1].split(",")} for row in read_table("Not here")
    }
    session = listed.pop("`Session`, which has only")
    assert listed == missing
    assert session == find_names(SDK.Session) & find_names(OURS.Session)


def test_kinds_of_warm_starts_are_the_same() -> None:
    theirs, ours = getattr(SDK, ENUM), getattr(OURS, ENUM)
    assert {one.name: one.value for one in theirs} == {one.name: one.value for one in ours}
