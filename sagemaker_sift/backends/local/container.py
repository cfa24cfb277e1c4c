"""A container without Docker: an ``/opt/ml``-shaped folder and the environment of a process."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sagemaker_sift.backends.local.channel_data import ChannelData, read_channel_data
from sagemaker_sift.backends.local.gpus import VISIBLE_VARIABLE
from sagemaker_sift.backends.local.host import Host, describe_resources, list_hosts
from sagemaker_sift.backends.local.storage import LocalStorage
from sagemaker_sift.backends.local.world import find_cpus
from sagemaker_sift.contract.container import BASE_DIR_VARIABLE, ContainerPaths
from sagemaker_sift.contract.specification import build_training_specification

BUNDLED_IMAGE = "sagemaker-sift/bundled-trainer"
"""``TrainingImage`` of the algorithm whose program comes with this package."""

RENDEZVOUS_VARIABLE = "SIFT_RENDEZVOUS"
"""Tells the bundled trainer where the processes of a job find each other, a ``file://`` URL."""

_SPIN_COUNT = "1000"  # docs/decisions/0003: two jobs at once must not wait for each other
_SECRET_PREFIXES = ("AWS_", "SAGEMAKER_")


def describe_bundled_algorithm() -> dict[str, Any]:
    """Return the ``TrainingSpecification`` of the bundled algorithm as this machine runs it.

    Example:
        >>> describe_bundled_algorithm()["TrainingChannels"][0]["SupportedInputModes"]
        ['File', 'FastFile', 'Pipe']
    """
    return build_training_specification(BUNDLED_IMAGE)


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


def strip_secrets(environ: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without what could reach AWS: credentials, endpoints, profiles.

    Example:
        >>> strip_secrets({"AWS_PROFILE": "prod", "HOME": "/root"})
        {'HOME': '/root'}
    """
    return {
        name: value for name, value in environ.items() if not name.startswith(_SECRET_PREFIXES)
    }


def prepare_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment in which a process that trains, or will, is started.

    Args:
        environ: The environment to start from.
    """
    prepared = strip_secrets(environ)
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & prepared.keys():
        prepared["GOMP_SPINCOUNT"] = _SPIN_COUNT
    return prepared | {"AWS_EC2_METADATA_DISABLED": "true", "PYTHONUNBUFFERED": "1"}


def build_environment(
    record: Mapping[str, Any], paths: ContainerPaths, parent: Mapping[str, str]
) -> dict[str, str]:
    """Return the environment of the training process.

    Nothing that could reach AWS is passed on: variables with credentials or endpoints are
    dropped, and the metadata service is switched off.

    The threads of a process are what the job's ``Environment`` says, else its share of
    ``NumThreads``, else what the parent says, else, if the job has several hosts, its share of
    the processors. Its GPUs are what the job's ``Environment`` says, else ``Gpus``.

    Args:
        record: The job's record.
        paths: The ``/opt/ml`` of the process.
        parent: The environment to start from.
    """
    hosts = list_hosts(record)
    own = {str(k): str(v) for k, v in record.get("Environment", {}).items()}
    num_threads = record.get("Local", {}).get("NumThreads")
    shared: dict[str, str] = {}
    if num_threads is not None:
        shared["OMP_NUM_THREADS"] = str(max(1, num_threads // len(hosts)))
    elif len(hosts) > 1 and "OMP_NUM_THREADS" not in parent:
        shared["OMP_NUM_THREADS"] = str(max(1, len(find_cpus()) // len(hosts)))
    if len(hosts) > 1:
        shared["MASTER_ADDR"] = _choose_address(os.getpid())
        shared[RENDEZVOUS_VARIABLE] = find_rendezvous(paths.root.parent).as_uri()
    gpus = record.get("Local", {}).get("Gpus")
    if gpus is not None:
        shared[VISIBLE_VARIABLE] = ",".join(gpus)
    given = strip_secrets(parent) | shared | own
    return prepare_environment(given) | {
        **{name: value for name, value in own.items() if name.startswith(_SECRET_PREFIXES)},
        BASE_DIR_VARIABLE: str(paths.root),
        "TRAINING_JOB_NAME": record["TrainingJobName"],
        "TRAINING_JOB_ARN": record["TrainingJobArn"],
        "AWS_EC2_METADATA_DISABLED": "true",
        "PYTHONUNBUFFERED": "1",
    }


def find_rendezvous(folder: Path) -> Path:
    """Return the file by which the hosts of a job find each other.

    Args:
        folder: Of the job.
    """
    return folder / "rendezvous"


def lay_out(
    record: Mapping[str, Any],
    paths: ContainerPaths,
    storage: LocalStorage,
    host: Host | None = None,
) -> None:
    """Make the ``/opt/ml`` of a host: configuration, channels, empty output folders.

    A channel is a link to the folder that its URI names, or a folder with links to the files that
    are this host's; nothing is copied. One in Pipe mode is left out: see
    :class:`~sagemaker_sift.backends.local.pipe_feeder.PipeFeeder`.

    Args:
        record: The job's record, in the form of its request.
        paths: Where to make it. What an earlier attempt left there is removed.
        storage: Resolves URIs.
        host: Which of the job's; the first one unless given.

    Raises:
        FileNotFoundError: If the folder of a channel does not exist.
        OSError: If the root cannot be written.
    """
    hosts = list_hosts(record)
    host = host or hosts[0]
    if paths.root.exists():
        shutil.rmtree(paths.root)
    for folder in (paths.config, paths.data, paths.model, paths.output_data):
        folder.mkdir(parents=True, exist_ok=True)
    channels = read_channel_data(record, hosts, host, storage)
    _write_json(paths.hyperparameters, record.get("HyperParameters", {}))
    _write_json(
        paths.input_data_config,
        {channel.name: _describe_channel(channel) for channel in channels},
    )
    _write_json(paths.resource_config, describe_resources(hosts, host))
    for channel in channels:
        if not channel.is_piped:
            _link_channel(channel, paths.channel(channel.name))
    checkpoints = record.get("CheckpointConfig")
    if checkpoints:
        target = storage.to_path(checkpoints["S3Uri"])
        target.mkdir(parents=True, exist_ok=True)
        paths.checkpoints.symlink_to(target.resolve())


def _link_channel(data: ChannelData, channel: Path) -> None:
    """Make a channel of links: to its folder, or to those of its files that are the host's."""
    source = data.source
    if data.num_shards == 1 and source.is_dir():
        channel.symlink_to(source.resolve())
        return
    channel.mkdir()
    root = source if source.is_dir() else source.parent
    for path in data.list_files():
        link = channel / path.relative_to(root)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(path.resolve())


def _choose_address(pid: int) -> str:
    """Return an address of this machine that no other job has, for programs that ask for one."""
    if sys.platform != "linux":
        return "127.0.0.1"  # elsewhere the others would have to be set up
    return f"127.{1 + (pid >> 16)}.{pid >> 8 & 255}.{pid & 255}"


def _describe_channel(channel: ChannelData) -> dict[str, str]:
    described = {
        "TrainingInputMode": channel.mode,
        "S3DistributionType": channel.fields["DataSource"]["S3DataSource"].get(
            "S3DataDistributionType", "FullyReplicated"
        ),
        "RecordWrapperType": channel.fields.get("RecordWrapperType", "None"),
    }
    if "ContentType" in channel.fields:
        described["ContentType"] = channel.fields["ContentType"]
    return described


def _write_json(path: Path, value: object) -> None:
    with path.open("w", encoding="utf-8") as file:
        json.dump(value, file, indent=2)
        file.flush()
        os.fsync(file.fileno())
