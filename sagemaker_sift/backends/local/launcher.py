"""Starts the process that runs a training job."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from sagemaker_sift.backends.local.storage import LocalStorage


class JobLauncher:
    """Starts supervisors of training jobs.

    Args:
        root: Folder of the local SageMaker.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._storage = LocalStorage(root)

    def launch(self, job_name: str, lock: int) -> None:
        """Start the supervisor of a recorded job.

        Args:
            job_name: A training job that the store knows.
            lock: File descriptor of the job's lock, which the supervisor goes on holding; the
                caller closes its own.
        """
        folder = self._storage.job_folder(job_name)
        module = "sagemaker_sift.backends.local.supervisor"
        with (folder / "supervisor.log").open("ab") as log:
            subprocess.run(
                [sys.executable, "-m", module, str(self._root), job_name, str(lock)],
                cwd=folder,  # not the user's: a torch.py there would be imported
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[lock],
                check=True,
            )

    def close(self) -> None:
        """Let go of what was prepared for further jobs; jobs that run go on."""
