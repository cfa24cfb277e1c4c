"""Tuners over a LocalSession, from Python to the results of real processes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sagemaker_sift import (
    AlgorithmEstimator,
    ContinuousParameter,
    HyperparameterTuner,
    LocalSession,
    TuningJobFailedError,
)
from sagemaker_sift.backends.local.world import find_cpus
from sagemaker_sift.strategy import HyperbandStrategyConfig, StrategyConfig
from tests.supports.dummy_algorithm import (
    NAME,
    list_training_jobs,
    register,
    wait_for_tuning_job,
    wait_until,
)
from tests.supports.root_processes import find_processes

X = {"x": ContinuousParameter(0.0, 1.0)}
SLOW_CURVE = '''
"""Reports a curve slowly enough to be stopped before its end, and the threads it may use."""
import json, os, pathlib, signal, sys, threading

ml = pathlib.Path(os.environ["SAGEMAKER_BASE_DIR"])
given = json.loads((ml / "input/config/hyperparameters.json").read_text())
stop = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stop.set())
(ml / "model/threads.txt").write_text(os.environ.get("OMP_NUM_THREADS", "none"))
for epoch in range(int(given["epochs"])):
    print(f"loss={(float(given['x']) - 0.3) ** 2 + 1 / (epoch + 1)}", flush=True)
    if stop.wait(0.2):
        break
'''


@pytest.fixture(autouse=True)
def end_what_still_runs(tmp_path: Path) -> Iterator[None]:
    """Leave no process behind when a test fails halfway."""
    yield
    for process in find_processes(tmp_path):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)


@pytest.fixture
def session(tmp_path: Path) -> LocalSession:
    session = LocalSession(tmp_path)
    register(session.sagemaker_client, tmp_path)
    return session


def build_estimator(session: LocalSession, **hyperparameters: Any) -> AlgorithmEstimator:
    return AlgorithmEstimator(
        NAME,
        instance_type="ml.m5.large",
        sagemaker_session=session,
        hyperparameters=hyperparameters,
    )


def build_tuner(session: LocalSession, static: Any = None, **options: Any) -> HyperparameterTuner:
    given: dict[str, Any] = {
        "objective_metric_name": "loss",
        "hyperparameter_ranges": X,
        "objective_type": "Minimize",
        "max_jobs": 4,
        "max_parallel_jobs": 2,
        "random_seed": 3,
    }
    return HyperparameterTuner(build_estimator(session, **(static or {})), **(given | options))


def test_a_tuner_finds_attaches_and_goes_on(session: LocalSession, tmp_path: Path) -> None:
    tuner = build_tuner(session, {"epochs": 2}, tags={"team": "tests"})
    tuner.fit(job_name="first")
    summaries = list_training_jobs(session.sagemaker_client, "first")
    values = {
        job["TrainingJobName"]: job["FinalHyperParameterTuningJobObjectiveMetric"]["Value"]
        for job in summaries
    }
    assert len(values) == 4
    best = min(values, key=values.__getitem__)
    assert tuner.best_training_job() == best
    estimator = tuner.best_estimator()
    assert estimator.hyperparameters()["epochs"] in (2, "2")
    assert Path(str(estimator.model_data).removeprefix("file://")).is_file()
    attached = HyperparameterTuner.attach("first", session)
    assert attached.best_training_job() == best
    assert attached.max_jobs == 4
    frame = attached.analytics().dataframe()
    assert sorted(frame["TrainingJobName"]) == sorted(values)
    assert frame["FinalObjectiveValue"].min() == values[best]
    again = attached.identical_dataset_and_algorithm_tuner()
    again.fit(job_name="second")
    assert "OverallBestTrainingJob" in again.describe()
    tried = {
        name: {
            job["TunedHyperParameters"]["x"]
            for job in list_training_jobs(session.sagemaker_client, name)
        }
        for name in ("first", "second")
    }
    assert not tried["first"] & tried["second"]


def test_a_stopped_tuner_is_resumed(session: LocalSession, tmp_path: Path) -> None:
    tuner = build_tuner(session, {"mode": "wait"}, max_jobs=3, max_parallel_jobs=2)
    tuner.fit(job_name="stopped", wait=False)
    client = session.sagemaker_client
    wait_until(lambda: len(list_training_jobs(client, "stopped")) == 2)
    tuner.stop_tuning_job()
    ended = wait_for_tuning_job(client, "stopped")
    assert ended["HyperParameterTuningJobStatus"] == "Stopped"
    resumed = HyperparameterTuner.attach("stopped", session)
    resumed.resume(wait=False)
    (third,) = wait_until(lambda: list_training_jobs(client, "stopped")[2:])
    (client.storage.job_folder(third["TrainingJobName"]) / "go").touch()
    resumed.wait()
    counters = resumed.describe()["TrainingJobStatusCounters"]
    assert counters["Completed"] + counters["Stopped"] == 3


def test_a_tuner_whose_jobs_all_fail_raises_with_the_services_words(
    session: LocalSession,
) -> None:
    tuner = build_tuner(session, {"mode": "fail"}, max_jobs=2)
    with pytest.raises(TuningJobFailedError, match="All training jobs failed"):
        tuner.fit(job_name="failing")


def test_several_definitions_and_autotune_share_a_tuning_job(session: LocalSession) -> None:
    estimators = {
        "long": build_estimator(session, epochs=3),
        "short": build_estimator(session, epochs=1),
    }
    tuner = HyperparameterTuner.create(
        estimators,
        dict.fromkeys(estimators, "loss"),
        {"long": X, "short": {"x": ContinuousParameter(0.2, 0.21)}},
        strategy="Random",
        objective_type="Minimize",
        max_jobs=4,
        max_parallel_jobs=2,
        random_seed=3,
    )
    tuner.fit(dict.fromkeys(estimators), job_name="several")
    tried: dict[str, list[float]] = {"long": [], "short": []}
    for job in list_training_jobs(session.sagemaker_client, "several"):
        x = float(job["TunedHyperParameters"]["x"])
        tried[job["TrainingJobDefinitionName"]].append(x)
    assert [len(values) for values in tried.values()] == [2, 2]
    assert all(0.2 <= x <= 0.21 for x in tried["short"])
    automatic = build_tuner(
        session,
        {"mode": "plain", "epochs": 1},
        hyperparameter_ranges=None,
        autotune=True,
        hyperparameters_to_keep_static=["mode", "epochs"],
        max_jobs=2,
    )
    automatic.fit(job_name="automatic")
    for job in list_training_jobs(session.sagemaker_client, "automatic"):
        assert "x" in job["TunedHyperParameters"]


def test_hyperband_stops_bad_jobs_keeps_their_models_and_shares_the_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS")
    session = LocalSession(tmp_path)
    register(session.sagemaker_client, tmp_path, SLOW_CURVE)
    tuner = build_tuner(
        session,
        {"epochs": 9},
        max_jobs=6,
        max_parallel_jobs=3,
        strategy="Hyperband",
        strategy_config=StrategyConfig(HyperbandStrategyConfig(min_resource=1, max_resource=9)),
    )
    tuner.fit(job_name="hyperband")
    jobs = list_training_jobs(session.sagemaker_client, "hyperband")
    assert len(jobs) == 6
    stopped = [job for job in jobs if job["TrainingJobStatus"] == "Stopped"]
    assert stopped
    best = tuner.best_training_job()
    assert best not in [job["TrainingJobName"] for job in stopped]
    for job in stopped:
        described = session.sagemaker_client.describe_training_job(
            TrainingJobName=job["TrainingJobName"]
        )
        assert described["SecondaryStatusTransitions"][-1]["StatusMessage"]  # why, in words
        model = described["ModelArtifacts"]["S3ModelArtifacts"].removeprefix("file://")
        with tarfile.open(model) as tar:
            threads = tar.extractfile("threads.txt")
            assert threads is not None
            assert int(threads.read()) == max(1, len(find_cpus()) // 3)
        metrics = session.sagemaker_client.storage.job_folder(job["TrainingJobName"])
        lines = (metrics / "metrics.jsonl").read_text().splitlines()
        assert len(lines) < 9
        assert json.loads(lines[0])["name"] == "loss"
