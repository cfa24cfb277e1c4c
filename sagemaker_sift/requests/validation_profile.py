"""The jobs that SageMaker runs to try an algorithm out: ``ValidationSpecification``.

Source: API reference, ``AlgorithmValidationSpecification``, ``TrainingJobDefinition`` and
``TransformJobDefinition``; developer guide, "Create an algorithm resource".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sagemaker_sift.contract.hyperparameter import to_text
from sagemaker_sift.contract.hyperparameters import SPECS
from sagemaker_sift.contract.inference import REQUEST_CONTENT_TYPES, RESPONSE_CONTENT_TYPES
from sagemaker_sift.contract.problem import Problem, closest
from sagemaker_sift.requests.hyperparameter_rules import HyperparameterRules
from sagemaker_sift.requests.validation import find_job_problems

_PROFILES = "ValidationSpecification.ValidationProfiles"
_SPECIFICATION = "algorithm's specification"


def build_validation_specification(
    role: str,
    train_uri: str,
    output_path: str,
    *,
    instance_type: str,
    hyperparameters: Mapping[str, Any],
    validation_uri: str | None = None,
    content_type: str | None = None,
    input_mode: str = "File",
    instance_count: int = 1,
    volume_size: int = 30,
    max_run: int = 3600,
    transform_input_uri: str | None = None,
    transform_instance_type: str | None = None,
    name: str = "validation",
) -> dict[str, Any]:
    """Return a ``ValidationSpecification``: one training job, and a batch transform if wanted.

    Buyers of a published algorithm see data, logs and results of these jobs.

    Args:
        role: ARN of the role that runs them.
        train_uri: S3 URI of the channel ``train``.
        output_path: S3 URI under which models and predictions go.
        instance_type: Of the training job.
        hyperparameters: Of the training job.
        validation_uri: S3 URI of the channel ``validation``.
        content_type: MIME type of both channels.
        input_mode: ``File``, ``FastFile`` or ``Pipe``.
        instance_count: Number of instances that train.
        volume_size: Of the storage volume, GB.
        max_run: Longest run of the training job, seconds.
        transform_input_uri: S3 URI of images to predict; without it there is no transform job.
        transform_instance_type: Of the transform job; ``instance_type`` by default.
        name: Of the profile.
    """
    channels = {"train": train_uri, "validation": validation_uri}
    profile: dict[str, Any] = {
        "ProfileName": name,
        "TrainingJobDefinition": {
            "TrainingInputMode": input_mode,
            "HyperParameters": {key: _write(key, value) for key, value in hyperparameters.items()},
            "InputDataConfig": [
                {"ChannelName": channel, "DataSource": _build_source(uri)}
                | ({"ContentType": content_type} if content_type else {})
                for channel, uri in channels.items()
                if uri is not None
            ],
            "OutputDataConfig": {"S3OutputPath": output_path},
            "ResourceConfig": {
                "InstanceType": instance_type,
                "InstanceCount": instance_count,
                "VolumeSizeInGB": volume_size,
            },
            "StoppingCondition": {"MaxRuntimeInSeconds": max_run},
        },
    }
    if transform_input_uri is not None:
        profile["TransformJobDefinition"] = {
            "BatchStrategy": "SingleRecord",
            "TransformInput": {
                "DataSource": _build_source(transform_input_uri),
                "ContentType": REQUEST_CONTENT_TYPES[0],
            },
            "TransformOutput": {
                "S3OutputPath": output_path,
                "Accept": RESPONSE_CONTENT_TYPES[1],
            },
            "TransformResources": {
                "InstanceType": transform_instance_type or instance_type,
                "InstanceCount": 1,
            },
        }
    return {"ValidationRole": role, "ValidationProfiles": [profile]}


def find_profile_problems(request: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield where the jobs of a profile do not fit the algorithm that they are to try out.

    Args:
        request: A CreateAlgorithm request whose values have the right types.
    """
    specification = request.get("TrainingSpecification", {})
    entries = [
        *specification.get("SupportedHyperParameters", []),
        *specification.get("TrainingChannels", []),
    ]
    if not all("Name" in entry for entry in entries):
        return  # the service model says that they are missing
    profiles = request.get("ValidationSpecification", {}).get("ValidationProfiles", [])
    for idx, profile in enumerate(profiles):
        path = f"{_PROFILES}[{idx}]"
        job = profile.get("TrainingJobDefinition", {})
        yield from _check_training_job(job, specification, f"{path}.TrainingJobDefinition")
        if "TransformJobDefinition" in profile:
            transform = f"{path}.TransformJobDefinition"
            inference = request.get("InferenceSpecification")
            if inference is None:
                message = "is given, but there is no InferenceSpecification with an image for it."
                yield Problem(transform, message, "API reference, CreateAlgorithm")
            else:
                yield from _check_transform_job(
                    profile["TransformJobDefinition"], inference, transform
                )


def _check_training_job(
    definition: Mapping[str, Any], specification: Mapping[str, Any], path: str
) -> Iterator[Problem]:
    rules = HyperparameterRules(specification)
    for problem in rules.find_conflicts(definition.get("HyperParameters", {})):
        where = f"{path}.HyperParameters[{problem.path!r}]"
        yield Problem(where, problem.message, problem.source or _SPECIFICATION)
    mode = definition.get("TrainingInputMode")
    job = {**definition, "AlgorithmSpecification": {"TrainingInputMode": mode}}
    for problem in find_job_problems(job, {"TrainingSpecification": specification}):
        yield Problem(f"{path}.{problem.path}", problem.message, problem.source)


def _check_transform_job(
    definition: Mapping[str, Any], inference: Mapping[str, Any], path: str
) -> Iterator[Problem]:
    for parent, name, allowed_field in (
        ("TransformInput", "ContentType", "SupportedContentTypes"),
        ("TransformOutput", "Accept", "SupportedResponseMIMETypes"),
        ("TransformResources", "InstanceType", "SupportedTransformInstanceTypes"),
    ):
        value = definition.get(parent, {}).get(name)
        allowed = inference.get(allowed_field, [])
        if value is not None and allowed and value not in allowed:
            hint = closest(value, allowed)
            message = f"is {value!r}, which {allowed_field} does not have.{hint}"
            yield Problem(f"{path}.{parent}.{name}", message, "InferenceSpecification")


def _build_source(uri: str) -> dict[str, Any]:
    return {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": uri}}


def _write(name: str, value: Any) -> str:
    if isinstance(value, str) or name not in SPECS:
        return str(value)
    return to_text(value, SPECS[name])
