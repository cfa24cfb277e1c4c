"""Compare with a stored JSON file, or rewrite it when asked (``make golden``)."""

from __future__ import annotations

import json
import os
from pathlib import Path

FOLDER = Path(__file__).parent


def compare(name: str, value: object) -> None:
    """Assert that the JSON file ``name`` in this folder holds ``value``."""
    compare_text(FOLDER / name, json.dumps(value, indent=2, sort_keys=True) + "\n")


def compare_text(path: Path, text: str) -> None:
    """Assert that a file holds ``text``."""
    if os.environ.get("SIFT_REWRITE_GOLDEN"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text
