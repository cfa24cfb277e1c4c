"""What is refused before a tuning job is sent: a case for each row that others let pass."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sagemaker_sift import (
    CategoricalParameter,
    ContinuousParameter,
    HyperbandStrategyConfig,
    HyperparameterTuner,
    IntegerParameter,
    InvalidRequestError,
    StrategyConfig,
    TrainingInput,
    WarmStartConfig,
)
from tests.supports.algorithms import build_trees_estimator
from tests.supports.tuning import INPUTS, PLAIN, find_problems, ranges


def test_the_plain_job_is_right(tmp_path: Path) -> None:
    assert find_problems(tmp_path) == []


TABLE: dict[str, tuple[dict[str, Any], str]] = {
    "instance type": (
        {"estimator_instance_type": "ml.p3.2xlarge"},
        "`estimator.instance_type` is 'ml.p3.2xlarge', which the algorithm does not run on.",
    ),
    "instance count": (
        {"estimator_instance_count": 2},
        "`estimator.instance_count` is 2, but the algorithm trains on one instance. Use 1.",
    ),
    "input mode of one channel": (
        {"inputs": INPUTS | {"validation": TrainingInput("s3://b/v", input_mode="Pipe")}},
        "`inputs['validation'].input_mode` is 'Pipe', but the channel 'validation' takes File.",
    ),
    "unknown static hyperparameter": (
        {"estimator_hyperparameters": None, **ranges(max_leaf_node=IntegerParameter(1, 9))},
        "`hyperparameter_ranges['max_leaf_node']` is not a hyperparameter of this algorithm. "
        "Did you mean 'max_leaf_nodes'?",
    ),
    "missing required hyperparameter": (
        {"hyperparameter_ranges": {"min_gain": ContinuousParameter(0.1, 0.5)}},
        "`max_leaf_nodes` is required, but missing. It must be an integer from 1 to 100000.",
    ),
    "unknown channel": (
        {"inputs": INPUTS | {"validaton": "s3://b/v"}},
        "`inputs['validaton']` is 'validaton', which the algorithm does not have. "
        "Did you mean 'validation'?",
    ),
    "missing channel": (
        {"inputs": {"validation": "s3://b/v"}},
        "`inputs` lacks the channel 'training', which is required.",
    ),
    "content type": (
        {"inputs": {"training": TrainingInput("s3://b/t", content_type="image/png")}},
        "`inputs['training'].content_type` is 'image/png', but the channel 'training' takes "
        "text/csv.",
    ),
    "compression": (
        {
            "inputs": INPUTS
            | {"validation": TrainingInput("s3://b/v", compression="Gzip", input_mode="Pipe")}
        },
        "`inputs['validation'].compression` is 'Gzip', but the channel 'validation' takes None.",
    ),
    "compression outside of Pipe": (
        {"inputs": {"training": TrainingInput("s3://b/t", compression="Gzip")}},
        "`inputs['training'].compression` is 'Gzip', but data is unpacked in Pipe mode only, and "
        "the mode is 'File'.",
    ),
    "record wrapper in File mode": (
        {"inputs": {"training": TrainingInput("s3://b/t", record_wrapping="RecordIO")}},
        "`inputs['training'].record_wrapping` is 'RecordIO', but records are not wrapped in File "
        "mode. Use Pipe.",
    ),
    "augmented manifest without attributes": (
        {
            "inputs": {
                "training": TrainingInput(
                    "s3://b/t", s3_data_type="AugmentedManifestFile", input_mode="Pipe"
                )
            }
        },
        "`inputs['training'].attribute_names` is missing, but an augmented manifest is read by "
        "its attributes.",
    ),
    "attributes without an augmented manifest": (
        {"inputs": {"training": TrainingInput("s3://b/t", attribute_names=["a"])}},
        "`inputs['training'].attribute_names` is set, but the S3 data type is 'S3Prefix'.",
    ),
    "AutoML's field": (
        {"inputs": {"training": TrainingInput("s3://b/t", target_attribute_name="y")}},
        "`inputs['training'].target_attribute_name` is not a field of the API.",
    ),
    "objective metric": (
        {"objective_metric_name": "validation:acc"},
        "`objective_metric_name` is 'validation:acc', which is no objective metric of the "
        "algorithm. Did you mean 'validation:accuracy'?",
    ),
    "no objective metric": (
        {"objective_metric_name": None},
        "`objective_metric_name` is missing. Give one: 'validation:accuracy', 'validation:loss'.",
    ),
    "objective type": (
        {"objective_type": "Minimize"},
        "`objective_type` is 'Minimize', but the algorithm offers 'validation:accuracy' to "
        "Maximize.",
    ),
    "not tunable": (
        ranges(depth=IntegerParameter(1, 5)),
        "`hyperparameter_ranges['depth']` is not tunable, says the algorithm.",
    ),
    "kind of range": (
        ranges(min_gain=IntegerParameter(0, 1)),
        "`hyperparameter_ranges['min_gain']` is IntegerParameter(0, 1), but the hyperparameter is "
        "Continuous. Use a ContinuousParameter.",
    ),
    "range outside": (
        ranges(max_leaf_nodes=IntegerParameter(0, 900)),
        "`hyperparameter_ranges['max_leaf_nodes']` is IntegerParameter(0, 900), which reaches "
        "'0', but must be an integer from 1 to 100000.",
    ),
    "category outside": (
        ranges(criterion=CategoricalParameter(["gini", "log"])),
        "`hyperparameter_ranges['criterion']` is CategoricalParameter(['gini', 'log']), which "
        "reaches 'log', but must be one of gini, entropy.",
    ),
    "range upside down": (
        ranges(min_gain=ContinuousParameter(0.5, 0.1)),
        "`hyperparameter_ranges['min_gain']` has min_value 0.5 above max_value 0.1. Swap them.",
    ),
    "logarithm of nought": (
        ranges(min_gain=ContinuousParameter(0, 0.5, "Logarithmic")),
        "`hyperparameter_ranges['min_gain']` is Logarithmic from 0.0, but a logarithm needs "
        "values above 0.",
    ),
    "reverse logarithm of integers": (
        ranges(max_leaf_nodes=IntegerParameter(1, 90, "ReverseLogarithmic")),
        "`hyperparameter_ranges['max_leaf_nodes']` is ReverseLogarithmic, but only a "
        "ContinuousParameter can be.",
    ),
    "reverse logarithm up to one": (
        ranges(min_gain=ContinuousParameter(0, 1, "ReverseLogarithmic")),
        "`hyperparameter_ranges['min_gain']` is ReverseLogarithmic from 0.0 to 1.0, but needs "
        "values from 0 to below 1.",
    ),
    "scaling type": (
        ranges(min_gain=ContinuousParameter(0.1, 1, "Log")),
        "`hyperparameter_ranges['min_gain']` has scaling_type 'Log', which the API does not know.",
    ),
    "too many categories": (
        ranges(criterion=CategoricalParameter([f"c{n}" for n in range(31)])),
        "`hyperparameter_ranges['criterion']` has 31 values, but at most 30 are allowed.",
    ),
    "too many jobs": (
        {"max_jobs": 501},
        "`max_jobs` is 501, but at most 500 are allowed. If your account has more, pass "
        "limits=TuningLimits(max_jobs=...).",
    ),
    "too many parallel jobs": (
        {"max_parallel_jobs": 11, "max_jobs": 20},
        "`max_parallel_jobs` is 11, but at most 10 are allowed. If your account has more, pass "
        "limits=TuningLimits(max_parallel_jobs=...).",
    ),
    "more in parallel than at all": (
        {"max_parallel_jobs": 4, "max_jobs": 3},
        "`max_parallel_jobs` is 4, but must be at most max_jobs, 3.",
    ),
    "no jobs": ({"max_jobs": 0}, "`max_jobs` is 0, but must be at least 1."),
    "strategy": (
        {"strategy": "Bayes"},
        "`strategy` is 'Bayes', which the API does not know. Did you mean 'Bayesian'?",
    ),
    "objective type that does not exist": (
        {"objective_type": "Maximise"},
        "`objective_type` is 'Maximise', which the API does not know. Did you mean 'Maximize'?",
    ),
    "early stopping": (
        {"early_stopping_type": "On"},
        "`early_stopping_type` is 'On', which the API does not know.",
    ),
    "grid of numbers": (
        {"strategy": "Grid", "max_jobs": None},
        "`hyperparameter_ranges['max_leaf_nodes']` is IntegerParameter(2, 900), but Grid searches "
        "a CategoricalParameter only.",
    ),
    "grid of another size": (
        {
            "strategy": "Grid",
            "max_jobs": 5,
            "estimator_hyperparameters": {"max_leaf_nodes": 5},
            "hyperparameter_ranges": {"criterion": CategoricalParameter(["gini", "entropy"])},
        },
        "`max_jobs` is 5, but the grid has 2 points. Leave it out.",
    ),
    "not enough combinations": (
        {"hyperparameter_ranges": {"max_leaf_nodes": IntegerParameter(3, 5)}},
        "`max_jobs` is 10, but the ranges have 3 combinations only. Lower it.",
    ),
    "Hyperband without resource": (
        {"strategy": "Hyperband"},
        "`strategy_config` lacks max_resource, and no static hyperparameter tells it",
    ),
    "Hyperband upside down": (
        {
            "strategy": "Hyperband",
            "strategy_config": StrategyConfig(HyperbandStrategyConfig(5, 9)),
        },
        "`strategy_config` has min_resource 9 above max_resource 5. Swap them.",
    ),
    "Hyperband beyond the limit": (
        {
            "strategy": "Hyperband",
            "strategy_config": StrategyConfig(HyperbandStrategyConfig(20_001, 1)),
        },
        "`strategy_config` has max_resource 20001, but at most 20000 is allowed.",
    ),
    "Hyperband's config for another": (
        {"strategy_config": StrategyConfig(HyperbandStrategyConfig(9, 1))},
        "`strategy_config` is for Hyperband, but the strategy is 'Bayesian'.",
    ),
    "Hyperband stops early itself": (
        {
            "strategy": "Hyperband",
            "strategy_config": StrategyConfig(HyperbandStrategyConfig(9, 1)),
            "early_stopping_type": "Auto",
        },
        "`early_stopping_type` is 'Auto', but Hyperband stops training jobs itself. Use 'Off'.",
    ),
    "six parents": (
        {"warm_start_config": WarmStartConfig("TransferLearning", [f"p{n}" for n in range(6)])},
        "`warm_start_config` has 6 entries, but must have at most 5.",
    ),
    "name of a parent": (
        {"warm_start_config": WarmStartConfig("TransferLearning", ["p_1"])},
        "`warm_start_config[0].HyperParameterTuningJobName` is 'p_1', but must match",
    ),
    "long name": (
        {"job_name": "n" * 33},
        "`job_name` has 33 characters, but must have at most 32",
    ),
    "name": ({"job_name": "a_b"}, "`job_name` is 'a_b', but must match"),
    "the same tag twice": (
        {"tags": [{"Key": "a", "Value": "1"}, {"Key": "a", "Value": "2"}]},
        "`tags` has the key 'a' more than once. Keys must be unique.",
    ),
    "51 tags": (
        {"tags": {f"k{n}": "v" for n in range(51)}},
        "`tags` has 51 entries, but must have at most 50.",
    ),
    "a tag of AWS": ({"tags": {"aws:x": "v"}}, "`tags` has the key 'aws:x', but keys that begin"),
    "a tag with a star": ({"tags": {"a*": "v"}}, "`tags[0].Key` is 'a*', but must match"),
    "subnets alone": (
        {"estimator_subnets": ["subnet-1"]},
        "`estimator.security_group_ids` has 0 entries, but must have at least 1.",
    ),
    "class metadata": (
        {"include_cls_metadata": True},
        "`include_cls_metadata` is set, but the algorithm has no hyperparameters "
        "sagemaker_estimator_class_name and sagemaker_estimator_module",
    ),
    "spot without wait": (
        {"estimator_use_spot_instances": True},
        "`estimator.max_wait` is missing, but spot training needs it.",
    ),
    "kept machines": (
        {"estimator_keep_alive_period_in_seconds": 60},
        "`estimator.keep_alive_period_in_seconds` is 60, but tuning jobs do not have it.",
    ),
    "role": ({"estimator_role": "arn:aws:iam::1:role/x"}, "`estimator.role` is 'arn:aws:iam::1"),
    "run time": (
        {"max_runtime_in_seconds": 60},
        "`max_runtime_in_seconds` is 60, but must be at least 120.",
    ),
    "seed": ({"random_seed": -1}, "`random_seed` is -1, but must be at least 0."),
    "kept static without autotune": (
        {"hyperparameters_to_keep_static": ["depth"]},
        "`hyperparameters_to_keep_static` is set, but only autotune turns static",
    ),
    "kept static twice and unknown": (
        {"autotune": True, "hyperparameters_to_keep_static": ["depth", "depth", "dept"]},
        "`hyperparameters_to_keep_static` has 'dept', which is no static hyperparameter",
    ),
    "environment": (
        {"estimator_environment": {"1A": "x"}},
        "`estimator.environment key '1A'` is '1A', but must match",
    ),
    "wrong type": ({"max_jobs": "ten"}, "`max_jobs` is 'ten', but must be an integer."),
}


@pytest.mark.parametrize("row", TABLE)
def test_is_refused_before_anything_is_sent(tmp_path: Path, row: str) -> None:
    changes, expected = TABLE[row]
    given = dict(changes)
    metadata = given.pop("include_cls_metadata", None)
    if metadata is not None:
        tuner = HyperparameterTuner(build_trees_estimator(tmp_path), **PLAIN)
        with pytest.raises(InvalidRequestError) as caught:
            tuner.request(INPUTS, "job", metadata)
        found = [str(problem) for problem in caught.value.problems]
    else:
        found = find_problems(tmp_path, **given)
    assert [line for line in found if line.startswith(expected)], found


def test_nothing_else_is_said_about_a_single_mistake(tmp_path: Path) -> None:
    allowed = {
        "kept static twice and unknown": 2,
        "compression": 2,
        "too many categories": 2,
        "name of a parent": 2,
    }
    for row, (changes, _) in TABLE.items():
        given = {name: value for name, value in changes.items() if name != "include_cls_metadata"}
        if given:
            assert len(find_problems(tmp_path, **given)) <= allowed.get(row, 1), (
                row,
                find_problems(tmp_path, **given),
            )


def test_every_mistake_is_said_at_once(tmp_path: Path) -> None:
    found = find_problems(
        tmp_path,
        {"validation": "s3://b/v"},
        job_name="a_b",
        max_jobs=501,
        max_parallel_jobs=11,
        objective_metric_name="x",
        estimator_instance_type="ml.p3.2xlarge",
        hyperparameter_ranges={"depth": IntegerParameter(9, 1)},
    )
    starts = [
        "`job_name`",
        "`estimator.instance_type`",
        "`inputs`",
        "`hyperparameter_ranges['depth']`",
    ]
    starts += ["`max_leaf_nodes`", "`objective_metric_name`", "`max_jobs`", "`max_parallel_jobs`"]
    assert [start for start in starts if not any(line.startswith(start) for line in found)] == []
