"""``sagemaker-sift pilot``: does sifting save time, and from which ``beta_value`` on?"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sagemaker_sift.backends.local.container import build_environment, lay_out
from sagemaker_sift.backends.local.storage import LocalStorage
from sagemaker_sift.cli.hyperparameter_option import (
    add_hyperparameter_option,
    read_hyperparameters,
)
from sagemaker_sift.cli.job_option import count_training_images
from sagemaker_sift.contract.container import ContainerPaths
from sagemaker_sift.contract.specification import ALGORITHM_NAME
from sagemaker_sift.estimator import AlgorithmEstimator
from sagemaker_sift.exceptions import MissingDependencyError
from sagemaker_sift.session import LocalSession

_EXIT_INTERRUPTED = 130
_JOB_NAME = "pilot"


def add_command(commands: Any) -> None:
    """Add the subcommand."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "pilot",
        help="measure whether sifting saves time, before training",
        description="Measure on some batches what sifting costs and saves. With FILE:FUNCTION on "
        "your own model, loss and loader; with --train on the bundled algorithm and your images; "
        "with neither on the images of the quickstart. Nothing is trained or kept.",
    )
    parser.add_argument(
        "target",
        nargs="?",
        metavar="FILE:FUNCTION",
        help="a function without arguments that returns a dict of the arguments of "
        "smart_sifting.pilot (at least model, loss_impl and orig_dataloader), such as "
        "train.py:make_pilot; package.module:function too",
    )
    parser.add_argument("--train", metavar="DIR", help="training images, one folder a class")
    parser.add_argument(
        "--beta",
        type=_read_beta,
        action="append",
        default=[],
        metavar="BETA",
        help="a beta_value to look at; may be repeated (default: some from 0.1 to 100)",
    )
    parser.add_argument(
        "--num-batches",
        type=_read_num_batches,
        metavar="N",
        help="batches to measure (default: 20), after 3 to warm up",
    )
    parser.add_argument(
        "--scoring",
        type=_read_scoring,
        metavar="plain|fresh",
        help="score with the network itself, or with the cheapest copy of it that ranks losses "
        "alike (default: as FUNCTION says, else plain; of a job its own scoring)",
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    add_hyperparameter_option(parser)
    parser.set_defaults(run=_run, refuse=parser.error)


def _read_beta(text: str) -> float:
    try:
        beta = float(text)
    except ValueError:
        beta = math.nan
    if not (math.isfinite(beta) and beta > 0):
        raise argparse.ArgumentTypeError(
            f"is {text!r}, but must be a positive and finite number: 1 keeps half of the samples, "
            "3 a quarter"
        )
    return beta


def _read_num_batches(text: str) -> int:
    if not (text.isdecimal() and int(text) >= 1):
        raise argparse.ArgumentTypeError(f"is {text!r}, but must be a whole number, 1 or more")
    return int(text)


def _read_scoring(text: str) -> str:
    if text not in {"plain", "fresh"}:
        remedy = ": losses of the last visit take no scoring pass" if text == "last_visit" else ""
        raise argparse.ArgumentTypeError(f"is {text!r}, but must be plain or fresh{remedy}")
    return text


def _run(options: argparse.Namespace) -> int:
    if options.target and (options.train or options.hyperparameters):
        options.refuse(
            "FILE:FUNCTION brings its own model and data: give either it, or --train and -p"
        )
    if importlib.util.find_spec("torch") is None:
        raise MissingDependencyError(
            "torch is not installed. Run: pip install 'sagemaker-sift[local]'"
        )
    arguments = [f"--beta={beta!r}" for beta in options.beta]
    if options.num_batches is not None:
        arguments.append(f"--num-batches={options.num_batches}")
    if options.scoring is not None:
        arguments.append(f"--scoring={options.scoring}")
    if options.json:
        arguments.append("--json")
    if options.target:
        command = ["smart_sifting", "pilot", *arguments, "--", options.target]
        return _run_module(command, os.environ)
    with tempfile.TemporaryDirectory(prefix="sagemaker-sift-pilot-") as folder:
        environment = _lay_out_job(Path(folder), options)
        return _run_module(["sagemaker_sift.trainer.pilot", *arguments], environment)


def _lay_out_job(folder: Path, options: argparse.Namespace) -> dict[str, str]:
    """Make the ``/opt/ml`` of the job and return the environment that it would run in."""
    given = read_hyperparameters(options)
    if options.train:
        train = Path(options.train)
        given = count_training_images(train) | given
    else:
        train, defaults = _write_quickstart_data(folder)
        given = defaults | given
    session = LocalSession(folder / "local")
    estimator = AlgorithmEstimator(
        ALGORITHM_NAME,
        instance_type="ml.m5.large",
        sagemaker_session=session,
        hyperparameters=given,
    )
    request = estimator.request({"train": str(train)}, _JOB_NAME)
    request["HyperParameters"]["early_stopping"] = "False"  # it needs validation images
    paths = ContainerPaths(folder / "ml")
    lay_out(request, paths, LocalStorage(folder / "local"))
    record = request | {"TrainingJobArn": _JOB_NAME}
    return build_environment(record, paths, os.environ)


def _write_quickstart_data(folder: Path) -> tuple[Path, dict[str, Any]]:
    """Write the default dataset; return its training images and the quickstart's job."""
    quickstart = importlib.import_module("sagemaker_sift.quickstart")
    dataset = quickstart.write_default_dataset(folder / "digits")
    counts = {
        "num_classes": dataset.num_classes,
        "num_training_samples": dataset.num_training_samples,
    }
    return dataset.train, counts | quickstart.QUICKSTART_HYPERPARAMETERS


def _run_module(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run a program of ours that needs torch, and return its exit code.

    The working directory is not on its path (-P): no file of the user's hides a module.
    """
    sys.stdout.flush()
    process = subprocess.Popen([sys.executable, "-P", "-m", *arguments], env=dict(environment))
    try:
        return process.wait()
    except KeyboardInterrupt:
        process.terminate()
        process.wait()
        print("interrupted; a pilot keeps nothing", file=sys.stderr)
        return _EXIT_INTERRUPTED
