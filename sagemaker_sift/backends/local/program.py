"""What a training job runs: the bundled trainer, or the program of a registered algorithm."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sagemaker_sift.backends.local.container import find_entry_point
from sagemaker_sift.backends.local.failure import JobFailure


@dataclass(frozen=True, slots=True)
class TrainingProgram:
    """A program and how it is run.

    Attributes:
        path: Of the program.
        is_python: Whether this interpreter runs it.
        arguments: Of its command line.
    """

    path: Path
    is_python: bool
    arguments: tuple[str, ...] = ()

    @property
    def command(self) -> list[str]:
        """The command that runs it in a process of its own.

        Example:
            >>> TrainingProgram(Path("/opt/train.sh"), False, ("train",)).command
            ['/opt/train.sh', 'train']
        """
        interpreter = [sys.executable] if self.is_python else []
        return [*interpreter, str(self.path), *self.arguments]


def find_program(record: Mapping[str, Any]) -> TrainingProgram:
    """Return the program of a job.

    A program other than the bundled trainer gets the argument ``train``, as an image does.

    Args:
        record: The job's record; ``Local.Program`` is the path of another program.

    Raises:
        JobFailure: If there is no such program, or it may not be executed.
        FileNotFoundError: If the bundled trainer is not there.
    """
    given = record["Local"].get("Program")
    if given is None:
        return TrainingProgram(find_entry_point(), is_python=True)
    path = Path(given)
    if not path.is_file():
        raise JobFailure(
            f"ClientError: The program of the algorithm, {str(path)!r}, is not there. Put it "
            "back, or register the algorithm with another TrainingImage."
        )
    is_python = path.suffix == ".py"
    if not is_python and not os.access(path, os.X_OK):
        raise JobFailure(
            f"ClientError: The program of the algorithm, {str(path)!r}, may not be executed. "
            f"Run: chmod +x {str(path)!r}"
        )
    return TrainingProgram(path, is_python, ("train",))
