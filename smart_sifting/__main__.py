"""``python -m smart_sifting pilot FILE:FUNCTION``: does sifting save time on my model?"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import sys
from collections.abc import Sequence
from typing import Any

from smart_sifting._pilot.arguments import read_scoring
from smart_sifting._pilot.target import PilotTargetError, run_target


def main(argv: Sequence[str] | None = None) -> int:
    """Run a pilot and print its report; what the user's code prints goes to stderr.

    Args:
        argv: Arguments after the program's name.

    Returns:
        The exit code: 0, 1 after one sentence on stderr, 130 after Ctrl-C.
    """
    options = _build_parser().parse_args(argv)
    settings: dict[str, Any] = {}
    if options.beta:
        settings |= {"betas": options.beta, "beta_value": options.beta[0]}
    if options.num_batches is not None:
        settings["num_batches"] = options.num_batches
    if options.scoring is not None:
        settings["scoring"] = options.scoring
    try:
        with contextlib.redirect_stdout(sys.stderr):
            report = run_target(options.target, **settings)
    except PilotTargetError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    text = json.dumps(report.as_dict(), indent=2) if options.json else str(report)
    sys.stdout.write(f"{text}\n")
    return 0


def _build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m smart_sifting", description="Tools of the sifting loader."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    command = commands.add_parser(
        "pilot",
        help="measure whether sifting saves time, before training",
        description="Measure on some batches of your own loader what sifting costs and saves with "
        "your model and loss. Nothing is trained or kept.",
    )
    command.add_argument(
        "target",
        metavar="FILE:FUNCTION",
        help="a function without arguments that returns a dict of the arguments of "
        "smart_sifting.pilot (at least model, loss_impl and orig_dataloader), such as "
        "train.py:make_pilot; package.module:function too",
    )
    command.add_argument(
        "--beta",
        type=_read_beta,
        action="append",
        metavar="BETA",
        help="a beta_value to look at; may be repeated; takes the place of those that FUNCTION "
        "gives (default: some from 0.1 to 100)",
    )
    command.add_argument(
        "--num-batches",
        type=_read_num_batches,
        metavar="N",
        help="batches to measure (default: 20), after 3 to warm up",
    )
    command.add_argument(
        "--scoring",
        type=_read_scoring,
        metavar="plain|fresh",
        help="score with the model itself, or with the cheapest copy of it that ranks losses "
        "alike (default: as FUNCTION says, else plain)",
    )
    command.add_argument("--json", action="store_true", help="print the report as JSON")
    return parser


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
    try:
        return read_scoring(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error).removeprefix("`scoring` ")) from error


if __name__ == "__main__":
    sys.exit(main())
