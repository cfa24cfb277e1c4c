"""A pilot of one job: what sifting would cost and save on its model and images.

It reads what the job would read and builds what the job would build; it trains and saves nothing.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import os
import sys
from collections.abc import Sequence
from typing import Any

from sagemaker_sift.contract.container import EXIT_FAILURE, EXIT_SUCCESS, ContainerPaths
from sagemaker_sift.trainer.config import TrainingConfig, read_config
from sagemaker_sift.trainer.data.preparation import prepare_data
from sagemaker_sift.trainer.device import choose_device
from sagemaker_sift.trainer.errors import TrainingError
from sagemaker_sift.trainer.ranks import Ranks
from sagemaker_sift.trainer.sifting import ImageBatchTransform, LossPerSample
from sagemaker_sift.trainer.trainee import build_trainee
from smart_sifting import PilotReport, pilot

EXIT_INTERRUPTED = 130

_OF_LAST_VISIT = (
    "The job has scoring=last_visit: only images whose loss is not known, or is too old, are "
    "scored, as with scoring=fresh, which was measured. So sifting costs less than shown here."
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the pilot of the job in ``SAGEMAKER_BASE_DIR`` and print its report.

    Args:
        argv: Arguments after the program's name.

    Returns:
        The exit code: 0, 1 after one sentence on stderr, 130 after Ctrl-C.
    """
    parser = argparse.ArgumentParser(
        prog="pilot", description="Measure what sifting costs and saves on a job."
    )
    parser.add_argument("--beta", type=float, action="append", default=[], metavar="BETA")
    parser.add_argument("--num-batches", type=int, metavar="N")
    parser.add_argument("--scoring", choices=("plain", "fresh"))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(argv)
    logging.getLogger("sagemaker_sift").setLevel(logging.ERROR)
    settings: dict[str, Any] = {}
    if options.beta:
        settings["betas"] = options.beta
    if options.num_batches is not None:
        settings["num_batches"] = options.num_batches
    if options.scoring is not None:
        settings["scoring"] = options.scoring
    try:
        config = read_config(ContainerPaths.from_environment(os.environ), os.environ)
        report = run_pilot_of_job(config, **settings)
    except (TrainingError, ValueError) as error:
        sys.stderr.write(f"error: {error}\n")
        return EXIT_FAILURE
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    text = json.dumps(report.as_dict(), indent=2) if options.json else str(report)
    sys.stdout.write(f"{text}\n")
    return EXIT_SUCCESS


def run_pilot_of_job(config: TrainingConfig, **settings: Any) -> PilotReport:
    """Return the report of a job's pilot; ``beta_value`` of the job gets the first verdict.

    It scores as the job does. Of a job with ``scoring=last_visit`` the scoring of images whose
    loss is not known is measured, which is an upper bound; the report says so.

    Args:
        config: The job.
        **settings: Further arguments of ``smart_sifting.pilot``.

    Raises:
        TrainingError: If the job's owner must put something right.
        ValueError: If a setting is out of range.
    """
    hp = config.hyperparameters
    is_by_visit = hp.scoring == "last_visit" and "scoring" not in settings
    settings = {"scoring": "fresh" if is_by_visit else hp.scoring} | settings
    device = choose_device(config.num_threads)
    data = prepare_data(config, device=device, is_stopping=lambda: False)
    trainee = build_trainee(hp, device=device, ranks=Ranks(), label_counts=data.label_counts)
    report = pilot(
        trainee.network,
        LossPerSample(trainee.objective, trainee.precision),
        data.train,
        batch_transforms=ImageBatchTransform(),
        optimizer=trainee.optimizer,
        beta_value=hp.beta if hp.is_sifting else None,
        batch_format_index=1,
        **settings,
    )
    if not is_by_visit:
        return report
    return dataclasses.replace(report, note=f"{_OF_LAST_VISIT} {report.note}".rstrip())


if __name__ == "__main__":
    sys.exit(main())
