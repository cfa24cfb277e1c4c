"""A launcher of training jobs that runs none."""

from __future__ import annotations

import os
from pathlib import Path

from sagemaker_sift.backends.local.launcher import JobLauncher


class HeldLauncher(JobLauncher):
    """Keeps jobs as if their processes ran: it holds the locks that these would hold."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._locks: dict[str, int] = {}

    def launch(self, job_name: str, lock: int, program: str | None = None) -> None:
        self._locks[job_name] = os.dup(lock)

    def lose(self, job_name: str) -> None:
        """Let a job's process be gone."""
        os.close(self._locks.pop(job_name))

    def close(self) -> None:
        """Let all processes be gone."""
        for job_name in list(self._locks):
            self.lose(job_name)
