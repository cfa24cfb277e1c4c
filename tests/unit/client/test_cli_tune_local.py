"""``sagemaker-sift tune --local``, on jobs that really run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sagemaker_sift.backends.local.client import LocalSageMaker
from sagemaker_sift.cli.main import main
from sagemaker_sift.cli.tune import LOCAL_MAX_JOBS
from tests.supports.dummy_algorithm import NAME, list_training_jobs, register, wait_for_tuning_job

SEARCH = ["--algorithm", NAME, "--objective", "loss", "--objective-type", "Minimize"]
SEARCH += ["--range", "x=0.0:1.0", "--strategy", "Random", "--random-seed", "3"]


@pytest.fixture
def client(tmp_path: Path) -> Iterator[LocalSageMaker]:
    client = LocalSageMaker(tmp_path)
    register(client, tmp_path)
    yield client
    client.close()


def test_a_search_ends_with_the_best_and_what_to_do_next(
    client: LocalSageMaker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["tune", "--local", str(tmp_path), *SEARCH, "--job-name", "search"]
    assert main([*command, "--max-jobs", "3", "--max-parallel-jobs", "3"]) == 0
    shown = capsys.readouterr().out
    jobs = list_training_jobs(client, "search")
    values = {
        job["TrainingJobName"]: job["FinalHyperParameterTuningJobObjectiveMetric"]["Value"]
        for job in jobs
    }
    best = min(values, key=lambda name: values[name])
    assert f"best training job: {best}\n  loss  {values[best]:.6g}\n  x     0." in shown
    for name in ("search", best):
        assert f"sagemaker-sift local describe {name} --root {tmp_path}" in shown
        assert main(["local", "describe", name, "--root", str(tmp_path)]) == 0


def test_without_ranges_and_limits_it_searches_what_pays_most(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "images" / "cat").mkdir(parents=True)
    (tmp_path / "images" / "cat" / "1.jpg").write_bytes(b"")
    images = str(tmp_path / "images")
    command = ["tune", "--local", str(tmp_path), "--train", images, "--validation", images]
    command += ["-p", "mini_batch_size=1", "-p", "num_classes=2", "--dry-run"]
    assert main([*command, "-p", "learning-rate=0.1"]) == 0
    config = json.loads(capsys.readouterr().out)["HyperParameterTuningJobConfig"]
    assert [one["Name"] for one in config["ParameterRanges"]["ContinuousParameterRanges"]] == [
        "beta_value"
    ]
    assert config["ResourceLimits"]["MaxNumberOfTrainingJobs"] == LOCAL_MAX_JOBS
    assert main([*command, "--max-runtime", "600"]) == 0
    config = json.loads(capsys.readouterr().out)["HyperParameterTuningJobConfig"]
    assert len(config["ParameterRanges"]["ContinuousParameterRanges"]) == 2
    assert "MaxNumberOfTrainingJobs" not in config["ResourceLimits"]


def start_search(root: Path) -> subprocess.Popen[str]:
    """Return the command, as soon as it waits for its tuning job ``search``."""
    command = ["tune", "--local", str(root), *SEARCH, "-p", "mode=wait"]
    process = subprocess.Popen(
        [sys.executable, "-m", "sagemaker_sift.cli.main", *command, "--job-name", "search"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith("InProgress")
    return process


def test_ctrl_c_leaves_the_search_running(client: LocalSageMaker, tmp_path: Path) -> None:
    with start_search(tmp_path) as process:
        process.send_signal(signal.SIGINT)
        _, said = process.communicate()
    assert process.returncode == 130
    assert f"sagemaker-sift local stop search --root {tmp_path} stops it" in said
    assert "the training job was stopped" not in said
    description = client.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName="search")
    assert description["HyperParameterTuningJobStatus"] == "InProgress"
    client.stop_hyper_parameter_tuning_job(HyperParameterTuningJobName="search")
    wait_for_tuning_job(client, "search")


def test_a_search_that_is_stopped_says_how_to_go_on_and_goes_on(
    client: LocalSageMaker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    resume = ["tune", "--resume", "search", "--local", str(tmp_path), "--no-wait"]
    with start_search(tmp_path) as process:
        assert main(resume) == 1
        assert "is still running" in capsys.readouterr().err
        assert main(["local", "stop", "search", "--root", str(tmp_path)]) == 0
        _, said = process.communicate()
    assert process.returncode == 1
    assert f"Go on with it: sagemaker-sift tune --resume search --local {tmp_path}\n" in said
    assert "stopped: " in said
    capsys.readouterr()
    assert main(resume) == 0
    assert capsys.readouterr().out == "search\n"
    client.stop_hyper_parameter_tuning_job(HyperParameterTuningJobName="search")
    wait_for_tuning_job(client, "search")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ([], "`--resume` goes on with tuning jobs of this machine only. Add --local."),
        (["--local", "ROOT", "--max-jobs", "9"], "`--max-jobs` is given with --resume."),
        (["--local", "ROOT", "-p", "epochs=2"], "`--hyperparameter` is given with --resume."),
        (["--local", "ROOT"], "Tuning job 'none' not found"),
    ],
    ids=["aws", "setting", "hyperparameter", "unknown"],
)
def test_what_cannot_be_resumed(
    options: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [str(tmp_path) if option == "ROOT" else option for option in options]
    assert main(["tune", "--resume", "none", *given]) == 1
    assert says in capsys.readouterr().err
