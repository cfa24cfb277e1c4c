"""What a job leaves in ``/opt/ml/model``: weights, and what they are the weights of.

```
image-classification-0007.safetensors   weights behind the 7th epoch, counted from 1
model.json                              classes, hyperparameters, metrics; which file to load
model-shapes.json                       the input's shape, as MXNet's containers write it
```

Without ``checkpoint_frequency`` only the epoch with the best validation accuracy stays (the last
epoch if there is no validation channel); with it, every so many epochs one file.
"""

from __future__ import annotations

import importlib.metadata
import logging
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy
import safetensors
import safetensors.torch
import torch
from torch import nn

from sagemaker_sift.contract.hyperparameters import Hyperparameters
from sagemaker_sift.contract.metrics import VALIDATION_ACCURACY
from sagemaker_sift.trainer.state import pack_state
from sagemaker_sift.trainer.storage import (
    TEMPORARY_SUFFIX,
    check_writable,
    remove_file,
    write_atomically,
    write_json,
)

FORMAT_VERSION = 1
DESCRIPTION_FILE = "model.json"
SHAPES_FILE = "model-shapes.json"
WEIGHTS_PATTERN = r"image-classification-\d{4,}\.safetensors"

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedEpoch:
    """One file of weights.

    Attributes:
        epoch: Number of epochs behind it, so counted from 1.
        file: Its name in the model folder.
        metrics: Values of that epoch by metric name.
    """

    epoch: int
    file: str
    metrics: dict[str, float]


class ModelFolder:
    """Keeps the model folder right after every epoch.

    ``model.json`` always names a file that is there in full: weights are written first, then the
    description, and only then are superseded weights removed.

    Attributes:
        path: ``/opt/ml/model``.
        saved: The files that are kept, oldest first.
    """

    def __init__(
        self, path: Path, *, classes: tuple[str, ...], hyperparameters: Hyperparameters
    ) -> None:
        self.path = path
        self.saved: list[SavedEpoch] = []
        self._classes = classes
        self._hyperparameters = hyperparameters

    def prepare(self) -> None:
        """Make the folder, prove that it can be written, and clear away an earlier run's weights.

        Raises:
            TrainingError: If it cannot be written.
        """
        check_writable(self.path)
        for leftover in sorted(self.path.glob("image-classification-*.safetensors")):
            _LOG.info("Removing %s of an earlier run.", leftover)
            remove_file(leftover)
        for leftover in self.path.glob(f".*{TEMPORARY_SUFFIX}"):
            remove_file(leftover)

    @property
    def best(self) -> SavedEpoch | None:
        """The kept epoch with the best validation accuracy; without validation, the last one."""
        name = VALIDATION_ACCURACY.name
        return max(
            self.saved,
            key=lambda saved: (
                (saved.metrics[name], -saved.epoch)
                if name in saved.metrics
                else (-1.0, saved.epoch)
            ),
            default=None,
        )

    def keep(self, model: nn.Module, *, epoch: int, metrics: Mapping[str, float]) -> None:
        """Save the weights behind an epoch if they are to be kept.

        Args:
            model: The network.
            epoch: Counted from 0.
            metrics: Values of the epoch by metric name.

        Raises:
            TrainingError: If they cannot be saved; what was saved before stays.
        """
        frequency = self._hyperparameters.checkpoint_frequency
        if frequency is not None:
            if (epoch + 1) % frequency == 0:
                self._save(model, epoch, metrics, replaces=False)
            return
        accuracy = metrics.get(VALIDATION_ACCURACY.name)
        best = self.best
        if accuracy is not None:
            if best is not None and accuracy <= best.metrics.get(VALIDATION_ACCURACY.name, -1.0):
                return
            _LOG.info("Storing the best model with validation accuracy: %f", accuracy)
        self._save(model, epoch, metrics, replaces=True)

    def ensure(self, model: nn.Module, *, epoch: int) -> None:
        """Save the current weights if no epoch's are kept, as when a job is stopped early.

        Args:
            model: The network.
            epoch: The epoch that was under way, counted from 0.

        Raises:
            TrainingError: If they cannot be saved.
        """
        if not self.saved:
            self._save(model, epoch, {}, replaces=False)

    def describe(self) -> None:
        """Write ``model.json`` and ``model-shapes.json`` for what is kept.

        Raises:
            TrainingError: If they cannot be saved.
        """
        best = self.best
        if best is None:
            return
        shape = [1, *self._hyperparameters.image_shape]
        write_json(self.path / SHAPES_FILE, [{"name": "data", "shape": shape}])
        write_json(
            self.path / DESCRIPTION_FILE,
            {
                "format_version": FORMAT_VERSION,
                "weights": best.file,
                "epoch": best.epoch,
                "metrics": best.metrics,
                "classes": list(self._classes),
                "hyperparameters": self._hyperparameters.to_strings(),
                "saved": [asdict(saved) for saved in self.saved],
                "versions": read_versions(),
            },
        )

    def _save(
        self, model: nn.Module, epoch: int, metrics: Mapping[str, float], *, replaces: bool
    ) -> None:
        new = SavedEpoch(
            epoch=epoch + 1,
            file=f"image-classification-{epoch + 1:04d}.safetensors",
            metrics=dict(metrics),
        )
        old = self.saved
        tensors, _ = pack_state(dict(model.state_dict()))
        write_atomically(self.path / new.file, [safetensors.torch.save(tensors)])
        self.saved = [new] if replaces else [*old, new]
        try:
            self.describe()
        except BaseException:
            self.saved = old
            remove_file(self.path / new.file)
            raise
        for superseded in old if replaces else []:
            remove_file(self.path / superseded.file)
        _LOG.info('Saved checkpoint to "%s"', self.path / new.file)


def read_versions() -> dict[str, str]:
    """Return the versions that a model was made with, by package."""
    try:
        own = importlib.metadata.version("sagemaker-sift")
    except importlib.metadata.PackageNotFoundError:
        own = "unknown"
    return {
        "sagemaker-sift": own,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": numpy.__version__,
        "opencv": cv2.__version__,
        "safetensors": safetensors.__version__,
    }
