"""The option ``-p name=value`` of every subcommand that trains."""

from __future__ import annotations

import argparse
from collections.abc import Collection

from sagemaker_sift.contract.hyperparameters import SPECS


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


def read_hyperparameters(
    options: argparse.Namespace, known: Collection[str] = tuple(SPECS)
) -> dict[str, str]:
    """Return the hyperparameters given; of one given twice, the last.

    Args:
        options: Of the subcommand.
        known: Names that the algorithm has; the bundled one's by default.

    Example:
        >>> parser = argparse.ArgumentParser()
        >>> add_hyperparameter_option(parser)
        >>> read_hyperparameters(parser.parse_args(["-p", "mini-batch-size=3"]))
        {'mini_batch_size': '3'}
    """
    return {fit_name(name, known): value for name, value in options.hyperparameters}


def fit_name(name: str, known: Collection[str]) -> str:
    """Return the name of a hyperparameter that may be written with hyphens on the command line.

    Example:
        >>> fit_name("max-depth", ["max-depth"]), fit_name("max-depth", ["max_depth"])
        ('max-depth', 'max_depth')
    """
    underscored = name.replace("-", "_")
    return underscored if name not in known and underscored in known else name


def _split(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE, such as epochs=3")
    return name.strip(), value
