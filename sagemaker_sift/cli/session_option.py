"""The options ``--region`` and ``--profile`` of every subcommand that reaches AWS."""

from __future__ import annotations

import argparse

from sagemaker_sift.backends.aws.boto_session import open_boto_session
from sagemaker_sift.session import Session


def add_session_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--region`` and ``--profile``.

    Example:
        >>> parser = argparse.ArgumentParser()
        >>> add_session_options(parser)
        >>> parser.parse_args(["--region", "eu-west-1"]).region
        'eu-west-1'
    """
    parser.add_argument("--region", metavar="NAME", help="AWS region, such as us-east-1")
    parser.add_argument("--profile", metavar="NAME", help="profile of the AWS config files")


def open_session(options: argparse.Namespace) -> Session:
    """Return the session on AWS that the options ask for."""
    return Session(open_boto_session(options.region, options.profile))
