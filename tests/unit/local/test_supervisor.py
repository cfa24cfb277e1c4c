"""The supervisor with programs of a few lines in place of the trainer: how jobs end."""

from __future__ import annotations

import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from sagemaker_sift.backends.local.metric_log import read_points
from sagemaker_sift.backends.local.store import Record, RecordStore, set_status
from sagemaker_sift.backends.local.supervisor import LOG_NAME, Supervisor
from sagemaker_sift.backends.local.timing import Timing
from tests.supports.local_job import add_job, read_job

WRITE_MODEL = """
import os, pathlib
root = pathlib.Path(os.environ["SAGEMAKER_BASE_DIR"])
(root / "model" / "weights").write_text("w")
(root / "output" / "data" / "report.json").write_text("{}")
"""


class ReadyTimer:
    """A timer that stands still until the program says that it is ready.

    Then it jumps once, and from there on moves a step at each look.
    """

    def __init__(self, root: Path, jump_s: float, step_s: float) -> None:
        self.now = 1000.0
        self._log = root / "training-jobs" / "job" / LOG_NAME
        self._jump_s = jump_s
        self._step_s = step_s

    def __call__(self) -> float:
        if self.now > 1000.0:
            self.now += self._step_s
        elif self._log.exists() and "ready" in self._log.read_text():
            self.now += self._jump_s
        return self.now


def run(root: Path, program: str, *, timer: Any = None, **changes: Any) -> Record:
    add_job(root, program, **changes)
    timing = Timing(clock=lambda: 1000.0, timer=timer or (lambda: 5.0))
    Supervisor(root, "job", timing).run()
    return read_job(root)


def names_in(archive: Path) -> list[str]:
    with tarfile.open(archive) as tar:
        return tar.getnames()


def test_a_program_that_succeeds_completes_the_job(tmp_path: Path) -> None:
    program = WRITE_MODEL + "print('m=0.5'); print('m=0.75'); print('other')"
    record = run(tmp_path, program)
    assert record["TrainingJobStatus"] == "Completed"
    output = tmp_path / "out" / "job" / "output"
    assert names_in(output / "model.tar.gz") == ["weights"]
    assert names_in(output / "output.tar.gz") == ["data", "data/report.json"]
    folder = tmp_path / "training-jobs" / "job"
    assert (folder / LOG_NAME).read_text().splitlines() == ["m=0.5", "m=0.75", "other"]
    assert [(p.name, p.value) for p in read_points(folder)] == [("m", 0.5), ("m", 0.75)]
    assert not (folder / "ml").exists()
    statuses = [transition["Status"] for transition in record["SecondaryStatusTransitions"]]
    assert statuses == ["Starting", "Training", "Uploading", "Completed"]


def test_the_failure_file_becomes_the_reason(tmp_path: Path) -> None:
    program = """
import os, pathlib, sys
root = pathlib.Path(os.environ["SAGEMAKER_BASE_DIR"])
(root / "output" / "failure").write_text("The images are gone." + "x" * 2000)
sys.exit(3)
"""
    record = run(tmp_path, program)
    assert record["TrainingJobStatus"] == "Failed"
    reason = record["FailureReason"]
    assert reason.startswith("AlgorithmError: The images are gone.xxx")
    assert reason.endswith(", exit code: 3")
    assert len(reason) < 1100
    assert record["ModelArtifacts"]["S3ModelArtifacts"] == ""
    assert names_in(tmp_path / "out/job/output/output.tar.gz") == ["data", "failure"]


def test_a_program_that_is_killed_says_so(tmp_path: Path) -> None:
    record = run(tmp_path, "import os; os.kill(os.getpid(), 9)")
    assert record["TrainingJobStatus"] == "Failed"
    assert "ended by SIGKILL" in record["FailureReason"]


def test_a_program_that_overruns_its_time_is_stopped_and_keeps_its_model(tmp_path: Path) -> None:
    program = WRITE_MODEL + "print('ready', flush=True); import signal; signal.pause()"
    record = run(tmp_path, program, timer=ReadyTimer(tmp_path, 3601.0, 1.0))
    assert (record["TrainingJobStatus"], record["SecondaryStatus"]) == (
        "Stopped",
        "MaxRuntimeExceeded",
    )


def test_a_stubborn_program_is_killed_after_the_grace(tmp_path: Path) -> None:
    program = """
import signal
signal.signal(signal.SIGTERM, lambda *_: print("no", flush=True))
print("ready", flush=True)
while True:
    signal.pause()
"""
    record = run(tmp_path, program, timer=ReadyTimer(tmp_path, 3601.0, 25.0))
    assert record["TrainingJobStatus"] == "Stopped"
    assert record["Local"]["ExitCode"] == -9


def test_a_job_that_is_asked_to_stop_gets_sigterm_and_is_stopped(tmp_path: Path) -> None:
    program = WRITE_MODEL + "import signal; print('ready', flush=True); signal.pause()"
    store = RecordStore(tmp_path / "store.sqlite")

    class StoppingTimer(ReadyTimer):
        """Asks for the stop as soon as the program is ready."""

        def __call__(self) -> float:
            before = self.now
            if super().__call__() > before:
                store.training_jobs.update(
                    "job", lambda record: set_status(record, "Stopping", "Stopping", 1.0)
                )
            return self.now

    record = run(tmp_path, program, timer=StoppingTimer(tmp_path, 1.0, 0.0))
    assert (record["TrainingJobStatus"], record["SecondaryStatus"]) == ("Stopped", "Stopped")
    assert record["Local"]["ExitCode"] == -15


def test_what_a_program_leaves_running_ends_with_it(tmp_path: Path) -> None:
    program = """
import os, signal, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
print(f"m={child.pid}", flush=True)
os._exit(0)
"""
    run(tmp_path, program)
    pid = int(read_points(tmp_path / "training-jobs" / "job")[0].value)
    stat = Path(f"/proc/{pid}/stat")
    assert not stat.exists() or stat.read_text().rsplit(")", 1)[1].split()[0] == "Z"


def test_a_missing_channel_folder_fails_the_job_with_its_name(tmp_path: Path) -> None:
    uri = f"file://{tmp_path}/gone"
    source = {"S3DataSource": {"S3Uri": uri, "S3DataType": "S3Prefix"}}
    record = run(tmp_path, "", InputDataConfig=[{"ChannelName": "train", "DataSource": source}])
    assert record["TrainingJobStatus"] == "Failed"
    assert "Channel 'train'" in record["FailureReason"]
    assert "does not exist" in record["FailureReason"]


def test_an_output_that_cannot_be_written_fails_the_job(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file, not a folder")
    record = run(tmp_path, WRITE_MODEL)
    assert record["TrainingJobStatus"] == "Failed"
    assert "choose another output_path" in record["FailureReason"]
    assert record["ModelArtifacts"]["S3ModelArtifacts"] == ""


@pytest.fixture
def aws_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_PROFILE", "prod")


@pytest.mark.usefixtures("aws_credentials")
def test_the_program_sees_no_credentials_and_its_own_environment(tmp_path: Path) -> None:
    program = "import json, os; print(json.dumps(dict(os.environ)))"
    run(tmp_path, program, Environment={"LEVEL": "debug"})
    log = (tmp_path / "training-jobs" / "job" / LOG_NAME).read_text()
    seen = json.loads(log)
    assert {name for name in seen if name.startswith("AWS_")} == {"AWS_EC2_METADATA_DISABLED"}
    assert seen["LEVEL"] == "debug"
    assert seen["TRAINING_JOB_NAME"] == "job"
    assert seen["SAGEMAKER_BASE_DIR"] == str(tmp_path / "training-jobs" / "job" / "ml")
    assert os.environ["AWS_PROFILE"] == "prod"


def test_the_container_finds_the_documented_layout(tmp_path: Path) -> None:
    data = tmp_path / "images"
    data.mkdir()
    source = {"S3DataSource": {"S3Uri": f"file://{data}", "S3DataType": "S3Prefix"}}
    channel = {"ChannelName": "train", "ContentType": "application/x-image", "DataSource": source}
    program = """
import json, os, pathlib
root = pathlib.Path(os.environ["SAGEMAKER_BASE_DIR"])
config = {p.name: json.loads(p.read_text()) for p in (root / "input/config").iterdir()}
print(json.dumps([config, str((root / "input/data/train").resolve()), os.getcwd()]))
"""
    run(tmp_path, program, InputDataConfig=[channel])
    config, train, _ = json.loads((tmp_path / "training-jobs/job" / LOG_NAME).read_text())
    assert config["hyperparameters.json"] == {"epochs": "2"}
    assert config["inputdataconfig.json"] == {
        "train": {
            "ContentType": "application/x-image",
            "RecordWrapperType": "None",
            "S3DistributionType": "FullyReplicated",
            "TrainingInputMode": "File",
        }
    }
    assert config["resourceconfig.json"]["hosts"] == ["algo-1"]
    assert train == str(data)


def test_a_very_long_line_and_broken_text_are_kept(tmp_path: Path) -> None:
    program = """
import sys
sys.stdout.buffer.write(b"x" * 3_000_000 + b"\\n" + b"\\xff broken\\n" + b"no end")
"""
    record = run(tmp_path, program)
    assert record["TrainingJobStatus"] == "Completed"
    log = (tmp_path / "training-jobs" / "job" / LOG_NAME).read_text(encoding="utf-8")
    assert log.count("x") == 3_000_000
    assert log.splitlines()[-2:] == ["\ufffd broken", "no end"]


def test_a_stop_reaches_the_program_and_not_its_helpers(tmp_path: Path) -> None:
    program = """
import signal, subprocess, sys
helper = subprocess.Popen(
    [sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE
)
def stop(*_):
    helper.communicate()
    print(f"helper ended with {helper.returncode}", flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
print("ready", flush=True)
while True:
    signal.pause()
"""
    record = run(tmp_path, program, timer=ReadyTimer(tmp_path, 3601.0, 0.0))
    log = (tmp_path / "training-jobs" / "job" / LOG_NAME).read_text().splitlines()
    assert record["TrainingJobStatus"] == "Stopped"
    assert log[-1] == "helper ended with 0"


def test_a_program_that_closes_its_output_is_followed_to_its_end(tmp_path: Path) -> None:
    program = WRITE_MODEL + "print('m=0.5', flush=True); os.close(1); os.close(2); os._exit(0)"
    record = run(tmp_path, program)
    assert record["TrainingJobStatus"] == "Completed"
    assert [p.value for p in read_points(tmp_path / "training-jobs" / "job")] == [0.5]


def test_a_program_without_output_is_waited_for_until_it_is_told_to_stop(tmp_path: Path) -> None:
    program = """
import os, signal
print("ready", flush=True)
os.close(1)
os.close(2)
signal.pause()
"""
    record = run(tmp_path, program, timer=ReadyTimer(tmp_path, 3601.0, 0.0))
    assert record["SecondaryStatus"] == "MaxRuntimeExceeded"
    assert record["Local"]["ExitCode"] == -15
