"""Where a job that was cut off goes on: ``/opt/ml/checkpoints``.

```
checkpoint-0003.safetensors        tensors of the state behind the 3rd epoch
checkpoint-0003.json               the rest of the state, and the SHA-256 of every file it needs
checkpoint-0003-00000120.json ...  the same, 120 batches further, within the 4th epoch
model/                             the files of /opt/ml/model that the state speaks of
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
from sagemaker_sift.trainer.errors import TrainingError
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

FORMAT_VERSION = 2
NUM_KEPT = 2

Write = Callable[[Path, Iterable[bytes]], None]
"""How a file is written: in full or not at all."""

Position = tuple[int, int]
"""How far a job is: full epochs, and batches of the next one."""

_NAME = re.compile(r"checkpoint-(\d{4,})(?:-(\d{8,}))?\.(json|safetensors)")
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A state that was read back.

    Attributes:
        position: How far the job was.
        state: What was given to :meth:`CheckpointFolder.save`, tensors on the CPU.
        model_files: Names of the model files that belong to it.
    """

    position: Position
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
        self,
        position: Position,
        state: dict[str, Any],
        *,
        model_folder: Path,
        files: tuple[str, ...],
    ) -> None:
        """Save the state of a job.

        Args:
            position: How far it is.
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
        weights = self.path / f"{_stem(position)}.safetensors"
        self._write(weights, [safetensors.torch.save(tensors)])
        description = {
            "format_version": FORMAT_VERSION,
            "position": list(position),
            "tensors_sha256": hash_file(weights),
            "model_sha256": hashes,
            "state": rest,
        }
        self._write(self.path / f"{_stem(position)}.json", [encode_json(description)])
        self._remove_old(files, newest=position)

    def load(self) -> Checkpoint | None:
        """Return the newest checkpoint that is whole, or ``None`` if there is none.

        A damaged one is named in the log and passed over.

        Raises:
            TrainingError: If it was written by a version whose checkpoints this one cannot read.
        """
        for position in self._positions():
            try:
                return self._read(position)
            except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
                name = f"{_stem(position)}.json"
                _LOG.warning("The checkpoint %s in %s is damaged: %s", name, self.path, error)
        return None

    def restore_model_files(self, checkpoint: Checkpoint, model_folder: Path) -> None:
        """Copy the model files of a checkpoint back into the model folder.

        Raises:
            TrainingError: If they cannot be written.
        """
        for name in checkpoint.model_files:
            write_atomically(model_folder / name, read_chunks(self.path / "model" / name))

    def _positions(self) -> list[Position]:
        """Return the positions of all checkpoints, the furthest first."""
        found = (_position_of(path) for path in self.path.glob("checkpoint-*.json"))
        return sorted({position for position in found if position}, reverse=True)

    def _read(self, position: Position) -> Checkpoint:
        description = json.loads((self.path / f"{_stem(position)}.json").read_text())
        version = description["format_version"]
        if version != FORMAT_VERSION:
            raise TrainingError(
                f"The checkpoint {_stem(position)}.json in {self.path} has format {version!r}, "
                f"but this version of the algorithm reads {FORMAT_VERSION}. Resume the job with "
                "the version that wrote it, or give it another checkpoint location."
            )
        weights = self.path / f"{_stem(position)}.safetensors"
        files = {self.path / "model" / n: h for n, h in description["model_sha256"].items()}
        for path, expected in {weights: description["tensors_sha256"], **files}.items():
            if path != weights and not re.fullmatch(WEIGHTS_PATTERN, path.name):
                raise ValueError(f"it names an unexpected file, {path.name!r}")
            if hash_file(path) != expected:
                raise ValueError(f"{path.name} is not what was saved")
        tensors = safetensors.torch.load_file(weights)
        return Checkpoint(
            position=position,
            state=unpack_state(tensors, description["state"]),
            model_files=tuple(description["model_sha256"]),
        )

    def _remove_old(self, files: tuple[str, ...], *, newest: Position) -> None:
        """Keep the newest checkpoint and the one before; those ahead of it were damaged."""
        needed = set(files)
        kept = [position for position in self._positions() if position <= newest][:NUM_KEPT]
        for position in kept:
            try:
                text = (self.path / f"{_stem(position)}.json").read_text()
                needed.update(json.loads(text)["model_sha256"])
            except (ValueError, KeyError, TypeError, OSError):
                continue
        for path in sorted(self.path.glob("checkpoint-*")):
            if _position_of(path) not in {None, *kept}:
                remove_file(path)
        for path in sorted((self.path / "model").glob("image-classification-*.safetensors")):
            if path.name not in needed:
                remove_file(path)
        for path in [*self.path.glob(f".*{TEMPORARY_SUFFIX}")]:
            remove_file(path)


def _stem(position: Position) -> str:
    """Return the name of a checkpoint's files, less the suffix.

    Example:
        >>> _stem((3, 0)), _stem((3, 120))
        ('checkpoint-0003', 'checkpoint-0003-00000120')
    """
    num_epochs, num_batches = position
    return f"checkpoint-{num_epochs:04d}" + (f"-{num_batches:08d}" if num_batches else "")


def _position_of(path: Path) -> Position | None:
    name = _NAME.fullmatch(path.name)
    return (int(name.group(1)), int(name.group(2) or 0)) if name else None
