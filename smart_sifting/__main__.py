"""``python -m smart_sifting pilot FILE:FUNCTION``: does sifting save time on my model?"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Sequence
from typing import Any

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
    parser = argparse.ArgumentParser(prog="python -m smart_sifting")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    command = commands.add_parser(
        "pilot",
        help="measure what sifting costs and saves",
        description="Measure what sifting costs and saves on your own model, loss and loader.",
    )
    command.add_argument(
        "target",
        metavar="FILE:FUNCTION",
        help="a function without arguments that returns a dict of smart_sifting.pilot's "
        "arguments; package.module:function too",
    )
    command.add_argument(
        "--beta", type=float, action="append", metavar="BETA", help="may be repeated"
    )
    command.add_argument("--num-batches", type=int, metavar="N", help="batches to measure")
    command.add_argument("--json", action="store_true", help="print the report as JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main())
