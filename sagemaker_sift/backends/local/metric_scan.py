"""Which lines of a log may report a metric, found for many lines at once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

_FAR_LOOKING = re.compile(r"\\[AZz]|\(\?(?![:P])|\(\?P=")


class MetricScan:
    r"""Finds the lines that some metric definition may match; no line that one matches is missed.

    A regular expression that looks no further than its line (no ``\A``, ``\Z``, lookaround or
    inline flag) matches a line only if it matches the text around it too, with ``^`` and ``$`` at
    the ends of lines. So one search of the whole text tells which lines are worth a closer look.

    Args:
        definitions: ``[{"Name": ..., "Regex": ...}]``.

    Example:
        >>> scan = MetricScan([{"Name": "loss", "Regex": "loss=([0-9.]+)"}])
        >>> scan.find("start\nloss=0.5\nend\n")
        ['loss=0.5']
    """

    def __init__(self, definitions: Iterable[Mapping[str, str]]) -> None:
        self._patterns: list[re.Pattern[str]] = []
        self._takes_all = False
        for definition in definitions:
            try:
                pattern = re.compile(definition["Regex"], re.MULTILINE)
            except re.error:
                continue  # such a definition finds nothing
            self._patterns.append(pattern)
            self._takes_all |= _FAR_LOOKING.search(definition["Regex"]) is not None

    def find(self, text: str) -> list[str]:
        """Return the candidates, in their order, without line ends.

        Args:
            text: Complete lines.
        """
        if self._takes_all:
            return text.split("\n")[:-1]
        spans: set[tuple[int, int]] = set()
        for pattern in self._patterns:
            for match in pattern.finditer(text):
                start = text.rfind("\n", 0, match.start()) + 1
                end = text.find("\n", max(match.end() - 1, match.start()))
                spans.add((start, end if end >= 0 else len(text)))
        lines: dict[int, str] = {}
        for start, end in sorted(spans):
            position = start
            for line in text[start:end].split("\n"):
                lines[position] = line
                position += len(line) + 1
        return [lines[position] for position in sorted(lines)]
