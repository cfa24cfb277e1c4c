"""What is due next in a tuning job, and how it ends: every branch, without a process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sagemaker_sift.backends.local.store import Record
from sagemaker_sift.backends.local.tuned_job import (
    TunedJob,
    count_objectives,
    count_statuses,
    find_best,
)
from sagemaker_sift.backends.local.tuning_state import Point, TuningState
from tests.supports.dummy_algorithm import build_tuning_request
from tests.supports.tuned_jobs import build_job

ROOT = Path("/root")


def build_record(**options: Any) -> Record:
    request = build_tuning_request(ROOT, **options)
    return request | {"CreationTime": 1.0, "Local": {"Seed": 7, "RuntimeS": 0.0}}


def build_state(**options: Any) -> TuningState:
    state = TuningState(build_record(**options))
    state.look([], 0.0)
    return state


def take(state: TuningState) -> list[Point]:
    """Return every point that is due, each launched."""
    points = []
    while (point := state.next_point()) is not None:
        points.append(point)
        record = {
            "TrainingJobName": point.request["TrainingJobName"],
            "TrainingJobStatus": "InProgress",
            "Local": point.local,
        }
        state.add(TunedJob(record))
    return points


def test_as_many_jobs_are_due_as_may_run_at_a_time() -> None:
    state = build_state(max_jobs=5, parallel=3)
    points = take(state)
    assert [point.local["Idx"] for point in points] == [0, 1, 2]
    assert len({point.request["TrainingJobName"] for point in points}) == 3
    assert all(point.local["Attempt"] == 1 for point in points)


def test_one_more_is_due_when_one_has_ended_until_all_were_launched() -> None:
    state = build_state(max_jobs=3, parallel=2)
    running = build_job(1, "InProgress", ())
    state.look([build_job(0), running], 1.0)
    assert [point.local["Idx"] for point in take(state)] == [2]
    state.look([build_job(0), build_job(1), build_job(2)], 1.0)
    assert take(state) == []
    assert state.ending == "all training jobs have ended"
    assert not state.failure


def test_a_request_carries_static_tuned_and_the_services_own_hyperparameters() -> None:
    (point,) = take(build_state(max_jobs=1, parallel=1, static={"epochs": "3"}))
    assert point.request["HyperParameters"] == {"epochs": "3", **point.local["Tuned"]}
    assert point.local["Tuned"].keys() == {"x"}
    assert point.service_hyperparameters == {"_tuning_objective_metric": "loss"}
    name = point.request["TrainingJobName"]
    assert name.startswith("tuning-001-")
    assert len(name) == len("tuning-001-") + 8


def test_the_same_record_gives_the_same_names_and_values() -> None:
    first, second = (take(build_state(max_jobs=3, parallel=3)) for _ in range(2))
    assert first == second


def test_of_alternative_machines_the_first_is_taken() -> None:
    record = build_record(max_jobs=1, parallel=1)
    definition = record["TrainingJobDefinition"]
    del definition["ResourceConfig"]
    definition["HyperParameterTuningResourceConfig"] = {
        "VolumeSizeInGB": 4,
        "InstanceConfigs": [
            {"InstanceType": "ml.m5.large", "InstanceCount": 2, "VolumeSizeInGB": 9},
            {"InstanceType": "ml.c5.large", "InstanceCount": 1, "VolumeSizeInGB": 9},
        ],
    }
    state = TuningState(record)
    (point,) = take(state)
    resources = {"InstanceType": "ml.m5.large", "InstanceCount": 2, "VolumeSizeInGB": 9}
    assert point.request["ResourceConfig"] == resources


@pytest.mark.parametrize("lost", ["coordinator", True, "supervisor"], ids=str)
def test_an_interrupted_job_is_tried_again_with_the_same_values(lost: object) -> None:
    state = build_state(max_jobs=2, parallel=1)
    interrupted = build_job(0, "Stopped", Lost=lost)
    state.look([interrupted], 1.0)
    assert interrupted.is_lost
    assert interrupted.objective is None
    (point,) = take(state)
    losses = int(lost == "supervisor")
    assert point.local == {
        "Idx": 0,
        "Attempt": 2,
        "Tuned": {"x": "0.0"},
        "SupervisorLosses": losses,
    }
    assert point.request["TrainingJobName"] != interrupted.name


def test_an_interrupted_job_that_had_completed_stays_completed() -> None:
    job = build_job(0, "Completed", Lost="coordinator")
    assert not job.is_lost
    assert job.objective == 1.0


def test_a_job_whose_processes_are_killed_three_times_has_failed() -> None:
    job = build_job(0, "Failed", Lost="supervisor", SupervisorLosses=2)
    assert not job.is_lost
    assert count_statuses([job])["NonRetryableError"] == 1
    assert build_job(0, "Failed", attempt=9, Lost="supervisor", SupervisorLosses=1).is_lost
    assert build_job(0, "Stopped", Lost="coordinator", SupervisorLosses=2).is_lost


def test_a_job_that_is_still_being_stopped_takes_its_place() -> None:
    state = build_state(max_jobs=2, parallel=1)
    state.look([build_job(0, "Stopping", Lost="coordinator")], 1.0)
    assert state.num_running == 1
    assert take(state) == []
    assert not state.ending


def test_after_five_failures_the_tuning_job_fails_with_the_services_words() -> None:
    state = build_state(max_jobs=9, parallel=1)
    state.look([build_job(idx, "Failed", ()) for idx in range(4)], 1.0)
    assert not state.ending
    state.look([build_job(idx, "Failed", ()) for idx in range(5)], 1.0)
    assert state.ending
    assert state.failure.startswith("No training job succeeded after 5 attempts.")
    assert state.next_point() is None


def test_one_success_keeps_the_search_going() -> None:
    state = build_state(max_jobs=9, parallel=1)
    failed = [build_job(idx, "Failed", ()) for idx in range(1, 8)]
    state.look([build_job(0), *failed], 1.0)
    assert not state.ending


def test_when_all_of_a_few_fail_the_tuning_job_fails() -> None:
    state = build_state(max_jobs=2, parallel=1)
    state.look([build_job(0, "Failed", ()), build_job(1, "Failed", ())], 1.0)
    assert state.failure.startswith("All training jobs failed.")


@pytest.mark.parametrize(("max_jobs", "number"), [(9, 5), (3, 3)], ids=["many", "few"])
def test_jobs_without_the_metric_fail_the_tuning_job(max_jobs: int, number: int) -> None:
    state = build_state(max_jobs=max_jobs, parallel=1)
    state.look([build_job(idx, curve=()) for idx in range(number)], 1.0)
    assert state.failure.startswith(
        f"No objective metrics found after running {number} training jobs."
    )


def test_a_search_that_never_saw_a_number_has_failed() -> None:
    state = build_state(max_jobs=2, parallel=1)
    state.look([build_job(idx, curve=(float("inf"),)) for idx in range(2)], 1.0)
    assert state.failure.startswith("No training job has ended with a finite value")


def test_checkpoints_of_a_point_are_its_own_and_those_of_every_attempt_at_it() -> None:
    record = build_record(max_jobs=3, parallel=3)
    record["TrainingJobDefinition"]["CheckpointConfig"] = {"S3Uri": "s3://bucket/check/"}
    state = TuningState(record)
    state.look([], 0.0)
    uris = [point.request["CheckpointConfig"]["S3Uri"] for point in take(state)]
    assert len(set(uris)) == 3
    assert all(uri.startswith("s3://bucket/check/tuning-00") for uri in uris)
    state = TuningState(record)
    state.look([build_job(0, "Stopped", Lost="coordinator")], 1.0)
    again = state.next_point()
    assert again is not None
    assert again.request["CheckpointConfig"]["S3Uri"] == uris[0]
    later = TuningState(record | {"CreationTime": 2.0})
    later.look([], 0.0)
    assert take(later)[0].request["CheckpointConfig"]["S3Uri"] not in uris


def test_definitions_do_not_draw_the_same_points() -> None:
    record = build_two()
    first, second = record["TrainingJobDefinitions"]
    first["HyperParameterRanges"] = second["HyperParameterRanges"]
    state = TuningState(record)
    state.look([], 0.0)
    assert len({point.local["Tuned"]["x"] for point in take(state)}) == 6


def test_values_that_are_no_numbers_do_not_end_the_search() -> None:
    state = build_state(max_jobs=9, parallel=1)
    jobs = [build_job(idx, curve=(float("nan"),)) for idx in range(6)]
    state.look(jobs, 1.0)
    assert not state.ending
    assert count_objectives(jobs) == {"Succeeded": 0, "Pending": 0, "Failed": 6}
    assert find_best(jobs, maximize=True) is None


def test_a_job_ends_after_its_longest_run() -> None:
    state = build_state(max_jobs=9, parallel=1)
    state.look([build_job(0)], 1e9)
    assert not state.ending
    record = build_record(max_jobs=9, parallel=1)
    record["HyperParameterTuningJobConfig"]["ResourceLimits"]["MaxRuntimeInSeconds"] = 120
    state = TuningState(record)
    state.look([build_job(0)], 119.9)
    assert not state.ending
    state.look([build_job(0)], 120.0)
    assert "MaxRuntimeInSeconds" in state.ending
    assert not state.failure


def test_a_job_ends_when_its_criterion_is_met() -> None:
    target = {"TargetObjectiveMetricValue": 0.5}
    state = build_state(max_jobs=9, parallel=1, TuningJobCompletionCriteria=target)
    state.look([build_job(0, curve=(0.4, 0.6))], 1.0)
    assert not state.ending
    state.look([build_job(0, curve=(0.6, 0.5))], 1.0)
    assert "target" in state.ending
    details = state.describe_completion(5.0)
    assert details == {"NumberOfTrainingJobsObjectiveNotImproving": 0}


def test_jobs_that_did_not_improve_are_counted_in_the_order_of_their_ends() -> None:
    state = build_state(max_jobs=9, parallel=3)
    best_last = [build_job(0, curve=(0.1,), EndIdx=3), build_job(1, EndIdx=1), build_job(2)]
    state.look([*best_last[:2], build_job(2, curve=(2.0,), EndIdx=2)], 1.0)
    details = state.describe_completion(5.0)
    assert details["NumberOfTrainingJobsObjectiveNotImproving"] == 0
    state.look([build_job(0, curve=(0.1,), EndIdx=1), build_job(1), build_job(2)], 1.0)
    details = state.describe_completion(5.0)
    assert details["NumberOfTrainingJobsObjectiveNotImproving"] == 2


def test_grid_launches_every_point_and_ends() -> None:
    ranges = {
        "CategoricalParameterRanges": [
            {"Name": "x", "Values": ["0.1", "0.2"]},
            {"Name": "mode", "Values": ["plain", "nan"]},
        ]
    }
    state = build_state(max_jobs=None, parallel=9, strategy="Grid", ranges=ranges)
    points = take(state)
    assert [tuple(point.local["Tuned"].values()) for point in points] == [
        ("0.1", "plain"),
        ("0.1", "nan"),
        ("0.2", "plain"),
        ("0.2", "nan"),
    ]


def test_a_small_space_ends_the_search_before_its_number_of_jobs() -> None:
    ranges = {"CategoricalParameterRanges": [{"Name": "x", "Values": ["0.1", "0.2", "0.3"]}]}
    state = build_state(max_jobs=None, parallel=9, ranges=ranges)
    points = take(state)
    assert len(points) == 3
    assert len({point.local["Tuned"]["x"] for point in points}) == 3


def test_without_a_number_the_documented_most_are_launched() -> None:
    state = build_state(max_jobs=None, parallel=1000)
    assert len(take(state)) == 500


def build_two() -> Record:
    record = build_record(max_jobs=6, parallel=6)
    config, only = record["HyperParameterTuningJobConfig"], record.pop("TrainingJobDefinition")
    objective = config.pop("HyperParameterTuningJobObjective")
    ranges = config.pop("ParameterRanges")
    small = {"CategoricalParameterRanges": [{"Name": "x", "Values": ["0.1"]}]}
    record["TrainingJobDefinitions"] = [
        only
        | {
            "DefinitionName": name,
            "TuningObjective": objective,
            "HyperParameterRanges": searched,
        }
        for name, searched in (("one", small), ("two", ranges))
    ]
    return record


def test_several_definitions_share_the_jobs_and_go_on_when_one_is_exhausted() -> None:
    state = TuningState(build_two())
    state.look([], 0.0)
    points = take(state)
    definitions = [point.local["Definition"] for point in points]
    assert definitions == ["one", "two", "two", "two", "two", "two"]
    assert [point.local["Idx"] for point in points] == list(range(6))
    assert len({str(point.local["Tuned"]) for point in points}) == 6


def test_threads_are_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(8)))
    assert build_state(max_jobs=10, parallel=3).num_threads == 2
    assert build_state(max_jobs=10, parallel=1).num_threads == 8
    assert build_state(max_jobs=2, parallel=2).num_threads == 4
    assert build_state(max_jobs=20, parallel=10).num_threads == 1


def test_early_stopping_names_the_jobs_that_fall_behind() -> None:
    jobs = [
        build_job(0, curve=(1.0, 0.5)),
        build_job(1, "InProgress", (9.0, 9.0)),
        build_job(2, "InProgress", (0.1,)),
    ]
    off = build_state(max_jobs=9, parallel=3)
    off.look(jobs, 1.0)
    assert off.find_hopeless() == {}
    auto = build_state(max_jobs=9, parallel=3, TrainingJobEarlyStoppingType="Auto")
    auto.look(jobs, 1.0)
    assert auto.find_hopeless().keys() == {"job-1-1"}
    auto.look([jobs[0], build_job(1, "Stopping", (9.0, 9.0)), jobs[2]], 1.0)
    assert auto.find_hopeless() == {}


def test_hyperband_stops_what_is_worst_at_a_rung() -> None:
    state = build_state(max_jobs=30, parallel=10, strategy="Hyperband", static={"epochs": "9"})
    jobs = [build_job(idx, "InProgress", (float(idx),)) for idx in range(10)]
    for shown in range(1, 11):
        state.look(jobs[:shown], 1.0)
        hopeless = state.find_hopeless()
    assert jobs[0].name not in hopeless
    assert hopeless


def test_a_warm_start_does_not_repeat_the_points_of_a_parent_of_its_seed() -> None:
    parents = {
        "ParentHyperParameterTuningJobs": [{"HyperParameterTuningJobName": "parent"}],
        "WarmStartType": "TransferLearning",
    }
    cold = take(build_state(max_jobs=3, parallel=3))
    warm = TuningState(build_record(max_jobs=3, parallel=3) | {"WarmStartConfig": parents})
    warm.look([], 0.0)
    assert [p.local["Tuned"] for p in take(warm)] != [p.local["Tuned"] for p in cold]
