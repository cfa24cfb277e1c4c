"""What the local SageMaker costs: to start a training job, to run a hundred, to tune for real.

Three tables. The first: seconds from ``create_training_job`` to the first line of the program,
beside the same program started by hand. A client's first job starts a worker, later ones find it.
The second: a tuning job of many training jobs that do nothing, ten at a time, beside Optuna alone
calling the same function in this process. The third: a small tuning job of the bundled trainer on
the default dataset, beside Optuna alone calling the trainer in one process with its imports, whose
threads wait as those of local jobs do; both take turns. ``--quick`` makes everything small,
``--json`` names a file for all numbers.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna

from sagemaker_sift import __version__
from sagemaker_sift.backends.local.client import LocalSageMaker
from sagemaker_sift.backends.local.container import prepare_environment
from sagemaker_sift.default_dataset import Dataset, write_default_dataset

ENDED = ("Completed", "Failed", "Stopped")
ROLE = "arn:aws:iam::000000000000:role/sagemaker-sift-local"
PROGRAM = """
import time
print(f"started={time.time()!r}", flush=True)
import json, os, pathlib
ml = pathlib.Path(os.environ.get("SAGEMAKER_BASE_DIR", "."))
given = ml / "input/config/hyperparameters.json"
x = float(json.loads(given.read_text()).get("x", "0.5")) if given.exists() else 0.5
print(f"loss={(x - 0.3) ** 2}")
"""
PROGRAMS = {"plain": PROGRAM, "with torch": f"import torch\n{PROGRAM}"}
RAW_TRAINING = """
import contextlib, io, json, os, sys
from pathlib import Path
import optuna
from sagemaker_sift.backends.local.container import lay_out
from sagemaker_sift.backends.local.storage import LocalStorage
from sagemaker_sift.contract.container import ContainerPaths
from sagemaker_sift.contract.metrics import VALIDATION_ACCURACY
from sagemaker_sift.trainer.main import main

optuna.logging.set_verbosity(optuna.logging.WARNING)
root, job, number = Path(sys.argv[1]), json.loads(sys.argv[2]), int(sys.argv[3])

def objective(trial):
    rate = trial.suggest_float("learning_rate", 0.01, 0.2, log=True)
    record = {**job, "TrainingJobName": f"job-{trial.number}"}
    record["HyperParameters"] = {**job["HyperParameters"], "learning_rate": str(rate)}
    paths = ContainerPaths(root / f"job-{trial.number}" / "ml")
    paths.root.mkdir(parents=True)
    lay_out(record, paths, LocalStorage(root))
    os.environ["SAGEMAKER_BASE_DIR"] = str(paths.root)
    with contextlib.redirect_stdout(io.StringIO()) as output:
        assert main([]) == 0
    values = map(VALIDATION_ACCURACY.read, output.getvalue().splitlines())
    return [value for value in values if value is not None][-1]

study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(7))
study.optimize(objective, n_trials=number)
"""


def build_job(algorithm: str, output: Path) -> dict[str, Any]:
    """Return what training jobs have in common."""
    return {
        "AlgorithmSpecification": {"AlgorithmName": algorithm, "TrainingInputMode": "File"},
        "RoleArn": ROLE,
        "OutputDataConfig": {"S3OutputPath": f"file://{output}"},
        "ResourceConfig": {
            "InstanceType": "ml.m5.large",
            "InstanceCount": 1,
            "VolumeSizeInGB": 1,
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
    }


def register(client: LocalSageMaker, name: str, path: Path) -> None:
    """Register a program as an algorithm with one hyperparameter."""
    bounds = {"MinValue": "0", "MaxValue": "1"}
    client.create_algorithm(
        AlgorithmName=name,
        TrainingSpecification={
            "TrainingImage": path.as_uri(),
            "SupportedHyperParameters": [
                {
                    "Name": "x",
                    "Type": "Continuous",
                    "Range": {"ContinuousParameterRangeSpecification": bounds},
                    "IsTunable": True,
                    "IsRequired": False,
                    "DefaultValue": "0.5",
                }
            ],
            "SupportedTrainingInstanceTypes": ["ml.m5.large"],
            "MetricDefinitions": [{"Name": "loss", "Regex": "loss=([-+.0-9e]+)"}],
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


def wait(describe: Callable[[], dict[str, Any]], field: str) -> dict[str, Any]:
    """Return the description of a job that has ended."""
    while (description := describe())[field] not in ENDED:
        time.sleep(0.02)
    assert description[field] == "Completed", description
    return description


def read_start(text: str) -> float:
    """Return the time that the program says."""
    return float(text.split("started=", 1)[1].split()[0])


def start_job(client: LocalSageMaker, name: str, algorithm: str) -> float:
    """Run a training job and return the seconds to the first line of its program."""
    root = client.storage.root
    created = time.time()
    client.create_training_job(
        TrainingJobName=name, HyperParameters={}, **build_job(algorithm, root / "out")
    )
    wait(lambda: client.describe_training_job(TrainingJobName=name), "TrainingJobStatus")
    return read_start((client.storage.job_folder(name) / "log.txt").read_text()) - created


def measure_starts(root: Path, num_later: int, rounds: int) -> dict[str, list[float]]:
    """Return the seconds to the first line: by hand, of first jobs and of later ones."""
    rows: dict[str, list[float]] = {}
    for kind, program in PROGRAMS.items():
        path = root / f"{kind.replace(' ', '_')}.py"
        path.write_text(program)
        for number in range(rounds):
            client = LocalSageMaker(root)
            if number == 0:
                register(client, path.stem.replace("_", "-"), path)
            for idx in range(1 + num_later):
                name = f"{path.stem.replace('_', '-')}-{number}-{idx}"
                seconds = start_job(client, name, path.stem.replace("_", "-"))
                which = "later jobs" if idx else "first job"
                rows.setdefault(f"{kind}: {which}", []).append(seconds)
                started = time.time()
                done = subprocess.run(
                    [sys.executable, str(path)], check=True, capture_output=True, text=True
                )
                by_hand = read_start(done.stdout) - started
                rows.setdefault(f"{kind}: by hand", []).append(by_hand)
            client.close()
    return rows


def tune(client: LocalSageMaker, name: str, request: dict[str, Any]) -> float:
    """Run a tuning job and return the seconds that it took."""
    key = {"HyperParameterTuningJobName": name}
    started = time.perf_counter()
    client.create_hyper_parameter_tuning_job(**key, **request)
    ended = wait(
        lambda: client.describe_hyper_parameter_tuning_job(**key), "HyperParameterTuningJobStatus"
    )
    seconds = time.perf_counter() - started
    limits = request["HyperParameterTuningJobConfig"]["ResourceLimits"]
    number = limits["MaxNumberOfTrainingJobs"]
    assert ended["TrainingJobStatusCounters"]["Completed"] == number, ended
    return seconds


def build_search(
    strategy: str, objective: tuple[str, str], limits: tuple[int, int], **searched: Any
) -> dict[str, Any]:
    """Return a HyperParameterTuningJobConfig.

    Args:
        strategy: The API's.
        objective: ``Minimize`` or ``Maximize``, and the metric.
        limits: Training jobs, and how many at a time.
        **searched: One continuous range.
    """
    return {
        "Strategy": strategy,
        "HyperParameterTuningJobObjective": dict(
            zip(("Type", "MetricName"), objective, strict=True)
        ),
        "ResourceLimits": dict(
            zip(("MaxNumberOfTrainingJobs", "MaxParallelTrainingJobs"), limits, strict=True)
        ),
        "ParameterRanges": {"ContinuousParameterRanges": [searched]},
        "RandomSeed": 7,
    }


def measure_many(root: Path, number: int, rounds: int) -> dict[str, list[float]]:
    """Return the seconds of tuning jobs whose training jobs do nothing, and of Optuna alone."""
    client = LocalSageMaker(root)
    path = root / "nothing.py"
    path.write_text(PROGRAM)
    register(client, "nothing", path)
    samplers = {
        "Random": lambda: optuna.samplers.RandomSampler(7),
        "Bayesian": lambda: optuna.samplers.TPESampler(seed=7, multivariate=True),
    }
    rows: dict[str, list[float]] = {}
    for idx in range(rounds):
        for strategy, build in samplers.items():
            searched = {"Name": "x", "MinValue": "0", "MaxValue": "1"}
            config = build_search(
                strategy, ("Minimize", "loss"), (number, min(10, number)), **searched
            )
            job = {"StaticHyperParameters": {}, **build_job("nothing", root / "out")}
            request = {"HyperParameterTuningJobConfig": config, "TrainingJobDefinition": job}
            seconds = tune(client, f"many-{strategy}-{idx}", request)
            rows.setdefault(f"{strategy}: tuning job", []).append(seconds)
            started = time.perf_counter()
            study = optuna.create_study(sampler=build())
            study.optimize(lambda trial: (trial.suggest_float("x", 0, 1) - 0.3) ** 2, number)
            alone = time.perf_counter() - started
            rows.setdefault(f"{strategy}: Optuna alone", []).append(alone)
    client.close()
    return rows


def build_training(dataset: Dataset, root: Path, epochs: int) -> dict[str, Any]:
    """Return a job of the bundled trainer without what is searched."""
    channels = [
        {
            "ChannelName": name,
            "ContentType": "application/x-image",
            "InputMode": "File",
            "DataSource": {
                "S3DataSource": {
                    "S3DataType": "S3Prefix",
                    "S3Uri": Path(folder).as_uri(),
                    "S3DataDistributionType": "FullyReplicated",
                }
            },
        }
        for name, folder in (("train", dataset.train), ("validation", dataset.validation))
    ]
    static = {
        "num_classes": str(dataset.num_classes),
        "num_training_samples": str(dataset.num_training_samples),
        "num_layers": "20",
        "image_shape": "3,28,28",
        "epochs": str(epochs),
    }
    job = build_job("sift-image-classification", root / "out")
    return {**job, "InputDataConfig": channels, "StaticHyperParameters": static}


def measure_training(root: Path, number: int, epochs: int, rounds: int) -> dict[str, list[float]]:
    """Return the seconds of a tuning job of the bundled trainer, and of Optuna calling it."""
    dataset = write_default_dataset(root / "digits")
    job = build_training(dataset, root, epochs)
    searched = {
        "Name": "learning_rate",
        "MinValue": "0.01",
        "MaxValue": "0.2",
        "ScalingType": "Logarithmic",
    }
    config = build_search("Random", ("Maximize", "validation:accuracy"), (number, 1), **searched)
    request = {"HyperParameterTuningJobConfig": config, "TrainingJobDefinition": job}
    alone = {**job, "HyperParameters": job["StaticHyperParameters"]}
    rows: dict[str, list[float]] = {"tuning job": [], "Optuna alone, one process": []}
    for idx in range(rounds):
        client = LocalSageMaker(root)
        rows["tuning job"].append(tune(client, f"real-{idx}", request))
        client.close()
        folder = root / f"alone-{idx}"
        arguments = [str(folder), json.dumps(alone), str(number)]
        started = time.perf_counter()
        command = [sys.executable, "-c", RAW_TRAINING, *arguments]
        subprocess.run(command, check=True, env=prepare_environment(os.environ))
        rows["Optuna alone, one process"].append(time.perf_counter() - started)
        shutil.rmtree(folder)
    return rows


def print_table(head: str, rows: dict[str, list[float]], floors: dict[str, str]) -> None:
    """Print medians and extremes, and the medians of the ratios to a floor."""
    print(f"\n| {head} | median s | least to most | ratio | n |\n|---|---|---|---|---|")
    for name, values in rows.items():
        floor = rows[floors[name]] if name in floors else None
        ratio = f"{statistics.median(values) / statistics.median(floor):.2f}" if floor else ""
        print(
            f"| {name} | {statistics.median(values):.3f} | {min(values):.3f} to "
            f"{max(values):.3f} | {ratio} | {len(values)} |"
        )


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rounds, later, many, trials, epochs = (
        (1, 2, 10, 2, 1) if options.quick else (options.rounds, 5, 100, 3, 1)
    )
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    print(f"sagemaker-sift {__version__}, optuna {optuna.__version__}")
    print(f"Python {platform.python_version()}, {platform.machine()}, {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder).resolve()
        starts = measure_starts(root, later, rounds)
        floors = {name: f"{name.split(':')[0]}: by hand" for name in starts}
        print_table("from create to the program's first line", starts, floors)
        busy = measure_many(root, many, rounds)
        floors = {name: f"{name.split(':')[0]}: Optuna alone" for name in busy}
        print_table(f"{many} training jobs that do nothing", busy, floors)
        real = measure_training(root, trials, epochs, rounds)
        floors = dict.fromkeys(real, "Optuna alone, one process")
        print_table(f"{trials} training jobs of the trainer, {epochs} epoch each", real, floors)
    if options.json:
        found = {"starts_s": starts, "many_s": busy, "training_s": real}
        options.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
