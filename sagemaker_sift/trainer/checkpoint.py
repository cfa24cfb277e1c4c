"""Where a job that was cut off goes on: ``/opt/ml/checkpoints``.

```
checkpoint-0003.safetensors   tensors of the state behind the 3rd epoch
checkpoint-0003.json          the rest of the state, and the SHA-256 of every file it needs
model/                        the files of /opt/ml/model that the state speaks of
```

The JSON file is written last and makes the checkpoint valid. The last two checkpoints are kept:
if the newest is damaged, the one before it is used.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError

from sagemaker_sift.trainer.artifacts import WEIGHTS_PATTERN
from sagemaker_sift.trainer.state import pack_state, unpack_state
from sagemaker_sift.trainer.storage import (
    TEMPORARY_SUFFIX,
    check_writable,
    encode_json,
    hash_file,
    read_chunks,
    remove_file,
    write_atomically,
)

FORMAT_VERSION = 1
NUM_KEPT = 2

Write = Callable[[Path, Iterable[bytes]], None]
"""How a file is written: in full or not at all."""

_NAME = re.compile(r"checkpoint-(\d{4,})\.(json|safetensors)")
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A state that was read back.

    Attributes:
        num_epochs: Epochs that are complete.
        state: What was given to :meth:`CheckpointFolder.save`, tensors on the CPU.
        model_files: Names of the model files that belong to it.
    """

    num_epochs: int
    state: dict[str, Any]
    model_files: tuple[str, ...]


class CheckpointFolder:
    """Saves and finds checkpoints.

    Args:
        path: ``/opt/ml/checkpoints``.
        write: Writes a file as :func:`~sagemaker_sift.trainer.storage.write_atomically` does.

    Attributes:
        path: The folder.
    """

    def __init__(self, path: Path, *, write: Write = write_atomically) -> None:
        self.path = path
        self._write = write

    def prepare(self) -> None:
        """Prove that the folder can be written.

        Raises:
            TrainingError: If it cannot.
        """
        check_writable(self.path)

    def save(
        self, num_epochs: int, state: dict[str, Any], *, model_folder: Path, files: tuple[str, ...]
    ) -> None:
        """Save the state behind an epoch.

        Args:
            num_epochs: Epochs that are complete.
            state: Anything that :func:`~sagemaker_sift.trainer.state.pack_state` takes.
            model_folder: ``/opt/ml/model``.
            files: Weights in it that belong to the state; copied unless they are here already.

        Raises:
            TrainingError: If it cannot be saved; earlier checkpoints stay as they are.
        """
        hashes = {name: hash_file(model_folder / name) for name in files}
        for name, expected in hashes.items():
            copy = self.path / "model" / name
            if not copy.exists() or hash_file(copy) != expected:
                self._write(copy, read_chunks(model_folder / name))
        tensors, rest = pack_state(state)
        weights = self.path / f"checkpoint-{num_epochs:04d}.safetensors"
        self._write(weights, [safetensors.torch.save(tensors)])
        description = {
            "format_version": FORMAT_VERSION,
            "num_epochs": num_epochs,
            "tensors_sha256": hash_file(weights),
            "model_sha256": hashes,
            "state": rest,
        }
        self._write(self.path / f"checkpoint-{num_epochs:04d}.json", [encode_json(description)])
        self._remove_old(files)

    def load(self) -> Checkpoint | None:
        """Return the newest checkpoint that is whole, or ``None`` if there is none.

        A damaged one is named in the log and passed over.
        """
        for number in self._numbers():
            try:
                return self._read(number)
            except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
                _LOG.warning("Checkpoint %04d in %s is damaged: %s", number, self.path, error)
        return None

    def restore_model_files(self, checkpoint: Checkpoint, model_folder: Path) -> None:
        """Copy the model files of a checkpoint back into the model folder.

        Raises:
            TrainingError: If they cannot be written.
        """
        for name in checkpoint.model_files:
            write_atomically(model_folder / name, read_chunks(self.path / "model" / name))

    def _numbers(self) -> list[int]:
        """Return the numbers of all checkpoints, newest first."""
        names = (_NAME.fullmatch(path.name) for path in self.path.glob("checkpoint-*.json"))
        return sorted({int(name.group(1)) for name in names if name}, reverse=True)

    def _read(self, number: int) -> Checkpoint:
        description = json.loads((self.path / f"checkpoint-{number:04d}.json").read_text())
        if description["format_version"] != FORMAT_VERSION:
            raise ValueError(f"its format is {description['format_version']!r}, not 1")
        weights = self.path / f"checkpoint-{number:04d}.safetensors"
        files = {self.path / "model" / n: h for n, h in description["model_sha256"].items()}
        for path, expected in {weights: description["tensors_sha256"], **files}.items():
            if path != weights and not re.fullmatch(WEIGHTS_PATTERN, path.name):
                raise ValueError(f"it names an unexpected file, {path.name!r}")
            if hash_file(path) != expected:
                raise ValueError(f"{path.name} is not what was saved")
        tensors = safetensors.torch.load_file(weights)
        return Checkpoint(
            num_epochs=int(description["num_epochs"]),
            state=unpack_state(tensors, description["state"]),
            model_files=tuple(description["model_sha256"]),
        )

    def _remove_old(self, files: tuple[str, ...]) -> None:
        needed = set(files)
        for number in self._numbers()[:NUM_KEPT]:
            try:
                text = (self.path / f"checkpoint-{number:04d}.json").read_text()
                needed.update(json.loads(text)["model_sha256"])
            except (ValueError, KeyError, TypeError, OSError):
                continue
        kept = set(self._numbers()[:NUM_KEPT])
        for path in sorted(self.path.glob("checkpoint-*")):
            name = _NAME.fullmatch(path.name)
            if name and int(name.group(1)) not in kept:
                remove_file(path)
        for path in sorted((self.path / "model").glob("image-classification-*.safetensors")):
            if path.name not in needed:
                remove_file(path)
        for path in [*self.path.glob(f".*{TEMPORARY_SUFFIX}")]:
            remove_file(path)
