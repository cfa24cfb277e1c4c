"""Coordinators in this process: their clocks, sleep and launcher are given, the rest is real."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sagemaker_sift.backends.local.client import LocalSageMaker
from sagemaker_sift.backends.local.coordinator import Coordinator
from sagemaker_sift.backends.local.launcher import JobLauncher
from sagemaker_sift.backends.local.store import STORE_NAME, Record, RecordStore, set_status
from tests.supports.dummy_algorithm import build_tuning_request, register

NAME = "tuning"


class FakeWorld(JobLauncher):
    """Plays the training processes, and the time between two looks of a coordinator.

    A job reports one value of its curve at every sleep, and completes with the last one. One
    that is asked to stop is Stopped at the next sleep.

    Args:
        root: Of the local SageMaker.
        curve: Returns the values that a job reports, from its ``x``.
        step_s: How far the timer moves at every sleep.
    """

    def __init__(
        self, root: Path, curve: Callable[[float], list[float]], step_s: float = 1.0
    ) -> None:
        self.root = root
        self.curve = curve
        self.step_s = step_s
        self.now_s = 0.0
        self.fails = False
        self.launched: list[str] = []
        self.most_running = 0
        self._running: dict[str, int] = {}
        self._table = RecordStore(root / STORE_NAME).training_jobs

    def launch(self, job_name: str, lock: int, program: str | None = None) -> None:
        if self.fails:
            raise OSError("no process can be started")
        self.launched.append(job_name)
        self._running[job_name] = os.dup(lock)
        self.most_running = max(self.most_running, len(self._running))

    def close(self) -> None:
        """There is nothing to let go of."""

    def timer(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += self.step_s
        for name in list(self._running):
            record = self._table.read(name)
            assert record is not None
            path = self.root / "training-jobs" / name / "metrics.jsonl"
            done = len(path.read_text().splitlines()) if path.is_file() else 0
            values = self.curve(float(record["Local"]["Tuned"]["x"]))
            if record["TrainingJobStatus"] == "Stopping":
                self._end(name, "Stopped")
            elif done == len(values):
                self._end(name, "Completed")
            else:
                line = {"name": "loss", "value": values[done], "time_s": 0.0}
                with path.open("a") as file:
                    file.write(json.dumps(line) + "\n")

    def _end(self, name: str, status: str) -> None:
        self._table.update(name, lambda record: set_status(record, status, status, self.now_s))
        os.close(self._running.pop(name))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root with the algorithm, where no process of a coordinator is started."""
    register(LocalSageMaker(tmp_path), tmp_path)
    return tmp_path


def add_tuning_job(root: Path, **options: Any) -> None:
    """Record a tuning job without starting its coordinator."""
    request = build_tuning_request(root, NAME, **options)
    record: Record = {
        **request,
        "HyperParameterTuningJobArn": f"arn:tuning/{NAME}",
        "HyperParameterTuningJobStatus": "InProgress",
        "CreationTime": 100.0,
        "LastModifiedTime": 100.0,
        "Local": {"RuntimeS": 0.0, "Seed": 7},
    }
    RecordStore(root / STORE_NAME).tuning_jobs.add(record)


def coordinate(world: FakeWorld, clock: Callable[[], float] = lambda: 100.0) -> Record:
    """Run a coordinator to its end and return the record of the tuning job."""
    Coordinator(world.root, NAME, clock, world.timer, world.sleep, world).run()
    return read(world.root)


def read(root: Path) -> Record:
    record = RecordStore(root / STORE_NAME).tuning_jobs.read(NAME)
    assert record is not None
    return record


def read_children(root: Path) -> list[Record]:
    return RecordStore(root / STORE_NAME).training_jobs.list(parent=NAME)[::-1]


def change_status(root: Path, status: str) -> None:
    table = RecordStore(root / STORE_NAME).tuning_jobs
    table.update(NAME, lambda record: record.update(HyperParameterTuningJobStatus=status))


def test_all_points_are_tried_and_no_more_at_a_time_than_may(root: Path) -> None:
    add_tuning_job(root, max_jobs=7, parallel=3)
    world = FakeWorld(root, lambda x: [x])
    assert coordinate(world)["HyperParameterTuningJobStatus"] == "Completed"
    assert len(world.launched) == len(set(world.launched)) == 7
    assert world.most_running == 3
    ends = [job["Local"]["EndIdx"] for job in read_children(root)]
    assert ends == list(range(1, 8))


def test_the_longest_run_is_measured_by_the_timer_over_all_coordinators(root: Path) -> None:
    add_tuning_job(
        root,
        max_jobs=20,
        parallel=1,
        ResourceLimits={
            "MaxNumberOfTrainingJobs": 20,
            "MaxParallelTrainingJobs": 1,
            "MaxRuntimeInSeconds": 120,
        },
    )
    RecordStore(root / STORE_NAME).tuning_jobs.update(
        NAME, lambda record: record["Local"].update(RuntimeS=100.0)
    )
    world = FakeWorld(root, lambda x: [x] * 100)
    record = coordinate(world, clock=lambda: 1e9)
    assert record["HyperParameterTuningJobStatus"] == "Completed"
    assert "MaxRuntimeInSeconds" in record["Local"]["Reason"]
    assert 120 <= record["Local"]["RuntimeS"] <= 123
    assert [job["TrainingJobStatus"] for job in read_children(root)] == ["Stopped"]


def test_jumps_of_the_clock_change_nothing(root: Path) -> None:
    times = iter(range(10**9, 0, -(10**6)))
    add_tuning_job(root, max_jobs=5, parallel=2)
    world = FakeWorld(root, lambda x: [x])
    record = coordinate(world, clock=lambda: float(next(times)))
    assert record["HyperParameterTuningJobStatus"] == "Completed"
    assert record["Local"]["RuntimeS"] < 60
    children = read_children(root)
    assert [job["Local"]["Idx"] for job in children] == [0, 1, 2, 3, 4]
    assert len({job["TrainingJobName"] for job in children}) == 5


def test_a_stop_of_the_last_training_jobs_is_a_stop(root: Path) -> None:
    add_tuning_job(root, max_jobs=2, parallel=2)
    world = FakeWorld(root, lambda x: [x] * 1000)
    sleep = world.sleep

    def stop(seconds: float) -> None:
        if world.now_s == 3.0:
            change_status(root, "Stopping")
        sleep(seconds)

    Coordinator(root, NAME, lambda: 100.0, world.timer, stop, world).run()
    assert read(root)["HyperParameterTuningJobStatus"] == "Stopped"
    assert [job["TrainingJobStatus"] for job in read_children(root)] == ["Stopped"] * 2
    change_status(root, "InProgress")  # as resume does
    assert coordinate(world)["HyperParameterTuningJobStatus"] == "Completed"
    assert len(world.launched) == 2


def test_a_process_that_cannot_start_fails_the_job_which_can_then_go_on(root: Path) -> None:
    add_tuning_job(root, max_jobs=3, parallel=1)
    world = FakeWorld(root, lambda x: [x])
    world.fails = True
    record = coordinate(world)
    assert record["HyperParameterTuningJobStatus"] == "Failed"
    assert "no process can be started" in record["FailureReason"]
    assert record["Local"]["Lost"] == "coordinator"
    change_status(root, "InProgress")
    world.fails = False
    assert coordinate(world)["HyperParameterTuningJobStatus"] == "Completed"
    assert len(world.launched) == 3
    tried = [(job["Local"]["Idx"], job["Local"]["Attempt"]) for job in read_children(root)]
    assert tried == [(0, 1), (0, 2), (1, 1), (2, 1)]


def test_training_jobs_that_were_deleted_are_neither_missed_nor_repeated(root: Path) -> None:
    add_tuning_job(root, max_jobs=4, parallel=1)
    world = FakeWorld(root, lambda x: [x])
    sleep, table = world.sleep, RecordStore(root / STORE_NAME).training_jobs

    def stop(seconds: float) -> None:
        if len(world.launched) == 3:
            change_status(root, "Stopping")
        sleep(seconds)

    Coordinator(root, NAME, lambda: 100.0, world.timer, stop, world).run()
    first = read_children(root)[0]
    table.delete(first["TrainingJobName"], lambda record: None)
    change_status(root, "InProgress")
    assert coordinate(world)["HyperParameterTuningJobStatus"] == "Completed"
    assert [job["Local"]["Idx"] for job in read_children(root)] == [1, 2, 3]


def test_a_training_job_that_is_deleted_as_it_ends_does_not_end_the_search(root: Path) -> None:
    add_tuning_job(root, max_jobs=3, parallel=1)
    world = FakeWorld(root, lambda x: [x])
    sleep, table = world.sleep, RecordStore(root / STORE_NAME).training_jobs

    def delete(seconds: float) -> None:
        sleep(seconds)
        ended = [job for job in read_children(root) if job["TrainingJobStatus"] == "Completed"]
        if len(world.launched) == 2 and len(ended) == 2:
            table.delete(ended[1]["TrainingJobName"], lambda record: None)

    Coordinator(root, NAME, lambda: 100.0, world.timer, delete, world).run()
    assert read(root)["HyperParameterTuningJobStatus"] == "Completed"
    assert {job["Local"]["Idx"] for job in read_children(root)} >= {0, 2}


def test_early_stopping_stops_what_falls_behind_and_keeps_its_value(root: Path) -> None:
    add_tuning_job(root, max_jobs=12, parallel=1, TrainingJobEarlyStoppingType="Auto")
    world = FakeWorld(root, lambda x: [x + 1 / epoch for epoch in range(1, 13)])
    record = coordinate(world)
    assert record["HyperParameterTuningJobStatus"] == "Completed"
    children = read_children(root)
    stopped = [job for job in children if job["TrainingJobStatus"] == "Stopped"]
    assert stopped
    assert len(children) == 12
    values = [float(job["Local"]["Tuned"]["x"]) for job in children]
    assert values.index(min(values)) not in [children.index(job) for job in stopped]
    for job in stopped:
        assert 1 <= len(job["Local"]["Curve"]) < 12
        assert job["Local"]["Reason"]


def test_records_that_cannot_be_read_for_a_while_are_waited_for(root: Path) -> None:
    add_tuning_job(root, max_jobs=2, parallel=1)
    world = FakeWorld(root, lambda x: [x])
    store, aside = root / STORE_NAME, root / "aside"
    sleep, away = world.sleep, []

    def take_away(seconds: float) -> None:
        world.now_s += 1.0
        if not away:
            sleep(seconds)
            store.rename(aside)
            store.mkdir()  # no database
        away.append(seconds)
        if len(away) == 20:
            store.rmdir()
            aside.rename(store)
        if len(away) > 20:
            sleep(seconds)

    Coordinator(root, NAME, lambda: 100.0, world.timer, take_away, world).run()
    assert len(away) > 20
    assert read(root)["HyperParameterTuningJobStatus"] == "Completed"
    assert len(world.launched) == 2
