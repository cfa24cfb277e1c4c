"""``model.json``, read and checked: what a model folder of this algorithm holds."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sagemaker_sift.contract.hyperparameters import Hyperparameters
from sagemaker_sift.contract.problem import ContractError
from sagemaker_sift.trainer.artifacts import FORMAT_VERSION, WEIGHTS_PATTERN, SavedEpoch


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelDescription:
    """What ``model.json`` says.

    Attributes:
        classes: Class names, in the order of the outputs.
        hyperparameters: Of the job that made the model.
        best: The weights to load.
        saved: All weights that are there, oldest first; ``best`` is one of them.
    """

    classes: tuple[str, ...]
    hyperparameters: Hyperparameters
    best: SavedEpoch
    saved: tuple[SavedEpoch, ...]


def parse_description(text: bytes | str) -> ModelDescription:
    """Return what ``model.json`` says.

    Args:
        text: Its content.

    Raises:
        ValueError: If it is no such file, or one of another version; the text says why, without
            a full stop.

    Example:
        >>> parse_description("{}")
        Traceback (most recent call last):
        ValueError: it lacks 'format_version'
    """
    try:
        raw = json.loads(text)
        if raw["format_version"] != FORMAT_VERSION:
            raise ValueError(
                f"format_version is {raw['format_version']!r}, but this version of "
                f"sagemaker-sift reads {FORMAT_VERSION}"
            )
        hyperparameters = Hyperparameters.from_strings(raw["hyperparameters"])
        classes = tuple(raw["classes"])
        if not all(type(name) is str for name in classes):
            raise ValueError("classes are not all strings")
        if len(classes) != hyperparameters.num_classes:
            raise ValueError("num_classes and classes differ")
        saved = tuple(_read_saved(entry) for entry in raw["saved"])
        best = _read_saved(raw | {"file": raw["weights"]})
        if best.file not in {entry.file for entry in saved}:
            raise ValueError(f"weights is {best.file!r}, which is not in saved")
    except KeyError as error:
        raise ValueError(f"it lacks {error}") from error
    except (TypeError, AttributeError, OverflowError, RecursionError, ContractError) as error:
        raise ValueError(str(error)) from error
    return ModelDescription(
        classes=classes, hyperparameters=hyperparameters, best=best, saved=saved
    )


def _read_saved(raw: Mapping[str, Any]) -> SavedEpoch:
    epoch = raw["epoch"]
    if type(epoch) is not int or epoch < 1:
        raise ValueError(f"epoch is {epoch!r}")
    return SavedEpoch(
        epoch=epoch,
        file=_read_file_name(raw["file"]),
        metrics={str(name): float(value) for name, value in raw["metrics"].items()},
    )


def _read_file_name(raw: Any) -> str:
    if not isinstance(raw, str) or not re.fullmatch(WEIGHTS_PATTERN, raw, re.ASCII):
        raise ValueError(f"weights is {raw!r}")
    return raw
