"""What goes through the pipe of a channel in one pass.

Source: API reference, ``Channel`` (CompressionType, RecordWrapperType, ShuffleConfig) and
``S3DataSource`` (AugmentedManifestFile, AttributeNames).
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sagemaker_sift.backends.local.channel_data import ChannelData
from sagemaker_sift.backends.local.record_wrapper import wrap_record

_CHUNK_BYTES = 1 << 20
_REFERENCE = "-ref"


def read_pass(
    channel: ChannelData, pass_idx: int, to_path: Callable[[str], Path]
) -> Iterator[bytes]:
    """Yield the bytes of one pass over a channel.

    Args:
        channel: In Pipe mode.
        pass_idx: Counted from 0.
        to_path: Returns where a URI of an augmented manifest lies.

    Raises:
        ValueError: If an augmented manifest is malformed, or a record is too large; tells file
            and line.
        OSError: If a file cannot be read.
    """
    if channel.data_type == "AugmentedManifestFile":
        yield from _read_manifest(channel, pass_idx, to_path)
        return
    is_wrapped = channel.fields.get("RecordWrapperType") == "RecordIO"
    for path in channel.shuffle(channel.list_files(), pass_idx):
        if is_wrapped:
            yield _wrap(b"".join(_read_file(path, channel)), str(path))
        else:
            yield from _read_file(path, channel)


def _read_file(path: Path, channel: ChannelData) -> Iterator[bytes]:
    is_packed = channel.fields.get("CompressionType") == "Gzip"
    with gzip.open(path, "rb") if is_packed else path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk


def _read_manifest(
    channel: ChannelData, pass_idx: int, to_path: Callable[[str], Path]
) -> Iterator[bytes]:
    names = channel.fields["DataSource"]["S3DataSource"]["AttributeNames"]
    path = channel.source
    with path.open(encoding="utf-8") as file:
        lines = [(idx, line) for idx, line in enumerate(file, 1) if line.strip()]
    shard = lines[channel.shard_idx :: channel.num_shards]
    for idx, line in channel.shuffle(shard, pass_idx):
        where = f"{path}, line {idx}"
        attributes = _read_line(line, where)
        for name in names:
            if name not in attributes:
                raise ValueError(f"{where}: has no attribute {name!r}.")
            yield _wrap(_read_attribute(name, attributes[name], where, to_path), where)


def _read_line(line: str, where: str) -> dict[str, Any]:
    try:
        attributes = json.loads(line)
    except ValueError as error:
        raise ValueError(f"{where}: is no JSON ({error}).") from error
    if not isinstance(attributes, dict):
        raise ValueError(f"{where}: is {line.strip()[:40]!r}, but must be a JSON object.")
    return attributes


def _read_attribute(name: str, value: Any, where: str, to_path: Callable[[str], Path]) -> bytes:
    if not name.endswith(_REFERENCE):
        return json.dumps(value).encode()
    try:
        return to_path(str(value)).read_bytes()
    except ValueError as error:
        raise ValueError(f"{where}: {name!r} {error}") from error


def _wrap(payload: bytes, where: str) -> bytes:
    try:
        return wrap_record(payload)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
