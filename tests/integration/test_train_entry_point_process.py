"""The real program in a process of its own: signals, crashes, and disks that are full."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sagemaker_sift.trainer import load_model
from tests.supports.trainer_data import (
    REPOSITORY,
    SIFTING,
    configure,
    finish,
    make_root,
    read_failure,
    read_until,
    start_train,
)

LIMIT_FILES = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))
os.execv(sys.argv[1], sys.argv[1:])
"""


def snapshot(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_the_program_is_executable_and_trains(tmp_path: Path) -> None:
    root = make_root(tmp_path)
    assert os.access(REPOSITORY / "entry_points/train", os.X_OK)
    log = finish(start_train(root, arguments=["train"]))
    assert "Completed 2 epochs" in log
    assert load_model(root / "model").classes == ("class0", "class1")


def test_a_mistake_ends_the_program_with_one_sentence(tmp_path: Path) -> None:
    root = make_root(tmp_path, hyperparameters={"num_classes": "7"})
    log = finish(start_train(root), expected=1)
    assert read_failure(root).startswith("`num_classes` is 7, but channel 'train' has 2")
    assert "Traceback" in log


@pytest.mark.parametrize(
    ("number", "moment"),
    [
        (signal.SIGTERM, "Epoch[1] Train-accuracy"),
        (signal.SIGTERM, "Channel 'validation' is kept"),
        (signal.SIGINT, "Epoch[0] Validation-accuracy"),
    ],
)
def test_a_stopped_program_saves_its_model_and_ends_well(
    tmp_path: Path, number: signal.Signals, moment: str
) -> None:
    root = make_root(tmp_path, hyperparameters={"epochs": "100000", "beta_value": "1"})
    (root / "checkpoints").mkdir()
    process = start_train(root)
    read_until(process, moment)
    process.send_signal(number)
    log = finish(process)
    assert f"Stopped on {number.name}" in log
    assert load_model(root / "model").classes == ("class0", "class1")
    assert (root / "output/data/sifting.json").exists()
    assert not (root / "output/failure").exists()


@pytest.mark.parametrize("num_processes", ["1", "2"])
def test_a_stop_that_comes_while_the_program_loads_is_not_lost(
    tmp_path: Path, num_processes: str
) -> None:
    root = make_root(tmp_path, hyperparameters={"epochs": "100000"})
    stop_waiting = (
        "import os, signal, sys; signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM}); "
        "os.kill(os.getpid(), signal.SIGTERM); os.execv(sys.argv[1], sys.argv[1:])"
    )
    process = start_train(
        root,
        prefix=[sys.executable, "-c", stop_waiting],
        environment={"SIFT_PROCESSES_PER_HOST": num_processes},
    )
    log = finish(process)
    if num_processes == "1":
        assert "Stopped on SIGTERM after 0 full epochs" in log
        assert load_model(root / "model").metrics == {}
    else:
        assert "Stopped" in log
    assert not (root / "output/failure").exists()


def test_a_program_killed_at_many_moments_goes_on_to_the_result_of_an_uninterrupted_one(
    tmp_path: Path,
) -> None:
    hyperparameters = SIFTING | {"epochs": "14", "augmentation_type": "crop"}
    killed, whole = (
        make_root(tmp_path / name, hyperparameters=hyperparameters) for name in ("killed", "whole")
    )
    for root in (killed, whole):
        (root / "checkpoints").mkdir()
    for moment in (
        "Epoch[0] Train-accuracy",
        "Epoch[2] Validation-accuracy",
        "Epoch[5] Train-loss",
        "Epoch[7] Validation-accuracy",
        "Epoch[9] Time cost",
    ):
        process = start_train(killed)
        read_until(process, moment)
        process.kill()
        finish(process, expected=-signal.SIGKILL)
        shutil.rmtree(killed / "model")
    assert "Resuming from a checkpoint after" in finish(start_train(killed))
    finish(start_train(whole))
    model, expected = (snapshot(root / "model") for root in (killed, whole))
    for name in expected:
        if name.endswith(".safetensors"):
            assert model[name] == expected[name]
    assert model.keys() == expected.keys()
    name = "checkpoint-0014.safetensors"
    assert (killed / "checkpoints" / name).read_bytes() == (
        whole / "checkpoints" / name
    ).read_bytes()


def test_a_file_too_large_for_the_disk_fails_the_job_and_leaves_no_part_of_it(
    tmp_path: Path,
) -> None:
    root = make_root(tmp_path)
    log = finish(start_train(root, prefix=[sys.executable, "-c", LIMIT_FILES]), expected=1)
    assert f"The disk of {root / 'model'} is full" in read_failure(root)
    assert "VolumeSizeInGB" in log
    assert snapshot(root / "model") == {}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A tmpfs on ``checkpoints`` that has room for one checkpoint and not for two."""
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    if not mount(folder, "-t", "tmpfs", "-o", "size=4m", "tmpfs"):
        pytest.skip("mounting a small tmpfs needs root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def mount(folder: Path, *options: str) -> bool:
    program = shutil.which("mount")
    if os.geteuid() != 0 or program is None:
        return False
    return subprocess.run([program, *options, str(folder)], capture_output=True).returncode == 0


def test_a_disk_that_fills_up_while_saving_leaves_the_last_checkpoint(
    tmp_path: Path, small_disk: Path
) -> None:
    root = make_root(tmp_path, hyperparameters={"epochs": "4"})
    finish(start_train(root), expected=1)
    failure = read_failure(root)
    assert failure.startswith(f"The disk of {small_disk}")
    assert " is full, so " in failure
    assert sorted(snapshot(small_disk)) == [
        "checkpoint-0001.json",
        "checkpoint-0001.safetensors",
        "model/image-classification-0001.safetensors",
    ]
    assert mount(small_disk, "-o", "remount,size=64m")
    log = finish(start_train(root))
    assert "Resuming from a checkpoint after 1 epochs" in log
    assert "Completed 4 epochs" in log
    assert not (root / "output/failure").exists()


def test_a_read_only_disk_is_found_before_training(tmp_path: Path, small_disk: Path) -> None:
    root = make_root(tmp_path)
    assert mount(small_disk, "-o", "remount,ro")
    log = finish(start_train(root), expected=1)
    assert read_failure(root).startswith(
        f"The folder {small_disk} cannot be written (Read-only file system)"
    )
    assert "Train-accuracy" not in log


def test_images_beyond_the_memory_budget_are_decoded_by_workers_that_end_with_the_job(
    tmp_path: Path,
) -> None:
    root = make_root(tmp_path)
    configure(root, epochs="100000")
    program = (
        "import dataclasses, os, sys; from pathlib import Path;"
        "from sagemaker_sift.contract.container import ContainerPaths;"
        "from sagemaker_sift.trainer import config, job, log, stop;"
        "c = config.read_config(ContainerPaths(Path(sys.argv[1])), {'OMP_NUM_THREADS': '1'});"
        "c = dataclasses.replace(c, decoded_budget_bytes=0, num_cpus=2)\n"
        "with log.log_to(sys.stdout), stop.listen_for_stop() as request:\n"
        "    job.run_job(c, stop=request)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(root)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    read_until(process, "Epoch[0] Validation-accuracy")
    os.killpg(process.pid, signal.SIGTERM)
    log = finish(process)
    assert "Stopped on SIGTERM" in log
    assert json.loads((root / "model/model.json").read_text())["epoch"] >= 1
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
