"""What the client costs beside the official SDKs: to import, to describe a job, to install.

Imports are whole processes, those of the official SDKs in the environments that ``make
test-interop`` leaves, if they are there. The job is the largest tuning job that the API takes: ten
definitions of thirty ranges, sixty-nine static hyperparameters and twenty channels each. Cold is
the first time in a process, with reading the service model; warm is every further time. All
measurements of a round follow one another, so that other work of the machine meets all alike.

``--rounds`` is how often all are repeated, ``--size`` installs the package into an empty
environment and weighs it (network), ``--json`` names a file for all numbers.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path
from typing import Any

from sagemaker_sift import (
    Algorithm,
    AlgorithmEstimator,
    ContinuousParameter,
    HyperparameterTuner,
    LocalSession,
    TrainingInput,
)

ROOT = Path(__file__).parents[1]
SDK2, SDK3 = (ROOT / f".venv-sagemaker{version}" / "bin" / "python" for version in (2, 3))
BARE = "bare interpreter"
STATEMENTS = {
    BARE: (sys.executable, "pass"),
    "sagemaker_sift": (sys.executable, "import sagemaker_sift"),
    "its estimator": (sys.executable, "from sagemaker_sift import AlgorithmEstimator"),
    "its estimator and tuner": (
        sys.executable,
        "from sagemaker_sift import AlgorithmEstimator, HyperparameterTuner, Session",
    ),
    "boto3": (sys.executable, "import boto3"),
    "SDK v2": (str(SDK2), "import sagemaker"),
    "SDK v2, its estimator and tuner": (
        str(SDK2),
        "from sagemaker import AlgorithmEstimator; "
        "from sagemaker.tuner import HyperparameterTuner",
    ),
    "SDK v3, its trainer": (str(SDK3), "from sagemaker.train import ModelTrainer"),
    "SDK v3, its trainer and tuner": (
        str(SDK3),
        "from sagemaker.train import ModelTrainer; "
        "from sagemaker.train.tuner import HyperparameterTuner",
    ),
}
SIZE = """
import importlib.metadata as metadata, sys
from pip._vendor.packaging.requirements import Requirement
todo, seen, size = [(sys.argv[1], frozenset())], set(), 0
while todo:
    name, extras = todo.pop()
    distribution = metadata.distribution(name)
    if (distribution.name, extras) in seen:
        continue
    if not any(known == distribution.name for known, _ in seen):
        paths = [path.locate() for path in distribution.files]
        size += sum(512 * path.stat().st_blocks for path in paths if path.is_file())
    seen.add((distribution.name, extras))
    for text in distribution.requires or []:
        needed = Requirement(text)
        marker = needed.marker
        if marker is None or any(marker.evaluate({"extra": one}) for one in extras | {""}):
            todo.append((needed.name, frozenset(needed.extras)))
print(size, len({name for name, _ in seen}), metadata.version(sys.argv[1]))
"""
COLD = """
import json, sys
sys.path.insert(0, sys.argv[1])
import client
print(json.dumps(client.measure_requests(int(sys.argv[2]))))
"""
NUM_DEFINITIONS, NUM_CHANNELS, NUM_TUNED, NUM_STATIC = 10, 20, 30, 69
NUM_WARM = 15


class OfflineSession(LocalSession):
    """Asks nobody whether data is there: what is measured is this package."""

    def find_storage_problems(self, request: Any) -> list[Any]:
        """Return none."""
        return []


def build_algorithm() -> Algorithm:
    """Return an algorithm with as much as a job can use."""
    bounds = {"MinValue": "0", "MaxValue": "1000"}
    tuned = [
        {"Type": "Continuous", "Range": {"ContinuousParameterRangeSpecification": bounds}}
        | {"Name": f"tuned_{idx}", "IsTunable": True}
        for idx in range(NUM_TUNED)
    ]
    static = [
        {"Type": "Integer", "Range": {"IntegerParameterRangeSpecification": bounds}}
        | {"Name": f"static_{idx}", "IsTunable": False}
        for idx in range(NUM_STATIC)
    ]
    channel = {
        "IsRequired": True,
        "SupportedContentTypes": ["text/csv"],
        "SupportedCompressionTypes": ["None"],
        "SupportedInputModes": ["File", "FastFile"],
    }
    return Algorithm(
        "large",
        {
            "TrainingImage": "111122223333.dkr.ecr.us-east-2.amazonaws.com/large:1",
            "SupportedHyperParameters": tuned + static,
            "SupportedTrainingInstanceTypes": ["ml.g5.xlarge"],
            "TrainingChannels": [
                {"Name": f"channel_{idx}", **channel} for idx in range(NUM_CHANNELS)
            ],
            "SupportedTuningJobObjectiveMetrics": [{"Type": "Maximize", "MetricName": "metric_0"}],
        },
    )


def build_tuner(session: LocalSession) -> HyperparameterTuner:
    """Return the tuner of the largest job."""
    algorithm = build_algorithm()
    estimators = {
        f"definition-{number}": AlgorithmEstimator(
            algorithm,
            role="arn:aws:iam::111122223333:role/sift",
            instance_type="ml.g5.xlarge",
            volume_kms_key="alias/volume",
            output_path="s3://bucket/models",
            output_kms_key="alias/output",
            sagemaker_session=session,
            hyperparameters={f"static_{idx}": idx for idx in range(NUM_STATIC)},
            subnets=[f"subnet-{idx}" for idx in range(16)],
            security_group_ids=[f"sg-{idx}" for idx in range(5)],
            metric_definitions=[
                {"Name": f"metric_{idx}", "Regex": f"metric_{idx}=([0-9.]+)"} for idx in range(40)
            ],
            environment={f"NAME_{idx}": "value" for idx in range(4)},
        )
        for number in range(NUM_DEFINITIONS)
    }
    ranges = {f"tuned_{idx}": ContinuousParameter(0, 1, "Linear") for idx in range(NUM_TUNED)}
    return HyperparameterTuner.create(
        estimators,
        dict.fromkeys(estimators, "metric_0"),
        dict.fromkeys(estimators, ranges),
        max_jobs=500,
        max_parallel_jobs=10,
        tags={f"key-{idx}": "value" for idx in range(50)},
    )


def measure_requests(num_warm: int) -> dict[str, Any]:
    """Return the milliseconds of the first request of this process and of further ones."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        tuner = build_tuner(OfflineSession(folder))
        build_ms = 1000 * (time.perf_counter() - started)
        inputs = {
            name: {
                f"channel_{idx}": TrainingInput(
                    f"s3://bucket/{name}/{idx}", content_type="text/csv"
                )
                for idx in range(NUM_CHANNELS)
            }
            for name in map(str, tuner.definitions)
        }
        durations = []
        for _ in range(num_warm + 1):
            started = time.perf_counter()
            request = tuner.request(inputs, "largest")
            durations.append(1000 * (time.perf_counter() - started))
    return {
        "describing the objects": [build_ms],
        "request, cold": durations[:1],
        "request, warm": durations[1:],
        "bytes": len(json.dumps(request)),
    }


def run(python: str, program: str, *arguments: str) -> str:
    """Return what a program prints."""
    command = [python, "-c", program, *arguments]
    variables = os.environ | {"SAGEMAKER_SUPPRESS_V2_WARNING": "1"}
    done = subprocess.run(
        command, check=True, env=variables, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    return done.stdout.decode()


def measure_round(statements: dict[str, tuple[str, str]]) -> tuple[dict[str, float], Any]:
    """Return the seconds of every import, and what the largest request takes."""
    imports = {}
    for name, (python, statement) in statements.items():
        started = time.perf_counter()
        run(python, statement)
        imports[name] = time.perf_counter() - started
    folder = str(Path(__file__).parent)
    return imports, json.loads(run(sys.executable, COLD, folder, str(NUM_WARM)))


def find_sizes() -> dict[str, tuple[float, int, str]]:
    """Return megabytes, number of distributions and version of each package."""
    sizes = {}
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        own = str(Path(folder) / "bin" / "python")
        command = [own, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*command, str(ROOT)], check=True)
        places = {"sagemaker-sift": own, "SDK v2": str(SDK2), "SDK v3": str(SDK3)}
        for name, python in places.items():
            if Path(python).exists():
                package = name if name == "sagemaker-sift" else "sagemaker"
                size, number, version = run(python, SIZE, package).split()
                sizes[name] = (int(size) / 1e6, int(number), version)
    return sizes


def print_table(head: str, rows: dict[str, list[float]], ratios: dict[str, list[float]]) -> None:
    """Print medians and quartiles, and medians of ratios within a round."""
    print(f"\n| {head} | median | quartiles | ratio | n |\n|---|---|---|---|---|")
    for name, values in rows.items():
        low, _, high = statistics.quantiles(values, n=4) if len(values) > 1 else values * 3
        ratio = f"{statistics.median(ratios[name]):.1f}" if name in ratios else ""
        print(
            f"| {name} | {statistics.median(values):.3f} | {low:.3f} to {high:.3f} | {ratio} "
            f"| {len(values)} |"
        )


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--size", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    statements = {
        name: (python, text)
        for name, (python, text) in STATEMENTS.items()
        if Path(python).exists()
    }
    measure_round(statements)  # not counted: files come into the page cache
    imports: dict[str, list[float]] = {name: [] for name in statements}
    requests: dict[str, list[float]] = {}
    for _ in range(options.rounds):
        seconds, largest = measure_round(statements)
        size = largest.pop("bytes")
        for name, value in seconds.items():
            imports[name].append(value)
        for name, values in largest.items():
            requests.setdefault(name, []).extend(values)
    ratios = {
        name: [value / bare for value, bare in zip(values, imports[BARE], strict=True)]
        for name, values in imports.items()
    }
    print(f"Python {platform.python_version()}, {platform.machine()}, {os.cpu_count()} cores")
    print_table("importing, seconds of a process", imports, ratios)
    print_table(f"the largest tuning job, {size} bytes, milliseconds", requests, {})
    sizes = find_sizes() if options.size else {}
    if sizes:
        print("\n| on disk, with what it requires | megabytes | packages |\n|---|---|---|")
        for name, (megabytes, number, version) in sizes.items():
            print(f"| {name} {version} | {megabytes:.0f} | {number} |")
    if options.json:
        found = {"imports_s": imports, "requests_ms": requests, "sizes": sizes, "bytes": size}
        options.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
