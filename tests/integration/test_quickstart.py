"""The command that a new user runs first, with everything as it is."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import subprocess
import sys
from pathlib import Path


def test_the_quickstart_passes_0_97_with_sifting_on(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sagemaker_sift.cli.main", "quickstart", "--root", "runs"]
    done = subprocess.run(command, cwd=tmp_path, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    table = dict(re.findall(r"^(\w[\w ]*?)  +(\S.*)$", done.stdout, re.MULTILINE))
    assert float(table["validation accuracy"].split()[0]) >= 0.97
    assert "(Completed)" in table["training job"]
    kept, expected = re.findall(r"([\d.]+)%", table["kept while sifting"])
    assert float(expected) == 50.0
    assert abs(float(kept) - 50.0) < 5.0
    model = Path(table["model"].removeprefix("file://"))
    assert model.is_file()
    assert model.parts[: len(tmp_path.parts)] == tmp_path.parts
    assert Path(table["log"]).is_file()
    assert Path(table["metrics"]).is_file()
    assert "What next" in done.stdout


def test_the_default_dataset_is_written_once(tmp_path: Path) -> None:
    program = """
import pathlib, sys
from sagemaker_sift import write_default_dataset
first = write_default_dataset("digits")
files = {path: path.stat().st_mtime_ns for path in pathlib.Path("digits").rglob("*")}
assert write_default_dataset("digits") == first
assert {path: path.stat().st_mtime_ns for path in pathlib.Path("digits").rglob("*")} == files
print(first.num_training_samples, first.num_validation_samples, len(files))
counts = [len(list((first.validation / str(digit)).glob("*.jpg"))) for digit in range(10)]
assert all(35 <= count <= 37 for count in counts), counts
pathlib.Path("other").mkdir()
try:
    write_default_dataset("other")
except FileExistsError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    counts, refusal = done.stdout.splitlines()
    assert counts.split()[:2] == ["1437", "360"]
    assert "is not the default dataset" in refusal


def test_a_terminal_shows_a_bar_that_fills(tmp_path: Path) -> None:
    controller, terminal = pty.openpty()
    command = [sys.executable, "-m", "sagemaker_sift.cli.main", "quickstart", "-p", "epochs=1"]
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        stdout=terminal,
        stderr=terminal,
        env=os.environ | {"TERM": "xterm", "COLUMNS": "120"},
    )
    os.close(terminal)
    shown = b""
    with contextlib.suppress(OSError):  # Linux's way to say that the other side is closed
        while chunk := os.read(controller, 1 << 16):
            shown += chunk
    os.close(controller)
    assert process.wait() == 0
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode())
    assert "100%" in text
    assert "epoch 1/1" in text
    assert "Completed" in text
    assert "What next" in text
