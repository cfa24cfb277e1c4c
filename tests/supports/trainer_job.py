"""Runs a job of the trainer in this process."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

from sagemaker_sift.contract.container import ContainerPaths
from sagemaker_sift.trainer.config import read_config
from sagemaker_sift.trainer.job import run_job
from sagemaker_sift.trainer.stop import StopRequest


def run(root: Path, stop: StopRequest, clock: Callable[[], float]) -> None:
    """Run the job of a root with one thread and one processor."""
    config = dataclasses.replace(
        read_config(ContainerPaths(root), {"OMP_NUM_THREADS": "1"}), num_cpus=1
    )
    run_job(config, stop=stop, clock=clock)
