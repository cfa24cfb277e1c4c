"""Train sifted image classifiers on Amazon SageMaker and on this machine.

Public names load on first use, so that importing this package costs next to nothing and the
container, which needs only :mod:`sagemaker_sift.contract`, never loads the client.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sagemaker_sift.default_dataset import Dataset as Dataset
    from sagemaker_sift.default_dataset import write_default_dataset as write_default_dataset
    from sagemaker_sift.estimator import AlgorithmEstimator as AlgorithmEstimator
    from sagemaker_sift.exceptions import ArtifactError as ArtifactError
    from sagemaker_sift.exceptions import BackendError as BackendError
    from sagemaker_sift.exceptions import ConflictError as ConflictError
    from sagemaker_sift.exceptions import InvalidRequestError as InvalidRequestError
    from sagemaker_sift.exceptions import JobError as JobError
    from sagemaker_sift.exceptions import JobFailedError as JobFailedError
    from sagemaker_sift.exceptions import JobStoppedError as JobStoppedError
    from sagemaker_sift.exceptions import MissingDependencyError as MissingDependencyError
    from sagemaker_sift.exceptions import NotFoundError as NotFoundError
    from sagemaker_sift.exceptions import SiftError as SiftError
    from sagemaker_sift.inputs import TrainingInput as TrainingInput
    from sagemaker_sift.results.metrics import TrainingJobAnalytics as TrainingJobAnalytics
    from sagemaker_sift.results.summary import TrainingSummary as TrainingSummary
    from sagemaker_sift.results.training_job import TrainingJob as TrainingJob
    from sagemaker_sift.session import LocalSession as LocalSession

__version__ = "0.3.0"

_HOMES = {
    "AlgorithmEstimator": "estimator",
    "ArtifactError": "exceptions",
    "BackendError": "exceptions",
    "ConflictError": "exceptions",
    "Dataset": "default_dataset",
    "InvalidRequestError": "exceptions",
    "JobError": "exceptions",
    "JobFailedError": "exceptions",
    "JobStoppedError": "exceptions",
    "LocalSession": "session",
    "MissingDependencyError": "exceptions",
    "NotFoundError": "exceptions",
    "SiftError": "exceptions",
    "TrainingInput": "inputs",
    "TrainingJob": "results.training_job",
    "TrainingJobAnalytics": "results.metrics",
    "TrainingSummary": "results.summary",
    "write_default_dataset": "default_dataset",
}

__all__ = [
    "AlgorithmEstimator",
    "ArtifactError",
    "BackendError",
    "ConflictError",
    "Dataset",
    "InvalidRequestError",
    "JobError",
    "JobFailedError",
    "JobStoppedError",
    "LocalSession",
    "MissingDependencyError",
    "NotFoundError",
    "SiftError",
    "TrainingInput",
    "TrainingJob",
    "TrainingJobAnalytics",
    "TrainingSummary",
    "write_default_dataset",
]


def __getattr__(name: str) -> Any:
    """Load a public name on first use."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
