"""What a job is asked to do: ``/opt/ml/input/config`` and the environment, read once.

Source: "How Amazon SageMaker AI provides training information", SageMaker developer guide.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sagemaker_sift.contract.channels import CHANNELS, Channel
from sagemaker_sift.contract.container import ContainerPaths
from sagemaker_sift.contract.hyperparameters import Hyperparameters
from sagemaker_sift.contract.problem import ContractError
from sagemaker_sift.trainer.distributed import Cluster
from sagemaker_sift.trainer.errors import TrainingError

DECODED_BUDGET_BYTES = 1 << 30
"""Image sets up to this size, decoded, are kept in memory: 1 GiB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingConfig:
    """One training job, as the container sees it.

    Attributes:
        paths: Where things lie.
        hyperparameters: Checked values.
        num_threads: Threads of torch, or ``None`` for torch's own choice.
        num_cpus: Processors that this process may use.
        decoded_budget_bytes: Memory for decoded images.
    """

    paths: ContainerPaths
    hyperparameters: Hyperparameters
    num_threads: int | None
    num_cpus: int
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
            of a kind that this version does not read, or there is more than one machine.
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
    _check_hosts(Cluster.from_resource_config(resources))
    _check_channels(_read_object(paths.input_data_config, is_required=False), paths)
    threads = environ.get("OMP_NUM_THREADS", "").strip()
    return TrainingConfig(
        paths=paths,
        hyperparameters=hyperparameters,
        num_threads=int(threads) if threads.isdigit() and int(threads) > 0 else None,
        num_cpus=len(os.sched_getaffinity(0)),
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


def _check_hosts(cluster: Cluster) -> None:
    if len(cluster.hosts) > 1:
        raise TrainingError(
            f"The job has {len(cluster.hosts)} instances, but this version of the algorithm "
            "trains on one. Set InstanceCount to 1."
        )


def _check_channels(given: dict[str, Any], paths: ContainerPaths) -> None:
    known = {channel.name: channel for channel in CHANNELS}
    for name, settings in given.items():
        if name not in known:
            raise TrainingError(
                f"The job has a channel {name!r}, but this version of the algorithm reads only "
                f"{', '.join(map(repr, known))}. Remove the channel."
            )
        _check_settings(known[name], settings if isinstance(settings, dict) else {})
    for channel in CHANNELS:
        folder = paths.channel(channel.name)
        if channel.is_required and not folder.is_dir():
            raise TrainingError(
                f"The job has no channel {channel.name!r}: {folder} is not there. Add a channel "
                f"of that name with one folder of JPEG or PNG images a class."
            )
        if channel.name in given and not folder.is_dir():
            raise TrainingError(
                f"The job names a channel {channel.name!r}, but {folder} is not there. "
                "Check that its S3 location or folder is not empty."
            )


def _check_settings(channel: Channel, settings: dict[str, Any]) -> None:
    mode = settings.get("TrainingInputMode") or "File"
    if mode not in channel.input_modes:
        raise TrainingError(
            f"Channel {channel.name!r} has TrainingInputMode {mode!r}, but must have one of "
            f"{', '.join(channel.input_modes)}."
        )
    content_type = str(settings.get("ContentType") or "").partition(";")[0].strip().lower()
    if content_type and content_type not in channel.content_types:
        raise TrainingError(
            f"Channel {channel.name!r} has ContentType {content_type!r}, but must have one of "
            f"{', '.join(channel.content_types)}: images in one folder a class."
        )
