"""Train sifted image classifiers on Amazon SageMaker and on this machine.

Public names load on first use, so that importing this package costs next to nothing and the
container, which needs only :mod:`sagemaker_sift.contract`, never loads the client.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sagemaker_sift.algorithm import Algorithm as Algorithm
    from sagemaker_sift.algorithm_catalog import AlgorithmSummary as AlgorithmSummary
    from sagemaker_sift.contract.instances import suggest_batch_size as suggest_batch_size
    from sagemaker_sift.default_dataset import Dataset as Dataset
    from sagemaker_sift.default_dataset import write_default_dataset as write_default_dataset
    from sagemaker_sift.defaults import Defaults as Defaults
    from sagemaker_sift.estimator import AlgorithmEstimator as AlgorithmEstimator
    from sagemaker_sift.exceptions import AccessDeniedError as AccessDeniedError
    from sagemaker_sift.exceptions import AlgorithmFailedError as AlgorithmFailedError
    from sagemaker_sift.exceptions import ArtifactError as ArtifactError
    from sagemaker_sift.exceptions import BackendError as BackendError
    from sagemaker_sift.exceptions import ConfigurationError as ConfigurationError
    from sagemaker_sift.exceptions import ConflictError as ConflictError
    from sagemaker_sift.exceptions import CredentialsError as CredentialsError
    from sagemaker_sift.exceptions import InvalidRequestError as InvalidRequestError
    from sagemaker_sift.exceptions import JobError as JobError
    from sagemaker_sift.exceptions import JobFailedError as JobFailedError
    from sagemaker_sift.exceptions import JobStoppedError as JobStoppedError
    from sagemaker_sift.exceptions import MissingDependencyError as MissingDependencyError
    from sagemaker_sift.exceptions import NotFoundError as NotFoundError
    from sagemaker_sift.exceptions import SiftError as SiftError
    from sagemaker_sift.exceptions import ThrottledError as ThrottledError
    from sagemaker_sift.exceptions import TuningJobFailedError as TuningJobFailedError
    from sagemaker_sift.exceptions import TuningJobStoppedError as TuningJobStoppedError
    from sagemaker_sift.exceptions import UnreachableError as UnreachableError
    from sagemaker_sift.inputs import FileSystemInput as FileSystemInput
    from sagemaker_sift.inputs import ShuffleConfig as ShuffleConfig
    from sagemaker_sift.inputs import TrainingInput as TrainingInput
    from sagemaker_sift.limits import TuningLimits as TuningLimits
    from sagemaker_sift.parameter import CategoricalParameter as CategoricalParameter
    from sagemaker_sift.parameter import ContinuousParameter as ContinuousParameter
    from sagemaker_sift.parameter import IntegerParameter as IntegerParameter
    from sagemaker_sift.resources import InstanceConfig as InstanceConfig
    from sagemaker_sift.resources import InstanceGroup as InstanceGroup
    from sagemaker_sift.results.metrics import TrainingJobAnalytics as TrainingJobAnalytics
    from sagemaker_sift.results.summary import TrainingSummary as TrainingSummary
    from sagemaker_sift.results.training_job import TrainingJob as TrainingJob
    from sagemaker_sift.results.tuning_analytics import (
        HyperparameterTuningJobAnalytics as HyperparameterTuningJobAnalytics,
    )
    from sagemaker_sift.results.tuning_job import TuningJob as TuningJob
    from sagemaker_sift.session import LocalSession as LocalSession
    from sagemaker_sift.session import Session as Session
    from sagemaker_sift.session import get_execution_role as get_execution_role
    from sagemaker_sift.strategy import HyperbandStrategyConfig as HyperbandStrategyConfig
    from sagemaker_sift.strategy import StrategyConfig as StrategyConfig
    from sagemaker_sift.strategy import (
        TuningJobCompletionCriteriaConfig as TuningJobCompletionCriteriaConfig,
    )
    from sagemaker_sift.tuner import HyperparameterTuner as HyperparameterTuner
    from sagemaker_sift.tuner import (
        create_identical_dataset_and_algorithm_tuner as create_identical_dataset_and_algorithm_tuner,  # noqa: E501
    )
    from sagemaker_sift.tuner import (
        create_transfer_learning_tuner as create_transfer_learning_tuner,
    )
    from sagemaker_sift.warm_start import WarmStartConfig as WarmStartConfig
    from sagemaker_sift.warm_start import WarmStartTypes as WarmStartTypes

__version__ = "0.6.0"

_HOMES = {
    "AccessDeniedError": "exceptions",
    "Algorithm": "algorithm",
    "AlgorithmEstimator": "estimator",
    "AlgorithmFailedError": "exceptions",
    "AlgorithmSummary": "algorithm_catalog",
    "ArtifactError": "exceptions",
    "BackendError": "exceptions",
    "CategoricalParameter": "parameter",
    "ConfigurationError": "exceptions",
    "ConflictError": "exceptions",
    "ContinuousParameter": "parameter",
    "CredentialsError": "exceptions",
    "Dataset": "default_dataset",
    "Defaults": "defaults",
    "FileSystemInput": "inputs",
    "HyperbandStrategyConfig": "strategy",
    "HyperparameterTuner": "tuner",
    "HyperparameterTuningJobAnalytics": "results.tuning_analytics",
    "InstanceConfig": "resources",
    "InstanceGroup": "resources",
    "IntegerParameter": "parameter",
    "InvalidRequestError": "exceptions",
    "JobError": "exceptions",
    "JobFailedError": "exceptions",
    "JobStoppedError": "exceptions",
    "LocalSession": "session",
    "MissingDependencyError": "exceptions",
    "NotFoundError": "exceptions",
    "Session": "session",
    "ShuffleConfig": "inputs",
    "SiftError": "exceptions",
    "StrategyConfig": "strategy",
    "ThrottledError": "exceptions",
    "TrainingInput": "inputs",
    "TrainingJob": "results.training_job",
    "TrainingJobAnalytics": "results.metrics",
    "TrainingSummary": "results.summary",
    "TuningJob": "results.tuning_job",
    "TuningJobCompletionCriteriaConfig": "strategy",
    "TuningJobFailedError": "exceptions",
    "TuningJobStoppedError": "exceptions",
    "TuningLimits": "limits",
    "UnreachableError": "exceptions",
    "WarmStartConfig": "warm_start",
    "WarmStartTypes": "warm_start",
    "create_identical_dataset_and_algorithm_tuner": "tuner",
    "create_transfer_learning_tuner": "tuner",
    "get_execution_role": "session",
    "suggest_batch_size": "contract.instances",
    "write_default_dataset": "default_dataset",
}

__all__ = [
    "AccessDeniedError",
    "Algorithm",
    "AlgorithmEstimator",
    "AlgorithmFailedError",
    "AlgorithmSummary",
    "ArtifactError",
    "BackendError",
    "CategoricalParameter",
    "ConfigurationError",
    "ConflictError",
    "ContinuousParameter",
    "CredentialsError",
    "Dataset",
    "Defaults",
    "FileSystemInput",
    "HyperbandStrategyConfig",
    "HyperparameterTuner",
    "HyperparameterTuningJobAnalytics",
    "InstanceConfig",
    "InstanceGroup",
    "IntegerParameter",
    "InvalidRequestError",
    "JobError",
    "JobFailedError",
    "JobStoppedError",
    "LocalSession",
    "MissingDependencyError",
    "NotFoundError",
    "Session",
    "ShuffleConfig",
    "SiftError",
    "StrategyConfig",
    "ThrottledError",
    "TrainingInput",
    "TrainingJob",
    "TrainingJobAnalytics",
    "TrainingSummary",
    "TuningJob",
    "TuningJobCompletionCriteriaConfig",
    "TuningJobFailedError",
    "TuningJobStoppedError",
    "TuningLimits",
    "UnreachableError",
    "WarmStartConfig",
    "WarmStartTypes",
    "create_identical_dataset_and_algorithm_tuner",
    "create_transfer_learning_tuner",
    "get_execution_role",
    "suggest_batch_size",
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
