"""Where the data of a channel comes from, and how it reaches the container."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


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
        target_attribute_name: Attribute to predict, of an augmented manifest.
        shuffle_config: Anything with a ``seed``, or a seed, for Pipe mode.

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
        self.config: dict[str, Any] = {"DataSource": {"S3DataSource": source}}
        self.target_attribute_name = target_attribute_name
        optional = {
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


def read_channel(value: object) -> dict[str, Any]:
    """Return the API's ``Channel`` (without a name) of whatever a user gives for one.

    Args:
        value: A URI or path; a :class:`TrainingInput`, ours or the SageMaker SDK's (anything
            with a ``config`` mapping).

    Raises:
        TypeError: If it is neither.

    Example:
        >>> read_channel("data/train")["DataSource"]["S3DataSource"]["S3Uri"]
        'data/train'
    """
    if hasattr(value, "__fspath__"):
        value = value.__fspath__()
    if isinstance(value, str):
        return TrainingInput(value).config
    config = getattr(value, "config", None)
    if isinstance(config, Mapping):
        return dict(config)
    raise TypeError(
        f"{value!r} is no channel. Give a URI, a path or a TrainingInput for each channel name."
    )
