"""README and notebooks: what a reader is shown is what the code does."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
import torch

from sagemaker_sift.cli.main import build_parser
from sagemaker_sift.quickstart import QUICKSTART_HYPERPARAMETERS

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PYTHON_BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
NOTEBOOK = nbformat.read(ROOT / "notebooks" / "01_first_job_locally.ipynb", as_version=4)
CELLS = [cell.source for cell in NOTEBOOK.cells if cell.cell_type == "code"]


def keywords_of_call(source: str, method: str) -> dict[str, Any]:
    """Return the literal keyword arguments of the call of ``method`` in ``source``."""
    for node in ast.walk(ast.parse(source)):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr == method
        ):
            return {
                str(keyword.arg): ast.literal_eval(keyword.value)
                for keyword in node.keywords
                if isinstance(keyword.value, ast.Constant)
            }
    raise AssertionError(f"no call of {method}")


def test_the_two_commands_are_the_first_thing_a_reader_sees() -> None:
    first = re.findall(r"```\n(.*?)```", README, re.DOTALL)[0]
    assert [line.split("#")[0].strip() for line in first.splitlines()] == [
        "make quickstart",
        "make test",
    ]


def test_readme_notebook_and_quickstart_train_with_the_same_hyperparameters() -> None:
    in_readme = keywords_of_call(PYTHON_BLOCKS[0], "set_hyperparameters")
    in_notebook = keywords_of_call("\n".join(CELLS), "set_hyperparameters")
    assert in_readme == in_notebook
    shared = {name: value for name, value in in_readme.items() if name != "num_classes"}
    quickstart = {
        name: value for name, value in QUICKSTART_HYPERPARAMETERS.items() if name in shared
    }
    assert shared == quickstart


def test_the_first_lines_of_readme_run(tmp_path: Path) -> None:
    attach = PYTHON_BLOCKS[1].replace('"my-job"', "estimator.latest_training_job.name")
    predict = PYTHON_BLOCKS[2].replace('"digit.jpg"', 'next(digits.validation.rglob("*.jpg"))')
    program = PYTHON_BLOCKS[0] + attach + predict
    program = re.sub(r"epochs=\d+", "epochs=2", program)
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "kept while sifting" in done.stdout
    assert done.stdout.splitlines()[-1] in set("0123456789")


def test_the_loop_of_readme_sifts() -> None:
    torch.manual_seed(0)
    images, labels = torch.randn(640, 4), torch.randint(0, 2, (640,))
    dataset = torch.utils.data.TensorDataset(images, labels)
    names = {
        "torch": torch,
        "loader": torch.utils.data.DataLoader(dataset, batch_size=32),
        "model": torch.nn.Linear(4, 2),
    }
    [block] = [block for block in PYTHON_BLOCKS if "SiftingDataloader" in block]
    program = block.replace("sift_delay=100", "sift_delay=0")
    exec(compile(program, "README.md", "exec"), names)
    statistics = names["loader"].statistics
    assert statistics.samples_seen == 640
    assert 200 < statistics.samples_kept < 440


def test_the_shell_example_of_readme_is_understood() -> None:
    command = re.search(r"```\nsagemaker-sift (train .*?)```", README, re.DOTALL)
    assert command is not None
    arguments = command.group(1).replace("\\\n", " ").split()
    options = build_parser().parse_args(arguments)
    assert dict(options.hyperparameters)["beta_value"] == "1"


def test_every_file_that_readme_names_exists() -> None:
    named = re.findall(r"`((?:sagemaker_sift|smart_sifting|docs|entry_points)/[\w./]*)`", README)
    assert len(named) > 8
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_notebooks_are_stored_without_output() -> None:
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        for cell in nbformat.read(path, as_version=4).cells:
            assert not cell.get("outputs"), path


def test_every_make_target_that_is_documented_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    contributing = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`make ([a-z-]+)", README + contributing))
    assert named <= targets
    assert {"quickstart", "test", "setup", "check", "lint", "format", "types", "bench"} <= targets


@pytest.mark.parametrize(
    "arguments", [["quickstart", "--help"], ["train", "--help"], ["--version"]]
)
def test_the_command_explains_itself(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        build_parser().parse_args(arguments)
    assert stopped.value.code == 0
    assert "sagemaker-sift" in capsys.readouterr().out
