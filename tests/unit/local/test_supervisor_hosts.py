"""Jobs with several hosts: each a process with an /opt/ml of its own."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from sagemaker_sift.backends.local.launcher import JobLauncher
from sagemaker_sift.backends.local.metric_log import read_points
from sagemaker_sift.backends.local.store import Record
from sagemaker_sift.backends.local.supervisor import Supervisor
from sagemaker_sift.backends.local.timing import Timing
from tests.supports.local_job import add_job, launch, read_job, read_log, wait_for_end
from tests.supports.trainer_data import TINY, fill_channel

START = """
import json, os, pathlib, signal, sys, threading, time
root = pathlib.Path(os.environ["SAGEMAKER_BASE_DIR"])
config = json.loads((root / "input/config/resourceconfig.json").read_text())
host = config["current_host"]
def wait_for(other):
    path = root.parent / ("ml" if other == "algo-1" else f"ml-{other}") / "ready"
    deadline = time.monotonic() + 30
    while not path.exists() and time.monotonic() < deadline:
        threading.Event().wait(0.01)
def say_ready():
    (root / "ready").touch()
"""
TWO = {"InstanceType": "ml.m5.large", "InstanceCount": 2}


def channel(name: str, path: Path, **source: Any) -> dict[str, Any]:
    place = {"S3Uri": f"file://{path}", "S3DataType": "S3Prefix", **source}
    return {"ChannelName": name, "DataSource": {"S3DataSource": place}}


def run(root: Path, program: str, **changes: Any) -> Record:
    changes.setdefault("ResourceConfig", TWO)
    add_job(root, START + program, **changes)
    Supervisor(root, "job", Timing(failure_grace_s=0.2)).run()
    return read_job(root)


def said_by(root: Path, host: str) -> list[str]:
    prefix = f"{host}: "
    return [line[len(prefix) :] for line in read_log(root) if line.startswith(prefix)]


def test_hosts_run_at_once_and_their_lines_bear_their_names(tmp_path: Path) -> None:
    program = (
        "say_ready(); wait_for('algo-1'); wait_for('algo-2'); print(f'm={host[5:]}'); print()"
    )
    record = run(tmp_path, program)
    assert record["TrainingJobStatus"] == "Completed"
    assert sorted(read_log(tmp_path)) == ["algo-1: ", "algo-1: m=1", "algo-2: ", "algo-2: m=2"]
    points = read_points(tmp_path / "training-jobs" / "job")
    assert sorted((point.name, point.value) for point in points) == [("m", 1.0), ("m", 2.0)]
    names = sorted(path.name for path in (tmp_path / "training-jobs" / "job").iterdir())
    assert names == ["log.txt", "metrics.jsonl"]


def test_each_host_is_told_who_it_is(tmp_path: Path) -> None:
    groups = [
        {"InstanceGroupName": "fast", "InstanceType": "ml.g5.xlarge", "InstanceCount": 1},
        {"InstanceGroupName": "slow", "InstanceType": "ml.m5.large", "InstanceCount": 2},
    ]
    program = "print(json.dumps(config)); print(sorted(os.listdir(root / 'input/data')))"
    data = tmp_path / "data"
    data.mkdir()
    run(
        tmp_path,
        program,
        ResourceConfig={"InstanceGroups": groups},
        InputDataConfig=[channel("all", data), channel("own", data, InstanceGroupNames=["fast"])],
    )
    first, third = said_by(tmp_path, "algo-1"), said_by(tmp_path, "algo-3")
    assert json.loads(first[0]) == {
        "current_host": "algo-1",
        "current_instance_type": "ml.g5.xlarge",
        "current_group_name": "fast",
        "hosts": ["algo-1", "algo-2", "algo-3"],
        "instance_groups": [
            {
                "instance_group_name": "fast",
                "instance_type": "ml.g5.xlarge",
                "hosts": ["algo-1"],
            },
            {
                "instance_group_name": "slow",
                "instance_type": "ml.m5.large",
                "hosts": ["algo-2", "algo-3"],
            },
        ],
        "network_interface_name": "lo",
    }
    told = json.loads(third[0])
    assert (told["current_host"], told["current_group_name"]) == ("algo-3", "slow")
    assert [first[1], third[1]] == ["['all', 'own']", "['all']"]


def test_a_sharded_channel_gives_every_file_to_one_host(tmp_path: Path) -> None:
    data = tmp_path / "data"
    for name in ("a/0.jpg", "a/1.jpg", "a/2.jpg", "b/0.jpg", "c"):
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        (data / name).write_text(name)
    (data / "b" / "above").symlink_to(data)
    program = """
for part in ("shared", "whole", "file"):
    folder = root / "input/data" / part
    found = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    assert all((folder / name).read_text().endswith(name) for name in found)
    print(json.dumps(found))
"""
    sharded = {"S3DataDistributionType": "ShardedByS3Key"}
    channels = [
        channel("shared", data, **sharded),
        channel("whole", data / "a"),
        channel("file", data / "c", **sharded),
    ]
    assert run(tmp_path, program, InputDataConfig=channels)["TrainingJobStatus"] == "Completed"
    first, second = (list(map(json.loads, said_by(tmp_path, f"algo-{n}"))) for n in (1, 2))
    assert first == [["a/0.jpg", "a/2.jpg", "c"], ["0.jpg", "1.jpg", "2.jpg"], ["c"]]
    assert second == [["a/1.jpg", "b/0.jpg"], ["0.jpg", "1.jpg", "2.jpg"], []]


def test_models_are_laid_into_one_another_and_every_output_is_kept(tmp_path: Path) -> None:
    program = """
(root / "model/parts").mkdir()
(root / "model/parts" / host).write_text(host)
(root / "model/weights").write_text(host)
(root / "output/data/report.txt").write_text(host)
"""
    run(tmp_path, program)
    output = tmp_path / "out" / "job" / "output"
    with tarfile.open(output / "model.tar.gz") as tar:
        assert sorted(tar.getnames()) == ["parts", "parts/algo-1", "parts/algo-2", "weights"]
        weights = tar.extractfile("weights")
        assert weights is not None
        assert weights.read() == b"algo-1"
    with tarfile.open(output / "output.tar.gz") as tar:
        names = {name for name in tar.getnames() if name.endswith(".txt")}
    assert names == {"data/report.txt", "algo-2/data/report.txt"}


def test_a_model_of_the_second_host_alone_is_the_model(tmp_path: Path) -> None:
    record = run(tmp_path, "host == 'algo-2' and (root / 'model/weights').write_text('w')")
    assert record["ModelArtifacts"]["S3ModelArtifacts"].endswith("model.tar.gz")


@pytest.mark.parametrize("is_stubborn", [False, True], ids=["obedient", "stubborn"])
def test_a_host_that_fails_ends_the_others_and_gives_the_reason(
    tmp_path: Path, is_stubborn: bool
) -> None:
    program = f"""
if host == "algo-2":
    wait_for("algo-1")
    (root / "output/failure").write_text("The second one is at a loss.")
    sys.exit(7)
if {is_stubborn}:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
say_ready()
while True:
    signal.pause()
"""
    record = run(tmp_path, program)
    assert record["TrainingJobStatus"] == "Failed"
    reason = "AlgorithmError: The second one is at a loss, exit code: 7"
    assert record["FailureReason"] == reason


@pytest.mark.parametrize(
    ("local", "environment", "expected"),
    [
        ({"NumThreads": 6}, {}, "3"),
        ({"NumThreads": 1}, {}, "1"),
        ({"NumThreads": 6}, {"OMP_NUM_THREADS": "5"}, "5"),
        ({}, {}, "7"),
    ],
    ids=["shared", "at-least-one", "said-by-the-job", "said-by-the-caller"],
)
def test_hosts_share_the_threads(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    local: dict[str, Any],
    environment: dict[str, str],
    expected: str,
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    run(tmp_path, "print(os.environ['OMP_NUM_THREADS'])", Local=local, Environment=environment)
    assert [said_by(tmp_path, f"algo-{n}") for n in (1, 2)] == [[expected], [expected]]


def test_the_bundled_trainer_trains_on_two_hosts(tmp_path: Path) -> None:
    for name, num_images in (("train", 16), ("validation", 5)):
        fill_channel(tmp_path / name, num_images=num_images)
    folder = add_job(
        tmp_path,
        None,
        ResourceConfig=TWO,
        HyperParameters=TINY | {"epochs": "1"},
        InputDataConfig=[channel(name, tmp_path / name) for name in ("train", "validation")],
    )
    launcher = JobLauncher(tmp_path)
    launch(launcher, folder)
    record = wait_for_end(tmp_path)
    launcher.close()
    assert record["TrainingJobStatus"] == "Completed", read_log(tmp_path)
    assert any("Epoch[0] Train-loss=" in line for line in said_by(tmp_path, "algo-1"))
    with tarfile.open(tmp_path / "out/job/output/model.tar.gz") as tar:
        assert "model.json" in tar.getnames()
