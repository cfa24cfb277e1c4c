"""The program of the training container: parse, run, say how it ended.

Next: :mod:`sagemaker_sift.trainer.job`.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import sys
from collections.abc import Sequence

from sagemaker_sift.contract.container import (
    EXIT_FAILURE,
    EXIT_SUCCESS,
    FAILURE_MAX_CHARS,
    ContainerPaths,
)
from sagemaker_sift.trainer.config import read_config
from sagemaker_sift.trainer.errors import TrainingError
from sagemaker_sift.trainer.job import run_job
from sagemaker_sift.trainer.log import log_to
from sagemaker_sift.trainer.stop import listen_for_stop

_LOG = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one training job.

    A job that is asked to stop (SIGTERM, SIGINT) saves its model and ends well. A job that fails
    leaves one sentence in ``/opt/ml/output/failure``; the traceback is in the log alone.

    Args:
        argv: Arguments after the program's name; ``["train"]`` is how SageMaker starts an image
            whose entry point is not the program itself.

    Returns:
        The exit code: 0 if the job completed, stopped early or was stopped, else 1.
    """
    parser = argparse.ArgumentParser(
        prog="train",
        description="Train an image classifier as /opt/ml/input/config says "
        "(SAGEMAKER_BASE_DIR moves /opt/ml).",
    )
    parser.add_argument("command", nargs="?", choices=["train"], help="optional")
    parser.parse_args(argv)
    paths = ContainerPaths.from_environment(os.environ)
    with log_to(sys.stdout), listen_for_stop() as stop:
        try:
            with contextlib.suppress(OSError):
                paths.failure.unlink()
            run_job(read_config(paths, os.environ), stop=stop)
        except TrainingError as error:
            _report_failure(paths, str(error))
            return EXIT_FAILURE
        except Exception as error:  # noqa: BLE001  # the program's edge: whatever it is, say it
            _report_failure(paths, f"{type(error).__name__}: {error}")
            return EXIT_FAILURE
    return EXIT_SUCCESS


def _report_failure(paths: ContainerPaths, reason: str) -> None:
    """Log the error at hand and write its reason, on one line, where SageMaker looks for it."""
    sentence = " ".join(reason.split())[:FAILURE_MAX_CHARS]
    _LOG.error("%s", sentence, exc_info=True)
    try:
        paths.failure.parent.mkdir(parents=True, exist_ok=True)
        paths.failure.write_text(sentence, encoding="utf-8", errors="replace")
    except OSError as error:
        sys.stderr.write(f"{sentence}\n{paths.failure} cannot be written: {error}\n")
