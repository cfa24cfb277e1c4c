"""What keeps a tuning job from starting from its parents, found before it is sent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sagemaker_sift import (
    CategoricalParameter,
    ContinuousParameter,
    CredentialsError,
    FileSystemInput,
    HyperparameterTuner,
    IntegerParameter,
    InvalidRequestError,
    LocalSession,
    TuningLimits,
    WarmStartConfig,
)
from sagemaker_sift.results.tuning_job import find_parents
from tests.supports.algorithms import (
    build_session,
    build_trees,
    build_trees_estimator,
    continuous,
    error,
)
from tests.supports.tuning import INPUTS, LEAVES


@pytest.fixture
def session(tmp_path: Path) -> LocalSession:
    """A session with the ended tuning job ``parent``, which searched max_leaf_nodes."""
    other = build_trees(SupportedTuningJobObjectiveMetrics=[])
    session = build_session(tmp_path, other=other)
    build_tuner(session).fit(INPUTS, "parent", wait=False)
    session.sagemaker_client.status = "Completed"
    return session


def build_tuner(session: LocalSession, **changes: Any) -> HyperparameterTuner:
    estimator = {
        key.removeprefix("estimator_"): changes.pop(key)
        for key in list(changes)
        if key.startswith("estimator_")
    }
    arguments: dict[str, Any] = {
        "objective_metric_name": "validation:accuracy",
        "hyperparameter_ranges": LEAVES,
        "max_jobs": 10,
    } | changes
    return HyperparameterTuner(
        build_trees_estimator(Path(session.root), sagemaker_session=session, **estimator),
        **arguments,
    )


def find(session: LocalSession, inputs: Any = None, **changes: Any) -> list[str]:
    given = {"warm_start_config": WarmStartConfig("IdenticalDataAndAlgorithm", ["parent"])}
    tuner = build_tuner(session, **(given | changes))
    try:
        tuner.request(INPUTS if inputs is None else inputs, "child")
    except InvalidRequestError as error:
        return [str(problem) for problem in error.problems]
    return []


def test_a_right_parent_is_no_problem(session: LocalSession) -> None:
    assert find(session) == []
    wider = {"max_leaf_nodes": IntegerParameter(100, 90_000, "Logarithmic")}
    assert find(session, hyperparameter_ranges=wider) == []


def test_a_static_hyperparameter_may_become_tuned(session: LocalSession) -> None:
    ranges = LEAVES | {"min_gain": ContinuousParameter(0.1, 0.5)}
    assert find(session, hyperparameter_ranges=ranges) == []


def test_a_parent_that_does_not_exist(session: LocalSession) -> None:
    config = WarmStartConfig("TransferLearning", ["parent", "nobody"])
    [problem] = find(session, warm_start_config=config)
    assert problem.startswith("`warm_start_config.parents['nobody']` does not exist.")


def test_a_parent_that_still_runs(session: LocalSession) -> None:
    session.sagemaker_client.status = "InProgress"
    [problem] = find(session)
    assert problem.startswith("`warm_start_config.parents['parent']` is InProgress, but a parent")


def test_another_objective_metric(session: LocalSession) -> None:
    [problem] = find(session, objective_metric_name="validation:loss", objective_type="Minimize")
    assert "optimized 'validation:accuracy', but this job 'validation:loss'" in problem


def test_another_set_of_hyperparameters(session: LocalSession) -> None:
    [problem] = find(session, estimator_hyperparameters={"note": "x"})
    assert "has not note, but static and tuned hyperparameters together must be" in problem


def test_another_type_of_range(session: LocalSession) -> None:
    grid = {"max_leaf_nodes": CategoricalParameter([10, 20])}
    [problem] = find(session, hyperparameter_ranges=grid, strategy="Grid", max_jobs=None)
    assert "tuned 'max_leaf_nodes' as Integer, this job as Categorical" in problem


def test_other_data_or_another_algorithm_is_transfer_learning(session: LocalSession) -> None:
    other = {"training": "s3://bucket/other"}
    [problem] = find(session, other)
    assert "read other data, but the type is 'IdenticalDataAndAlgorithm'" in problem
    metrics = {"estimator_algorithm_arn": "other"}
    [problem] = find(session, **metrics)
    assert "ran 'scikit-decision-trees'" in problem
    transfer = WarmStartConfig("TransferLearning", ["parent"])
    assert find(session, other, warm_start_config=transfer, **metrics) == []
    assert find(session, {"training": "s3://bucket/train/"}) == []


def test_more_than_ten_changes(tmp_path: Path) -> None:
    names = [f"c{n}" for n in range(12)]
    spec = build_trees(
        SupportedHyperParameters=[continuous(name, 0, 9, DefaultValue="1") for name in names]
    )
    session = build_session(tmp_path, many=spec)
    tuned = {name: ContinuousParameter(0, 9) for name in names}
    arguments: dict[str, Any] = {"estimator_algorithm_arn": "many"}
    build_tuner(session, hyperparameter_ranges=tuned, **arguments).fit(
        INPUTS, "parent", wait=False
    )
    session.sagemaker_client.status = "Failed"
    fewer = {name: tuned[name] for name in names[10:]}
    assert find(session, hyperparameter_ranges=fewer, **arguments) == []
    [problem] = find(session, hyperparameter_ranges={"c11": tuned["c11"]}, **arguments)
    assert "differs in 11 places" in problem


def test_a_category_that_changes_counts_twice(session: LocalSession) -> None:
    from sagemaker_sift.requests.warm_start_rules import find_parent_problems

    parent = session.sagemaker_client.describe_hyper_parameter_tuning_job("parent")
    request = build_tuner(
        session, warm_start_config=WarmStartConfig("TransferLearning", ["parent"])
    ).request(INPUTS, "child")
    static = request["TrainingJobDefinition"]["StaticHyperParameters"]
    for number in range(6):
        static[f"x{number}"] = "red"
        parent["TrainingJobDefinition"]["StaticHyperParameters"][f"x{number}"] = "blue"
    [problem] = find_parent_problems(request, {"parent": parent}, TuningLimits(), {})
    assert "differs in 12 places" in problem.message


def test_the_parents_jobs_count_too(session: LocalSession) -> None:
    parent = session.sagemaker_client.created["parent"]
    parent["TrainingJobStatusCounters"] = {"Completed": 480, "NonRetryableError": 15}
    [problem] = find(session)
    assert problem.startswith("`max_jobs` is 10, and the parents have launched 495 training jobs")
    assert find(session, max_jobs=5) == []
    assert find(session, limits=TuningLimits(max_jobs=1000)) == []


def test_a_parent_of_several_algorithms(session: LocalSession) -> None:
    parts = {
        name: build_trees_estimator(Path(session.root), sagemaker_session=session) for name in "ab"
    }
    HyperparameterTuner.create(
        parts,
        dict.fromkeys(parts, "validation:accuracy"),
        dict.fromkeys(parts, LEAVES),
        max_jobs=4,
    ).fit(dict.fromkeys(parts, INPUTS), "both", wait=False)
    [problem] = find(session, warm_start_config=WarmStartConfig("TransferLearning", ["both"]))
    assert "searched several algorithms" in problem


def test_parents_that_may_not_be_described_are_left_to_the_service(session: LocalSession) -> None:
    session.sagemaker_client.hides_others = True
    config = WarmStartConfig("TransferLearning", ["parent", "nobody"])
    assert find(session, warm_start_config=config) == []
    assert list(find_parents(["parent", "nobody"], session)) == ["parent"]


def test_parents_are_looked_up_on_this_machine_too(tmp_path: Path) -> None:
    assert find_parents(["parent"], LocalSession(tmp_path)) == {"parent": None}


def test_what_a_parent_left_to_the_algorithm_is_no_difference(session: LocalSession) -> None:
    definition = session.sagemaker_client.created["parent"]["TrainingJobDefinition"]
    definition["StaticHyperParameters"] = {"depth": "8"}
    assert find(session) == []


def test_a_range_that_autotune_picked_has_no_type(session: LocalSession) -> None:
    parent = session.sagemaker_client.created["parent"]["HyperParameterTuningJobConfig"]
    parent["ParameterRanges"] = {"AutoParameters": [{"Name": "max_leaf_nodes", "ValueHint": "5"}]}
    assert find(session) == []


def test_places_and_names_are_compared_as_the_service_does(session: LocalSession) -> None:
    parent = session.sagemaker_client.created["parent"]["TrainingJobDefinition"]
    parent["AlgorithmSpecification"]["AlgorithmName"] = "Scikit-Decision-Trees"
    assert find(session) == []
    files = {"FileSystemId": "fs-0123456789abcdef0", "FileSystemType": "EFS"}
    files |= {"FileSystemAccessMode": "ro", "DirectoryPath": "/data/"}
    parent["InputDataConfig"][0]["DataSource"] = {"FileSystemDataSource": files}
    same = FileSystemInput("fs-0123456789abcdef0", "EFS", "/data")
    vpc = {"estimator_subnets": ["subnet-1"], "estimator_security_group_ids": ["sg-1"]}
    assert find(session, {"training": same}, **vpc) == []
    other = FileSystemInput("fs-0123456789abcdef0", "EFS", "/other")
    [problem] = find(session, {"training": other}, **vpc)
    assert "read other data" in problem


def test_expired_credentials_are_not_taken_for_a_right_parent(session: LocalSession) -> None:
    def refuse(HyperParameterTuningJobName: str) -> None:
        raise error("Describe", "ExpiredTokenException", "The token is expired")

    session.sagemaker_client.describe_hyper_parameter_tuning_job = refuse
    with pytest.raises(CredentialsError):
        find(session)
