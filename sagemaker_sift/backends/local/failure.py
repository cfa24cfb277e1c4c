"""Why a job failed, in words that stand in ``FailureReason``."""

from __future__ import annotations

import os
import signal
import stat

from sagemaker_sift.contract.container import FAILURE_MAX_CHARS, ContainerPaths


class JobFailure(Exception):  # noqa: N818  # the end of a job, not of this program
    """A job cannot go on; the text is its ``FailureReason``."""


def read_failure(paths: ContainerPaths) -> str:
    """Return what the training process left in its failure file, without a full stop; or ``""``.

    Only a regular file is read: on a pipe that nobody writes to this would wait for ever.

    Args:
        paths: The process's ``/opt/ml``.
    """
    try:
        with open(paths.failure, encoding="utf-8", errors="replace", opener=_open_at_once) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return ""
            text = file.read(FAILURE_MAX_CHARS)
    except OSError:
        return ""
    return text.strip().removesuffix(".")


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)


def describe_os_error(error: OSError) -> str:
    """Return why something of the job could not be read or written, and what to do.

    Example:
        >>> describe_os_error(OSError(28, "No space left on device", "/out"))[:55]
        "ClientError: '/out' cannot be written (No space left on"
    """
    if error.errno is None:
        return f"ClientError: {error}"
    what = repr(str(error.filename)) if error.filename else "The folder of the job or of its files"
    return (
        f"ClientError: {what} cannot be written ({error.strerror}). Free or grant space there, "
        "or choose another output_path, and launch the job again under another name."
    )


def describe_exit(exit_code: int) -> str:
    """Return what is known of a process that left no word.

    Args:
        exit_code: Minus the signal if one ended it.

    Example:
        >>> describe_exit(-9)
        'the process was ended by SIGKILL'
    """
    if exit_code >= 0:
        return "the process left no reason; see the log"
    try:
        name = signal.Signals(-exit_code).name
    except ValueError:  # a real-time signal has no name
        name = f"signal {-exit_code}"
    return f"the process was ended by {name}"
