"""Promises of the test suite itself."""

from __future__ import annotations

import re
import socket
from pathlib import Path

TESTS = Path(__file__).parents[1]


def test_sockets_are_guarded_so_that_no_test_reaches_the_network() -> None:
    assert socket.socket.connect.__name__ == "guarded_connect"


def test_no_test_sleeps() -> None:
    pattern = re.compile(r"\btime\.sleep\(")
    own = Path(__file__)
    sources = [path for path in TESTS.rglob("*.py") if path != own]
    assert [path for path in sources if pattern.search(path.read_text(encoding="utf-8"))] == []
