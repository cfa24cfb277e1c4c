"""One job from Python to its results, through the real processes, stage by stage."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from sagemaker_sift import (
    AlgorithmEstimator,
    ConflictError,
    Dataset,
    InvalidRequestError,
    JobFailedError,
    JobStoppedError,
    LocalSession,
    NotFoundError,
    TrainingJob,
    write_default_dataset,
)
from sagemaker_sift.backends.local.process import kill_group
from sagemaker_sift.backends.local.store import STORE_NAME, RecordStore
from sagemaker_sift.trainer import load_model

SHORT = {
    "num_layers": 20,
    "image_shape": "3,28,28",
    "augmentation_type": "crop",
    "epochs": 3,
    "learning_rate": 0.05,
    "beta_value": 1,
}
HOURS_LONG = SHORT | {"epochs": 5000}


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return write_default_dataset(tmp_path_factory.mktemp("data") / "digits")


@pytest.fixture(autouse=True)
def end_what_still_runs(tmp_path: Path) -> Iterator[None]:
    """Leave no job behind when a test fails halfway."""
    yield
    client = LocalSession(tmp_path).sagemaker_client
    for job in client.list_training_jobs(StatusEquals="InProgress")["TrainingJobSummaries"]:
        kill_group(read_trainer_pid(tmp_path, job["TrainingJobName"]))


def hear_interrupts() -> None:
    """Undo that a shell lets its background commands ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def build_estimator(root: Path, digits: Dataset, **hyperparameters: object) -> AlgorithmEstimator:
    estimator = AlgorithmEstimator(
        "sift-image-classification",
        instance_type="ml.m5.large",
        sagemaker_session=LocalSession(root),
    )
    estimator.set_hyperparameters(
        num_classes=digits.num_classes,
        num_training_samples=digits.num_training_samples,
        **(SHORT | hyperparameters),
    )
    return estimator


def channels(digits: Dataset) -> dict[str, Path]:
    return {"train": digits.train, "validation": digits.validation}


def wait_for_line(job: TrainingJob, text: str) -> None:
    """Follow the log of a running job until a line holds ``text``."""
    deadline = time.monotonic() + 120
    while not any(text in line for line in job.read_log()):
        assert time.monotonic() < deadline, f"{text!r} did not come: {job.read_log_tail()}"
        assert job.describe()["TrainingJobStatus"] == "InProgress", job.read_log_tail()
        os.sched_yield()


def test_a_job_goes_through_every_stage_and_comes_back(
    tmp_path: Path, digits: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    steps = digits.num_training_samples // 32
    always = {"sift_delay": steps, "stop_if_slower": False}
    estimator = build_estimator(tmp_path, digits, **always)
    request = estimator.request(channels(digits), "follow-me")
    assert request["HyperParameters"]["beta_value"] == "1.0"
    assert request["InputDataConfig"][0]["DataSource"]["S3DataSource"]["S3Uri"].startswith("file:")

    estimator.fit(channels(digits), job_name="follow-me")

    shown = capsys.readouterr().out.splitlines()
    epochs = [line.split(":")[0] for line in shown if line.startswith("epoch")]
    assert epochs == ["epoch 1/3", "epoch 2/3", "epoch 3/3"]
    assert shown[-1] == "Completed"

    job = estimator.latest_training_job
    assert job is not None
    description = job.describe()
    assert description["TrainingJobStatus"] == "Completed"
    assert description["HyperParameters"] == request["HyperParameters"]
    final = {m["MetricName"]: m["Value"] for m in description["FinalMetricDataList"]}
    analytics = estimator.training_job_analytics
    assert final["validation:accuracy"] == analytics.last("validation:accuracy")
    assert len(analytics.values("validation:accuracy")) == 3

    log = job.read_log()
    assert any("Epoch[2] Validation-accuracy=" in line for line in log)

    archive = estimator.sagemaker_session.to_local_path(estimator.model_data)
    with tarfile.open(archive) as tar:
        names = tar.getnames()
    assert any(name.endswith(".safetensors") for name in names)
    assert "model.json" in names

    summary = estimator.summary()
    assert summary.validation_accuracy == analytics.best("validation:accuracy")
    assert summary.sifting is not None
    assert summary.sifting.samples_seen == 3 * steps * 32
    assert summary.sifting.samples_scored == 2 * steps * 32
    assert abs(summary.sifting.scored_kept_fraction - 0.5) < 0.08
    assert "kept while sifting" in str(summary)

    model = load_model(estimator.model_data)
    assert model.classes == tuple("0123456789")
    files = sorted(digits.validation.rglob("*.jpg"))
    images_NCHW = model.read_images(files, fit="crop")
    probabilities_NK = model.probabilities(images_NCHW)
    labels_N = torch.tensor([int(path.parent.name) for path in files])
    accuracy = (probabilities_NK.argmax(1) == labels_N).float().mean().item()
    assert accuracy == pytest.approx(summary.validation_accuracy, abs=2e-6)


def test_a_new_process_attaches_to_a_job(tmp_path: Path, digits: Dataset) -> None:
    estimator = build_estimator(tmp_path, digits, epochs=1)
    estimator.fit(channels(digits), job_name="attach-me", logs=False)
    program = f"""
import json
from sagemaker_sift import AlgorithmEstimator, LocalSession
estimator = AlgorithmEstimator.attach("attach-me", LocalSession({str(tmp_path)!r}))
summary = estimator.summary()
print(json.dumps([estimator.model_data, estimator.hyperparameters(), summary.training_time_s]))
"""
    output = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    ).stdout
    model_data, hyperparameters, time_s = json.loads(output)
    assert model_data == estimator.model_data
    assert hyperparameters == estimator.hyperparameters()
    assert time_s > 0


def test_a_job_outlives_the_process_that_launched_it(tmp_path: Path, digits: Dataset) -> None:
    program = f"""
import os
from sagemaker_sift import AlgorithmEstimator, LocalSession
estimator = AlgorithmEstimator(
    "sift-image-classification", instance_type="ml.m5.large",
    sagemaker_session=LocalSession({str(tmp_path)!r}),
    hyperparameters={SHORT | {"num_classes": 10, "num_training_samples": 1437, "epochs": 1}!r})
estimator.fit({{"train": {str(digits.train)!r}, "validation": {str(digits.validation)!r}}},
    wait=False, job_name="outlive")
os.kill(os.getpid(), 9)
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == -9
    description = TrainingJob("outlive", LocalSession(tmp_path)).wait(logs=False)
    assert description["TrainingJobStatus"] == "Completed"


def test_a_name_can_be_used_once(tmp_path: Path, digits: Dataset) -> None:
    estimator = build_estimator(tmp_path, digits, epochs=1)
    estimator.fit(channels(digits), job_name="twice", wait=False)
    first = estimator.latest_training_job
    with pytest.raises(ConflictError, match="'twice' is taken") as caught:
        estimator.fit(channels(digits), job_name="twice")
    assert caught.value.code == "ResourceInUse"
    assert first is not None
    assert first.wait(logs=False)["TrainingJobStatus"] == "Completed"
    with pytest.raises(ConflictError, match="is taken"):
        estimator.fit(channels(digits), job_name="TWICE")


def test_stopping_a_job_keeps_its_model(tmp_path: Path, digits: Dataset) -> None:
    estimator = build_estimator(tmp_path, digits, **HOURS_LONG)
    estimator.fit(channels(digits), job_name="stop-me", wait=False)
    job = estimator.latest_training_job
    assert job is not None
    wait_for_line(job, "Epoch[0] Validation-accuracy=")
    job.stop()
    with pytest.raises(JobStoppedError, match="stop-me"):
        job.wait(logs=False)
    assert job.describe()["SecondaryStatus"] == "Stopped"
    assert load_model(estimator.model_data).classes == tuple("0123456789")
    job.stop()


def test_ctrl_c_in_fit_stops_the_job_and_keeps_its_model(tmp_path: Path, digits: Dataset) -> None:
    command = [
        *(sys.executable, "-m", "sagemaker_sift.cli.main", "train", "--local", str(tmp_path)),
        *("--train", str(digits.train), "--validation", str(digits.validation)),
        *("--job-name", "interrupt-me"),
        *(part for name, value in HOURS_LONG.items() for part in ("-p", f"{name}={value}")),
    ]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=hear_interrupts,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("epoch 1/"):
            break
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=100)
    assert process.returncode == 130
    assert "the training job was stopped" in errors
    job = TrainingJob("interrupt-me", LocalSession(tmp_path))
    assert job.describe()["TrainingJobStatus"] == "Stopped"
    assert load_model(job.model_data).classes == tuple("0123456789")


def test_a_killed_supervisor_is_noticed_and_leaves_no_orphan(
    tmp_path: Path, digits: Dataset
) -> None:
    estimator = build_estimator(tmp_path, digits, **HOURS_LONG)
    estimator.fit(channels(digits), job_name="lost", wait=False)
    job = estimator.latest_training_job
    assert job is not None
    wait_for_line(job, "Epoch[0]")
    pid = read_trainer_pid(tmp_path, "lost")
    os.kill(
        int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1]), signal.SIGKILL
    )
    deadline = time.monotonic() + 60
    while job.describe()["TrainingJobStatus"] == "InProgress":
        assert time.monotonic() < deadline
    with pytest.raises(JobFailedError, match="the process that supervised this job ended"):
        job.wait(logs=False)
    while is_running(pid):
        assert time.monotonic() < deadline
    assert job.describe()["TrainingJobStatus"] == "Failed"


def read_trainer_pid(root: Path, name: str) -> int:
    record = RecordStore(root / STORE_NAME).training_jobs.read(name)
    assert record is not None
    return int(record["Local"]["Pid"])


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_a_mistake_in_the_data_is_one_clear_sentence(tmp_path: Path, digits: Dataset) -> None:
    estimator = build_estimator(tmp_path, digits)
    estimator.set_hyperparameters(num_classes=7)
    with pytest.raises(JobFailedError) as caught:
        estimator.fit(channels(digits), logs=False)
    error = caught.value
    assert error.reason.startswith("AlgorithmError: ")
    assert "num_classes" in error.reason
    assert "Traceback" not in error.reason
    assert "\n" not in error.reason
    assert error.log_tail
    assert str(error.log_tail[-1]) in str(error)


def test_what_can_be_checked_before_is_refused_before(tmp_path: Path, digits: Dataset) -> None:
    estimator = build_estimator(tmp_path, digits)
    with pytest.raises(InvalidRequestError, match="lacks the channel 'train'"):
        estimator.fit({"validation": digits.validation})
    missing = tmp_path / "nowhere"
    with pytest.raises(InvalidRequestError, match="there is no such folder") as caught:
        estimator.fit({"train": missing, "validation": missing})
    assert len(caught.value.problems) == 2
    assert str(missing) in str(caught.value)
    assert estimator.sagemaker_session.sagemaker_client.list_training_jobs() == {
        "TrainingJobSummaries": []
    }


def test_an_output_folder_that_cannot_be_written_is_refused_before(
    tmp_path: Path, digits: Dataset
) -> None:
    (tmp_path / "file").write_text("no folder")
    estimator = build_estimator(tmp_path / "root", digits)
    estimator.output_path = f"file://{tmp_path}/file/models"
    with pytest.raises(InvalidRequestError, match=r"`output_path` is .* nothing can be written"):
        estimator.fit(channels(digits))


def test_an_unknown_algorithm_or_job_or_argument_is_named(tmp_path: Path) -> None:
    session = LocalSession(tmp_path)
    with pytest.raises(NotFoundError, match="sift-image-classification"):
        AlgorithmEstimator("other", instance_type="ml.m5.large", sagemaker_session=session)
    with pytest.raises(NotFoundError, match="'nothing' not found"):
        AlgorithmEstimator.attach("nothing", session)
    with pytest.raises(TypeError, match="Did you mean 'volume_kms_key'"):
        AlgorithmEstimator("sift-image-classification", sagemaker_session=session, volume_kms="k")
    with pytest.raises(TypeError, match="is no session"):
        AlgorithmEstimator("sift-image-classification", sagemaker_session="here")
    estimator = AlgorithmEstimator("sift-image-classification", sagemaker_session=session)
    with pytest.raises(RuntimeError, match=r"Call fit\(\) or attach\(\) first"):
        _ = estimator.model_data
    with pytest.raises(InvalidRequestError, match="Did you mean 'epochs'"):
        estimator.set_hyperparameters(epoch=3)


def test_checkpoints_let_a_stopped_job_go_on(tmp_path: Path, digits: Dataset) -> None:
    checkpoints = f"file://{tmp_path}/checkpoints"
    estimator = build_estimator(tmp_path, digits, **HOURS_LONG)
    estimator = AlgorithmEstimator(
        "sift-image-classification",
        instance_type="ml.m5.large",
        sagemaker_session=LocalSession(tmp_path),
        hyperparameters=estimator.hyperparameters(),
        checkpoint_s3_uri=checkpoints,
    )
    estimator.fit(channels(digits), job_name="first", wait=False)
    first = estimator.latest_training_job
    assert first is not None
    wait_for_line(first, "Epoch[1] ")
    first.stop()
    with pytest.raises(JobStoppedError):
        first.wait(logs=False)
    estimator.fit(channels(digits), job_name="second", wait=False)
    second = estimator.latest_training_job
    assert second is not None
    wait_for_line(second, "Validation-accuracy=")
    second.stop()
    with pytest.raises(JobStoppedError):
        second.wait(logs=False)
    epochs = [line for line in second.read_log() if "Validation-accuracy=" in line]
    assert "Epoch[0]" not in epochs[0]
