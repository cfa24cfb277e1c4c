"""A container without Docker: an ``/opt/ml``-shaped folder and the process that works in it."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sagemaker_sift.backends.local.storage import LocalStorage
from sagemaker_sift.contract.container import BASE_DIR_VARIABLE, ContainerPaths
from sagemaker_sift.contract.specification import build_training_specification

BUNDLED_IMAGE = "sagemaker-sift/bundled-trainer"
"""``TrainingImage`` of the algorithm whose program comes with this package."""

_HOST = "algo-1"
_SPIN_COUNT = "1000"  # docs/decisions/0003: two jobs at once must not wait for each other
_SECRET_PREFIXES = ("AWS_", "SAGEMAKER_")


def describe_bundled_algorithm() -> dict[str, Any]:
    """Return the ``TrainingSpecification`` of the bundled algorithm as this machine runs it.

    A local job runs on one machine, this one, and has its channels as folders: neither several
    instances nor Pipe mode are offered.

    Example:
        >>> describe_bundled_algorithm()["TrainingChannels"][0]["SupportedInputModes"]
        ['File', 'FastFile']
    """
    specification = build_training_specification(BUNDLED_IMAGE)
    for channel in specification["TrainingChannels"]:
        channel["SupportedInputModes"] = [
            mode for mode in channel["SupportedInputModes"] if mode != "Pipe"
        ]
    return specification | {"SupportsDistributedTraining": False}


def find_entry_point() -> Path:
    """Return the path of ``entry_points/train``, in an installed package or in a checkout.

    Raises:
        FileNotFoundError: If it is in neither place.
    """
    package = Path(__file__).parents[2]
    for candidate in (package / "entry_points" / "train", package.parent / "entry_points/train"):
        if candidate.is_file():
            return candidate
    raise FileNotFoundError(
        "The program entry_points/train is missing from this installation of sagemaker-sift. "
        "Install it again."
    )


def build_command() -> list[str]:
    """Return the command that the bundled image would run as ``train``."""
    return [sys.executable, str(find_entry_point())]


def build_environment(
    record: Mapping[str, Any], paths: ContainerPaths, parent: Mapping[str, str]
) -> dict[str, str]:
    """Return the environment of the training process.

    Nothing that could reach AWS is passed on: variables with credentials or endpoints are
    dropped, and the metadata service is switched off.

    Args:
        record: The job's record.
        paths: Its ``/opt/ml``.
        parent: The environment to start from.
    """
    environment = {
        name: value for name, value in parent.items() if not name.startswith(_SECRET_PREFIXES)
    }
    environment |= {str(k): str(v) for k, v in record.get("Environment", {}).items()}
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & environment.keys():
        environment["GOMP_SPINCOUNT"] = _SPIN_COUNT
    return environment | {
        BASE_DIR_VARIABLE: str(paths.root),
        "TRAINING_JOB_NAME": record["TrainingJobName"],
        "TRAINING_JOB_ARN": record["TrainingJobArn"],
        "AWS_EC2_METADATA_DISABLED": "true",
        "PYTHONUNBUFFERED": "1",
    }


def lay_out(record: Mapping[str, Any], paths: ContainerPaths, storage: LocalStorage) -> None:
    """Make the ``/opt/ml`` of a job: configuration, channels, empty output folders.

    A channel is a link to the folder that its URI names, or a folder with a link to the one file
    that it names; nothing is copied.

    Args:
        record: The job's record, in the form of its request.
        paths: Where to make it. What an earlier attempt left there is removed.
        storage: Resolves URIs.

    Raises:
        FileNotFoundError: If the folder of a channel does not exist.
        OSError: If the root cannot be written.
    """
    if paths.root.exists():
        shutil.rmtree(paths.root)
    for folder in (paths.config, paths.data, paths.model, paths.output_data):
        folder.mkdir(parents=True, exist_ok=True)
    channels = record.get("InputDataConfig", [])
    _write_json(paths.hyperparameters, record.get("HyperParameters", {}))
    mode = record["AlgorithmSpecification"]["TrainingInputMode"]
    _write_json(
        paths.input_data_config,
        {channel["ChannelName"]: _describe_channel(channel, mode) for channel in channels},
    )
    _write_json(
        paths.resource_config,
        {
            "current_host": _HOST,
            "hosts": [_HOST],
            "network_interface_name": "lo",
            "current_instance_type": record["ResourceConfig"]["InstanceType"],
        },
    )
    for channel in channels:
        source = storage.to_path(channel["DataSource"]["S3DataSource"]["S3Uri"])
        if not source.exists():
            raise FileNotFoundError(
                f"Channel {channel['ChannelName']!r}: {str(source)!r} does not exist."
            )
        link = paths.channel(channel["ChannelName"])
        if source.is_file():  # as S3 does with a URI that is one object
            link.mkdir()
            link /= source.name
        link.symlink_to(source.resolve())
    checkpoints = record.get("CheckpointConfig")
    if checkpoints:
        target = storage.to_path(checkpoints["S3Uri"])
        target.mkdir(parents=True, exist_ok=True)
        paths.checkpoints.symlink_to(target.resolve())


def _describe_channel(channel: Mapping[str, Any], mode: str) -> dict[str, str]:
    described = {
        "TrainingInputMode": channel.get("InputMode", mode),
        "S3DistributionType": channel["DataSource"]["S3DataSource"].get(
            "S3DataDistributionType", "FullyReplicated"
        ),
        "RecordWrapperType": channel.get("RecordWrapperType", "None"),
    }
    if "ContentType" in channel:
        described["ContentType"] = channel["ContentType"]
    return described


def _write_json(path: Path, value: object) -> None:
    with path.open("w", encoding="utf-8") as file:
        json.dump(value, file, indent=2)
        file.flush()
        os.fsync(file.fileno())
