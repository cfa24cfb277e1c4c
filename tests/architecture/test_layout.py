from __future__ import annotations

import ast
import importlib
import inspect
import re
from pathlib import Path

import pytest

import sagemaker_sift

ROOT = Path(__file__).parents[2]
PACKAGES = ("sagemaker_sift", "smart_sifting")
SOURCES = sorted(path for name in PACKAGES for path in (ROOT / name).rglob("*.py"))
MOST_LINES = 400
MOST_LINES_OF_A_FUNCTION = 50
FORBIDDEN = {"utils", "util", "common", "helpers", "helper", "misc", "manager", "handler"}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_is_short_enough_to_hold_in_the_head(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MOST_LINES


def count_body_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function below its signature and docstring."""
    body = node.body
    if ast.get_docstring(node) is not None:
        body = body[1:]
    return 0 if not body else (node.end_lineno or 0) - body[0].lineno + 1


def test_functions_are_short() -> None:
    long = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and count_body_lines(node) > MOST_LINES_OF_A_FUNCTION
    ]
    assert long == []


def test_modules_are_nouns_of_the_field() -> None:
    assert [
        path for path in SOURCES if path.stem in FORBIDDEN or path.parent.name in FORBIDDEN
    ] == []


def test_sources_are_ascii() -> None:
    assert [path for path in SOURCES if not path.read_text(encoding="utf-8").isascii()] == []


def test_the_public_names_are_listed_sorted_and_loadable() -> None:
    names = sagemaker_sift.__all__
    assert names == sorted(names)
    assert all(getattr(sagemaker_sift, name).__name__ == name for name in names)
    assert set(names) <= set(dir(sagemaker_sift))


def test_an_unknown_public_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
        sagemaker_sift.Nonsense  # noqa: B018  # the access is the test


def test_every_public_name_and_method_is_documented() -> None:
    bare = []
    for name in sagemaker_sift.__all__:
        value = getattr(sagemaker_sift, name)
        members = inspect.getmembers(value) if inspect.isclass(value) else []
        own = [
            member
            for key, member in members
            if not key.startswith("_")
            and (inspect.isfunction(member) or inspect.ismethod(member))
            and (member.__module__ or "").startswith("sagemaker_sift")
        ]
        bare += [f"{name}.{m.__name__}" for m in [value, *own] if not inspect.getdoc(m)]
    assert bare == []


def test_every_module_says_what_it_is() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in SOURCES
        if ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) is None
    ]
    assert silent == []


def test_the_changelog_begins_with_the_version() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    versions = re.findall(r"^## \[?([0-9][^\]\s]*)", text, re.MULTILINE)
    assert versions[0] == sagemaker_sift.__version__


def test_nothing_imports_boto3_but_the_aws_backend() -> None:
    users = [
        path.relative_to(ROOT).as_posix()
        for path in SOURCES
        if re.search(r"^\s*(import|from) boto3", path.read_text(encoding="utf-8"), re.MULTILINE)
    ]
    assert users != []
    assert [user for user in users if not user.startswith("sagemaker_sift/backends/aws/")] == []


def test_the_exception_tree_in_the_docstring_is_the_real_one() -> None:
    module = importlib.import_module("sagemaker_sift.exceptions")
    drawn = set(re.findall(r"[*x+-] (\w+Error)", module.__doc__ or ""))
    real = {
        name
        for name, value in vars(module).items()
        if inspect.isclass(value) and value.__module__ == module.__name__
    }
    assert drawn == real
