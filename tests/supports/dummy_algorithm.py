"""An algorithm whose program does almost nothing, for tests of the local SageMaker."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sagemaker_sift.backends.local.client import LocalSageMaker
from tests.supports.algorithms import categorical, continuous, integer

NAME = "dummy"
ROLE = "arn:aws:iam::000000000000:role/sagemaker-sift-local"

PROGRAM = '''
"""Reports (x - 0.3)^2 and leaves a model; what else it does, the hyperparameter `mode` says."""
import json, os, pathlib, signal, sys, threading

ml = pathlib.Path(os.environ["SAGEMAKER_BASE_DIR"])
given = json.loads((ml / "input/config/hyperparameters.json").read_text())
x, mode = float(given.get("x", "0.5")), given.get("mode", "plain")
epochs = int(given.get("epochs", "1"))
if mode == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if mode == "fail":
    (ml / "output").mkdir(exist_ok=True)
    (ml / "output/failure").write_text(f"x={x} is too much.")
    sys.exit(1)
(ml / "model/model.txt").write_text(given.get("x", ""))
for epoch in range(epochs):
    value = "nan" if mode == "nan" else (x - 0.3) ** 2 + 1 / (epoch + 1)
    if mode != "silent":
        print(f"loss={value}", flush=True)
    if mode in ("wait", "stubborn"):
        while not (ml.parent / "go").exists():
            threading.Event().wait(0.02)
'''


def register(client: LocalSageMaker, folder: Path, program: str = PROGRAM) -> str:
    """Register the algorithm, its program in ``folder``, and return its name."""
    path = folder / "dummy_train.py"
    path.write_text(program)
    client.create_algorithm(
        AlgorithmName=NAME,
        TrainingSpecification={
            "TrainingImage": f"file://{path}",
            "SupportedHyperParameters": [
                continuous("x", 0.0, 1.0, DefaultValue="0.5"),
                integer("epochs", 1, 1000, DefaultValue="1"),
                categorical(
                    "mode",
                    ["plain", "fail", "nan", "silent", "wait", "stubborn"],
                    DefaultValue="plain",
                ),
            ],
            "SupportedTrainingInstanceTypes": ["ml.m5.large"],
            "SupportsDistributedTraining": True,
            "MetricDefinitions": [{"Name": "loss", "Regex": "loss=([-+.0-9einaf]+)"}],
            "TrainingChannels": [
                {
                    "Name": "training",
                    "IsRequired": False,
                    "SupportedContentTypes": ["text/csv"],
                    "SupportedInputModes": ["File"],
                }
            ],
            "SupportedTuningJobObjectiveMetrics": [{"Type": "Minimize", "MetricName": "loss"}],
        },
    )
    return NAME


def build_training_request(
    root: Path, name: str = "job", **hyperparameters: str
) -> dict[str, Any]:
    """Return a CreateTrainingJob request of the algorithm."""
    return {
        "TrainingJobName": name,
        **_build_job(root),
        "HyperParameters": hyperparameters,
    }


def build_tuning_request(
    root: Path,
    name: str = "tuning",
    *,
    max_jobs: int | None = 4,
    parallel: int = 2,
    strategy: str = "Random",
    ranges: dict[str, Any] | None = None,
    static: dict[str, str] | None = None,
    **config: Any,
) -> dict[str, Any]:
    """Return a CreateHyperParameterTuningJob request that searches ``x``."""
    searched = ranges or {
        "ContinuousParameterRanges": [{"Name": "x", "MinValue": "0", "MaxValue": "1"}]
    }
    limits = {"MaxParallelTrainingJobs": parallel}
    if max_jobs is not None:
        limits["MaxNumberOfTrainingJobs"] = max_jobs
    return {
        "HyperParameterTuningJobName": name,
        "HyperParameterTuningJobConfig": {
            "Strategy": strategy,
            "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "loss"},
            "ResourceLimits": limits,
            "ParameterRanges": searched,
            "RandomSeed": 7,
            **config,
        },
        "TrainingJobDefinition": {"StaticHyperParameters": static or {}, **_build_job(root)},
    }


def _build_job(root: Path) -> dict[str, Any]:
    return {
        "AlgorithmSpecification": {"AlgorithmName": NAME, "TrainingInputMode": "File"},
        "RoleArn": ROLE,
        "OutputDataConfig": {"S3OutputPath": f"file://{root}/training-jobs"},
        "ResourceConfig": {
            "InstanceType": "ml.m5.large",
            "InstanceCount": 1,
            "VolumeSizeInGB": 1,
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
    }


def wait_until(look: Callable[[], Any], deadline_s: float = 60.0, *, poll_s: float = 0.05) -> Any:
    """Return what ``look`` returns as soon as it is true.

    Raises:
        TimeoutError: If that takes longer than the deadline.
    """
    end, pause = time.monotonic() + deadline_s, threading.Event()
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > end:
            raise TimeoutError(f"{look} did not come true within {deadline_s} s.")
        pause.wait(poll_s)


def wait_for_training_job(client: LocalSageMaker, name: str) -> dict[str, Any]:
    """Return the description of a training job that has ended."""
    return _wait(lambda: client.describe_training_job(TrainingJobName=name), "TrainingJobStatus")


def wait_for_tuning_job(client: LocalSageMaker, name: str) -> dict[str, Any]:
    """Return the description of a tuning job that has ended."""
    return _wait(
        lambda: client.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=name),
        "HyperParameterTuningJobStatus",
    )


def list_training_jobs(client: LocalSageMaker, name: str) -> list[dict[str, Any]]:
    """Return the training jobs of a tuning job in the order of their launch."""
    pages = client.get_paginator("list_training_jobs_for_hyper_parameter_tuning_job").paginate(
        HyperParameterTuningJobName=name, SortBy="CreationTime"
    )
    return [job for page in pages for job in page["TrainingJobSummaries"]]


def _wait(describe: Callable[[], dict[str, Any]], field: str) -> dict[str, Any]:
    ended: Sequence[str] = ("Completed", "Failed", "Stopped")
    found: dict[str, Any] = wait_until(
        lambda: (description := describe())[field] in ended and description
    )
    return found
