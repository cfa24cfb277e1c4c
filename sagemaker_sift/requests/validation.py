"""Every check of a training job before it is sent: all problems at once.

Three sources of rules: the API's own model, its documentation, and the algorithm's
``TrainingSpecification``. The bundled algorithm's hyperparameters are held to the contract
itself, which knows more than a specification can say.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sagemaker_sift.contract.channel_combination import find_channel_conflicts
from sagemaker_sift.contract.problem import Problem
from sagemaker_sift.contract.specification import is_bundled
from sagemaker_sift.exceptions import InvalidRequestError
from sagemaker_sift.requests.channel_rules import find_channel_problems
from sagemaker_sift.requests.hyperparameter_rules import HyperparameterRules
from sagemaker_sift.requests.job_rules import (
    find_resource_problems,
    find_rule_problems,
    find_tag_problems,
)
from sagemaker_sift.requests.service_model import WrongType, find_violations


def check_training_job(
    request: Mapping[str, Any],
    algorithm: Mapping[str, Any],
    *,
    allow_file_uris: bool = False,
    further: Iterable[Problem] = (),
) -> None:
    """Check a CreateTrainingJob request.

    Args:
        request: The parameters of ``create_training_job``.
        algorithm: The DescribeAlgorithm response, with the ``TrainingSpecification``.
        allow_file_uris: Whether ``file://`` may stand where the service wants ``s3://``.
        further: Problems found elsewhere, reported together with these.

    Raises:
        InvalidRequestError: With every broken rule; if a value is of the wrong type, with those
            of the service model alone.
    """
    types = algorithm["TrainingSpecification"].get("SupportedTrainingInstanceTypes") or ()
    problems = find_violations(
        "CreateTrainingJob", request, allow_file_uris=allow_file_uris, accepted=types
    )
    if any(isinstance(problem, WrongType) for problem in problems):
        raise InvalidRequestError(problems)
    rules = HyperparameterRules(algorithm["TrainingSpecification"])
    own = [
        *rules.find_conflicts(request.get("HyperParameters", {})),
        *find_job_problems(request, algorithm),
        *find_tag_problems(request.get("Tags", [])),
    ]
    problems = [*merge_problems(problems, own), *further]
    if problems:
        raise InvalidRequestError(problems)


def find_job_problems(job: Mapping[str, Any], algorithm: Mapping[str, Any]) -> list[Problem]:
    """Return what is wrong with one training job, apart from its hyperparameters' values and tags.

    Args:
        job: A CreateTrainingJob request, or a training job definition in that form, whose values
            have the right types.
        algorithm: The DescribeAlgorithm response.
    """
    specification = algorithm["TrainingSpecification"]
    found = [
        *find_resource_problems(job, specification),
        *find_channel_problems(job, specification),
        *find_rule_problems(job, algorithm),
    ]
    if is_bundled(specification):
        names = [str(one.get("ChannelName")) for one in job.get("InputDataConfig", [])]
        found += find_channel_conflicts(job.get("HyperParameters", {}), names)
    return found


def merge_problems(of_model: Iterable[Problem], own: Iterable[Problem]) -> list[Problem]:
    """Return both, without those of ours about values that the service model refuses already."""
    problems = list(of_model)
    broken = {problem.path for problem in problems}
    return problems + [problem for problem in own if problem.path not in broken]
