"""A pilot described by a user's function, and errors that point into the user's file."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import inspect
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from smart_sifting._pilot.measurement import pilot
from smart_sifting._pilot.report import PilotReport

_PACKAGE = Path(__file__).resolve().parents[1]
_FOREIGN_FOLDERS = {"site-packages", "dist-packages"}


class PilotTargetError(Exception):
    """What is wrong with a target: names the file, the function and, if it ran, the line."""


def run_target(target: str, **settings: Any) -> PilotReport:
    """Call a user's function for the arguments of a pilot, and run it.

    The folder of a file goes on ``sys.path``, as for a script, and ``sys.argv`` is the file alone
    meanwhile: the pilot's own options are not for a parser of the user's.

    Args:
        target: ``path/to/file.py:function`` or ``package.module:function``. The function takes no
            arguments and returns a dict of the arguments of ``smart_sifting.pilot``.
        **settings: Arguments that take the place of those returned.

    Returns:
        The report.

    Raises:
        PilotTargetError: If anything goes wrong; the cause is chained.
    """
    place, function_name = _split(target)
    folder = _find_folder(place)
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    with _arguments_of_a_script(place):
        with _pointing_into(folder, f"{place} cannot be imported"):
            is_file = _is_file(place)
            module = _import_file(Path(place)) if is_file else importlib.import_module(place)
        function = _find_function(module, place, function_name)
        with _pointing_into(folder, f"{target} failed"):
            arguments = function()
        _check_arguments(arguments, target)
        with _pointing_into(folder, f"the pilot that {target} describes failed"):
            return pilot(**{**arguments, **settings})


@contextmanager
def _arguments_of_a_script(place: str) -> Iterator[None]:
    argv, sys.argv = sys.argv, [place]
    try:
        yield
    finally:
        sys.argv = argv


@contextmanager
def _pointing_into(folder: Path, what: str) -> Iterator[None]:
    """Say what went wrong and where in the user's code, also if that ends the program."""
    try:
        yield
    except SystemExit as error:
        raise PilotTargetError(
            f"{what}, as it ended the program: {_describe(error, folder)}. What only a script "
            "should do belongs under if __name__ == '__main__'; options must have defaults."
        ) from error
    except Exception as error:
        raise PilotTargetError(f"{what}: {_describe(error, folder)}") from error


def _split(target: str) -> tuple[str, str]:
    place, colon, function_name = target.rpartition(":")
    is_place = _is_file(place) or all(part.isidentifier() for part in place.split("."))
    if not (colon and is_place and function_name.isidentifier()):
        missing = "function" if is_place else "file and no module"
        raise PilotTargetError(
            f"{target!r} names no {missing}, but must be FILE:FUNCTION or MODULE:FUNCTION, such "
            "as train.py:make_pilot."
        )
    if _is_file(place) and not Path(place).is_file():
        raise PilotTargetError(f"there is no file {place!r}. Give the path of your script.")
    return place, function_name


def _is_file(place: str) -> bool:
    return place.endswith(".py") or os.sep in place


def _find_folder(place: str) -> Path:
    return Path(place).resolve().parent if _is_file(place) else Path.cwd()


def _import_file(path: Path) -> ModuleType:
    """Import a file under its own name, by which worker processes find it again."""
    name = path.stem if path.stem not in sys.modules else f"pilot_target_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _find_function(module: ModuleType, place: str, name: str) -> Callable[[], Any]:
    function = getattr(module, name, None)
    if function is None:
        own = [key for key, value in vars(module).items() if callable(value) and key[0] != "_"]
        close = difflib.get_close_matches(name, own, n=1, cutoff=0.5)
        remedy = f"Did you mean {close[0]!r}?" if close else "Write it, or name another one."
        raise PilotTargetError(f"{place} has no function {name!r}. {remedy}")
    is_callable = callable(function)
    if not is_callable or _needs_arguments(function):
        raise PilotTargetError(
            f"{place}:{name} must be a function without arguments that returns a dict of the "
            f"arguments of smart_sifting.pilot, but {'needs some' if is_callable else 'is none'}."
        )
    found: Callable[[], Any] = function
    return found


def _needs_arguments(function: Callable[..., Any]) -> bool:
    try:
        inspect.signature(function).bind()
    except TypeError:
        return True
    return False


def _check_arguments(arguments: object, target: str) -> None:
    known = inspect.signature(pilot).parameters
    required = [name for name, value in known.items() if value.default is value.empty]
    if not isinstance(arguments, Mapping):
        raise PilotTargetError(
            f"{target} returned {type(arguments).__name__}, but must return a dict of the "
            f"arguments of smart_sifting.pilot: {', '.join(known)}."
        )
    problems = []
    for key in arguments:
        if key not in known:
            close = difflib.get_close_matches(str(key), known, n=1, cutoff=0.5)
            remedy = f" Did you mean {close[0]!r}?" if close else ""
            problems.append(f"{key!r} is no argument of smart_sifting.pilot.{remedy}")
    problems += [f"{name!r} is missing." for name in required if name not in arguments]
    if problems:
        raise PilotTargetError(f"the dict that {target} returned: {' '.join(problems)}")


def _describe(error: BaseException, folder: Path) -> str:
    """Return an error with the place in the user's code where it came from, as far as known."""
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}, line {error.lineno}: {type(error).__name__}: {error.msg}"
    place = ""
    traceback = error.__traceback__
    while traceback is not None:
        code = traceback.tb_frame.f_code
        if _is_own(code.co_filename, folder):
            function = "" if code.co_name == "<module>" else f", in {code.co_name}"
            place = f"{code.co_filename}, line {traceback.tb_lineno}{function}: "
        traceback = traceback.tb_next
    return place + text


def _is_own(filename: str, folder: Path) -> bool:
    path = Path(filename)
    is_foreign = _PACKAGE in path.parents or _FOREIGN_FOLDERS & set(path.parts)
    return folder in path.parents and not is_foreign
