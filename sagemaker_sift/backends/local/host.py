"""The machines of a job; on this machine each is a process with an ``/opt/ml`` of its own.

Source: ``resourceconfig.json`` as in "How Amazon SageMaker AI provides training information",
distributed training configuration, SageMaker developer guide.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sagemaker_sift.contract.container import ContainerPaths

_ONLY_GROUP = "homogeneousCluster"  # what SageMaker calls it if the request names no groups


@dataclass(frozen=True, slots=True)
class Host:
    """One machine of a job.

    Attributes:
        idx: Counted from 0.
        group: Its instance group.
        instance_type: As the request says.
    """

    idx: int
    group: str
    instance_type: str

    @property
    def name(self) -> str:
        """As SageMaker names it: ``algo-1`` and so on."""
        return f"algo-{self.idx + 1}"

    def paths(self, folder: Path) -> ContainerPaths:
        """Return its ``/opt/ml``.

        Args:
            folder: Of the job.

        Example:
            >>> Host(0, "g", "t").paths(Path("job")).root.as_posix()
            'job/ml'
            >>> Host(1, "g", "t").paths(Path("job")).root.as_posix()
            'job/ml-algo-2'
        """
        return ContainerPaths(folder / (f"ml-{self.name}" if self.idx else "ml"))


def list_hosts(record: Mapping[str, Any]) -> list[Host]:
    """Return the machines that a job asks for.

    Args:
        record: The job's record, in the form of its request.

    Example:
        >>> hosts = list_hosts({"ResourceConfig": {"InstanceType": "m", "InstanceCount": 2}})
        >>> [host.name for host in hosts]
        ['algo-1', 'algo-2']
    """
    resources = record["ResourceConfig"]
    groups = resources.get("InstanceGroups") or [{"InstanceGroupName": _ONLY_GROUP, **resources}]
    kinds = [
        (group["InstanceGroupName"], group["InstanceType"])
        for group in groups
        for _ in range(group.get("InstanceCount", 1))
    ]
    return [Host(idx, *kind) for idx, kind in enumerate(kinds)]


def describe_resources(hosts: Sequence[Host], current: Host) -> dict[str, Any]:
    """Return the content of ``resourceconfig.json``.

    Args:
        hosts: All of the job.
        current: The one that it is for.
    """
    names: dict[tuple[str, str], list[str]] = {}
    for host in hosts:
        names.setdefault((host.group, host.instance_type), []).append(host.name)
    return {
        "current_host": current.name,
        "current_instance_type": current.instance_type,
        "current_group_name": current.group,
        "hosts": sorted(host.name for host in hosts),
        "instance_groups": [
            {
                "instance_group_name": group,
                "instance_type": instance_type,
                "hosts": sorted(members),
            }
            for (group, instance_type), members in names.items()
        ],
        "network_interface_name": "lo",
    }
