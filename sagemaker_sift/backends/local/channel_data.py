"""Which files of a channel one host reads, and in which order.

Source: API reference, ``S3DataSource`` (FullyReplicated, ShardedByS3Key, instance groups) and
``ShuffleConfig``.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sagemaker_sift.backends.local.host import Host
from sagemaker_sift.backends.local.storage import LocalStorage


@dataclass(frozen=True, slots=True)
class ChannelData:
    """A channel as one host sees it.

    Attributes:
        name: Of the channel.
        fields: The API's ``Channel``.
        mode: ``File``, ``FastFile`` or ``Pipe``.
        source: Folder or file that its URI names.
        shard_idx: Which of the shards is this host's, from 0.
        num_shards: 1 if every host reads everything.
    """

    name: str
    fields: Mapping[str, Any]
    mode: str
    source: Path
    shard_idx: int
    num_shards: int

    @property
    def data_type(self) -> str:
        """The API's ``S3DataType``."""
        return str(self.fields["DataSource"]["S3DataSource"]["S3DataType"])

    @property
    def is_piped(self) -> bool:
        """Whether it passes by instead of lying in a folder."""
        return self.mode == "Pipe"

    def list_files(self) -> list[Path]:
        """Return this host's files, sorted by key: every ``num_shards``-th of all."""
        if not self.source.is_dir():
            files = [self.source]
        else:
            files = [self.source / key for key in sorted(list_keys(self.source))]
        return files[self.shard_idx :: self.num_shards]

    def shuffle(self, items: Sequence[Any], pass_idx: int) -> list[Any]:
        """Return the items in the order of one pass: shuffled if the channel says so.

        Args:
            items: Files or lines.
            pass_idx: Counted from 0; every pass has another order.
        """
        shuffled = list(items)
        seed = self.fields.get("ShuffleConfig", {}).get("Seed")
        if seed is not None:
            random.Random(f"{seed} {pass_idx}").shuffle(shuffled)
        return shuffled


def read_channel_data(
    record: Mapping[str, Any], hosts: Sequence[Host], host: Host, storage: LocalStorage
) -> list[ChannelData]:
    """Return the channels of one host.

    Args:
        record: The job's record, in the form of its request.
        hosts: All of the job.
        host: The one that reads.
        storage: Resolves URIs.

    Raises:
        FileNotFoundError: If the folder of a channel does not exist.
    """
    mode = record["AlgorithmSpecification"]["TrainingInputMode"]
    channels = []
    for fields in record.get("InputDataConfig", []):
        name, s3 = fields["ChannelName"], fields["DataSource"]["S3DataSource"]
        groups = s3.get("InstanceGroupNames")
        readers = [reader for reader in hosts if not groups or reader.group in groups]
        if host not in readers:
            continue
        source = storage.to_path(s3["S3Uri"])
        if not source.exists():
            raise FileNotFoundError(f"Channel {name!r}: {str(source)!r} does not exist.")
        is_sharded = s3.get("S3DataDistributionType") == "ShardedByS3Key"
        sharing = readers if is_sharded else [host]
        channels.append(
            ChannelData(
                name=name,
                fields=fields,
                mode=fields.get("InputMode", mode),
                source=source,
                shard_idx=sharing.index(host),
                num_shards=len(sharing),
            )
        )
    return channels


def list_keys(source: Path) -> Iterator[str]:
    """Yield the paths of all files under a folder, relative to it; links are followed."""
    for folder, inner, names in os.walk(source, followlinks=True):
        real = os.path.realpath(folder) + os.sep
        for name in list(inner):  # a link to a folder above would go round for ever
            if real.startswith(os.path.realpath(os.path.join(folder, name)) + os.sep):
                inner.remove(name)
        for name in names:
            yield (Path(folder) / name).relative_to(source).as_posix()
