"""The machines of a job: who they are, and how their processes find each other.

Source: ``resourceconfig.json`` as in "How Amazon SageMaker AI provides training information",
distributed training configuration, SageMaker developer guide.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from torch import distributed

from sagemaker_sift.trainer.errors import TrainingError

PORT = 29511
"""Port on which the first machine waits for the others; only they can reach it."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """The machines of a job.

    Attributes:
        hosts: Their names, sorted; the first one is where the others report.
        current_host: The name of this one.
        network_interface: The interface that the machines reach each other by, or ``""``.

    Example:
        >>> cluster = Cluster.from_resource_config(
        ...     {"current_host": "algo-2", "hosts": ["algo-2", "algo-1"],
        ...      "network_interface_name": "eth0"})
        >>> cluster.hosts, cluster.host_idx
        (('algo-1', 'algo-2'), 1)
    """

    hosts: tuple[str, ...] = ("localhost",)
    current_host: str = "localhost"
    network_interface: str = ""

    @classmethod
    def from_resource_config(cls, values: Mapping[str, Any]) -> Cluster:
        """Return the machines that ``resourceconfig.json`` names.

        Args:
            values: Its JSON object; an empty one stands for this machine alone.

        Raises:
            TrainingError: If the current host is not among the hosts.
        """
        hosts = tuple(sorted(values.get("hosts", [])))
        if not hosts:
            return cls()
        current_host = str(values.get("current_host"))
        if current_host not in hosts:
            raise TrainingError(
                f"resourceconfig.json names the current host {current_host!r}, which is not among "
                f"its hosts {', '.join(map(repr, hosts))}. Correct the file."
            )
        return cls(hosts, current_host, values.get("network_interface_name") or "")

    @property
    def host_idx(self) -> int:
        """Which of the machines this one is, from 0."""
        return self.hosts.index(self.current_host)

    def join(self, *, backend: str = "gloo", port: int = PORT, timeout: timedelta) -> None:
        """Make this process the one of its machine in the default process group.

        Returns when all machines are there.

        Args:
            backend: ``gloo`` for the CPU, ``nccl`` for GPUs.
            port: A port of the first machine.
            timeout: How long the others are waited for, here and in every collective.
        """
        if self.network_interface:
            for variable in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
                os.environ.setdefault(variable, self.network_interface)
        distributed.init_process_group(
            backend,
            init_method=f"tcp://{self.hosts[0]}:{port}",
            rank=self.host_idx,
            world_size=len(self.hosts),
            timeout=timeout,
        )
