"""The program of the training container: parse, run, say how it ended.

Next: :mod:`sagemaker_sift.trainer.job`.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import os
import sys
from collections.abc import Sequence

import torch

from sagemaker_sift.contract.container import (
    EXIT_FAILURE,
    EXIT_SUCCESS,
    FAILURE_MAX_CHARS,
    ContainerPaths,
)
from sagemaker_sift.trainer.config import read_config
from sagemaker_sift.trainer.distributed import LOCAL_RANK_VARIABLE, count_local_processes
from sagemaker_sift.trainer.errors import TrainingError
from sagemaker_sift.trainer.job import run_job
from sagemaker_sift.trainer.launcher import describe_exit, end_with_parent, run_processes
from sagemaker_sift.trainer.log import log_to, quieten
from sagemaker_sift.trainer.lost_contact import LOST_CONTACT, is_lost_contact, wait_for_first_word
from sagemaker_sift.trainer.stop import StopRequest, listen_for_stop

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
    is_child = LOCAL_RANK_VARIABLE in os.environ
    end_with_parent(os.environ)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file name may not be UTF-8
    with log_to(sys.stdout), listen_for_stop() as stop:
        try:
            if not is_child:
                with contextlib.suppress(OSError):
                    paths.failure.unlink()
                num_local = count_local_processes(os.environ, num_gpus=torch.cuda.device_count())
                if num_local > 1:
                    return _run_processes(paths, num_local, stop)
            config = read_config(paths, os.environ)
            if config.placement.rank > 0:
                quieten(config.placement.rank)
            run_job(config, stop=stop)
        except TrainingError as error:
            _report_failure(paths, str(error))
            return EXIT_FAILURE
        except Exception as error:  # noqa: BLE001  # the program's edge: whatever it is, say it
            if is_lost_contact(error):
                wait_for_first_word(paths.failure)
                _report_failure(paths, f"{LOST_CONTACT} ({type(error).__name__}: {error})")
            else:
                _report_failure(paths, f"{type(error).__name__}: {error}")
            return EXIT_FAILURE
    return EXIT_SUCCESS


def _run_processes(paths: ContainerPaths, num_local: int, stop: StopRequest) -> int:
    """Run a process for each GPU, once it is known that they can read their configuration."""
    config = read_config(paths, os.environ)
    code = run_processes(
        num_local,
        num_hosts=config.placement.num_hosts,
        environ=os.environ,
        stop=stop,
        pipe_channels=config.job_input.pipe_channels,
        data=paths.data,
    )
    if code < 0:  # what the others say is only that they miss it
        with contextlib.suppress(OSError):
            paths.failure.unlink()
    if code != EXIT_SUCCESS and not paths.failure.exists():
        _report_failure(
            paths,
            f"A training process ended without a word ({describe_exit(code)}). The machine may "
            "have run out of memory: try a smaller mini_batch_size, or a larger instance type.",
        )
    return EXIT_SUCCESS if code == EXIT_SUCCESS else EXIT_FAILURE


def _report_failure(paths: ContainerPaths, reason: str) -> None:
    """Log the error at hand and write its reason, on one line, where SageMaker looks for it.

    Of several processes that fail the first one's reason stands: the others only miss it.
    """
    sentence = " ".join(reason.split())[:FAILURE_MAX_CHARS]
    _LOG.error("%s", sentence, exc_info=sys.exc_info()[0] is not None)
    try:
        paths.failure.parent.mkdir(parents=True, exist_ok=True)
        with paths.failure.open("x", encoding="utf-8", errors="replace") as file:
            file.write(sentence)
    except OSError as error:
        if isinstance(error, FileExistsError) and paths.failure.is_file():
            return
        sys.stderr.write(f"{sentence}\n{paths.failure} cannot be written: {error}\n")


if __name__ == "__main__":
    sys.exit(main())
