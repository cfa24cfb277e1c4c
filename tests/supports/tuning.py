"""A right tuning job of somebody else's algorithm, and what is found when it is changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sagemaker_sift import HyperparameterTuner, IntegerParameter, InvalidRequestError
from tests.supports.algorithms import build_trees_estimator

LEAVES = {"max_leaf_nodes": IntegerParameter(2, 900)}
PLAIN: dict[str, Any] = {
    "objective_metric_name": "validation:accuracy",
    "hyperparameter_ranges": LEAVES,
    "max_jobs": 10,
    "max_parallel_jobs": 2,
}
INPUTS = {"training": "s3://bucket/train"}


def find_problems(
    root: Path, inputs: Any = None, job_name: str | None = "job", **changes: Any
) -> list[str]:
    """Return the problems of a tuning job of the trees that differs from a right one."""
    estimator = {
        key.removeprefix("estimator_"): changes.pop(key)
        for key in list(changes)
        if key.startswith("estimator_")
    }
    tuner = HyperparameterTuner(build_trees_estimator(root, **estimator), **(PLAIN | changes))
    try:
        tuner.request(INPUTS if inputs is None else inputs, job_name)
    except InvalidRequestError as error:
        return [str(problem) for problem in error.problems]
    return []


def ranges(**given: Any) -> dict[str, Any]:
    return {"hyperparameter_ranges": LEAVES | given}
