from __future__ import annotations

from sagemaker_sift.contract.reference import build_reference
from sagemaker_sift.contract.specification import ALGORITHM_NAME, build_training_specification
from sagemaker_sift.requests.service_model import find_violations
from tests.golden.golden import FOLDER, compare, compare_text

IMAGE = "111122223333.dkr.ecr.us-east-1.amazonaws.com/sagemaker-sift:0.1"


def test_the_training_specification_is_the_stored_one() -> None:
    compare("training_specification.json", build_training_specification(IMAGE))


def test_the_training_specification_is_valid_by_every_rule_of_the_service_model() -> None:
    request = {
        "AlgorithmName": ALGORITHM_NAME,
        "TrainingSpecification": build_training_specification(IMAGE),
    }
    assert find_violations("CreateAlgorithm", request) == []


def test_the_reference_of_hyperparameters_is_current() -> None:
    compare_text(FOLDER.parents[1] / "docs" / "hyperparameters.md", build_reference())


def test_no_required_hyperparameter_has_a_default() -> None:
    for entry in build_training_specification(IMAGE)["SupportedHyperParameters"]:
        assert not (entry["IsRequired"] and "DefaultValue" in entry), entry["Name"]


def test_every_tunable_hyperparameter_has_a_range_of_its_type() -> None:
    keys = {
        "Integer": "IntegerParameterRangeSpecification",
        "Continuous": "ContinuousParameterRangeSpecification",
        "Categorical": "CategoricalParameterRangeSpecification",
    }
    tunable = [
        entry
        for entry in build_training_specification(IMAGE)["SupportedHyperParameters"]
        if entry["IsTunable"]
    ]
    assert {"beta_value", "learning_rate"} <= {entry["Name"] for entry in tunable}
    for entry in tunable:
        assert list(entry["Range"]) == [keys[entry["Type"]]]
