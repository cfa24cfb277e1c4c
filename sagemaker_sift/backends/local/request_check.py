"""What makes a request impossible on this machine: places, programs, rules of the API."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sagemaker_sift.backends.local.storage import LocalStorage, check_writable
from sagemaker_sift.contract.problem import Problem
from sagemaker_sift.contract.specification import is_bundled

_FILE_SCHEME = "file://"
_PROGRAM = "train"
_DATA_TYPES = ("S3Prefix", "AugmentedManifestFile")


def find_storage_problems(request: Mapping[str, Any], storage: LocalStorage) -> list[Problem]:
    """Return what is wrong with the folders that a training job reads from and writes to.

    Args:
        request: A CreateTrainingJob request.
        storage: Resolves URIs.
    """
    problems = _find_output_problems(request, storage)
    for channel in request.get("InputDataConfig", []):
        argument = f"inputs[{channel.get('ChannelName')!r}]"
        source = channel.get("DataSource", {}).get("S3DataSource")
        if source is None or source.get("S3DataType") not in _DATA_TYPES:
            message = f"is a data source that is not read here. Use {' or '.join(_DATA_TYPES)}."
            problems.append(Problem(argument, message))
            continue
        try:
            folder = storage.to_path(source["S3Uri"])
        except ValueError as error:
            problems.append(Problem(argument, f"is wrong: {error}"))
            continue
        if not folder.exists():
            message = f"is {str(folder)!r}, but there is no such folder or file."
            problems.append(Problem(argument, message))
    return problems


def _find_output_problems(request: Mapping[str, Any], storage: LocalStorage) -> list[Problem]:
    targets = {
        "output_path": request.get("OutputDataConfig", {}).get("S3OutputPath"),
        "checkpoint_s3_uri": request.get("CheckpointConfig", {}).get("S3Uri"),
    }
    problems = []
    for argument, uri in targets.items():
        if uri is None:
            continue
        try:
            check_writable(storage.to_path(uri))
        except (ValueError, OSError) as error:
            problems.append(
                Problem(
                    argument,
                    f"is {uri!r}, but nothing can be written there ({error}). "
                    "Choose a folder that you may write to.",
                )
            )
    return problems


def find_program(specification: Mapping[str, Any], storage: LocalStorage) -> str | None:
    """Return the program that an algorithm runs here; ``None`` for the bundled trainer.

    Without Docker an image cannot run. An algorithm is run here if it is the bundled one, under
    whatever image, or if its ``TrainingImage`` is the ``file://`` URI of a program, or of a
    folder with a program ``train``, as ``/usr/local/bin`` of an image has it.

    Args:
        specification: The algorithm's ``TrainingSpecification``.
        storage: Resolves URIs.

    Raises:
        ValueError: If this machine cannot run it.
    """
    image = str(specification.get("TrainingImage", ""))
    if not image.startswith(_FILE_SCHEME):
        if is_bundled(specification):
            return None
        raise ValueError(
            f"runs the image {image!r}, which needs Docker; on this machine jobs are processes. "
            "Register the algorithm in this session with TrainingImage "
            "'file:///folder/train.py', the program that the image starts."
        )
    path = storage.to_path(image)
    path = path / _PROGRAM if path.is_dir() else path
    if not path.is_file():
        raise ValueError(f"runs {str(path)!r}, but there is no such file.")
    if path.suffix != ".py" and not os.access(path, os.X_OK):
        raise ValueError(f"runs {str(path)!r}, which may not be executed. Run chmod +x on it.")
    return str(Path(path).absolute())
