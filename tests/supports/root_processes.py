"""The processes of one root of the local SageMaker, found by where they work."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from tests.supports.local_job import find_parent, is_running


@dataclass(frozen=True, slots=True)
class RootProcess:
    """A process whose working directory is in the root.

    Attributes:
        pid: Its process id.
        role: ``coordinator``, ``supervisor``, ``guard`` or ``training``.
        job: The training or tuning job that it serves.
    """

    pid: int
    role: str
    job: str


def find_processes(root: Path) -> list[RootProcess]:
    """Return the living processes of the jobs of a root; workers belong to no root."""
    folders = {}
    for name in filter(str.isdecimal, os.listdir("/proc")):
        try:
            folder = os.readlink(f"/proc/{name}/cwd").removesuffix(" (deleted)")
        except OSError:
            continue
        if is_running(int(name)) and Path(folder).is_relative_to(root):
            folders[int(name)] = Path(folder).relative_to(root).parts
    return [
        RootProcess(pid, _find_role(pid, parts, folders), parts[1])
        for pid, parts in folders.items()
        if len(parts) > 1
    ]


def _find_role(pid: int, parts: tuple[str, ...], folders: dict[int, tuple[str, ...]]) -> str:
    if parts[0] == "tuning-jobs":
        return "coordinator"
    if len(parts) > 2:
        return "training"
    try:
        parent = find_parent(pid)
    except OSError:  # it has just ended
        return "guard"
    return "guard" if folders.get(parent) == parts or parent == 1 else "supervisor"
