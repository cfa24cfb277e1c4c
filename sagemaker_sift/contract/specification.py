"""The contract as SageMaker's ``TrainingSpecification``, the form that consoles and APIs read.

Source: API reference of CreateAlgorithm, ``TrainingSpecification`` and
``HyperParameterSpecification``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sagemaker_sift.contract.channels import CHANNELS, Channel
from sagemaker_sift.contract.hyperparameter import HyperparameterSpec, to_text
from sagemaker_sift.contract.hyperparameters import SPECS, Hyperparameters
from sagemaker_sift.contract.metrics import METRICS, Metric

ALGORITHM_NAME = "sift-image-classification"
"""Name of the bundled algorithm; a local session knows it without registration."""

INSTANCE_TYPES = (
    "ml.p3.2xlarge",
    "ml.p3.8xlarge",
    "ml.p3.16xlarge",
    "ml.p3dn.24xlarge",
    "ml.p4d.24xlarge",
    "ml.p5.48xlarge",
    "ml.g4dn.xlarge",
    "ml.g4dn.2xlarge",
    "ml.g4dn.4xlarge",
    "ml.g4dn.8xlarge",
    "ml.g4dn.12xlarge",
    "ml.g4dn.16xlarge",
    "ml.g5.xlarge",
    "ml.g5.2xlarge",
    "ml.g5.4xlarge",
    "ml.g5.8xlarge",
    "ml.g5.12xlarge",
    "ml.g5.16xlarge",
    "ml.g5.24xlarge",
    "ml.g5.48xlarge",
    "ml.g6.xlarge",
    "ml.g6.2xlarge",
    "ml.g6.4xlarge",
    "ml.g6.8xlarge",
    "ml.g6.12xlarge",
    "ml.g6.16xlarge",
    "ml.g6.24xlarge",
    "ml.g6.48xlarge",
    "ml.c4.xlarge",
    "ml.c5.xlarge",
    "ml.c5.2xlarge",
    "ml.c5.4xlarge",
    "ml.c5.9xlarge",
    "ml.c5.18xlarge",
    "ml.m5.large",
    "ml.m5.xlarge",
    "ml.m5.2xlarge",
    "ml.m5.4xlarge",
    "ml.m5.12xlarge",
    "ml.m5.24xlarge",
)
"""Instance types that the algorithm is offered for; a job uses all their GPUs."""

_LARGEST_INTEGER = 2**31 - 1


def build_training_specification(training_image: str) -> dict[str, Any]:
    """Return the ``TrainingSpecification`` of the algorithm.

    Args:
        training_image: URI of the container image.

    Example:
        >>> build_training_specification("image:1")["SupportedTuningJobObjectiveMetrics"]
        [{'Type': 'Maximize', 'MetricName': 'validation:accuracy'}]
    """
    defaults = {name: field.default for name, field in Hyperparameters.model_fields.items()}
    return {
        "TrainingImage": training_image,
        "SupportedHyperParameters": [
            _describe_hyperparameter(name, spec, defaults[name]) for name, spec in SPECS.items()
        ],
        "SupportedTrainingInstanceTypes": list(INSTANCE_TYPES),
        "SupportsDistributedTraining": True,
        "MetricDefinitions": build_metric_definitions(),
        "TrainingChannels": [_describe_channel(channel) for channel in CHANNELS],
        "SupportedTuningJobObjectiveMetrics": [
            {"Type": "Maximize", "MetricName": metric.name}
            for metric in METRICS
            if metric.is_objective
        ],
    }


def is_bundled(specification: Mapping[str, Any]) -> bool:
    """Return whether a ``TrainingSpecification`` is that of the bundled algorithm.

    Its name does not tell: it may be registered under any. Its hyperparameters do.

    Example:
        >>> is_bundled(build_training_specification("image:1"))
        True
        >>> is_bundled({"SupportedHyperParameters": [{"Name": "max_leaf_nodes"}]})
        False
    """
    declared = specification.get("SupportedHyperParameters") or []
    return {entry.get("Name") for entry in declared} == set(SPECS)


def build_metric_definitions() -> list[dict[str, str]]:
    """Return name and regex of every metric.

    Example:
        >>> build_metric_definitions()[0]["Name"]
        'train:accuracy'
    """
    return [_describe_metric(metric) for metric in METRICS]


def _describe_metric(metric: Metric) -> dict[str, str]:
    return {"Name": metric.name, "Regex": metric.regex}


def _describe_channel(channel: Channel) -> dict[str, Any]:
    return {
        "Name": channel.name,
        "Description": channel.meaning,
        "IsRequired": channel.is_required,
        "SupportedContentTypes": list(channel.content_types),
        "SupportedCompressionTypes": ["None"],
        "SupportedInputModes": list(channel.input_modes),
    }


def _describe_hyperparameter(
    name: str, spec: HyperparameterSpec, default: object
) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "Name": name,
        "Description": spec.meaning,
        "Type": spec.kind,
        "IsTunable": spec.is_tunable,
        "IsRequired": spec.is_required,
    }
    value_range = _describe_range(spec)
    if value_range:
        entry["Range"] = value_range
    if not spec.is_required and default not in {None, ()}:
        entry["DefaultValue"] = to_text(default, spec)
    return entry


def _describe_range(spec: HyperparameterSpec) -> dict[str, Any] | None:
    if spec.kind == "Categorical":
        return {"CategoricalParameterRangeSpecification": {"Values": list(spec.values)}}
    if spec.low is None:
        return None
    if spec.kind == "Integer":
        high = _LARGEST_INTEGER if spec.high is None else int(spec.high)
        bounds = {"MinValue": str(int(spec.low)), "MaxValue": str(high)}
        return {"IntegerParameterRangeSpecification": bounds}
    bounds = {"MinValue": repr(float(spec.low)), "MaxValue": repr(float(spec.high or 0.0))}
    return {"ContinuousParameterRangeSpecification": bounds}
