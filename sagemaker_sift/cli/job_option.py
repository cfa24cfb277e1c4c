"""The options that describe a training job, for every subcommand that launches some."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from sagemaker_sift.cli.hyperparameter_option import (
    add_hyperparameter_option,
    read_hyperparameters,
)
from sagemaker_sift.cli.session_option import add_session_options, open_session
from sagemaker_sift.contract.channels import IMAGE_SUFFIXES
from sagemaker_sift.contract.problem import Problem
from sagemaker_sift.contract.specification import ALGORITHM_NAME
from sagemaker_sift.estimator import AlgorithmEstimator
from sagemaker_sift.exceptions import InvalidRequestError
from sagemaker_sift.session import JobSession, LocalSession

_TEXT = (
    ("role", "NAME", "IAM role of the job, by name or ARN (default: that of the config file)"),
    ("output-path", "URI", "where artifacts go"),
    ("volume-kms-key", "KEY", "KMS key of the storage volume"),
    ("output-kms-key", "KEY", "KMS key of the artifacts"),
    ("input-mode", "MODE", "File (default), FastFile or Pipe"),
)
_NUMBERS = (
    ("instance-count", "N", "number of instances (default: 1)"),
    ("volume-size", "GB", "storage volume of each instance (default: 30)"),
    ("max-run", "S", "longest run of a training job, seconds (default: 86400)"),
    ("max-wait", "S", "longest wait for spot capacity plus run, seconds"),
    ("max-retry-attempts", "N", "tries after an internal error of the service"),
)
_FLAGS = (
    ("use-spot-instances", "train on spot capacity; needs --max-wait"),
    ("enable-network-isolation", "no network for the container"),
    ("encrypt-inter-container-traffic", "encrypt what instances say to each other"),
)
_PAIRS = (
    ("tag", "tags", "tag of the job; may be repeated"),
    ("env", "environment", "environment variable of the container; may be repeated"),
)
_LISTS = (
    ("subnet", "subnets", "subnet of the VPC; may be repeated"),
    ("security-group", "security_group_ids", "security group of the VPC; may be repeated"),
)


def add_job_options(parser: argparse.ArgumentParser) -> None:
    """Add where the job runs, what it trains with, and everything that it can say."""
    where = parser.add_argument_group("where")
    where.add_argument(
        "--local",
        nargs="?",
        const="",
        metavar="ROOT",
        help="on this machine; ROOT keeps the jobs (default: ~/.sagemaker-sift/local). Without "
        "it the job runs on Amazon SageMaker and is billed",
    )
    where.add_argument(
        "--algorithm", metavar="NAME", help="name or ARN of the Algorithm resource on AWS"
    )
    add_session_options(parser)
    data = parser.add_argument_group("data")
    data.add_argument("--train", metavar="URI", help="training images: a folder, or s3:// on AWS")
    data.add_argument("--validation", metavar="URI", help="validation images")
    data.add_argument(
        "--channel",
        type=_read_pair("DIR", "model=runs/m"),
        action="append",
        default=[],
        metavar="NAME=DIR",
        help="a further channel, such as train_lst, validation_lst, model or pretrained; "
        "may be repeated",
    )
    job = parser.add_argument_group("training job")
    add_hyperparameter_option(parser)
    job.add_argument(
        "--instance-type", default="ml.m5.large", metavar="TYPE", help="default: ml.m5.large"
    )
    for name, metavar, meaning in _TEXT:
        job.add_argument(f"--{name}", metavar=metavar, help=meaning)
    for name, metavar, meaning in _NUMBERS:
        job.add_argument(f"--{name}", type=int, metavar=metavar, help=meaning)
    for name, meaning in _FLAGS:
        job.add_argument(f"--{name}", action="store_true", default=None, help=meaning)
    for name, target, meaning in _PAIRS:
        pair = _read_pair("VALUE", f"{name}=x")
        job.add_argument(
            f"--{name}",
            type=pair,
            action="append",
            dest=target,
            metavar="NAME=VALUE",
            help=meaning,
        )
    for name, target, meaning in _LISTS:
        job.add_argument(f"--{name}", action="append", dest=target, metavar="ID", help=meaning)
    job.add_argument("--checkpoints", metavar="DIR", help="keep checkpoints there and resume")


def build_estimator(options: argparse.Namespace) -> AlgorithmEstimator:
    """Return the estimator that the options describe.

    Locally, counts that the algorithm requires are read off the folder of training images.
    """
    session: JobSession
    if options.local is not None:
        session = LocalSession(options.local or None)
    else:
        session = open_session(options)
    estimator = _build_bare(options, session)
    known = estimator.algorithm.hyperparameter_names()
    given = read_hyperparameters(options, known)
    if options.train and options.local is not None and "train_lst" not in dict(options.channel):
        given = count_training_images(Path(options.train)) | given
    estimator.set_hyperparameters(**given)
    return estimator


def _build_bare(options: argparse.Namespace, session: JobSession) -> AlgorithmEstimator:
    """Return the estimator without its hyperparameters."""
    names = [name.replace("-", "_") for name, *_ in (*_TEXT, *_NUMBERS, *_FLAGS)]
    arguments: dict[str, Any] = {name: getattr(options, name) for name in names}
    for target in ("tags", "environment"):
        pairs = getattr(options, target)
        arguments[target] = None if pairs is None else dict(pairs)
    for _, target, _ in _LISTS:
        arguments[target] = getattr(options, target)
    checkpoints = options.checkpoints
    return AlgorithmEstimator(
        options.algorithm or ALGORITHM_NAME,
        instance_type=options.instance_type,
        sagemaker_session=session,
        checkpoint_s3_uri=session.to_input_uri(checkpoints) if checkpoints else None,
        **{name: value for name, value in arguments.items() if value is not None},
    )


def read_channels(options: argparse.Namespace) -> dict[str, str]:
    """Return the URI or path of every channel that the options name.

    Raises:
        InvalidRequestError: If one is named twice.
    """
    named = [("train", options.train), ("validation", options.validation)]
    channels = [*((name, uri) for name, uri in named if uri), *options.channel]
    names = [name for name, _ in channels]
    problems = [
        Problem(f"--channel {name}", "is given a second time. Name each channel once.")
        for name in sorted({name for name in names if names.count(name) > 1})
    ]
    if problems:
        raise InvalidRequestError(problems)
    return dict(channels)


def _read_pair(noun: str, example: str) -> Any:
    def read(text: str) -> tuple[str, str]:
        name, separator, value = text.partition("=")
        if not (name and separator and (value or noun == "VALUE")):
            raise argparse.ArgumentTypeError(
                f"is {text!r}, but must be NAME={noun}, such as {example}"
            )
        return name, value

    return read


def count_training_images(folder: Path) -> dict[str, str]:
    """Return the counts that the algorithm requires, as far as a folder of images tells them.

    Args:
        folder: With one folder a class; anything else gives no counts.
    """
    if not folder.is_dir():
        return {}
    classes = [entry for entry in os.scandir(folder) if entry.is_dir() and entry.name[0] != "."]
    images = [
        path
        for entry in classes
        for path in Path(entry.path).rglob("*")
        if path.suffix.lower() in IMAGE_SUFFIXES
    ]
    if not images:
        return {}
    return {"num_classes": str(len(classes)), "num_training_samples": str(len(images))}
