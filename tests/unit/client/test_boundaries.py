"""The last value that is right, and the first that is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sagemaker_sift import (
    CategoricalParameter,
    HyperparameterTuner,
    IntegerParameter,
    InvalidRequestError,
    WarmStartConfig,
)
from sagemaker_sift.inputs import describe_model
from sagemaker_sift.requests.hyperparameter_rules import HyperparameterRules
from tests.supports.algorithms import (
    BUNDLED,
    build_bundled_estimator,
    build_session,
    build_trees,
    build_trees_estimator,
    categorical,
    integer,
)
from tests.supports.tuning import INPUTS, LEAVES, find_problems


def build_estimator(root: Path, entries: list[dict[str, Any]]) -> Any:
    session = build_session(root, own=build_trees(SupportedHyperParameters=entries))
    return build_trees_estimator(root, algorithm_arn="own", sagemaker_session=session)


def test_99_hyperparameters_leave_room_for_the_service_s_own(tmp_path: Path) -> None:
    entries = [integer(f"i{n}", 0, 9, DefaultValue="1") for n in range(99)]
    estimator = build_estimator(tmp_path, entries)
    tuned = {"i0": IntegerParameter(0, 9)}
    HyperparameterTuner(estimator, "validation:accuracy", tuned, max_jobs=3).validate(INPUTS)


def test_30_categories_are_right(tmp_path: Path) -> None:
    values = [f"c{n}" for n in range(30)]
    estimator = build_estimator(tmp_path, [categorical("c", values)])
    tuned = {"c": CategoricalParameter(values)}
    HyperparameterTuner(estimator, "validation:accuracy", tuned, max_jobs=3).validate(INPUTS)


def test_numbers_are_searched_as_categories_by_a_grid_only(tmp_path: Path) -> None:
    given = {"hyperparameter_ranges": {"max_leaf_nodes": CategoricalParameter([10, 20])}}
    assert find_problems(tmp_path, strategy="Grid", max_jobs=None, **given) == []
    [problem] = find_problems(tmp_path, max_jobs=2, **given)
    assert "but the hyperparameter is Integer. Use an IntegerParameter." in problem


def test_what_does_not_say_that_it_is_tunable_is_not(tmp_path: Path) -> None:
    entry = integer("i", 0, 9)
    del entry["IsTunable"]
    estimator = build_estimator(tmp_path, [entry])
    tuner = HyperparameterTuner(
        estimator, "validation:accuracy", {"i": IntegerParameter(0, 9)}, max_jobs=3
    )
    with pytest.raises(InvalidRequestError, match="is not tunable, says the algorithm"):
        tuner.validate(INPUTS)


def test_each_bad_metric_is_said_once(tmp_path: Path) -> None:
    metrics = [
        {"Name": "a", "Regex": "a=(.*)"},
        {"Name": "b", "Regex": "b=("},
        {"Name": "c", "Regex": "c=.*"},
        {"Name": "a", "Regex": "x=(.*)"},
    ]
    found = find_problems(tmp_path, estimator_metric_definitions=metrics)
    assert [line.split("`")[1] for line in found] == [
        "estimator.metric_definitions[1].Regex",
        "estimator.metric_definitions[2].Regex",
        "estimator.metric_definitions[3].Name",
    ]


def test_a_parent_with_class_metadata_says_how_to_go_on(tmp_path: Path) -> None:
    session = build_session(tmp_path)
    estimator = build_trees_estimator(tmp_path, sagemaker_session=session)
    tuner = HyperparameterTuner(estimator, "validation:accuracy", LEAVES, max_jobs=3)
    tuner.fit(INPUTS, "parent", wait=False)
    client = session.sagemaker_client
    client.status = "Completed"
    static = client.created["parent"]["TrainingJobDefinition"]["StaticHyperParameters"]
    static |= {"sagemaker_estimator_class_name": '"A"', "sagemaker_estimator_module": '"m"'}
    tuner.warm_start_config = WarmStartConfig("TransferLearning", ["parent"])
    with pytest.raises(InvalidRequestError, match="Pass include_cls_metadata=True"):
        tuner.validate(INPUTS)


def test_class_metadata_where_the_algorithm_takes_anything(tmp_path: Path) -> None:
    tuner = HyperparameterTuner(
        build_estimator(tmp_path, []), "validation:accuracy", LEAVES, max_jobs=3
    )
    static = tuner.request(INPUTS, "job", True)["TrainingJobDefinition"]["StaticHyperParameters"]
    assert static == {
        "sagemaker_estimator_class_name": '"AlgorithmEstimator"',
        "sagemaker_estimator_module": '"sagemaker_sift.estimator"',
    }


def test_one_named_estimator_is_a_list_of_one(tmp_path: Path) -> None:
    tuner = HyperparameterTuner(
        build_trees_estimator(tmp_path),
        "validation:accuracy",
        LEAVES,
        max_jobs=3,
        estimator_name="only",
    )
    request = tuner.request({"only": INPUTS}, "job")
    assert [one["DefinitionName"] for one in request["TrainingJobDefinitions"]] == ["only"]
    assert "TrainingJobDefinition" not in request
    assert "Autotune" not in request


@pytest.mark.parametrize("path", ["s3://bucket/models", None])
def test_the_place_of_the_artifacts_is_made_before_a_search(
    tmp_path: Path, path: str | None
) -> None:
    estimator = build_trees_estimator(tmp_path, output_path=path)
    session = estimator.sagemaker_session
    made: list[str] = []
    session.prepare_output = made.append  # type: ignore[method-assign]
    tuner = HyperparameterTuner(estimator, "validation:accuracy", LEAVES, max_jobs=3)
    tuner.fit(INPUTS, "job", wait=False)
    assert made == [path or session.default_output_path()]


@pytest.mark.parametrize(
    ("words", "value", "text"),
    [
        (["True", "False"], True, "True"),
        (["true", "false"], False, "false"),
        (["0", "1"], True, "1"),
    ],
)
def test_flags_are_written_in_the_algorithm_s_own_words(
    tmp_path: Path, words: list[str], value: bool, text: str
) -> None:
    estimator = build_estimator(tmp_path, [categorical("flag", words)])
    estimator.set_hyperparameters(flag=value)
    assert estimator.hyperparameters() == {"flag": text}


def test_broken_values_of_the_bundled_algorithm_are_not_replaced(tmp_path: Path) -> None:
    rules = HyperparameterRules(build_bundled_estimator(tmp_path).algorithm.training_specification)
    texts = rules.complete(BUNDLED | {"epochs": "many", "top_k": None})
    assert texts["epochs"] == "many"
    assert "top_k" not in texts


def test_a_model_s_content_type_is_left_out_where_the_channel_has_others() -> None:
    channel = {"Name": "model", "SupportedContentTypes": ["application/x-tar"]}
    special = describe_model("s3://b/m", "model", {"TrainingChannels": [channel]})
    assert "ContentType" not in special
    assert describe_model("s3://b/m", "model", {})["ContentType"].endswith("sagemaker-model")
