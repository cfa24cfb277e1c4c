"""What a job is asked to do: ``/opt/ml/input/config`` and the environment, read once.

Source: "How Amazon SageMaker AI provides training information", SageMaker developer guide.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sagemaker_sift.contract.container import ContainerPaths
from sagemaker_sift.contract.hyperparameters import Hyperparameters
from sagemaker_sift.contract.problem import ContractError
from sagemaker_sift.trainer.distributed import Cluster, Placement
from sagemaker_sift.trainer.errors import TrainingError
from sagemaker_sift.trainer.inputs import PIPE_FOLDER_VARIABLE, JobInput, read_job_input

DECODED_BUDGET_BYTES = 1 << 30
"""Image sets up to this size, decoded, are kept in memory: 1 GiB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingConfig:
    """One training job, as the container sees it.

    Attributes:
        paths: Where things lie.
        hyperparameters: Checked values.
        job_input: Its channels.
        num_threads: Threads of torch, or ``None`` for torch's own choice.
        num_cpus: Processors that this process may use.
        placement: Which process of the job this one is.
        decoded_budget_bytes: Memory for decoded images.
    """

    paths: ContainerPaths
    hyperparameters: Hyperparameters
    job_input: JobInput
    num_threads: int | None
    num_cpus: int
    placement: Placement = field(default_factory=Placement)
    decoded_budget_bytes: int = DECODED_BUDGET_BYTES


def read_config(paths: ContainerPaths, environ: Mapping[str, str]) -> TrainingConfig:
    """Return the job's configuration.

    ``OMP_NUM_THREADS`` sets the number of threads. ``inputdataconfig.json`` and
    ``resourceconfig.json`` may be absent.

    Args:
        paths: The container's layout.
        environ: The environment's variables.

    Raises:
        TrainingError: If a file is missing or malformed, a hyperparameter is wrong, a channel is
            of a kind that the algorithm does not read, or the machines are not as they should be.
    """
    given = _read_object(paths.hyperparameters, is_required=True)
    for name, value in given.items():
        if not isinstance(value, str):
            raise TrainingError(
                f"{paths.hyperparameters} has {value!r} for {name!r}, but every hyperparameter "
                "must be a string, as SageMaker sends it."
            )
    try:
        hyperparameters = Hyperparameters.from_strings(given)
    except ContractError as error:
        raise TrainingError(_describe_contract_error(error)) from error
    resources = _read_object(paths.resource_config, is_required=False)
    placement = Placement.from_environment(Cluster.from_resource_config(resources), environ)
    pipe_folder = environ.get(PIPE_FOLDER_VARIABLE)
    job_input = read_job_input(
        _read_object(paths.input_data_config, is_required=False),
        paths,
        num_hosts=placement.num_hosts,
        pipe_folder=Path(pipe_folder) if pipe_folder else None,
    )
    threads = environ.get("OMP_NUM_THREADS", "").strip()
    return TrainingConfig(
        paths=paths,
        hyperparameters=hyperparameters,
        job_input=job_input,
        num_threads=int(threads) if threads.isdigit() and int(threads) > 0 else None,
        num_cpus=max(1, len(os.sched_getaffinity(0)) // placement.num_local),
        placement=placement,
        decoded_budget_bytes=DECODED_BUDGET_BYTES // placement.num_local,
    )


def _read_object(path: Path, *, is_required: bool) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if not is_required:
            return {}
        raise TrainingError(
            f"{path} does not exist, but it must hold the job's hyperparameters. SageMaker and "
            "the local backend write it; outside of them set SAGEMAKER_BASE_DIR to a folder "
            "that has it."
        ) from None
    except (OSError, ValueError) as error:
        raise TrainingError(
            f"{path} cannot be read as JSON ({error}). Correct the file."
        ) from error
    if not isinstance(value, dict):
        raise TrainingError(f"{path} holds no JSON object. Correct the file.")
    return value


def _describe_contract_error(error: ContractError) -> str:
    texts = [str(problem) for problem in error.problems]
    if len(texts) == 1:
        return f"Hyperparameter {texts[0]}"
    return f"{len(texts)} hyperparameters are wrong: " + " ".join(texts)
