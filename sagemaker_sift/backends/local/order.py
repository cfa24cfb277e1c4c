"""What a launcher tells its worker: run this job. Sent with the job's lock over a socket.

A message is its length (four bytes, big-endian) and a JSON object; the lock's file descriptor
travels with the first byte (SCM_RIGHTS). While it is on its way the lock stays held; if nobody
receives it, the lock becomes free.
"""

from __future__ import annotations

import array
import json
import os
import socket
import struct
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

_HEADER = struct.Struct(">I")
_NO_SIGNAL = getattr(socket, "MSG_NOSIGNAL", 0)


@dataclass(frozen=True, slots=True)
class JobOrder:
    """One job to run.

    Attributes:
        root: Folder of the local SageMaker.
        job_name: A training job that its store knows.
        environment: What the process that launched the job would pass on to it.
    """

    root: Path
    job_name: str
    environment: Mapping[str, str]


def send_order(connection: socket.socket, order: JobOrder, lock: int) -> None:
    """Send an order; does not wait until it is read.

    Args:
        connection: Of the launcher.
        order: What to run.
        lock: File descriptor of the job's lock; it stays open here.

    Raises:
        OSError: If nobody reads the other end any more. The order was not taken then.
    """
    fields = {**asdict(order), "root": str(order.root), "environment": dict(order.environment)}
    payload = json.dumps(fields).encode()
    content = memoryview(_HEADER.pack(len(payload)) + payload)
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [lock]))]
    sent = connection.sendmsg([content], rights, _NO_SIGNAL)
    while sent < len(content):
        sent += connection.send(content[sent:], _NO_SIGNAL)


def receive_order(connection: socket.socket) -> tuple[JobOrder, int] | None:
    """Return the next order and the job's lock, or ``None`` if no further one can come.

    Args:
        connection: Of the worker.
    """
    locks: list[int] = []
    try:
        header = _receive(connection, _HEADER.size, locks)
        payload = _receive(connection, _HEADER.unpack(header)[0], locks)
    except (EOFError, ConnectionError):
        for lock in locks:
            os.close(lock)
        return None
    fields = json.loads(payload)
    order = JobOrder(Path(fields["root"]), fields["job_name"], fields["environment"])
    return order, locks[0]


def _receive(connection: socket.socket, size: int, locks: list[int]) -> bytes:
    content = bytearray()
    while len(content) < size:
        part, received, _, _ = socket.recv_fds(connection, size - len(content), 1)
        for descriptor in received:
            os.set_inheritable(descriptor, False)
        locks += received
        if not part:
            raise EOFError
        content += part
    return bytes(content)
