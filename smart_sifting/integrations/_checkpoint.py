"""The sifting state in a checkpoint folder: one file per rank, written whole or not at all.

Needs ``transformers``, whose batch classes may be in the pool.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import BatchEncoding, BatchFeature

_NAME = "sifting_state_{rank}.pt"


def write_state(folder: Path, rank: int, state: Mapping[str, Any]) -> Path:
    """Write a rank's state; a crash leaves the old file or none, never half of one.

    Args:
        folder: The checkpoint folder; it is made if another rank has not yet.
        rank: This process's number, ``>= 0``.
        state: Tensors, numbers, strings, lists and dicts.

    Returns:
        The file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / _NAME.format(rank=rank)
    descriptor, temporary = tempfile.mkstemp(dir=folder, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            torch.save(dict(state), file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path


def read_state(folder: Path, rank: int) -> dict[str, Any] | None:
    """Return a rank's state, or None if the checkpoint was made without sifting.

    Args:
        folder: The checkpoint folder.
        rank: This process's number, ``>= 0``.

    Returns:
        What was given to :func:`write_state`, on the CPU.

    Raises:
        ValueError: If the folder holds states of other ranks, but none of this one.
        pickle.UnpicklingError: If samples in the pool are of a class that neither PyTorch nor
            transformers makes; ``torch.serialization.add_safe_globals`` allows it.
    """
    path = folder / _NAME.format(rank=rank)
    if not path.is_file():
        others = sorted(other.name for other in folder.glob(_NAME.format(rank="*")))
        if others:
            raise ValueError(
                f"{folder} has no {path.name} for this process, but has {', '.join(others)}. "
                "Continue with as many processes as the checkpoint was made with."
            )
        return None
    with torch.serialization.safe_globals([BatchEncoding, BatchFeature]):
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state
