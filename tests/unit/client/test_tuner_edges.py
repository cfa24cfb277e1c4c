"""What people do with tuners besides the plain thing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sagemaker_sift import (
    BackendError,
    ContinuousParameter,
    CredentialsError,
    HyperparameterTuner,
    InstanceConfig,
    IntegerParameter,
    InvalidRequestError,
    JobFailedError,
    LocalSession,
    ThrottledError,
    TuningJobCompletionCriteriaConfig,
)
from tests.supports.algorithms import build_session, build_trees_estimator, error
from tests.supports.tuning import INPUTS, LEAVES, PLAIN
from tests.unit.client.test_training_job import Script


def build_named(root: Path, *names: str) -> HyperparameterTuner:
    session = build_session(root)
    parts = {name: build_trees_estimator(root, sagemaker_session=session) for name in names}
    return HyperparameterTuner.create(
        parts,
        dict.fromkeys(parts, "validation:accuracy"),
        dict.fromkeys(parts, LEAVES),
        max_jobs=4,
    )


def read_limits(tuner: HyperparameterTuner) -> dict[str, Any]:
    limits: dict[str, Any] = tuner.request(INPUTS, "job")["HyperParameterTuningJobConfig"][
        "ResourceLimits"
    ]
    return limits


@pytest.mark.parametrize("inputs", [INPUTS, {"a": INPUTS, "bb": INPUTS}, "s3://bucket/data"])
def test_inputs_of_several_estimators_are_by_their_names(tmp_path: Path, inputs: Any) -> None:
    with pytest.raises(
        InvalidRequestError, match=r"`inputs` .*the (estimators are|names) 'a', 'b'"
    ):
        build_named(tmp_path, "a", "b").request(inputs, "job")


def test_metadata_by_a_wrong_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequestError, match="`include_cls_metadata` has the name 'c'"):
        build_named(tmp_path, "a").request({"a": INPUTS}, "job", {"c": True})


def test_attributes_of_the_only_estimator_may_be_changed(tmp_path: Path) -> None:
    tuner = HyperparameterTuner(build_trees_estimator(tmp_path), **PLAIN)
    assert tuner.objective_metric_name == "validation:accuracy"
    assert tuner.estimator_dict is None
    tuner.objective_metric_name, tuner.objective_type = "validation:loss", "Minimize"
    tuner.metric_definitions = [{"Name": "f1", "Regex": "f1=(.*)"}]
    tuner.estimator = build_trees_estimator(
        tmp_path, sagemaker_session=tuner.sagemaker_session, volume_size=55
    )
    request = tuner.request(INPUTS, "job")
    objective = request["HyperParameterTuningJobConfig"]["HyperParameterTuningJobObjective"]
    assert objective == {"Type": "Minimize", "MetricName": "validation:loss"}
    definition = request["TrainingJobDefinition"]
    assert definition["AlgorithmSpecification"]["MetricDefinitions"] == tuner.metric_definitions
    assert definition["HyperParameterTuningResourceConfig"]["VolumeSizeInGB"] == 55


def test_attributes_of_named_estimators_are_by_name(tmp_path: Path) -> None:
    tuner = build_named(tmp_path, "a", "b")
    assert tuner.estimator is None
    assert set(tuner.estimator_dict) == {"a", "b"}
    assert tuner.objective_metric_name_dict["b"] == "validation:accuracy"
    with pytest.raises(AttributeError, match="has the estimators 'a', 'b'"):
        tuner.objective_metric_name = "x"


def test_only_what_ends_a_search_lifts_its_number_of_jobs(tmp_path: Path) -> None:
    estimator = build_trees_estimator(tmp_path)
    arguments = {name: value for name, value in PLAIN.items() if "max" not in name}
    endless = TuningJobCompletionCriteriaConfig(complete_on_convergence=False)
    for criteria in (None, TuningJobCompletionCriteriaConfig(), endless):
        tuner = HyperparameterTuner(estimator, completion_criteria_config=criteria, **arguments)
        assert read_limits(tuner)["MaxNumberOfTrainingJobs"] == 1
    ending = TuningJobCompletionCriteriaConfig(complete_on_convergence=True)
    tuner = HyperparameterTuner(estimator, completion_criteria_config=ending, **arguments)
    assert "MaxNumberOfTrainingJobs" not in read_limits(tuner)
    tuner = HyperparameterTuner(estimator, max_runtime_in_seconds=600, **arguments)
    assert read_limits(tuner) == {"MaxParallelTrainingJobs": 1, "MaxRuntimeInSeconds": 600}
    nan = TuningJobCompletionCriteriaConfig(target_objective_metric_value=float("nan"))
    tuner = HyperparameterTuner(estimator, completion_criteria_config=nan, **arguments)
    with pytest.raises(InvalidRequestError, match="target_objective_metric_value` is nan"):
        tuner.validate(INPUTS)


def test_estimators_of_two_places_are_refused(tmp_path: Path) -> None:
    parts = {name: build_trees_estimator(tmp_path / name) for name in "ab"}
    tuner = HyperparameterTuner.create(
        parts,
        dict.fromkeys(parts, "validation:accuracy"),
        dict.fromkeys(parts, LEAVES),
        max_jobs=4,
    )
    with pytest.raises(InvalidRequestError, match="`estimator_dict` has estimators of"):
        tuner.request(dict.fromkeys(parts, INPUTS), "job")


def test_another_estimator_brings_its_own_machines(tmp_path: Path) -> None:
    tuner = HyperparameterTuner(build_trees_estimator(tmp_path), **PLAIN)
    tuner.override_resource_config([InstanceConfig(1, "ml.c4.xlarge", 20)])
    tuner.fit(INPUTS, "parent", wait=False)
    session = tuner.sagemaker_session
    session.sagemaker_client.status = "Completed"
    other = build_trees_estimator(tmp_path, sagemaker_session=session, instance_type="ml.m5.large")
    warm = tuner.transfer_learning_tuner(estimator=other)
    definition = warm.request(INPUTS, "child")["TrainingJobDefinition"]
    assert definition["HyperParameterTuningResourceConfig"]["InstanceType"] == "ml.m5.large"
    warm.definitions[None].ranges["min_gain"] = ContinuousParameter(0, 1)
    assert set(tuner.definitions[None].ranges) == {"max_leaf_nodes"}


def test_generated_names_tell_jobs_of_one_minute_apart(tmp_path: Path) -> None:
    tuner = HyperparameterTuner(build_trees_estimator(tmp_path), **PLAIN)
    names = {tuner.request(INPUTS)["HyperParameterTuningJobName"] for _ in range(40)}
    assert len(names) == 40
    assert all(name.startswith("scikit-decision-") for name in names)


def test_ranges_of_other_writers_come_back(tmp_path: Path) -> None:
    ranges = {"max_leaf_nodes": IntegerParameter("2", "1e3")}
    tuner = HyperparameterTuner(
        build_trees_estimator(tmp_path), "validation:accuracy", ranges, max_jobs=3
    )
    tuner.fit(INPUTS, "job", wait=False)
    attached = HyperparameterTuner.attach("job", tuner.sagemaker_session)
    assert attached.request(INPUTS, "again") == tuner.request(INPUTS, "again")


def test_autotune_that_keeps_everything_static_comes_back(tmp_path: Path) -> None:
    tuner = HyperparameterTuner(
        build_trees_estimator(tmp_path, hyperparameters={"max_leaf_nodes": 5}),
        "validation:accuracy",
        {"min_gain": ContinuousParameter(0, 1)},
        max_jobs=3,
        autotune=True,
        hyperparameters_to_keep_static=["max_leaf_nodes", "criterion", "depth"],
    )
    request = tuner.request(INPUTS, "again")
    tuner.fit(INPUTS, "job", wait=False)
    attached = HyperparameterTuner.attach("job", tuner.sagemaker_session)
    assert attached.request(INPUTS, "again") == request


def test_a_tuning_job_on_this_machine_is_no_crash(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="Tuning job 'x' not found under"):
        HyperparameterTuner.attach("x", LocalSession(tmp_path))


def test_the_last_lines_of_a_log_may_come_late(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = Script(tmp_path, ["Training", "a"], ["Completed"])
    script.session.log_lag_s = 5.0
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if seconds == 5.0:
            script.log.append("late")

    script.job.wait("All", sleep=sleep)
    assert capsys.readouterr().out.splitlines() == ["a", "-- Completed", "late"]
    assert waits == [5.0]


def test_a_failure_is_told_even_if_the_log_cannot_be_read(tmp_path: Path) -> None:
    script = Script(tmp_path, ["Failed"])
    script.denied = CredentialsError("expired", operation="GetLogEvents", code="E")  # type: ignore[assignment]
    with (
        pytest.warns(UserWarning, match="The log of job is not shown: expired"),
        pytest.raises(JobFailedError) as caught,
    ):
        script.job.wait(sleep=lambda seconds: None)
    assert caught.value.reason == "AlgorithmError: no images"


def test_a_service_that_fails_for_a_while_is_waited_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slow = error("DescribeTrainingJob", "ThrottlingException", "Rate exceeded")
    script = Script(tmp_path, ["Training"], ["Training"], slow, slow, slow, ["Completed"])
    script.job.wait(False, sleep=lambda seconds: None)
    script = Script(tmp_path, ["Training"], slow)
    with pytest.raises(ThrottledError):
        script.job.wait(False, sleep=lambda seconds: None)
    assert "Training job job runs on." in capsys.readouterr().err


def test_a_log_that_is_throttled_is_read_at_the_next_look(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = Script(tmp_path, ["Training", "a"], ["Training", "b"], ["Completed"])
    once = [ThrottledError("slow", operation="GetLogEvents", code="T")]

    def read_log(job_name: str, position: Any = None) -> tuple[list[str], Any]:
        if once:
            raise once.pop()
        return script.log[position or 0 :], len(script.log)

    script.session.read_log = read_log  # type: ignore[method-assign]
    script.job.wait("All", sleep=lambda seconds: None)
    assert [line for line in capsys.readouterr().out.split() if line in "ab"] == ["a", "b"]
