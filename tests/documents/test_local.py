"""The page of the local SageMaker and README's search: what they say is what happens."""

from __future__ import annotations

import inspect
import re
import shlex
from pathlib import Path
from typing import Any

import cv2
import nbformat
import numpy as np
import pytest

from sagemaker_sift import AlgorithmEstimator, HyperparameterTuner, LocalSession, TuningLimits
from sagemaker_sift.backends.local.search import bayesian_searcher, completion
from sagemaker_sift.backends.local.search.axis import ContinuousAxis
from sagemaker_sift.backends.local.tuned_job import MAX_ATTEMPTS
from sagemaker_sift.cli.main import build_parser
from sagemaker_sift.cli.tune import LOCAL_MAX_JOBS, LOCAL_RANGES
from sagemaker_sift.contract.container import STOP_GRACE_S
from sagemaker_sift.default_dataset import Dataset

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "local.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
TUNE = README.split("## Tune on this machine")[1].split("\n## ")[0]


def find_commands(text: str) -> list[str]:
    """Return the commands in blocks and in running text."""
    blocks = re.findall(r"```\n(.*?)```", text, re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    lines += re.findall(r"`(sagemaker-sift [^`]+)`", text)
    return [line for line in lines if line.startswith("sagemaker-sift ")]


@pytest.mark.parametrize("command", find_commands(PAGE) + find_commands(TUNE))
def test_the_commands_are_understood(command: str) -> None:
    options = build_parser().parse_args(shlex.split(command)[1:])
    assert callable(options.run)


def test_there_are_commands_for_every_action() -> None:
    commands = " ".join(find_commands(PAGE))
    for action in ("list", "describe", "logs", "stop", "clean"):
        assert f"sagemaker-sift local {action}" in commands


def test_every_option_of_the_page_belongs_to_a_command() -> None:
    sources = [
        (ROOT / "sagemaker_sift" / "cli" / name).read_text()
        for name in ("tune.py", "local.py", "job_option.py")
    ]
    named = set(re.findall(r"--([a-z-]+)", PAGE))
    assert len(named) > 8
    known = set(re.findall(r'"(?:--)?([a-z-]+)"', "\n".join(sources)))
    assert named - known == set()


def test_the_numbers_of_the_page_are_those_in_use() -> None:
    limits = TuningLimits()
    assert f"({limits.max_jobs} training jobs, {limits.max_parallel_jobs} at a time)" in PAGE
    assert f"Until {bayesian_searcher.NUM_STARTUP} training jobs" in PAGE
    assert f"under another name, {MAX_ATTEMPTS} times in all" in PAGE
    assert f"SIGKILL after {STOP_GRACE_S:g} seconds" in PAGE
    assert f"without `--max-jobs` it tries {LOCAL_MAX_JOBS}" in PAGE
    assert f"searches {' and '.join(f'`{name}`' for name in LOCAL_RANGES)}" in PAGE
    assert "limits" in inspect.signature(LocalSession).parameters


@pytest.mark.parametrize(
    ("low", "high", "middle"),
    [(0.01, 1.0, 0.1), (0.01, 0.99, 0.5), (0.5, 0.995, 0.95), (0.4, 0.999, 0.6995)],
    ids=["logarithmic", "too narrow", "reverse", "too low"],
)
def test_auto_is_what_the_page_says(low: float, high: float, middle: float) -> None:
    assert float(ContinuousAxis("x", low, high, "Auto").decode(0.5)) == pytest.approx(middle)


@pytest.mark.parametrize(("num_stale", "has_converged"), [(9, False), (10, True)])
def test_convergence_is_what_the_page_says(num_stale: int, has_converged: bool) -> None:
    """20 objectives: the best is the last before the stale ones."""
    objectives = [0.1 + idx / 50 for idx in range(20 - num_stale)]
    stale = [objectives[-1] * 1.009] * num_stale
    search = completion.Completion(None, maximize=True)
    assert search.has_converged([*objectives, *stale]) is has_converged
    assert "with 20 objectives or more, the latest 10, or a third" in PAGE


def write_images(folder: Path) -> Dataset:
    """Write two classes of dark and light pictures."""
    draw = np.random.default_rng(0)
    for part in ("train", "validation"):
        for label, level in (("dark", 60), ("light", 200)):
            (folder / part / label).mkdir(parents=True)
            for idx in range(8):
                pixels = draw.integers(0, 50, (28, 28, 3)).astype(np.uint8) + np.uint8(level)
                assert cv2.imwrite(str(folder / part / label / f"{idx}.png"), pixels)
    return Dataset(folder / "train", folder / "validation", 2, 16, 16)


def test_the_search_of_readme_runs_and_leaves_what_the_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    [program] = re.findall(r"```python\n(.*?)```", TUNE, re.DOTALL)
    digits = write_images(tmp_path / "images")
    estimator = AlgorithmEstimator(
        "sift-image-classification",
        instance_type="ml.m5.large",
        sagemaker_session=LocalSession("runs"),
        hyperparameters={"num_classes": 2, "num_training_samples": 16, "num_layers": 20}
        | {"image_shape": "3,28,28", "epochs": 1, "mini_batch_size": 8, "beta_value": 1},
    )
    names: dict[str, Any] = {"estimator": estimator, "digits": digits}
    exec(compile(re.sub(r"max_jobs=\d+", "max_jobs=2", program), "README.md", "exec"), names)
    tuner = names["tuner"]
    assert isinstance(tuner, HyperparameterTuner)
    assert (tmp_path / "tuning.svg").read_text().startswith("<svg")
    jobs = {"<job>": tuner.best_training_job(), "<root>": "runs"}
    tree = PAGE.split("## Where things lie")[1].split("```")[1]
    for line in tree.strip().splitlines():
        path = line.split()[0]
        if "<bucket>" in path or path.endswith("/ml/"):
            continue
        name = tuner.job().name if "tuning-jobs" in path else jobs["<job>"]
        assert (tmp_path / path.replace("<root>", "runs").replace("<job>", name)).exists(), path


def test_the_notebook_of_tuning_is_short_unless_told_otherwise() -> None:
    path = ROOT / "notebooks" / "02_tune_beta_value_and_learning_rate.ipynb"
    cells = [
        cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"
    ]
    assert cells[0].startswith("FULL = False\n")
    names: dict[str, Any] = {}
    exec(compile(cells[0], path.name, "exec"), names)
    assert names["EPOCHS"] * (names["MAX_JOBS"] + names["MAX_JOBS_AFTERWARDS"]) <= 6


def test_every_file_that_the_page_names_exists() -> None:
    named = re.findall(r"`((?:docs|notebooks)/[\w./]*|README\.md)`", PAGE)
    assert len(named) >= 3
    assert [name for name in named if not (ROOT / name).exists()] == []
