"""``sagemaker-sift train``: one training job on your own images."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from sagemaker_sift.cli.hyperparameter_option import (
    add_hyperparameter_option,
    read_hyperparameters,
)
from sagemaker_sift.contract.channels import IMAGE_SUFFIXES
from sagemaker_sift.contract.specification import ALGORITHM_NAME
from sagemaker_sift.estimator import AlgorithmEstimator
from sagemaker_sift.session import LocalSession

_LOGS: dict[str, bool | str] = {"progress": True, "all": "All", "none": False}


def add_command(commands: Any) -> None:
    """Add the subcommand."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "train",
        help="train on your own images",
        description="Train on folders of images, one folder a class; num_classes and "
        "num_training_samples are counted from the training folder unless given. Other forms of "
        "input (RecordIO, lists, a model to start from) are in docs/container.md.",
    )
    parser.add_argument(
        "--local",
        nargs="?",
        const="",
        required=True,
        metavar="ROOT",
        help="train on this machine; ROOT keeps the jobs (default: ~/.sagemaker-sift/local)",
    )
    parser.add_argument("--train", required=True, metavar="DIR", help="training images")
    parser.add_argument("--validation", metavar="DIR", help="validation images")
    parser.add_argument(
        "--channel",
        type=_read_channel,
        action="append",
        default=[],
        metavar="NAME=DIR",
        help="a further channel, such as train_lst, validation_lst, model or pretrained; "
        "may be repeated",
    )
    parser.add_argument("--job-name", metavar="NAME", help="name of the training job")
    parser.add_argument(
        "--instance-type", default="ml.m5.large", metavar="TYPE", help="default: ml.m5.large"
    )
    parser.add_argument("--max-run", type=int, default=86400, metavar="S", help="longest run, s")
    parser.add_argument("--checkpoints", metavar="DIR", help="keep checkpoints there and resume")
    parser.add_argument("--dry-run", action="store_true", help="print the request, start nothing")
    parser.add_argument("--logs", choices=tuple(_LOGS), default="progress", help="what to show")
    add_hyperparameter_option(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    session = LocalSession(options.local or None)
    further = dict(options.channel)
    counted = {} if "train_lst" in further else count_training_images(Path(options.train))
    given = counted | read_hyperparameters(options)
    estimator = AlgorithmEstimator(
        ALGORITHM_NAME,
        instance_type=options.instance_type,
        max_run=options.max_run,
        sagemaker_session=session,
        hyperparameters=given,
        checkpoint_s3_uri=session.to_input_uri(options.checkpoints)
        if options.checkpoints
        else None,
    )
    inputs = {"train": options.train}
    if options.validation:
        inputs["validation"] = options.validation
    inputs |= further
    if options.dry_run:
        print(json.dumps(estimator.request(inputs, options.job_name), indent=2))
        return 0
    estimator.fit(inputs, logs=_LOGS[options.logs], job_name=options.job_name)
    print()
    print(estimator.summary())
    return 0


def _read_channel(text: str) -> tuple[str, str]:
    name, separator, folder = text.partition("=")
    if not (name and separator and folder):
        raise argparse.ArgumentTypeError(
            f"is {text!r}, but must be NAME=DIR, such as model=runs/m"
        )
    return name, folder


def count_training_images(folder: Path) -> dict[str, str]:
    """Return the counts that the algorithm requires, as far as a folder of images tells them.

    Args:
        folder: With one folder a class; anything else gives no counts.
    """
    if not folder.is_dir():
        return {}
    classes = [entry for entry in folder.iterdir() if entry.is_dir() and entry.name[0] != "."]
    images = [
        path
        for entry in classes
        for path in entry.rglob("*")
        if path.suffix.lower() in IMAGE_SUFFIXES
    ]
    if not images:
        return {}
    return {"num_classes": str(len(classes)), "num_training_samples": str(len(images))}
