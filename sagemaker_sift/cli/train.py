"""``sagemaker-sift train``: one training job, on this machine or on Amazon SageMaker."""

from __future__ import annotations

import argparse
import json
from typing import Any

from sagemaker_sift.cli.job_option import add_job_options, build_estimator, read_channels

_LOGS: dict[str, bool | str] = {"progress": True, "all": "All", "none": False}


def add_command(commands: Any) -> None:
    """Add the subcommand."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "train",
        help="train on your own images",
        description="Train on folders of images, one folder a class; with --local num_classes and "
        "num_training_samples are counted from the training folder unless given. Other forms of "
        "input (RecordIO, lists, a model to start from) are in docs/container.md.",
    )
    add_job_options(parser)
    parser.add_argument("--job-name", metavar="NAME", help="name of the training job")
    parser.add_argument("--dry-run", action="store_true", help="print the request, start nothing")
    parser.add_argument("--no-wait", action="store_true", help="launch it and return")
    parser.add_argument("--logs", choices=tuple(_LOGS), default="progress", help="what to show")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    estimator = build_estimator(options)
    inputs = read_channels(options)
    if options.dry_run:
        print(json.dumps(estimator.request(inputs, options.job_name), indent=2))
        return 0
    estimator.fit(
        inputs,
        wait=not options.no_wait,
        logs=_LOGS[options.logs],
        job_name=options.job_name,
    )
    if options.no_wait:
        print(estimator.job().name)
        return 0
    print()
    print(estimator.summary())
    return 0
