"""Processes that outlive the one that starts them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from sagemaker_sift.backends.local.container import strip_secrets


def start_detached(
    module: str, arguments: Sequence[str], *, folder: Path, log_name: str, lock: int
) -> None:
    """Run a module of this package that calls :func:`leave_caller` first; return when it has.

    Args:
        module: Its name.
        arguments: Of the command line.
        folder: Its working directory; never the user's, where a ``torch.py`` would be imported.
        log_name: File in the folder that its output is appended to.
        lock: Descriptor that it inherits and goes on holding.

    Raises:
        OSError: If it does not start.
    """
    with (folder / log_name).open("ab") as log:
        ended = subprocess.run(
            [sys.executable, "-m", module, *arguments],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=strip_secrets(os.environ),
            pass_fds=[lock],
            check=False,
        )
    if ended.returncode:
        raise OSError(
            f"A process of this machine does not start (exit code {ended.returncode}). What it "
            f"said is in {str(folder / log_name)!r}. Check that {sys.executable!r} can import "
            "sagemaker_sift and that this machine has not run out of memory or processes."
        )


def leave_caller() -> None:
    """Go on as a process of its own session; the original process ends here, successfully."""
    if os.fork():
        os._exit(0)
    os.setsid()
    with open(os.devnull, "rb") as null:
        os.dup2(null.fileno(), 0)
