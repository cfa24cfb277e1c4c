"""The folders, files and exit codes of a SageMaker training container.

Source: "How Amazon SageMaker AI provides training information" and "Amazon SageMaker AI
algorithms: how to run your training image", SageMaker developer guide.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

BASE_DIR_VARIABLE = "SAGEMAKER_BASE_DIR"
"""Environment variable that moves ``/opt/ml`` elsewhere; the training toolkit's name."""

EXIT_SUCCESS = 0
"""The job is Completed, or Stopped if it was asked to stop."""

EXIT_FAILURE = 1
"""The job is Failed; :attr:`ContainerPaths.failure` says why."""

STOP_GRACE_S = 120
"""Seconds between SIGTERM and SIGKILL when a job is stopped."""

FAILURE_MAX_CHARS = 1024
"""Characters of the failure file that become ``FailureReason``."""


@dataclass(frozen=True, slots=True)
class ContainerPaths:
    """Where things lie in the container.

    Attributes:
        root: ``/opt/ml`` in a container; any folder of the same shape elsewhere.

    Example:
        >>> ContainerPaths(Path("/opt/ml")).channel("train").as_posix()
        '/opt/ml/input/data/train'
    """

    root: Path

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> ContainerPaths:
        """Return the paths under ``SAGEMAKER_BASE_DIR``, or under ``/opt/ml`` if it is not set."""
        return cls(Path(environ.get(BASE_DIR_VARIABLE) or "/opt/ml"))

    @property
    def config(self) -> Path:
        """Folder of the three JSON files below."""
        return self.root / "input" / "config"

    @property
    def hyperparameters(self) -> Path:
        """A flat JSON object, string to string."""
        return self.config / "hyperparameters.json"

    @property
    def input_data_config(self) -> Path:
        """JSON: channel name to content type, input mode, distribution and record wrapper."""
        return self.config / "inputdataconfig.json"

    @property
    def resource_config(self) -> Path:
        """JSON: ``current_host``, ``hosts`` (sorted) and ``network_interface_name``."""
        return self.config / "resourceconfig.json"

    @property
    def data(self) -> Path:
        """Folder with one entry a channel."""
        return self.root / "input" / "data"

    def channel(self, name: str) -> Path:
        """Return the folder of a File or FastFile channel."""
        return self.data / name

    @property
    def model(self) -> Path:
        """Folder that becomes ``model.tar.gz``."""
        return self.root / "model"

    @property
    def output_data(self) -> Path:
        """Folder that becomes ``output.tar.gz``."""
        return self.root / "output" / "data"

    @property
    def failure(self) -> Path:
        """File whose first 1,024 characters become ``FailureReason``."""
        return self.root / "output" / "failure"

    @property
    def checkpoints(self) -> Path:
        """Folder that is kept in step with S3; there only if the job asks for checkpoints."""
        return self.root / "checkpoints"
