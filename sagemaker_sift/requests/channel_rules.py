"""What makes a channel wrong: the documented rules, and what the algorithm takes.

Source: API reference, ``Channel``, ``S3DataSource`` and ``ChannelSpecification``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

from sagemaker_sift.contract.problem import Problem, closest

_ALGORITHM = "algorithm's specification"
_CHANNEL = "API reference, Channel"
_S3 = "API reference, S3DataSource"
_SOURCES = ("S3DataSource", "FileSystemDataSource", "DatasetSource")


def find_channel_problems(
    job: Mapping[str, Any], specification: Mapping[str, Any]
) -> Iterator[Problem]:
    """Yield what is wrong with the channels of one training job.

    Args:
        job: A CreateTrainingJob request whose values have the right types.
        specification: The algorithm's ``TrainingSpecification``.
    """
    declared = {channel["Name"]: channel for channel in specification.get("TrainingChannels", [])}
    job_mode = job.get("AlgorithmSpecification", {}).get("TrainingInputMode")
    groups = {
        group.get("InstanceGroupName")
        for group in job.get("ResourceConfig", {}).get("InstanceGroups", [])
    }
    given: set[str] = set()
    for idx, channel in enumerate(job.get("InputDataConfig", [])):
        name, path = str(channel.get("ChannelName")), f"InputDataConfig[{idx}]"
        if name in given:
            yield Problem(
                f"{path}.ChannelName", f"is {name!r} a second time. Name each once.", _CHANNEL
            )
        given.add(name)
        mode = channel.get("InputMode", job_mode)
        yield from _check_source(channel, mode, path, "VpcConfig" in job)
        yield from _check_groups(channel, groups, path)
        yield from _check_modes(channel, mode, path)
        if name in declared:
            yield from _check_declared(channel, declared[name], mode, path)
        elif declared:
            hint = closest(name, declared) or f" It has: {', '.join(declared)}."
            message = f"is {name!r}, which the algorithm does not have.{hint}"
            yield Problem(f"{path}.ChannelName", message, _ALGORITHM)
    for name, entry in declared.items():
        if entry.get("IsRequired") and name not in given:
            message = f"lacks the channel {name!r}, which is required."
            yield Problem("InputDataConfig", message, _ALGORITHM)


def _check_source(
    channel: Mapping[str, Any], mode: Any, path: str, has_vpc: bool
) -> Iterator[Problem]:
    given = [name for name in _SOURCES if name in channel.get("DataSource", {})]
    if len(given) != 1:
        found = " and ".join(given) or "no source"
        yield Problem(f"{path}.DataSource", f"has {found}, but needs exactly one.", _CHANNEL)
        return
    source = channel["DataSource"][given[0]]
    field = f"{path}.DataSource.{given[0]}"
    if given[0] == "FileSystemDataSource":
        if mode not in {None, "File"}:
            message = f"is {mode!r}, but a file system is read in File mode."
            yield Problem(f"{path}.InputMode", message, _CHANNEL)
        if not has_vpc:
            message = "is a file system, which is reached from a VPC only. Set subnets and "
            yield Problem(field, message + "security_group_ids.", "API reference, DataSource")
    if given[0] != "S3DataSource":
        return
    data_type = source.get("S3DataType")
    if "AttributeNames" in source and data_type != "AugmentedManifestFile":
        message = f"is set, but the S3 data type is {data_type!r}. Only an augmented manifest has "
        yield Problem(
            f"{field}.AttributeNames", f"{message}attributes: 'AugmentedManifestFile'.", _S3
        )
    if data_type != "AugmentedManifestFile":
        return
    if not source.get("AttributeNames"):
        message = "is missing, but an augmented manifest is read by its attributes. Name them in "
        yield Problem(f"{field}.AttributeNames", f"{message}order.", _S3)
    if mode != "Pipe":
        message = f"is {mode!r}, but an augmented manifest is read in Pipe mode."
        yield Problem(f"{path}.InputMode", message, _S3)


def _check_groups(channel: Mapping[str, Any], groups: set[Any], path: str) -> Iterator[Problem]:
    source = channel.get("DataSource", {}).get("S3DataSource", {})
    for name in source.get("InstanceGroupNames", []):
        if name not in groups:
            hint = closest(str(name), map(str, groups)) or " Set instance_groups."
            yield Problem(
                f"{path}.DataSource.S3DataSource.InstanceGroupNames",
                f"has {name!r}, which is no instance group of the job.{hint}",
                _S3,
            )


def _check_modes(channel: Mapping[str, Any], mode: Any, path: str) -> Iterator[Problem]:
    if channel.get("CompressionType") == "Gzip" and mode != "Pipe":
        message = f"is 'Gzip', but data is unpacked in Pipe mode only, and the mode is {mode!r}."
        yield Problem(f"{path}.CompressionType", message, _CHANNEL)
    if channel.get("RecordWrapperType") == "RecordIO" and mode == "File":
        message = "is 'RecordIO', but records are not wrapped in File mode. Use Pipe."
        yield Problem(f"{path}.RecordWrapperType", message, _CHANNEL)


def _is_among(value: str, allowed: Iterable[str]) -> bool:
    """Return whether a value is allowed as a whole or without its parameters.

    MIME types have no case, and ``*`` stands for any part of one.
    """
    text = value.replace(" ", "").lower()
    candidates = (text, text.split(";")[0])
    patterns = [pattern.replace(" ", "").lower() for pattern in allowed]
    return any(fnmatchcase(one, pattern) for one in candidates for pattern in patterns)


def _check_declared(
    channel: Mapping[str, Any], declared: Mapping[str, Any], mode: Any, path: str
) -> Iterator[Problem]:
    for field, allowed_field, value in (
        ("ContentType", "SupportedContentTypes", channel.get("ContentType")),
        ("CompressionType", "SupportedCompressionTypes", channel.get("CompressionType")),
        ("InputMode", "SupportedInputModes", mode),
    ):
        allowed = declared.get(allowed_field, [])
        is_plain = field == "CompressionType" and value == "None"
        if value is not None and allowed and not is_plain and not _is_among(value, allowed):
            yield Problem(
                f"{path}.{field}",
                f"is {value!r}, but the channel {declared['Name']!r} takes {', '.join(allowed)}.",
                _ALGORITHM,
            )
