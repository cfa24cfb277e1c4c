"""How the job's channels are set: ``inputdataconfig.json``, checked against the contract.

Source: "How Amazon SageMaker AI provides training information", SageMaker developer guide, and
``Channel`` in the service model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sagemaker_sift.contract.channels import CHANNELS, Channel
from sagemaker_sift.contract.container import ContainerPaths
from sagemaker_sift.contract.problem import closest
from sagemaker_sift.trainer.data.label import LABEL_FORMATS
from sagemaker_sift.trainer.data.problem import quote

CHANNELS_BY_NAME: dict[str, Channel] = {channel.name: channel for channel in CHANNELS}

_WRAPPERS = ("None", "RecordIO")
_DISTRIBUTIONS = ("FullyReplicated", "ShardedByS3Key")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelSettings:
    """One channel as the job sets it.

    Attributes:
        name: ``ChannelName``.
        mode: ``TrainingInputMode``: File, FastFile or Pipe.
        content_type: ``ContentType`` without parameters, in lower case; empty if left out.
        parameters: Of the content type, such as ``label-format``; names in lower case.
        record_wrapper: ``RecordWrapperType``: None or RecordIO.
        distribution: ``S3DistributionType``: FullyReplicated or ShardedByS3Key.
    """

    name: str
    mode: str = "File"
    content_type: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)
    record_wrapper: str = "None"
    distribution: str = "FullyReplicated"

    @classmethod
    def from_config(cls, name: str, given: Mapping[str, Any]) -> ChannelSettings:
        """Return the settings in one value of ``inputdataconfig.json``; nothing is checked.

        Example:
            >>> given = {"ContentType": "application/x-recordio; label-format=class-id"}
            >>> ChannelSettings.from_config("train", given).label_format
            'class-id'
        """
        base, _, rest = str(given.get("ContentType") or "").partition(";")
        pairs = [part.partition("=") for part in rest.split(";") if part.strip()]
        return cls(
            name=name,
            mode=str(given.get("TrainingInputMode") or "File"),
            content_type=base.strip().lower(),
            parameters={key.strip().lower(): value.strip(" \"'") for key, _, value in pairs},
            record_wrapper=str(given.get("RecordWrapperType") or "None"),
            distribution=str(given.get("S3DistributionType") or "FullyReplicated"),
        )

    @property
    def is_pipe(self) -> bool:
        """Whether the channel is a pipe and not a folder."""
        return self.mode == "Pipe"

    @property
    def label_format(self) -> str:
        """How a manifest's multi-label arrays are written; multi-hot unless said otherwise."""
        return self.parameters.get("label-format", LABEL_FORMATS[0]).lower()


def read_channels(
    given: Mapping[str, Any], paths: ContainerPaths
) -> tuple[dict[str, ChannelSettings], list[str]]:
    """Return the settings of the job's channels, and what is wrong with them, in sentences.

    A channel of the algorithm that ``given`` lacks, but whose folder or first pipe is there,
    counts too: outside of SageMaker the file may be absent.

    Args:
        given: The content of ``inputdataconfig.json``, possibly empty.
        paths: The container's layout.
    """
    channels: dict[str, ChannelSettings] = {}
    problems: list[str] = []
    for name, settings in given.items():
        if name not in CHANNELS_BY_NAME:
            hint = closest(name, CHANNELS_BY_NAME)
            problems.append(
                f"The job has a channel {quote(name)}, but the algorithm has only "
                f"{', '.join(CHANNELS_BY_NAME)}.{hint} Rename or remove it."
            )
        elif not isinstance(settings, Mapping):
            problems.append(
                f"Channel {name!r} is {quote(str(settings))} in {paths.input_data_config}, but "
                "must be a JSON object."
            )
        else:
            channels[name] = ChannelSettings.from_config(name, settings)
    for name in CHANNELS_BY_NAME:
        if name in given:
            continue
        if paths.channel(name).exists():
            channels[name] = ChannelSettings(name=name)
        elif (paths.data / f"{name}_0").exists():
            channels[name] = ChannelSettings(name=name, mode="Pipe")
    return channels, problems


def find_problems(settings: ChannelSettings, *, num_hosts: int) -> Iterator[str]:
    """Yield what is wrong with a channel's settings by themselves, in sentences.

    Args:
        settings: Of a channel that the algorithm has.
        num_hosts: Machines of the job; a sharded channel gives each its own part.
    """
    channel = CHANNELS_BY_NAME[settings.name]
    for field_name, value, allowed in (
        ("TrainingInputMode", settings.mode, channel.input_modes),
        ("ContentType", settings.content_type, ("", *channel.content_types)),
        ("RecordWrapperType", settings.record_wrapper, _WRAPPERS),
        ("S3DistributionType", settings.distribution, _DISTRIBUTIONS),
        ("ContentType with label-format", settings.label_format, LABEL_FORMATS),
    ):
        if value not in allowed:
            yield (
                f"Channel {settings.name!r} has {field_name} {quote(value)}, but must have one of "
                f"{', '.join(filter(None, allowed))}."
            )
    if settings.record_wrapper == "RecordIO" and settings.mode in ("File", "FastFile"):
        yield (
            f"Channel {settings.name!r} has RecordWrapperType 'RecordIO' and TrainingInputMode "
            f"{settings.mode!r}, but only what passes a pipe is wrapped. Use Pipe, or leave "
            "RecordWrapperType out."
        )
    if settings.distribution == "ShardedByS3Key" and (settings.is_pipe or num_hosts > 1):
        yield (
            f"Channel {settings.name!r} has S3DistributionType 'ShardedByS3Key', but "
            "every machine must see all of the data, of which it takes its share. "
            "Use FullyReplicated."
        )
