"""The method card of sifting: every snippet runs, and every figure is what the code gives."""

from __future__ import annotations

import logging
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import torch

from sagemaker_sift.cli.main import build_parser
from smart_sifting._core.cost_model import SiftingCosts
from smart_sifting._core.relative_probability import keep_probability

ROOT = Path(__file__).parents[2]
CARD = (ROOT / "docs" / "sifting.md").read_text(encoding="utf-8")
PYTHON_BLOCKS = re.findall(r"```python\n(.*?)```", CARD, re.DOTALL)


@pytest.fixture
def names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> dict[str, Any]:
    """Run all snippets in order, as one program, and return its names."""
    monkeypatch.chdir(tmp_path)
    program = "\n".join(PYTHON_BLOCKS)
    namespace: dict[str, Any] = {}
    with caplog.at_level(logging.CRITICAL):
        try:
            exec(compile(program, "docs/sifting.md", "exec"), namespace)
        finally:
            if torch.distributed.is_initialized():
                torch.distributed.destroy_process_group()
    return namespace


@pytest.mark.filterwarnings("ignore:.isinstance.treespec, LeafSpec:FutureWarning")
@pytest.mark.filterwarnings("ignore:.*does not have many workers")
@pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")
def test_every_snippet_runs_and_the_model_learns(names: dict[str, Any]) -> None:
    inputs, labels = names["dataset"].tensors
    accuracy = (names["model"](inputs).argmax(1) == labels).float().mean()
    assert accuracy > 0.9
    statistics = names["statistics"]
    assert len(statistics.epochs) == 6
    assert statistics.scored_kept_fraction == pytest.approx(0.5, abs=0.05)
    assert [epoch.samples_seen for epoch in statistics.epochs] == [4096] * 6
    assert names["schedule"].get_last_lr()[0] == pytest.approx(0.03, rel=0.3)
    assert names["resumed_loader"].statistics.as_dict() == statistics.as_dict()
    assert len(list(names["paired_loader"])) == 64
    assert names["train_loader"].statistics.num_batches == 128
    assert [row.beta for row in names["report"].rows].count(0.5) == 1
    of_trainer = names["trainer"].callback_handler.train_dataloader.statistics
    assert [epoch.samples_seen for epoch in of_trainer.epochs] == [4096] * 3
    assert of_trainer.scored_kept_fraction == pytest.approx(0.5, abs=0.05)
    of_lightning = names["lightning_loader"].statistics
    assert [epoch.samples_seen for epoch in of_lightning.epochs] == [4096] * 3
    assert names["lightning_trainer"].global_step == of_lightning.num_batches


def test_the_card_shows_the_order_that_a_reader_needs() -> None:
    assert len(PYTHON_BLOCKS) >= 7
    assert [line for line in CARD.splitlines() if line.startswith("## ")] == [
        "## What it does",
        "## How to use it",
        "## Choosing beta_value",
        "## What it costs, and whether it pays",
        "## When not to use it",
        "## Differences from the original",
        "## Sources",
    ]


def test_the_table_of_betas_is_what_the_cost_model_gives() -> None:
    rows = re.findall(
        r"^\| ([\d.]+) \| ([\d.]+) % \| ([\d.]+) \| ([\d.]+) \|$", CARD, re.MULTILINE
    )
    assert [float(row[0]) for row in rows] == [0.1, 0.25, 0.5, 1, 2, 3, 10, 100]
    for beta, kept, third, fresh in rows:
        assert kept == f"{100 / (1 + float(beta)):.1f}"
        for shown, share in ((third, 1 / 3), (fresh, 0.15)):
            costs = SiftingCosts(loading_s=0.0, scoring_s=share, training_s=1.0)
            assert shown == f"{costs.relative_time(float(beta)):.2f}"


def test_the_curves_of_the_picture_are_the_keep_probabilities() -> None:
    picture = ElementTree.parse(ROOT / "docs" / "images" / "sifting.svg")
    curves = {
        element.get("id", ""): element.get("points", "")
        for element in picture.iter("{http://www.w3.org/2000/svg}polyline")
    }
    assert sorted(curves) == ["beta-0.5", "beta-1", "beta-3"]
    left, bottom, width, height = 90.0, 440.0, 330.0, 170.0
    for name, points in curves.items():
        pairs = torch.tensor([[float(v) for v in point.split(",")] for point in points.split()])
        percentile, shown = (pairs[:, 0] - left) / width, (bottom - pairs[:, 1]) / height
        expected = keep_probability(percentile, beta=float(name.removeprefix("beta-")))
        assert torch.allclose(shown, expected, atol=1e-3)
        assert percentile[0] == 0
        assert percentile[-1] == 1


def test_the_commands_of_the_card_are_understood_and_the_pilot_of_a_function_runs(
    tmp_path: Path,
) -> None:
    block = re.search(r"```\n(sagemaker-sift pilot train.*?)```", CARD, re.DOTALL)
    assert block is not None
    commands = [shlex.split(line) for line in block.group(1).splitlines()]
    for command in commands:
        build_parser().parse_args(command[1:])
    (tmp_path / "train.py").write_text(
        PYTHON_BLOCKS[0].split("num_epochs = 6")[0]
        + "def make_pilot():\n"
        + "    return {'model': model, 'loss_impl': CrossEntropy(), 'beta_value': 0.5,\n"
        + "            'orig_dataloader': DataLoader(dataset, batch_size=64)}\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "sagemaker_sift.cli.main", *commands[0][1:]],
        cwd=tmp_path,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "beta_value=0.5" in done.stdout


def test_every_file_and_section_that_the_card_links_to_exists() -> None:
    links = re.findall(r"\]\((?!https)([^)]+)\)", CARD) + re.findall(r"`(benchmarks/[^`]+)`", CARD)
    assert links
    assert [
        link for link in links if not ((ROOT / "docs" / link).exists() or (ROOT / link).exists())
    ] == []
