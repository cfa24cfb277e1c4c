"""Where the data of a channel comes from, and how it reaches the container."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sagemaker_sift.contract.channels import MODEL_CONTENT_TYPE
from sagemaker_sift.requests.api_shape import is_set, read_shape

_SOURCES = {
    "s3_uri": "S3DataSource",
    "file_system_id": "FileSystemDataSource",
    "dataset_arn": "DatasetSource",
}
"""The API's kinds of sources, by a field that only they have in the SDK v3."""


class TrainingInput:
    """The data of one channel.

    Argument names and order are those of the SageMaker SDK v2.

    Args:
        s3_data: URI of the data: ``s3://bucket/prefix``, or ``file:///folder`` on this machine.
        distribution: ``FullyReplicated`` (default) or ``ShardedByS3Key``.
        compression: ``None`` or ``Gzip``.
        content_type: MIME type, such as ``application/x-image``.
        record_wrapping: ``None`` or ``RecordIO``.
        s3_data_type: ``S3Prefix``, ``ManifestFile`` or ``AugmentedManifestFile``.
        instance_groups: Names of the instance groups that get the data.
        input_mode: ``File``, ``FastFile`` or ``Pipe``; overrides the job's.
        attribute_names: Attributes of an augmented manifest to read, in order.
        target_attribute_name: Only AutoML jobs have it; checked and refused with the request.
        shuffle_config: A :class:`ShuffleConfig`, or its seed.
        hub_access_config: The API's ``HubAccessConfig``.
        model_access_config: The API's ``ModelAccessConfig``.

    Attributes:
        config: The API's ``Channel``, without its name.

    Example:
        >>> TrainingInput("s3://bucket/train", content_type="application/x-image").config
        {'DataSource': {'S3DataSource': {'S3DataType': 'S3Prefix', 'S3Uri': 's3://bucket/train',
        'S3DataDistributionType': 'FullyReplicated'}}, 'ContentType': 'application/x-image'}
    """

    def __init__(
        self,
        s3_data: str,
        distribution: str | None = None,
        compression: str | None = None,
        content_type: str | None = None,
        record_wrapping: str | None = None,
        s3_data_type: str = "S3Prefix",
        instance_groups: list[str] | None = None,
        input_mode: str | None = None,
        attribute_names: list[str] | None = None,
        target_attribute_name: str | None = None,
        shuffle_config: Any = None,
        hub_access_config: Mapping[str, Any] | None = None,
        model_access_config: Mapping[str, Any] | None = None,
    ) -> None:
        source: dict[str, Any] = {
            "S3DataType": s3_data_type,
            "S3Uri": str(s3_data),
            "S3DataDistributionType": distribution or "FullyReplicated",
        }
        if instance_groups is not None:
            source["InstanceGroupNames"] = list(instance_groups)
        if attribute_names is not None:
            source["AttributeNames"] = list(attribute_names)
        if hub_access_config is not None:
            source["HubAccessConfig"] = dict(hub_access_config)
        if model_access_config is not None:
            source["ModelAccessConfig"] = dict(model_access_config)
        self.config: dict[str, Any] = {"DataSource": {"S3DataSource": source}}
        optional = {
            "TargetAttributeName": target_attribute_name,
            "CompressionType": compression,
            "ContentType": content_type,
            "RecordWrapperType": record_wrapping,
            "InputMode": input_mode,
        }
        self.config |= {name: value for name, value in optional.items() if value is not None}
        if shuffle_config is not None:
            self.config["ShuffleConfig"] = {
                "Seed": getattr(shuffle_config, "seed", shuffle_config)
            }

    def __repr__(self) -> str:
        return f"TrainingInput({self.config['DataSource']['S3DataSource']['S3Uri']!r})"


class FileSystemInput:
    """The data of one channel on a shared file system.

    Argument names and order are those of the SageMaker SDK v2. The job needs a VPC that reaches
    the file system.

    Args:
        file_system_id: Such as ``fs-0123456789abcdef0``.
        file_system_type: ``EFS`` or ``FSxLustre``.
        directory_path: Absolute path of the data on the file system.
        file_system_access_mode: ``ro`` (default) or ``rw``.
        content_type: MIME type.

    Attributes:
        config: The API's ``Channel``, without its name.
    """

    def __init__(
        self,
        file_system_id: str,
        file_system_type: str,
        directory_path: str,
        file_system_access_mode: str = "ro",
        content_type: str | None = None,
    ) -> None:
        source = {
            "FileSystemId": file_system_id,
            "FileSystemType": file_system_type,
            "DirectoryPath": directory_path,
            "FileSystemAccessMode": file_system_access_mode,
        }
        self.config: dict[str, Any] = {"DataSource": {"FileSystemDataSource": source}}
        if content_type is not None:
            self.config["ContentType"] = content_type

    def __repr__(self) -> str:
        source = self.config["DataSource"]["FileSystemDataSource"]
        return f"FileSystemInput({source['FileSystemId']!r}, {source['DirectoryPath']!r})"


@dataclass
class ShuffleConfig:
    """In which order the data of a channel comes.

    Args:
        seed: Of the shuffling.
    """

    seed: int


def read_channel(value: object) -> dict[str, Any]:
    """Return the API's ``Channel`` (without a name) of whatever a user gives for one.

    Args:
        value: A URI or path; a :class:`TrainingInput` or :class:`FileSystemInput`, ours or the
            SageMaker SDK v2's (anything with a ``config`` mapping); the SDK v3's ``InputData``
            or ``Channel``; the API's own mapping with a ``DataSource``.

    Raises:
        TypeError: If it is none of them.

    Example:
        >>> read_channel("data/train")["DataSource"]["S3DataSource"]["S3Uri"]
        'data/train'
    """
    if hasattr(value, "__fspath__"):
        value = value.__fspath__()
    if isinstance(value, str):
        return TrainingInput(value).config
    config = getattr(value, "config", value)
    if not isinstance(config, Mapping) and hasattr(value, "data_source"):
        config = _read_v3_channel(value)
    if isinstance(config, Mapping) and "DataSource" in config:
        return {
            name: {key: _copy(part) for key, part in field.items()}
            if name == "DataSource"
            else field
            for name, field in config.items()
            if name != "ChannelName"
        }
    raise TypeError(
        f"{value!r} is no channel. Give a URI, a path, a TrainingInput or a FileSystemInput "
        "for each channel name."
    )


def read_inputs(inputs: Any, single_name: str) -> list[tuple[str, dict[str, Any]]]:
    """Return the channels that a user gave to ``fit``, with their names, in order.

    Args:
        inputs: A mapping of channel name to anything that :func:`read_channel` reads; a list of
            the SDK v3's channels, which have names; a single channel; or ``None``.
        single_name: Name of a single channel that has none of its own.

    Raises:
        TypeError: If a value is no channel.
    """
    if inputs is None:
        return []
    if isinstance(inputs, Mapping) and "DataSource" not in inputs:
        return [(str(name), read_channel(value)) for name, value in inputs.items()]
    if isinstance(inputs, (list, tuple)):
        return [(_require_name(channel), read_channel(channel)) for channel in inputs]
    return [(_read_name(inputs) or single_name, read_channel(inputs))]


def describe_channels(
    inputs: Any,
    single_name: str,
    model: Mapping[str, dict[str, Any]],
    to_input_uri: Callable[[str], str],
) -> list[tuple[str, dict[str, Any]]]:
    """Return all channels of a job, with their names, in order.

    Args:
        inputs: As in :func:`read_inputs`.
        single_name: Name of a single channel that has none of its own.
        model: The channel of a model to go on from, by its name. If ``inputs`` has it too, it is
            left out; one of another place comes twice, to be refused.
        to_input_uri: Of the session.
    """
    given = [(name, locate(one, to_input_uri)) for name, one in read_inputs(inputs, single_name)]
    for name, channel in model.items():
        located = locate(channel, to_input_uri)
        if find_uri(located) not in [find_uri(one) for other, one in given if other == name]:
            given.append((name, located))
    return given


def locate(channel: dict[str, Any], to_input_uri: Callable[[str], str]) -> dict[str, Any]:
    """Return a channel whose place on S3 is a URI.

    Args:
        channel: The API's ``Channel``.
        to_input_uri: Of the session.
    """
    source = channel["DataSource"].get("S3DataSource")
    if source is None:
        return channel
    data_source = {"S3DataSource": source | {"S3Uri": to_input_uri(source["S3Uri"])}}
    return channel | {"DataSource": channel["DataSource"] | data_source}


def find_single_channel(specification: Mapping[str, Any]) -> str:
    """Return the name of the channel that a single input is meant for.

    Args:
        specification: The algorithm's ``TrainingSpecification``.

    Example:
        >>> find_single_channel({"TrainingChannels": [
        ...     {"Name": "validation"}, {"Name": "train", "IsRequired": True}]})
        'train'
    """
    declared = specification.get("TrainingChannels") or []
    required = [channel["Name"] for channel in declared if channel.get("IsRequired")]
    names = required or [channel["Name"] for channel in declared]
    return str(names[0]) if names else "training"


def describe_model(
    model: Any, channel_name: str, specification: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the channel of a model to go on from: one archive, copied before the job starts.

    Args:
        model: Its URI; anything else that :func:`read_channel` reads stays as it is.
        channel_name: Of the model.
        specification: The algorithm's ``TrainingSpecification``.
    """
    if not isinstance(model, str):
        return read_channel(model)
    declared = {one["Name"]: one for one in specification.get("TrainingChannels") or ()}
    types = declared.get(channel_name, {}).get("SupportedContentTypes") or [MODEL_CONTENT_TYPE]
    content_type = MODEL_CONTENT_TYPE if MODEL_CONTENT_TYPE in types else None
    return TrainingInput(model, content_type=content_type, input_mode="File").config


def read_model(
    job: Mapping[str, Any], channel_name: str, specification: Mapping[str, Any]
) -> str | dict[str, Any] | None:
    """Return what :func:`describe_model` would make the model channel of a job from.

    Args:
        job: A CreateTrainingJob request or a DescribeTrainingJob response.
        channel_name: Of the model.
        specification: The algorithm's ``TrainingSpecification``.

    Returns:
        The URI; the whole channel where it says something else than usual; ``None`` without one.
    """
    for channel in job.get("InputDataConfig", ()):
        if channel["ChannelName"] == channel_name:
            uri, given = find_uri(channel), read_channel(channel)
            is_usual = uri and describe_model(uri, channel_name, specification) == given
            return uri if is_usual else given
    return None


def find_uri(channel: Mapping[str, Any]) -> str | None:
    """Return where on S3 the data of a channel lies; ``None`` if it does not lie there."""
    source = channel.get("DataSource", {}).get("S3DataSource") or {}
    uri: str | None = source.get("S3Uri")
    return uri


def _copy(sources: Mapping[str, Any]) -> dict[str, Any]:
    """Return a data source that shares nothing with the user's object but plain values."""
    return {
        kind: dict(source) if isinstance(source, Mapping) else source
        for kind, source in sources.items()
    }


def _require_name(channel: Any) -> str:
    name = _read_name(channel)
    if name is None:
        raise TypeError(f"{channel!r} has no channel name. Give a mapping of name to channel.")
    return name


def _read_name(channel: Any) -> str | None:
    """Return the name that a channel of the API or of the SDK v3 carries itself."""
    if isinstance(channel, Mapping):
        name = channel.get("ChannelName")
    else:
        name = getattr(channel, "channel_name", None)
    return name if isinstance(name, str) else None


def _read_v3_channel(value: Any) -> Any:
    """Return the API's form of the SDK v3's ``InputData`` or ``Channel``."""
    source = value.data_source
    content_type = getattr(value, "content_type", None)
    if isinstance(source, str):
        return TrainingInput(source, content_type=content_type).config
    if not hasattr(source, "model_dump"):
        return None
    for field, shape_name in _SOURCES.items():
        if hasattr(source, field):  # an InputData has one kind of source as it is
            config = {"DataSource": {shape_name: read_shape(source, shape_name)}}
            return config | ({"ContentType": content_type} if is_set(content_type) else {})
    return read_shape(value, "Channel")
