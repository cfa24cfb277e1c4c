"""One thing that is wrong with what a user asked for, and the error that carries all of them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One broken rule.

    Attributes:
        path: Where the value stands, in the user's own terms: ``beta_value``,
            ``InputDataConfig[0].ChannelName``.
        message: Value, rule and remedy in one or two sentences.
        source: Where the rule stands, such as ``"API model"``; empty for the contract's own.

    Example:
        >>> print(Problem("epochs", "is 0, but must be at least 1."))
        `epochs` is 0, but must be at least 1.
    """

    path: str
    message: str
    source: str = ""

    def __str__(self) -> str:
        text = f"`{self.path}` {self.message}"
        return f"{text} [{self.source}]" if self.source else text


class ContractError(Exception):
    """Values that break the contract; carries every problem found, not the first one only.

    Not a ``ValueError``: pydantic would swallow that inside a validator and show its own text.

    Attributes:
        problems: All broken rules, in the order of the contract.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


def closest(name: str, known: Iterable[str]) -> str:
    """Return `` Did you mean 'x'?`` for the known name nearest to ``name``, or an empty string.

    Example:
        >>> closest("beta", ["beta_value", "epochs"])
        " Did you mean 'beta_value'?"
    """
    names = list(known)
    matches = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    if not matches:
        matches = [known_name for known_name in names if name and name in known_name][:1]
    return f" Did you mean {matches[0]!r}?" if matches else ""
