"""The machines of a job and the processes on them: who they are, how they find each other.

Source: ``resourceconfig.json`` as in "How Amazon SageMaker AI provides training information",
distributed training configuration, SageMaker developer guide.
"""

from __future__ import annotations

import os
import socket
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from torch import distributed
from torch.distributed import FileStore, TCPStore  # type: ignore[attr-defined]

from sagemaker_sift.trainer.errors import TrainingError
from sagemaker_sift.trainer.stop import JoinInterrupted

PORT = 29511
"""Port on which the first machine waits for the others; only they can reach it."""

JOIN_TIMEOUT_S = 900.0
"""Seconds that processes wait for each other at the start; machines may start minutes apart, and
read their images before they meet."""

COLLECTIVE_TIMEOUT_S = 1800.0
"""Seconds after which a process that does not answer counts as lost."""

LOCAL_RANK_VARIABLE = "SIFT_LOCAL_RANK"
"""Tells a process which one of its machine it is; set by the process that starts it."""

NUM_LOCAL_VARIABLE = "SIFT_PROCESSES_PER_HOST"
"""Processes on each machine; unset: one a GPU, on machines without a GPU one."""

_CONNECT_S = 3.0
_POLL_S = 0.1
_LOOKS_AT_VERDICT = 100

RENDEZVOUS_VARIABLE = "SIFT_RENDEZVOUS"
"""``file://`` URL where processes on one disk find each other, instead of by name and port."""

PORT_VARIABLE = "MASTER_PORT"
"""Another port than :data:`PORT`, the same on all machines."""


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

    def wait_for_first_host(
        self,
        *,
        is_stopping: Callable[[], bool] = lambda: False,
        timeout_s: float = JOIN_TIMEOUT_S,
        resolve: Callable[[str], object] = socket.gethostbyname,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Return once the name of the first machine resolves.

        Args:
            is_stopping: Asked between two tries.
            timeout_s: Seconds to try.
            resolve: Looks a name up, or raises ``OSError``.
            clock: Seconds.
            sleep: Waits between two tries.

        Raises:
            TrainingError: If it never does.
            JoinInterrupted: If the job is asked to stop meanwhile.
        """
        deadline_s = clock() + timeout_s
        while True:
            try:
                resolve(self.hosts[0])
                return
            except OSError as error:
                if clock() >= deadline_s:
                    raise TrainingError(
                        f"The name of the first machine, {self.hosts[0]!r}, did not resolve "
                        f"within {timeout_s:g} seconds ({error}). Check resourceconfig.json, and "
                        "that the machines of the job can reach each other."
                    ) from error
            if is_stopping():
                raise JoinInterrupted
            sleep(1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Which process of the job this one is.

    Attributes:
        cluster: The machines.
        num_local: Processes on each of them.
        local_rank: Which of its machine this one is, from 0.
        rendezvous: Where the processes meet, a URL.
    """

    cluster: Cluster = field(default_factory=Cluster)
    num_local: int = 1
    local_rank: int = 0
    rendezvous: str = ""

    @classmethod
    def from_environment(cls, cluster: Cluster, environ: Mapping[str, str]) -> Placement:
        """Return the place that the starting process gave this one.

        Args:
            cluster: The machines.
            environ: The environment's variables.
        """
        meeting = f"tcp://{cluster.hosts[0]}:{environ.get(PORT_VARIABLE) or PORT}"
        return cls(
            cluster=cluster,
            num_local=int(environ.get(NUM_LOCAL_VARIABLE) or 1),
            local_rank=int(environ.get(LOCAL_RANK_VARIABLE) or 0),
            rendezvous=environ.get(RENDEZVOUS_VARIABLE) or meeting,
        )

    @property
    def num_hosts(self) -> int:
        """How many machines the job has."""
        return len(self.cluster.hosts)

    @property
    def rank(self) -> int:
        """Which process of the job this one is, from 0."""
        return self.cluster.host_idx * self.num_local + self.local_rank

    @property
    def num_ranks(self) -> int:
        """How many processes the job has."""
        return self.num_hosts * self.num_local

    def join(
        self,
        *,
        backend: str,
        is_stopping: Callable[[], bool] = lambda: False,
        timeout_s: float = JOIN_TIMEOUT_S,
    ) -> None:
        """Make this process one of the default process group; returns when all are there.

        Args:
            backend: ``gloo`` for the CPU, ``nccl`` for GPUs.
            is_stopping: Asked now and then.
            timeout_s: Seconds that the others are waited for.

        Raises:
            TrainingError: If the others do not come.
            JoinInterrupted: If the job is asked to stop meanwhile.
        """
        deadline_s = time.monotonic() + timeout_s
        if self.num_hosts > 1 and not self.rendezvous.startswith("file:"):
            self.cluster.wait_for_first_host(is_stopping=is_stopping, timeout_s=timeout_s)
        self._choose_interface(backend)
        meeting = _Meeting(self)
        while not meeting.is_complete(is_stopping()):
            if time.monotonic() >= deadline_s:
                raise TrainingError(
                    f"The {self.num_ranks} processes of the job ({self.num_local} on each of "
                    f"{', '.join(self.cluster.hosts)}) did not find each other within "
                    f"{timeout_s:g} seconds. Look at the log of the machines that did not start, "
                    "and check that they can reach each other: security group and subnets."
                )
            time.sleep(_POLL_S)
        distributed.init_process_group(
            backend,
            store=meeting.store,
            rank=self.rank,
            world_size=self.num_ranks,
            timeout=timedelta(seconds=COLLECTIVE_TIMEOUT_S),
        )

    def _choose_interface(self, backend: str) -> None:
        interface = self.cluster.network_interface
        if self.num_hosts == 1:
            os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        elif interface:
            for variable in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
                os.environ.setdefault(variable, interface)

    def open_store(self) -> Any:
        """Return where the processes meet, or ``None`` if the first one is not there yet."""
        url = urllib.parse.urlparse(self.rendezvous)
        if url.scheme == "file":
            return FileStore(urllib.request.url2pathname(url.path), self.num_ranks)
        try:
            return TCPStore(
                url.hostname or "",
                url.port or PORT,
                self.num_ranks,
                is_master=self.rank == 0,
                timeout=timedelta(seconds=_CONNECT_S),
                wait_for_workers=False,
            )
        except distributed.DistError as error:
            if self.rank == 0:
                raise TrainingError(
                    f"Port {url.port} of this machine cannot be listened on "
                    f"({str(error).splitlines()[0]}). Set {PORT_VARIABLE} to a free one on all "
                    "machines."
                ) from error
            return None


class _Meeting:
    """Processes that wait for each other; the first one says whether they begin or stop.

    Only one may say so: if each left on its own when it is asked to stop, another could have seen
    it there and begun.
    """

    def __init__(self, placement: Placement) -> None:
        self.store: Any = None
        self._placement = placement
        self._num_looks_stopping = 0

    def is_complete(self, is_stopping: bool) -> bool:
        """Return whether all are there and begin.

        Args:
            is_stopping: Whether this process was asked to stop.

        Raises:
            JoinInterrupted: If the job is to stop instead.
            TrainingError: If the first process cannot listen on its port.
        """
        if self.store is None:
            self.store = self._placement.open_store()
        if self.store is None:
            if is_stopping:
                raise JoinInterrupted
            return False
        try:
            return self._look(is_stopping)
        except distributed.DistError:
            if is_stopping:  # the first process has stopped already, and the store with it
                raise JoinInterrupted from None
            raise

    def _look(self, is_stopping: bool) -> bool:
        ranks = [f"sift/{rank}" for rank in range(self._placement.num_ranks)]
        self.store.set(ranks[self._placement.rank], "there")
        if is_stopping:
            self.store.set("sift/stop", "asked")
            self._num_looks_stopping += 1
        if self._placement.rank == 0:
            if self.store.check(["sift/stop"]):
                self.store.set("sift/verdict", "stop")
            elif self.store.check(ranks):
                self.store.set("sift/verdict", "begin")
        if self.store.check(["sift/verdict"]):
            if self.store.get("sift/verdict") == b"stop":
                if self._placement.rank == 0:
                    time.sleep(5 * _POLL_S)  # the store is in this process: let the others look
                raise JoinInterrupted
            return True
        if self._num_looks_stopping > _LOOKS_AT_VERDICT:  # the first process is not there
            raise JoinInterrupted
        return False


def count_local_processes(environ: Mapping[str, str], *, num_gpus: int) -> int:
    """Return how many processes this machine runs.

    Args:
        environ: The environment's variables.
        num_gpus: GPUs of this machine.

    Raises:
        TrainingError: If the variable holds no count, or more processes than there are GPUs.

    Example:
        >>> count_local_processes({}, num_gpus=4), count_local_processes({}, num_gpus=0)
        (4, 1)
    """
    text = environ.get(NUM_LOCAL_VARIABLE, "").strip()
    if not text:
        return max(1, num_gpus)
    if not text.isdecimal() or not 1 <= int(text) <= 1024 or (num_gpus and int(text) > num_gpus):
        at_most = num_gpus or 1024
        raise TrainingError(
            f"The environment variable {NUM_LOCAL_VARIABLE} is {text!r}, but must be a number of "
            f"processes from 1 to {at_most} (one a GPU at most). Correct it, or leave it out."
        )
    return int(text)
