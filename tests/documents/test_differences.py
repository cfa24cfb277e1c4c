"""The page of differences: every row is shown by a test, and is true of this package."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import sagemaker_sift
from tests.interop.page import PAGE, name_test, read_table

ROOT = Path(__file__).parents[2]
INTEROP = ROOT / "tests" / "interop"
V2 = "What the SDK v2 does, and what happens here"
V3 = "What the tuner of v3 does"


def find_tests(pattern: str) -> list[str]:
    """Return the names of the tests in the files that match."""
    paths = sorted(INTEROP.glob(pattern))
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in paths]
    return [
        node.name
        for tree in trees
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    ]


@pytest.mark.parametrize("version", [2, 3])
def test_every_row_is_shown_by_a_test_and_every_test_has_a_row(version: int) -> None:
    rows = [name_test(row[0]) for row in read_table({2: V2, 3: V3}[version])]
    tests = find_tests(f"test_sagemaker{version}_*differences.py")
    assert len(tests) > 8
    assert sorted(rows) == sorted(tests)


@pytest.mark.parametrize("version", [2, 3])
def test_every_row_says_what_the_sdk_does_and_what_happens_here(version: int) -> None:
    for row in read_table({2: V2, 3: V3}[version]):
        assert all(row[:3]), row


def find_function(dotted: str) -> Any:
    """Return a class, function or method of this package by its name."""
    value: Any = sagemaker_sift
    for part in dotted.strip("`").split("."):
        value = getattr(value, part)
    return value


def test_arguments_of_the_page_are_ours() -> None:
    for where, argument, _, here, why in read_table("Arguments"):
        parameters = inspect.signature(find_function(where)).parameters
        name = argument.strip("`")
        assert why, name
        if here == "absent":
            assert name not in parameters
        elif here == "required":
            assert parameters[name].default is inspect.Parameter.empty
        elif here == "a function":
            assert callable(parameters[name].default)
        else:
            assert repr(parameters[name].default) == here.strip("`")


def test_names_that_the_page_says_are_not_here_are_not() -> None:
    rows = {row[0]: re.findall(r"`(\w+)`", row[1]) for row in read_table("Not here")}
    kept = rows.pop("`Session`, which has only")
    assert all(hasattr(sagemaker_sift.Session, name) for name in kept)
    for where, names in rows.items():
        assert [name for name in names if hasattr(find_function(where), name)] == []


def test_objects_that_are_taken_have_a_class_of_the_same_name_here() -> None:
    section = PAGE.split("## Objects of the SDK v2 that are taken")[1].split("\n## ")[0]
    names = set(re.findall(r"`([A-Z]\w+)`", section))
    assert len(names) > 8
    assert names <= set(sagemaker_sift.__all__)


def find_versions() -> Iterator[str]:
    for version in (2, 3):
        text = (INTEROP / f"constraints-sagemaker{version}.txt").read_text(encoding="utf-8")
        yield from re.findall(r"^sagemaker==(.+)$", text, re.MULTILINE)


def test_the_versions_are_those_that_are_installed_for_the_comparison() -> None:
    versions = list(find_versions())
    assert len(versions) == 2
    assert [version for version in versions if version not in PAGE] == []


def test_the_comparison_is_part_of_make_and_of_ci() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(r"^test-interop:", makefile, re.MULTILINE)
    for version in (2, 3):
        assert f"tests/interop/test_sagemaker{version}_*.py" in makefile
        assert find_tests(f"test_sagemaker{version}_*.py")
    assert "step make test-interop" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
