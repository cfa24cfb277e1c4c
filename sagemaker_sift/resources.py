"""Machines of a job, where one type and one number do not say it.

Source: API reference, ``InstanceGroup`` and ``HyperParameterTuningInstanceConfig``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass
class InstanceGroup:
    """A part of a heterogeneous cluster.

    Args:
        instance_group_name: How channels name it.
        instance_type: Such as ``ml.g5.xlarge``.
        instance_count: Number of instances.
    """

    instance_group_name: str
    instance_type: str
    instance_count: int


@dataclass
class InstanceConfig:
    """One of several kinds of machines that a tuning job may take, in order of preference.

    Args:
        instance_count: Number of instances.
        instance_type: Such as ``ml.g5.xlarge``.
        volume_size: Of each instance, GB.
    """

    instance_count: int | None = None
    instance_type: str | None = None
    volume_size: int = 30

    @classmethod
    def from_job_desc(cls, instance_config: Mapping[str, Any]) -> InstanceConfig:
        """Return the config of an API response."""
        return cls(
            instance_config["InstanceCount"],
            instance_config["InstanceType"],
            instance_config["VolumeSizeInGB"],
        )

    def to_input_req(self) -> dict[str, Any]:
        """Return the API's ``HyperParameterTuningInstanceConfig``."""
        fields = {
            "InstanceCount": self.instance_count,
            "InstanceType": self.instance_type,
            "VolumeSizeInGB": self.volume_size,
        }
        return {name: value for name, value in fields.items() if value is not None}
