"""What training jobs of a tuning job have come to."""

from __future__ import annotations

from sagemaker_sift.backends.local.tuned_job import count_objectives, count_statuses, find_best
from sagemaker_sift.backends.local.tuning_state import to_trial
from tests.supports.tuned_jobs import build_job


def test_trials_carry_what_a_search_may_know() -> None:
    trial = to_trial(build_job(3, curve=(2.0, 1.5)), {"epochs": "4", "x": "static"})
    assert trial.values == {"epochs": "4", "x": "0.3"}
    assert (trial.objective, trial.is_running, list(trial.curve)) == (1.5, False, [2.0, 1.5])
    running = to_trial(build_job(3, "InProgress", (2.0,)))
    assert (running.objective, running.is_running) == (None, True)


def test_the_best_is_the_earliest_of_equal_ones() -> None:
    jobs = [build_job(idx, curve=(value,)) for idx, value in enumerate((2.0, 1.0, 1.0, 3.0))]
    jobs.append(build_job(4, "Failed", (9.0,)))
    jobs.append(build_job(5, "InProgress", (9.0,)))
    lowest, highest = find_best(jobs, maximize=False), find_best(jobs, maximize=True)
    assert lowest is jobs[1]
    assert highest is jobs[3]


def test_jobs_are_counted_as_the_api_counts_them() -> None:
    jobs = [
        build_job(0),
        build_job(1, "Stopped"),
        build_job(2, "Failed"),
        build_job(3, "InProgress"),
        build_job(4, "Stopping"),
        build_job(5, "Stopped", Lost="coordinator"),
    ]
    assert count_statuses(jobs) == {
        "Completed": 1,
        "InProgress": 2,
        "RetryableError": 1,
        "NonRetryableError": 1,
        "Stopped": 1,
    }
    assert count_objectives(jobs) == {"Succeeded": 2, "Pending": 2, "Failed": 2}
