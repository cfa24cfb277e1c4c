"""Where a session's settings came from, for people to read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sagemaker_sift.defaults import Defaults, Setting

_UNREAD = "(not used)"


class Explanation:
    """Settings with their sources; printing it shows them as a table.

    Values that may be secrets, those of ``Environment``, are masked.

    Args:
        rows: What is shown, in this order.

    Attributes:
        rows: The same.

    Example:
        >>> print(Explanation([Setting("region", "us-east-1", "AWS_REGION")]))
        setting  value      source
        region   us-east-1  AWS_REGION
    """

    def __init__(self, rows: Iterable[Setting]) -> None:
        self.rows = tuple(rows)

    def __str__(self) -> str:
        lines = [("setting", "value", "source")]
        lines += [(row.path, row.shown, row.source) for row in self.rows]
        widths = [max(len(line[idx]) for line in lines) for idx in range(2)]
        return "\n".join(
            f"{path.ljust(widths[0])}  {value.ljust(widths[1])}  {source}".rstrip()
            for path, value, source in lines
        )

    def __repr__(self) -> str:
        return str(self)

    def __iter__(self) -> Iterator[Setting]:
        return iter(self.rows)


def explain_defaults(defaults: Defaults) -> list[Setting]:
    """Return a row for each setting of config files, and for each section that is not used."""
    rows = defaults.settings()
    return rows + [Setting(path, _UNREAD, source) for path, source in defaults.unread()]
