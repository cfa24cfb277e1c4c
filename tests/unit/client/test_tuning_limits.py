"""Limits, several estimators, and what is right although others refuse it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sagemaker_sift import (
    CategoricalParameter,
    ContinuousParameter,
    HyperparameterTuner,
    InstanceConfig,
    IntegerParameter,
    InvalidRequestError,
    TuningLimits,
    WarmStartConfig,
)
from tests.supports.algorithms import (
    BUNDLED,
    build_bundled_estimator,
    build_session,
    build_trees,
    build_trees_estimator,
    continuous,
    integer,
)
from tests.supports.tuning import INPUTS, LEAVES, PLAIN, find_problems, ranges


def test_a_required_hyperparameter_that_is_tuned_needs_no_value(tmp_path: Path) -> None:
    request = HyperparameterTuner(build_trees_estimator(tmp_path), **PLAIN).request(INPUTS, "job")
    static = request["TrainingJobDefinition"]["StaticHyperParameters"]
    assert static == {"min_gain": "0.1", "criterion": "gini", "depth": "8"}


def test_limits_can_be_lifted(tmp_path: Path) -> None:
    wide = {"max_jobs": 700, "max_parallel_jobs": 60}
    assert len(find_problems(tmp_path, **wide)) == 2
    assert find_problems(tmp_path, **wide, limits=TuningLimits.quota(max_parallel_jobs=100)) == []
    many = {"max_jobs": 9000, "strategy": "Random"}
    assert (
        find_problems(
            tmp_path,
            **many,
            limits=TuningLimits.quota("Random"),
            **ranges(min_gain=ContinuousParameter(0, 1)),
        )
        == []
    )


def test_the_grid_counts_itself(tmp_path: Path) -> None:
    tuner = HyperparameterTuner(
        build_trees_estimator(tmp_path),
        "validation:accuracy",
        {
            "criterion": CategoricalParameter(("gini", "entropy")),
            "max_leaf_nodes": CategoricalParameter([10, 20, 30]),
        },
        strategy="Grid",
    )
    limits = tuner.request(INPUTS, "job")["HyperParameterTuningJobConfig"]["ResourceLimits"]
    assert limits == {"MaxParallelTrainingJobs": 1}


def test_31_ranges_are_too_many(tmp_path: Path) -> None:
    spec = build_trees(
        SupportedHyperParameters=[
            *(integer(f"i{n}", 0, 9) for n in range(16)),
            *(continuous(f"c{n}", 0, 9) for n in range(15)),
        ]
    )
    estimator = build_trees_estimator(
        tmp_path, algorithm_arn="wide", sagemaker_session=build_session(tmp_path, wide=spec)
    )
    given: dict[str, Any] = {f"i{n}": IntegerParameter(0, 9) for n in range(16)}
    given |= {f"c{n}": ContinuousParameter(0, 9) for n in range(15)}
    with pytest.raises(InvalidRequestError, match="has 31 ranges, but at most 30 can be tuned"):
        HyperparameterTuner(estimator, "validation:accuracy", given, max_jobs=5).validate(INPUTS)


def test_100_hyperparameters_are_one_too_many_with_the_service_s_own(tmp_path: Path) -> None:
    spec = build_trees(
        SupportedHyperParameters=[integer(f"i{n}", 0, 9, DefaultValue="1") for n in range(100)]
    )
    estimator = build_trees_estimator(
        tmp_path, algorithm_arn="wide", sagemaker_session=build_session(tmp_path, wide=spec)
    )
    given = {"i0": IntegerParameter(0, 9), "i1": IntegerParameter(0, 9)}
    with pytest.raises(InvalidRequestError, match="are 101 together with the service's own"):
        HyperparameterTuner(estimator, "validation:accuracy", given).validate(INPUTS)


def test_an_algorithm_without_objective_metrics_needs_a_defined_one(tmp_path: Path) -> None:
    spec = build_trees(SupportedTuningJobObjectiveMetrics=[], MetricDefinitions=[])
    estimator = build_trees_estimator(
        tmp_path, algorithm_arn="own", sagemaker_session=build_session(tmp_path, own=spec)
    )
    tuner = HyperparameterTuner(estimator, "f1", LEAVES, max_jobs=5)
    with pytest.raises(InvalidRequestError, match="no metric of that name is defined"):
        tuner.validate(INPUTS)
    metrics = [{"Name": "f1", "Regex": "f1=([0-9.]+)"}]
    tuner = HyperparameterTuner(estimator, "f1", LEAVES, metrics, max_jobs=5)
    definition = tuner.request(INPUTS, "job")["TrainingJobDefinition"]
    assert definition["AlgorithmSpecification"]["MetricDefinitions"] == metrics


def test_the_contract_is_held_at_both_ends_of_the_ranges(tmp_path: Path) -> None:
    tuner = HyperparameterTuner(
        build_bundled_estimator(tmp_path),
        "validation:accuracy",
        {"mini_batch_size": IntegerParameter(8, 2000)},
        max_jobs=4,
    )
    with pytest.raises(InvalidRequestError) as caught:
        tuner.validate({"train": "s3://bucket/train", "validation": "s3://bucket/validation"})
    assert [problem.path for problem in caught.value.problems] == ["mini_batch_size"]
    assert "is 2000, but num_training_samples is 1437" in str(caught.value)


def test_a_static_value_out_of_range_is_found_with_a_tuned_one_beside_it(tmp_path: Path) -> None:
    estimator = build_bundled_estimator(tmp_path, hyperparameters=BUNDLED | {"top_k": 40})
    ranges_ = {"beta_value": ContinuousParameter(0.1, 10, "Logarithmic")}
    with pytest.raises(InvalidRequestError, match="`top_k` is 40"):
        HyperparameterTuner(estimator, "validation:accuracy", ranges_, max_jobs=4).validate(
            {"train": "s3://bucket/train"}
        )


def test_several_estimators_neither_start_warm_nor_stop_early(tmp_path: Path) -> None:
    session = build_session(tmp_path)
    parts = {
        name: build_trees_estimator(tmp_path, sagemaker_session=session) for name in ("a", "b")
    }
    tuner = HyperparameterTuner.create(
        parts,
        dict.fromkeys(parts, "validation:accuracy"),
        dict.fromkeys(parts, LEAVES),
        max_jobs=4,
        warm_start_config=WarmStartConfig("TransferLearning", ["p"]),
        early_stopping_type="Auto",
    )
    with pytest.raises(InvalidRequestError) as caught:
        tuner.request(dict.fromkeys(parts, INPUTS), "job")
    assert [problem.path for problem in caught.value.problems] == [
        "early_stopping_type",
        "warm_start_config",
    ]


def test_mistakes_in_one_of_several_estimators_name_it(tmp_path: Path) -> None:
    session = build_session(tmp_path)
    parts = {
        name: build_trees_estimator(tmp_path, sagemaker_session=session) for name in ("b", "a")
    }
    parts["b"].instance_type = "ml.c4.xlage"
    tuner = HyperparameterTuner.create(
        parts,
        {"a": "validation:accuracy", "b": "validation:acc"},
        {"a": LEAVES, "b": {"max_leaf_nodes": IntegerParameter(0, 9)}},
        max_jobs=4,
    )
    tuner.override_resource_config({"a": [InstanceConfig(1, "ml.m5.lage", 30)]})
    with pytest.raises(InvalidRequestError) as caught:
        tuner.request({"a": INPUTS, "b": {"trainng": "s3://bucket/x"}}, "job")
    assert {problem.path for problem in caught.value.problems} == {
        "instance_configs['a'][0].InstanceType",
        "estimator_dict['b'].instance_type",
        "hyperparameter_ranges_dict['b']['max_leaf_nodes']",
        "inputs['b']",
        "inputs['b']['trainng']",
        "objective_metric_name_dict['b']",
    }


def test_a_metric_of_validation_needs_the_channel(tmp_path: Path) -> None:
    ranges_ = {"beta_value": ContinuousParameter(0.1, 10, "Logarithmic")}
    tuner = HyperparameterTuner(
        build_bundled_estimator(tmp_path), "validation:accuracy", ranges_, max_jobs=4
    )
    with pytest.raises(InvalidRequestError, match="the job has no channel 'validation'"):
        tuner.validate({"train": "s3://bucket/train"})
    tuner.validate({"train": "s3://bucket/train", "validation": "s3://bucket/validation"})
