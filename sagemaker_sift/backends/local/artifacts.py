"""What the hosts of a job made: gathered, packed, cleared away."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from sagemaker_sift.backends.local.archive import pack_folder
from sagemaker_sift.backends.local.container import find_rendezvous
from sagemaker_sift.backends.local.training import HostRun
from sagemaker_sift.contract.container import ContainerPaths

MODEL_NAME = "model.tar.gz"
"""Name of the archive with the model."""


def pack_artifacts(runs: Sequence[HostRun], output: Path) -> None:
    """Pack the models and the outputs of all hosts, each into one archive.

    The models are laid into one another, as SageMaker does; of files with the same name that of
    the first host stays. The output of further hosts lies in a folder with the host's name.

    Args:
        runs: The hosts, the first one first.
        output: Where the archives go.

    Raises:
        OSError: If they cannot be written; what is left of the models is with the first host.
    """
    first = runs[0].paths
    for run in runs[1:]:
        _merge(run.paths.model, first.model)
        if has_files(run.paths.output_data.parent):
            os.rename(run.paths.output_data.parent, first.output_data.parent / run.host.name)
    pack_folder(first.output_data.parent, output / "output.tar.gz")
    if any(first.model.iterdir()):
        pack_folder(first.model, output / MODEL_NAME)


def clear_away(folder: Path, roots: Iterable[ContainerPaths]) -> None:
    """Remove what the hosts worked in; no error if that fails.

    Args:
        folder: Of the job.
        roots: The ``/opt/ml`` of the hosts.
    """
    for paths in roots:
        shutil.rmtree(paths.root, ignore_errors=True)
    find_rendezvous(folder).unlink(missing_ok=True)


def has_files(folder: Path) -> bool:
    """Return whether there is a file in a folder or below."""
    return any(names for _, _, names in os.walk(folder))


def _merge(source: Path, target: Path) -> None:
    for path in sorted(source.rglob("*")):
        goal = target / path.relative_to(source)
        if path.is_symlink() or os.path.lexists(goal) or not goal.parent.is_dir():
            continue
        if path.is_dir():
            goal.mkdir()
        else:
            os.rename(path, goal)
