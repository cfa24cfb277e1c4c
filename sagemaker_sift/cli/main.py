"""``sagemaker-sift``: parse, run, and say in one line what went wrong."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from sagemaker_sift import __version__
from sagemaker_sift.cli import algorithm, config, local, pilot, quickstart, train, tune
from sagemaker_sift.exceptions import JobStoppedError, SiftError

EXIT_OK = 0
EXIT_ERROR = 1
EXIT_INTERRUPTED = 130


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command."""
    parser = argparse.ArgumentParser(
        prog="sagemaker-sift",
        description="Train sifted image classifiers: low-loss samples are dropped before "
        "forward and backward.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for module in (quickstart, train, tune, local, pilot, algorithm, config):
        module.add_command(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code: 0, 1 for an error, 130 after Ctrl-C."""
    options = build_parser().parse_args(arguments)
    try:
        code: int = options.run(options)
    except KeyboardInterrupt:
        is_local = getattr(options, "local", None) is not None
        stops = getattr(options, "interrupt_stops_job", is_local)
        end = "; the training job was stopped, its model saved" if stops else ""
        print(f"interrupted{end}", file=sys.stderr)
        return EXIT_INTERRUPTED
    except JobStoppedError as error:
        print(f"stopped: {error}", file=sys.stderr)
        return EXIT_ERROR
    except (SiftError, OSError, LookupError) as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_ERROR
    return code


if __name__ == "__main__":
    sys.exit(main())
