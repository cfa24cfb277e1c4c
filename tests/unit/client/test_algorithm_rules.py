"""Every rule that an Algorithm resource is held to before it is sent."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from sagemaker_sift.algorithm import Algorithm
from sagemaker_sift.contract.inference import build_inference_specification
from sagemaker_sift.exceptions import InvalidRequestError
from sagemaker_sift.requests.algorithm import find_algorithm_problems
from sagemaker_sift.requests.validation_profile import build_validation_specification

ROLE = "arn:aws:iam::111122223333:role/sift"
INTEGER = "IntegerParameterRangeSpecification"
CONTINUOUS = "ContinuousParameterRangeSpecification"
CATEGORICAL = "CategoricalParameterRangeSpecification"
HYPER = "TrainingSpecification.SupportedHyperParameters"
Spec = dict[str, Any]


def build_specification() -> Spec:
    """Return the specification of some algorithm, of which nothing is wrong."""
    return {
        "TrainingImage": "image:1",
        "SupportedHyperParameters": [
            {
                "Name": "leaves",
                "Type": "Integer",
                "Range": {INTEGER: {"MinValue": "1", "MaxValue": "100"}},
                "IsTunable": True,
                "IsRequired": False,
                "DefaultValue": "10",
            },
            {
                "Name": "rate",
                "Type": "Continuous",
                "Range": {CONTINUOUS: {"MinValue": "0.0", "MaxValue": "1e-1"}},
                "IsTunable": True,
                "IsRequired": True,
            },
            {
                "Name": "kind",
                "Type": "Categorical",
                "Range": {CATEGORICAL: {"Values": ["tree", "forest"]}},
                "DefaultValue": "tree",
            },
            {"Name": "note", "Type": "FreeText", "DefaultValue": ""},
        ],
        "SupportedTrainingInstanceTypes": ["ml.m5.large", "ml.m5.xlarge"],
        "SupportsDistributedTraining": False,
        "MetricDefinitions": [{"Name": "validation:error", "Regex": "error=([0-9.]+)"}],
        "TrainingChannels": [
            {
                "Name": "training",
                "IsRequired": True,
                "SupportedContentTypes": ["text/csv"],
                "SupportedInputModes": ["File"],
            }
        ],
        "SupportedTuningJobObjectiveMetrics": [
            {"Type": "Minimize", "MetricName": "validation:error"}
        ],
    }


def find(change: Callable[[Spec], object] | None = None, **fields: Any) -> dict[str, str]:
    """Return the problems of the algorithm after a change, message by path."""
    specification = build_specification()
    if change is not None:
        change(specification)
    request = {"AlgorithmName": "mine", "TrainingSpecification": specification, **fields}
    problems = find_algorithm_problems(request)
    assert all(problem.source for problem in problems)
    return {problem.path: problem.message for problem in problems}


def test_nothing_is_wrong_with_it_as_it_is() -> None:
    assert find() == {}


def set_entry(idx: int, **fields: Any) -> Callable[[Spec], object]:
    return lambda spec: spec["SupportedHyperParameters"][idx].update(fields)


def drop_entry(idx: int, name: str) -> Callable[[Spec], object]:
    return lambda spec: spec["SupportedHyperParameters"][idx].pop(name)


def set_range(idx: int, member: str, **bounds: Any) -> Callable[[Spec], object]:
    return set_entry(idx, Range={member: bounds})


RULES: dict[str, tuple[Callable[[Spec], object], str, str]] = {
    "default of a required one": (
        set_entry(1, DefaultValue="0.05"),
        f"{HYPER}[1].DefaultValue",
        "is '0.05', but 'rate' is required, and what has a default is not. "
        "Drop DefaultValue, or set IsRequired to false.",
    ),
    "two members": (
        set_entry(
            0,
            Range={
                INTEGER: {"MinValue": "1", "MaxValue": "20"},
                CONTINUOUS: {"MinValue": "1", "MaxValue": "20"},
            },
        ),
        f"{HYPER}[0].Range",
        f"of 'leaves' holds {INTEGER} and {CONTINUOUS}, but its Type is Integer. "
        f"Give {INTEGER} alone.",
    ),
    "no member": (set_entry(0, Range={}), f"{HYPER}[0].Range", "holds nothing that is one"),
    "member of another type": (
        set_range(0, CONTINUOUS, MinValue="1", MaxValue="2"),
        f"{HYPER}[0].Range",
        f"holds {CONTINUOUS}, but its Type is Integer",
    ),
    "range of text": (
        set_range(3, CATEGORICAL, Values=["a"]),
        f"{HYPER}[3].Range",
        "'note' is FreeText, which has none. Drop it.",
    ),
    "repeated value": (
        set_range(2, CATEGORICAL, Values=["tree", "tree"]),
        f"{HYPER}[2].Range.{CATEGORICAL}.Values",
        "has 'tree' more than once",
    ),
    "31 values": (
        set_range(2, CATEGORICAL, Values=["tree", *(str(n) for n in range(30))]),
        f"{HYPER}[2].Range.{CATEGORICAL}.Values",
        "has 31 entries, but must have at most 30.",
    ),
    "fraction as integer bound": (
        set_range(0, INTEGER, MinValue="1.5", MaxValue="100"),
        f"{HYPER}[0].Range.{INTEGER}.MinValue",
        "of 'leaves' is '1.5', but must be an integer, written as text.",
    ),
    "word as bound": (
        set_range(1, CONTINUOUS, MinValue="0", MaxValue="large"),
        f"{HYPER}[1].Range.{CONTINUOUS}.MaxValue",
        "is 'large', but must be a finite number",
    ),
    "infinite bound": (
        set_range(1, CONTINUOUS, MinValue="0", MaxValue="inf"),
        f"{HYPER}[1].Range.{CONTINUOUS}.MaxValue",
        "is 'inf', but must be a finite number",
    ),
    "bounds in the wrong order": (
        set_range(1, CONTINUOUS, MinValue="1", MaxValue="0"),
        f"{HYPER}[1].Range.{CONTINUOUS}.MinValue",
        "of 'rate' is 1, above MaxValue, 0.",
    ),
    "default outside": (
        set_entry(0, DefaultValue="101"),
        f"{HYPER}[0].DefaultValue",
        "of 'leaves' is '101', but must be an integer from 1 to 100.",
    ),
    "default of another type": (
        set_entry(0, DefaultValue="many"),
        f"{HYPER}[0].DefaultValue",
        "is 'many', but must be an integer from 1 to 100.",
    ),
    "default that is no value": (
        set_entry(2, DefaultValue="tee"),
        f"{HYPER}[2].DefaultValue",
        "must be one of tree, forest. Did you mean 'tree'?",
    ),
    "tunable text": (
        set_entry(3, IsTunable=True),
        f"{HYPER}[3].IsTunable",
        "'note' is FreeText, which no tuning job can search.",
    ),
    "tunable without range": (
        drop_entry(1, "Range"),
        f"{HYPER}[1].IsTunable",
        f"'rate' has no Range to search. Give {CONTINUOUS}.",
    ),
    "hyperparameter twice": (
        lambda spec: spec["SupportedHyperParameters"].append({"Name": "note", "Type": "FreeText"}),
        f"{HYPER}[4].Name",
        "is 'note' a second time. Names are unique.",
    ),
    "101 hyperparameters": (
        lambda spec: spec["SupportedHyperParameters"].extend(
            {"Name": f"n{n}", "Type": "FreeText"} for n in range(97)
        ),
        HYPER,
        "has 101 entries, but must have at most 100.",
    ),
    "channel twice": (
        lambda spec: spec["TrainingChannels"].append(spec["TrainingChannels"][0]),
        "TrainingSpecification.TrainingChannels[1].Name",
        "is 'training' a second time.",
    ),
    "no channel": (
        lambda spec: spec["TrainingChannels"].clear(),
        "TrainingSpecification.TrainingChannels",
        "has 0 entries, but must have at least 1.",
    ),
    "nine channels": (
        lambda spec: spec["TrainingChannels"].extend(
            spec["TrainingChannels"][0] | {"Name": f"c{n}"} for n in range(8)
        ),
        "TrainingSpecification.TrainingChannels",
        "has 9 entries, but must have at most 8.",
    ),
    "metric twice": (
        lambda spec: spec["MetricDefinitions"].append(spec["MetricDefinitions"][0]),
        "TrainingSpecification.MetricDefinitions[1].Name",
        "is 'validation:error' a second time.",
    ),
    "no regular expression": (
        lambda spec: spec["MetricDefinitions"][0].update(Regex="error=([0-9.+"),
        "TrainingSpecification.MetricDefinitions[0].Regex",
        "which is no regular expression",
    ),
    "no group": (
        lambda spec: spec["MetricDefinitions"][0].update(Regex="error=[0-9.]+"),
        "TrainingSpecification.MetricDefinitions[0].Regex",
        "needs a group (...)",
    ),
    "objective that is no metric": (
        lambda spec: spec["SupportedTuningJobObjectiveMetrics"][0].update(
            MetricName="validation:err"
        ),
        "TrainingSpecification.SupportedTuningJobObjectiveMetrics[0].MetricName",
        "which MetricDefinitions does not define. Did you mean 'validation:error'?",
    ),
    "no instance type": (
        lambda spec: spec["SupportedTrainingInstanceTypes"].clear(),
        "TrainingSpecification.SupportedTrainingInstanceTypes",
        "trains on at least one instance type",
    ),
    "unknown instance type": (
        lambda spec: spec["SupportedTrainingInstanceTypes"].append("ml.m5.large2"),
        "TrainingSpecification.SupportedTrainingInstanceTypes[2]",
        "Did you mean 'ml.m5.large'?",
    ),
}


@pytest.mark.parametrize("name", RULES)
def test_one_broken_rule_is_the_one_problem(name: str) -> None:
    change, path, says = RULES[name]
    found = find(change)
    assert list(found) == [path]
    assert says in found[path]


def test_the_widespread_sample_with_type_inside_range_is_told_where_it_belongs() -> None:
    sample = """
        {"DefaultValue": "5", "Description": "The first hyperparameter", "IsRequired": true,
         "IsTunable": false, "Name": "intRange",
         "Range": {"IntegerParameterRangeSpecification": {"MaxValue": "10", "MinValue": "1"},
                   "Type": "Integer"}}"""
    found = find(lambda spec: spec["SupportedHyperParameters"].insert(0, json.loads(sample)))
    assert found == {
        f"{HYPER}[0].Range.Type": "stands inside Range, but belongs beside it: "
        "{'Name', 'Type', 'Range': {...}, ...}.",
        f"{HYPER}[0].DefaultValue": "is '5', but 'intRange' is required, and what has a default "
        "is not. Drop DefaultValue, or set IsRequired to false.",
    }


def test_every_broken_rule_is_told_at_once_with_its_source() -> None:
    specification = build_specification()
    for change in (
        set_entry(0, DefaultValue="101", Colour="red"),
        drop_entry(1, "Range"),
        drop_entry(2, "Type"),
    ):
        change(specification)
    algorithm = Algorithm("a b", specification, tags=[{"Key": "aws:x", "Value": ""}])
    with pytest.raises(InvalidRequestError) as caught:
        algorithm.validate()
    assert {problem.path: problem.source for problem in caught.value.problems} == {
        "AlgorithmName": "API model",
        f"{HYPER}[0].Colour": "API model",
        f"{HYPER}[2].Type": "API model",
        f"{HYPER}[0].DefaultValue": "API reference, HyperParameterSpecification",
        f"{HYPER}[1].IsTunable": "API reference, ParameterRanges",
        "Tags": "API reference, Tag",
    }
    assert caught.value.problems == algorithm.problems()


def test_of_a_wrong_type_nothing_below_is_looked_at() -> None:
    assert find(set_entry(0, Range="1 to 100", DefaultValue="101")) == {
        f"{HYPER}[0].Range": "is '1 to 100', but must be a structure."
    }


def validate_with(**more: Any) -> Spec:
    return build_validation_specification(
        ROLE,
        "s3://bucket/train",
        "s3://bucket/out",
        **({"instance_type": "ml.m5.large", "hyperparameters": {"rate": 0.05}} | more),
    )


def test_what_is_published_needs_validation_and_an_image_for_inference() -> None:
    assert list(find(CertifyForMarketplace=True)) == [
        "ValidationSpecification",
        "InferenceSpecification",
    ]


def test_a_validation_job_is_held_to_the_algorithm_that_it_tries_out() -> None:
    profile = "ValidationSpecification.ValidationProfiles[0]"
    job = f"{profile}.TrainingJobDefinition"
    specification = validate_with(
        hyperparameters={"leaves": 500, "depth": 3},
        instance_type="ml.m5.4xlarge",
        instance_count=2,
        content_type="image/png",
        input_mode="Pipe",
    )
    found = find(ValidationSpecification=specification)
    assert found.keys() == {
        f"{job}.HyperParameters['leaves']",
        f"{job}.HyperParameters['depth']",
        f"{job}.HyperParameters['rate']",
        f"{job}.ResourceConfig.InstanceType",
        f"{job}.ResourceConfig.InstanceCount",
        f"{job}.InputDataConfig[0].ChannelName",
        f"{job}.InputDataConfig",
    }
    assert found[f"{job}.HyperParameters['leaves']"] == (
        "is '500', but must be an integer from 1 to 100."
    )
    assert "lacks the channel 'training'" in found[f"{job}.InputDataConfig"]


def test_a_transform_job_is_held_to_the_inference_specification() -> None:
    profile = "ValidationSpecification.ValidationProfiles[0].TransformJobDefinition"
    validation = validate_with(transform_input_uri="s3://bucket/images")
    channel = validation["ValidationProfiles"][0]["TrainingJobDefinition"]["InputDataConfig"][0]
    channel["ChannelName"] = "training"
    assert list(find(ValidationSpecification=validation)) == [profile]
    inference = build_inference_specification("serve:1")
    fields = {"ValidationSpecification": validation, "InferenceSpecification": inference}
    assert find(**fields) == {}
    inference["SupportedContentTypes"] = ["text/csv"]
    inference["SupportedResponseMIMETypes"] = ["text/csv"]
    inference["SupportedTransformInstanceTypes"] = ["ml.m5.xlarge"]
    assert list(find(**fields)) == [
        f"{profile}.TransformInput.ContentType",
        f"{profile}.TransformOutput.Accept",
        f"{profile}.TransformResources.InstanceType",
    ]


def test_the_bundled_algorithm_is_validated_by_its_contract() -> None:
    algorithm = Algorithm.from_contract(
        "image:1",
        name="mine",
        validation_specification=validate_with(hyperparameters={"num_classes": 2, "epochs": 0}),
    )
    found = {problem.path.rpartition(".")[2]: problem.message for problem in algorithm.problems()}
    assert found == {
        "HyperParameters['num_training_samples']": "is required, but missing. "
        "It must be an integer, 1 or more.",
        "HyperParameters['epochs']": "is '0', but must be an integer, 1 or more.",
    }
