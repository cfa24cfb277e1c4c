"""The option ``-p name=value`` of every subcommand that trains."""

from __future__ import annotations

import argparse


def add_hyperparameter_option(parser: argparse.ArgumentParser) -> None:
    """Add ``-p/--hyperparameter``, which may be given any number of times."""
    parser.add_argument(
        "-p",
        "--hyperparameter",
        action="append",
        default=[],
        type=_split,
        metavar="NAME=VALUE",
        dest="hyperparameters",
        help="set a hyperparameter; may be repeated",
    )


def read_hyperparameters(options: argparse.Namespace) -> dict[str, str]:
    """Return the hyperparameters given; of one given twice, the last.

    Example:
        >>> parser = argparse.ArgumentParser()
        >>> add_hyperparameter_option(parser)
        >>> read_hyperparameters(parser.parse_args(["-p", "epochs=3"]))
        {'epochs': '3'}
    """
    return dict(options.hyperparameters)


def _split(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE, such as epochs=3")
    return name.strip().replace("-", "_"), value
