"""``python -m smart_sifting pilot``: a user's file, and errors that point into it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from smart_sifting.__main__ import main

SCRIPT = """\
import torch
from neighbour import SIZE
from smart_sifting import Loss

print("this is said while importing")

class Squares(Loss):
    def loss(self, model, transformed_batch, original_batch=None):
        return model(original_batch) ** 2

class Fails(Squares):
    def loss(self, model, transformed_batch, original_batch=None):
        return undefined_name

def make_pilot():
    print("this is said by the function")
    model = torch.nn.Linear(SIZE, 1)
    return {"model": model, "loss_impl": Squares(), "orig_dataloader": [torch.rand(4, SIZE)] * 9}

def make_failing_loss():
    return make_pilot() | {"loss_impl": Fails()}

def make_no_loss():
    return make_pilot() | {"loss_impl": None}

def make_typo():
    return {"model": 1, "losimpl": 2}

def make_nothing():
    pass

def make_error():
    return {}["missing"]

def make_with(size):
    return {}

def make_with_options():
    import argparse, sys
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, default=2)
    print(f"arguments: {sys.argv}, size {parser.parse_args().size}")
    return make_pilot()

def make_exit():
    raise SystemExit("no data")

class Leaves(Squares):
    def loss(self, model, transformed_batch, original_batch=None):
        raise SystemExit

def make_leaving_loss():
    return make_pilot() | {"loss_impl": Leaves()}

NUMBER = 3
"""


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    (tmp_path / "neighbour.py").write_text("SIZE = 3\n")
    path = tmp_path / "own_training.py"
    path.write_text(SCRIPT)
    return path


def test_a_file_is_a_target_and_the_report_alone_is_on_stdout(script: Path) -> None:
    command = [sys.executable, "-m", "smart_sifting", "pilot", f"{script}:make_pilot", "--json"]
    options = ["--beta", "3", "--beta", "0.5", "--num-batches", "4"]
    done = subprocess.run(
        [*command, *options],
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    report = json.loads(done.stdout)
    assert (report["num_batches"], report["batch_size"]) == (4, 4)
    assert [row["beta"] for row in report["rows"]] == [0.5, 3.0]
    assert report["beta_value"] == 3.0
    assert done.stderr.splitlines() == [
        "this is said while importing",
        "this is said by the function",
    ]


def test_a_module_is_a_target_too(
    script: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(script.parent)
    assert main(["pilot", "own_training:make_pilot", "--scoring", "fresh"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("Pilot: 6 batches of 4 samples after 3 to warm up")
    assert "Scored by this method: " in shown


def test_a_file_named_like_a_loaded_module_does_not_replace_it(
    script: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = script.rename(script.with_name("json.py"))
    assert main(["pilot", f"{target}:make_pilot", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["batch_size"] == 4
    assert sys.modules["json"] is json


@pytest.mark.parametrize(
    ("function", "says"),
    [
        ("make_failing_loss", "own_training.py, line 13, in loss: NameError: name 'undefined_"),
        ("make_no_loss", "make_no_loss describes failed: LossImplementationNotProvidedException"),
        ("make_typo", "'losimpl' is no argument of smart_sifting.pilot. Did you mean 'loss_impl'"),
        ("make_typo", "'orig_dataloader' is missing."),
        ("make_nothing", "make_nothing returned NoneType, but must return a dict"),
        ("make_error", "make_error failed: {path}, line 33, in make_error: KeyError: 'missing'"),
        ("make_with", "must be a function without arguments"),
        ("make_exit", "make_exit failed, as it ended the program: {path}, line 46, in make_exit:"),
        ("make_exit", "SystemExit: no data. What only a script should do belongs under if __na"),
        ("make_leaving_loss", "failed, as it ended the program: {path}, line 50, in loss: System"),
        ("NUMBER", "but is none."),
        ("make_pilots", "has no function 'make_pilots'. Did you mean 'make_pilot'?"),
        ("", "names no function, but must be FILE:FUNCTION"),
    ],
)
def test_a_mistake_is_told_in_a_sentence_that_names_the_place(
    script: Path, function: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["pilot", f"{script}:{function}"]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    error = shown.err.splitlines()[-1]
    assert error.startswith("error: ")
    assert says.format(path=script) in error
    assert str(script) in error
    assert "Traceback" not in shown.err


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("def make_pilot(:", "line 1: SyntaxError: invalid syntax"),
        ("import sys; sys.exit(3)", "line 1: SystemExit: 3. What only a script should do"),
        ("import nonsense_package", "line 1: ModuleNotFoundError: No module named 'nonsense_pack"),
    ],
)
def test_a_file_that_cannot_be_imported_is_told_with_its_line(
    tmp_path: Path, line: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "broken_training.py"
    path.write_text(f"{line}\n")
    assert main(["pilot", f"{path}:make_pilot"]) == 1
    error = capsys.readouterr().err
    ended = ", as it ended the program" if "exit" in line else ""
    assert f"{path} cannot be imported{ended}: {path}, {says}" in error


def test_a_file_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pilot", "nowhere.py:make_pilot"]) == 1
    assert "there is no file 'nowhere.py'" in capsys.readouterr().err
    assert main(["pilot", "no.such.module:make_pilot"]) == 1
    assert "no.such.module cannot be imported: ModuleNotFoundError" in capsys.readouterr().err


@pytest.mark.parametrize("place", [".", "..", "a-b", "a..b", "3"])
def test_what_is_neither_file_nor_module_is_told_the_form(
    place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["pilot", f"{place}:make_pilot"]) == 1
    assert capsys.readouterr().err == (
        f"error: '{place}:make_pilot' names no file and no module, but must be FILE:FUNCTION or "
        "MODULE:FUNCTION, such as train.py:make_pilot.\n"
    )


def test_a_parser_of_the_users_does_not_get_the_pilots_options(
    script: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["smart_sifting", "pilot", f"{script}:make_with_options", "--num-batches", "2"]
    monkeypatch.setattr(sys, "argv", given)
    assert main(given[1:]) == 0
    assert f"arguments: ['{script}'], size 2" in capsys.readouterr().err
    assert sys.argv is given


@pytest.mark.parametrize(
    ("option", "value", "rule"),
    [
        ("--beta", "-1", "a positive and finite number"),
        ("--beta", "0", "a positive and finite number"),
        ("--beta", "nan", "a positive and finite number"),
        ("--beta", "inf", "a positive and finite number"),
        ("--beta", "half", "a positive and finite number"),
        ("--num-batches", "0", "a whole number, 1 or more"),
        ("--num-batches", "2.5", "a whole number, 1 or more"),
    ],
)
def test_an_option_out_of_range_is_named_before_the_users_code_runs(
    option: str, value: str, rule: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["pilot", "nowhere.py:make_pilot", option, value])
    assert stopped.value.code == 2
    assert f"argument {option}: is '{value}', but must be {rule}" in capsys.readouterr().err
