"""A bar for what goes to or comes from S3, on a terminal with the package rich."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def show_transfer(what: str, total_bytes: int) -> Iterator[Callable[[int], None]]:
    """Show a bar while the block runs; nothing where there is no terminal or no rich.

    Args:
        what: What stands before the bar.
        total_bytes: The end of the bar.

    Yields:
        A function that moves the bar by a number of bytes; any thread may call it.

    Example:
        >>> with show_transfer("upload", 10) as advance:
        ...     advance(10)
    """
    if not sys.stdout.isatty() or importlib.util.find_spec("rich") is None:
        yield _ignore
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn  # noqa: PLC0415  # an extra, loaded where it is used

    with Progress(TextColumn("{task.description}"), BarColumn(), DownloadColumn()) as progress:
        task = progress.add_task(what, total=total_bytes)

        def advance(num_bytes: int) -> None:
            progress.update(task, advance=num_bytes)

        yield advance


def _ignore(num_bytes: int) -> None:
    """Show nothing."""
