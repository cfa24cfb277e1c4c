"""Many mistakes in one file, told in one sentence."""

from __future__ import annotations

NUM_NAMED = 4
"""So many mistakes of a file are named: ``FailureReason`` has room for 1,024 characters."""

_MAX_QUOTED_CHARS = 60


class ProblemList:
    """What is wrong with a file: the first few in words, the others as a number.

    Example:
        >>> problems = ProblemList()
        >>> for number in range(1, 7):
        ...     problems.add(f"line {number}: it is odd")
        >>> len(problems), problems.describe()[-29:]
        (6, 'line 4: it is odd; and 2 more')
    """

    def __init__(self) -> None:
        self._named: list[str] = []
        self._num_problems = 0

    def __len__(self) -> int:
        return self._num_problems

    def add(self, text: str) -> None:
        """Remember one mistake: where it is, and what it is."""
        self._num_problems += 1
        if self._num_problems <= NUM_NAMED:
            self._named.append(text)

    def describe(self) -> str:
        """Return all of it, separated by semicolons."""
        rest = self._num_problems - len(self._named)
        return "; ".join([*self._named, *([f"and {rest} more"] if rest else [])])


def quote(text: str) -> str:
    """Return the text in quotes, what cannot be printed as escapes, shortened if it is long.

    Example:
        >>> quote("a" * 100)[-8:]
        "aaaa'..."
    """
    shown = repr(text[:_MAX_QUOTED_CHARS])
    if len(text) <= _MAX_QUOTED_CHARS and len(shown) <= _MAX_QUOTED_CHARS + 2:
        return shown
    return f"{shown[: _MAX_QUOTED_CHARS + 1]}{shown[0]}..."
