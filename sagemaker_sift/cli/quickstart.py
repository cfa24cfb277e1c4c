"""``sagemaker-sift quickstart``: the first job, with nothing prepared."""

from __future__ import annotations

import argparse
import importlib
from typing import Any

from sagemaker_sift.cli.hyperparameter_option import (
    add_hyperparameter_option,
    read_hyperparameters,
)

_NEXT = """
What next:
  predict with it   from sagemaker_sift.trainer import load_model
                    model = load_model({model!r})
  your own images   sagemaker-sift train --local {root} --train DIR --validation DIR
  in a notebook     notebooks/01_first_job_locally.ipynb: the same lines, step by step"""


def add_command(commands: Any) -> None:
    """Add the subcommand."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "quickstart",
        help="train a sifted model on the default dataset, on this machine",
        description="Write the default dataset (1,797 handwritten digits) as JPEG folders and "
        "train a sifted ResNet-20 on it, on this machine.",
    )
    parser.add_argument(
        "--root", default="runs", metavar="DIR", help="folder for data and jobs (default: runs)"
    )
    add_hyperparameter_option(parser)
    parser.set_defaults(run=_run, interrupt_stops_job=True)


def _run(options: argparse.Namespace) -> int:
    module = importlib.import_module("sagemaker_sift.quickstart")
    print("Training a sifted ResNet-20 on 1,797 handwritten digits, on this machine.")
    estimator = module.run_quickstart(options.root, **read_hyperparameters(options))
    print()
    print(estimator.summary())
    print(_NEXT.format(model=estimator.model_data, root=options.root))
    return 0
