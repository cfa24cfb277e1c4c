from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import given, settings
from hypothesis import strategies as st

from sagemaker_sift.backends.local.client import LocalSageMaker
from sagemaker_sift.contract.specification import ALGORITHM_NAME
from sagemaker_sift.requests.service_model import WrongType, find_violations

SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 500), st.floats(), st.text(max_size=8)
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)
VALID: dict[str, Any] = {
    "TrainingJobName": "job",
    "AlgorithmSpecification": {"AlgorithmName": ALGORITHM_NAME, "TrainingInputMode": "File"},
    "RoleArn": "arn:aws:iam::000000000000:role/local",
    "OutputDataConfig": {"S3OutputPath": "s3://bucket/out"},
    "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
    "StoppingCondition": {"MaxRuntimeInSeconds": 60},
    "HyperParameters": {"num_classes": "2", "num_training_samples": "64"},
    "InputDataConfig": [
        {
            "ChannelName": "train",
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://b/none"}},
        }
    ],
}
PATHS = [
    ("TrainingJobName",),
    ("AlgorithmSpecification",),
    ("AlgorithmSpecification", "AlgorithmName"),
    ("AlgorithmSpecification", "MetricDefinitions"),
    ("OutputDataConfig", "S3OutputPath"),
    ("ResourceConfig",),
    ("ResourceConfig", "InstanceCount"),
    ("StoppingCondition", "MaxWaitTimeInSeconds"),
    ("HyperParameters",),
    ("HyperParameters", "epochs"),
    ("InputDataConfig",),
    ("InputDataConfig", 0),
    ("InputDataConfig", 0, "ChannelName"),
    ("InputDataConfig", 0, "DataSource"),
    ("InputDataConfig", 0, "DataSource", "S3DataSource"),
    ("Tags",),
    ("CheckpointConfig",),
    ("Nonsense",),
]


def replace(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """Return a copy of nested dicts and lists with another value at ``path``."""
    if not path:
        return new
    head, *rest = path
    copy = list(value) if isinstance(value, list) else dict(value)
    old = copy[head] if isinstance(copy, list) else copy.get(head, {})
    copy[head] = replace(old, tuple(rest), new)
    return copy


@given(path=st.sampled_from(PATHS), new=JSON)
def test_any_request_is_read_or_refused_and_starts_nothing(
    path: tuple[Any, ...], new: Any
) -> None:
    request = replace(VALID, path, new)
    with tempfile.TemporaryDirectory() as folder:
        client = LocalSageMaker(Path(folder))
        with pytest.raises(ClientError) as caught:
            client.create_training_job(**request)
        assert caught.value.response["Error"]["Code"] == "ValidationException"
        assert client.list_training_jobs() == {"TrainingJobSummaries": []}
        assert not (Path(folder) / "training-jobs").exists()


@settings(max_examples=60)
@given(operation=st.sampled_from(["CreateAlgorithm", "CreateHyperParameterTuningJob"]), value=JSON)
def test_whatever_is_checked_against_the_service_model_gives_problems(
    operation: str, value: Any
) -> None:
    for problem in find_violations(operation, {"Tags": value, "AlgorithmName": value}):
        assert problem.path
        assert problem.message


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("TargetObjectiveMetricValue", 10**400, "must be a finite number of at most 1.7e308"),
        ("TargetObjectiveMetricValue", float("nan"), "is nan, but must be a finite number"),
        ("MaxRuntimeInSeconds", 10**400, "must be a whole number from -2147483648 to 2147483647"),
        ("MaxRuntimeInSeconds", 10**5000, "is a number of thousands of digits, but must be"),
    ],
    ids=["float", "nan", "integer", "digits"],
)
def test_a_number_that_its_type_cannot_hold_is_a_problem(
    field: str, value: float, words: str
) -> None:
    parent = "TuningJobCompletionCriteria" if field.startswith("Target") else "ResourceLimits"
    request = {"HyperParameterTuningJobConfig": {parent: {field: value}}}
    problems = find_violations("CreateHyperParameterTuningJob", request)
    [found] = [problem for problem in problems if isinstance(problem, WrongType)]
    assert words in str(found)
    assert found.path == f"HyperParameterTuningJobConfig.{parent}.{field}"
