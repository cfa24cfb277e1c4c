"""Execute every notebook beside this file, in a folder that is thrown away.

A cell that fails ends with a non-zero exit code and the traceback. Nothing is written back.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient


def execute(path: Path) -> None:
    """Run one notebook from its first cell to its last."""
    start = time.monotonic()
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory(prefix="notebook-") as folder:
        client = NotebookClient(
            notebook,
            timeout=900,
            kernel_name="python3",
            resources={"metadata": {"path": folder}},
        )
        client.execute()
    sys.stdout.write(
        f"{path.name}: {len(notebook.cells)} cells, {time.monotonic() - start:.0f} s\n"
    )


if __name__ == "__main__":
    for notebook_path in sorted(Path(__file__).parent.glob("*.ipynb")):
        execute(notebook_path)
