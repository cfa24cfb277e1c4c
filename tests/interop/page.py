"""The tables of docs/differences.md, which tests read and hold to be complete."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = (Path(__file__).parents[2] / "docs" / "differences.md").read_text(encoding="utf-8")


def read_table(heading: str) -> list[list[str]]:
    """Return the rows of the table under a heading, without its head.

    Args:
        heading: Text of the heading, of any level.

    Raises:
        ValueError: If the page has no such heading, or more than one table under it.
    """
    sections = re.split(r"^#+ ", PAGE, flags=re.MULTILINE)
    [section] = [text for text in sections if text.split("\n", 1)[0] == heading]
    [table] = re.findall(r"(?:^\|.*\|\n)+", section, re.MULTILINE)
    return [
        [cell.strip() for cell in line.strip().strip("|").split("|")]
        for line in table.splitlines()[2:]
    ]


def name_test(row: str) -> str:
    """Return what the test is called that shows a row.

    Example:
        >>> name_test("`max_jobs` left out")
        'test_max_jobs_left_out'
    """
    return "test_" + re.sub(r"[^a-z0-9]+", "_", row.lower()).strip("_")
