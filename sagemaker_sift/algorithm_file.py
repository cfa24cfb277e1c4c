"""An algorithm as a JSON file: read with the line of a mistake, written whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sagemaker_sift.contract.problem import Problem, closest
from sagemaker_sift.exceptions import InvalidRequestError

_REQUEST = (
    "AlgorithmName",
    "AlgorithmDescription",
    "TrainingSpecification",
    "InferenceSpecification",
    "ValidationSpecification",
    "CertifyForMarketplace",
    "Tags",
)
_RESPONSE = (
    "AlgorithmArn",
    "CreationTime",
    "AlgorithmStatus",
    "AlgorithmStatusDetails",
    "ProductId",
    "ResponseMetadata",
)
_SPECIFICATION = (
    "TrainingImage",
    "TrainingImageDigest",
    "SupportedHyperParameters",
    "SupportedTrainingInstanceTypes",
    "SupportsDistributedTraining",
    "MetricDefinitions",
    "TrainingChannels",
    "SupportedTuningJobObjectiveMetrics",
    "AdditionalS3DataSource",
)


def read_algorithm(source: str | os.PathLike[str], name: str | None) -> dict[str, Any]:
    """Return the request or response that a JSON text or file holds.

    Args:
        source: Path of a file, or the text itself, which begins with a brace.
        name: ``AlgorithmName`` in place of the one in the JSON.

    Raises:
        InvalidRequestError: If it is not JSON, or not about an algorithm; the path of each problem
            names file and line.
        OSError: If the file cannot be read.

    Example:
        >>> read_algorithm('{"TrainingImage": "image:1"}', "mine")
        {'AlgorithmName': 'mine', 'TrainingSpecification': {'TrainingImage': 'image:1'}}
    """
    if isinstance(source, str) and source.lstrip().startswith("{"):
        label, content = "the JSON", source
    else:
        label = os.fspath(source)
        content = _read_file(Path(os.path.expanduser(source)), label)
    value = _parse(content, label)
    if "TrainingSpecification" not in value and value.keys() & set(_SPECIFICATION):
        _check_names(value, _SPECIFICATION, label)
        if name is None:
            message = f"is missing: {label} holds a TrainingSpecification, which has no name."
            raise InvalidRequestError([Problem("name", message)])
        return {"AlgorithmName": name, "TrainingSpecification": value}
    _check_names(value, (*_REQUEST, *_RESPONSE), label)
    return value if name is None else {**value, "AlgorithmName": name}


def write_json(value: Mapping[str, Any]) -> str:
    r"""Return a request as text for people and programs.

    Example:
        >>> write_json({"AlgorithmName": "mine"})
        '{\n  "AlgorithmName": "mine"\n}\n'
    """
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def _read_file(path: Path, label: str) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        message = "is not UTF-8 text. Save it as UTF-8."
        raise InvalidRequestError([Problem(f"{label}:{line}", message)]) from None


def _parse(content: str, label: str) -> dict[str, Any]:
    repeated: list[str] = []

    def build(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in pairs]
        repeated.extend(sorted({name for name in names if names.count(name) > 1}))
        return dict(pairs)

    try:
        value = json.loads(content, object_pairs_hook=build, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        message = f"is not JSON: {error.msg} (column {error.colno})."
        raise InvalidRequestError([Problem(f"{label}:{error.lineno}", message)]) from None
    except (ValueError, RecursionError) as error:
        message = f"is not JSON that can be read: {error}."
        raise InvalidRequestError([Problem(label, message)]) from None
    if repeated:
        message = "has {!r} more than once in one object. Keep one."
        raise InvalidRequestError(Problem(label, message.format(name)) for name in repeated)
    if not isinstance(value, dict):
        message = "holds no JSON object. Give a CreateAlgorithm request or a specification."
        raise InvalidRequestError([Problem(label, message)])
    return value


def _refuse_constant(text: str) -> None:
    raise ValueError(f"{text} is no number of JSON")


def _check_names(value: Mapping[str, Any], known: Sequence[str], label: str) -> None:
    problems = [
        Problem(
            label, f"has {name!r}, which is not a field of an algorithm.{closest(name, known)}"
        )
        for name in value
        if name not in known
    ]
    if problems:
        raise InvalidRequestError(problems)
