"""Jobs of several processes: on one machine, and on two that are loopback addresses."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
import safetensors.torch
import torch

from sagemaker_sift.trainer import load_model
from tests.supports.trainer_data import (
    SIFTING,
    configure,
    fill_channel,
    finish,
    make_root,
    read_failure,
    read_until,
    read_weights,
    start_train,
)

HOSTS = ["127.0.0.1", "127.0.0.2"]


def start_two(root: Path) -> subprocess.Popen[str]:
    return start_train(root, environment={"SIFT_PROCESSES_PER_HOST": "2"})


def describe_hosts(root: Path, current_host: str) -> None:
    resources = {"current_host": current_host, "hosts": HOSTS, "network_interface_name": "lo"}
    (root / "input/config/resourceconfig.json").write_text(json.dumps(resources))


def measure_accuracy(root: Path) -> float:
    """Return the accuracy of the model over the validation channel, by another path."""
    model = load_model(root / "model")
    files = sorted((root / "input/data/validation").rglob("*.jpg"))
    labels = torch.tensor([model.classes.index(path.parent.name) for path in files])
    found = model.probabilities(model.read_images(files, fit="crop")).argmax(dim=1)
    return float((found == labels).float().mean())


@pytest.mark.parametrize("sifting", [{}, SIFTING])
def test_two_processes_of_a_machine_train_one_model(
    tmp_path: Path, sifting: dict[str, str]
) -> None:
    given = {"epochs": "3", "top_k": "2", "mini_batch_size": "7"} | sifting
    root = make_root(tmp_path, hyperparameters=given, num_images=20)
    configure(root, num_training_samples="40", **given)
    log = finish(start_two(root))
    assert "2 processes on 1 machines, batches of 7 images in all" in log
    for epoch in range(3):
        for name in ("Train-accuracy", "Train-loss", "Time cost", "Validation-accuracy"):
            assert log.count(f"Epoch[{epoch}] {name}=") == 1, log
    best = max(map(float, re.findall(r"Validation-accuracy=([\d.]+)", log)))
    assert best == pytest.approx(measure_accuracy(root), abs=1e-6)
    assert len(read_weights(root)) == 1
    if sifting:
        assert re.findall(r"Sifting-samples_seen=(\d+)", log)[0] == "35"
        totals = json.loads((root / "output/data/sifting.json").read_text())
        assert totals["samples_seen"] == 3 * 35
        assert totals["samples_kept"] < 3 * 35
        kept = sum(map(int, re.findall(r"Sifting-samples_kept=(\d+)", log)))
        assert totals["samples_kept"] == kept


def test_two_machines_train_one_model_which_the_first_one_keeps(tmp_path: Path) -> None:
    roots = [
        make_root(
            tmp_path / host,
            hyperparameters=SIFTING | {"epochs": "2", "kv_store": "dist_async"},
        )
        for host in HOSTS
    ]
    with socket.socket() as free:
        free.bind((HOSTS[0], 0))
        port = free.getsockname()[1]
    for root, host in zip(roots, HOSTS, strict=True):
        describe_hosts(root, host)
    environment = {"MASTER_PORT": str(port), "SIFT_PROCESSES_PER_HOST": "2"}
    processes = [start_train(root, environment=environment) for root in roots]
    first, second = (finish(process) for process in processes)
    assert "4 processes on 2 machines, batches of 16 images in all" in first
    assert "kv_store is dist_async, but" in first
    assert first.count("Sifting-samples_seen=32") == 2
    assert "Epoch[" not in second
    assert len(read_weights(roots[0])) == 1
    assert read_weights(roots[1]) == {}
    assert json.loads((roots[0] / "output/data/sifting.json").read_text())["samples_seen"] == 64


def test_a_machine_that_waits_for_another_can_be_stopped(tmp_path: Path) -> None:
    root = make_root(tmp_path)
    describe_hosts(root, HOSTS[0])
    with socket.socket() as free:
        free.bind((HOSTS[0], 0))
        port = free.getsockname()[1]
    process = start_train(root, environment={"MASTER_PORT": str(port)})
    read_until(process, "Device: CPU")
    process.send_signal(signal.SIGTERM)
    assert "Stopped before training" in finish(process)


def test_machines_that_see_different_data_are_told(tmp_path: Path) -> None:
    roots = [make_root(tmp_path / host) for host in HOSTS]
    shutil.rmtree(roots[1] / "input/data/validation")
    with socket.socket() as free:
        free.bind((HOSTS[0], 0))
        environment = {"MASTER_PORT": str(free.getsockname()[1])}
    for root, host in zip(roots, HOSTS, strict=True):
        describe_hosts(root, host)
    processes = [start_train(root, environment=environment) for root in roots]
    for process in processes:
        finish(process, expected=1)
    for root in roots:
        assert "a validation channel is True on the first, but False on" in read_failure(root)


@pytest.mark.parametrize(
    ("sifting", "num_processes"),
    [({}, 3), (SIFTING | {"scoring": "last_visit", "weighting": "inverse"}, 2)],
)
def test_processes_that_are_stopped_go_on_to_the_result_of_uninterrupted_ones(
    tmp_path: Path, sifting: dict[str, str], num_processes: int
) -> None:
    environment = {"SIFT_PROCESSES_PER_HOST": str(num_processes)}
    given = {"epochs": "16", "augmentation_type": "crop"} | sifting
    parts, whole = (make_root(tmp_path / name, hyperparameters=given) for name in "pw")
    for root in (parts, whole):
        (root / "checkpoints").mkdir()
    process = start_train(parts, environment=environment)
    read_until(process, "Epoch[1] Train-accuracy")
    process.send_signal(signal.SIGTERM)
    assert "Stopped on SIGTERM" in finish(process)
    shutil.rmtree(parts / "model")
    resumed = finish(start_train(parts, environment=environment))
    assert "Resuming from a checkpoint after" in resumed
    finish(start_train(whole, environment=environment))
    assert read_weights(parts) == read_weights(whole)
    name = "checkpoints/checkpoint-0016.safetensors"
    assert (parts / name).read_bytes() == (whole / name).read_bytes()


def test_a_process_that_is_killed_ends_the_others_and_the_job(tmp_path: Path) -> None:
    root = make_root(tmp_path, hyperparameters={"epochs": "100000"})
    process = start_two(root)
    read_until(process, "Epoch[0] Validation-accuracy")
    children = list_children(process.pid)
    assert len(children) == 2
    os.kill(children[1], signal.SIGKILL)
    finish(process, expected=1)
    assert "ended without a word (signal SIGKILL)" in read_failure(root)
    assert all(not Path(f"/proc/{child}").exists() for child in children)


def test_no_process_outlives_the_one_that_started_it(tmp_path: Path) -> None:
    root = make_root(tmp_path, hyperparameters={"epochs": "100000"})
    process = start_two(root)
    read_until(process, "Epoch[0] Validation-accuracy")
    children = list_children(process.pid)
    process.kill()
    process.wait()
    deadline_s = time.monotonic() + 60
    while any(is_running(child) for child in children):
        assert time.monotonic() < deadline_s
    process.communicate()


def test_a_mistake_is_told_once_and_by_the_process_that_met_it(tmp_path: Path) -> None:
    root = make_root(tmp_path)
    fill_channel(root / "input/data/train", num_images=1, size=7)
    finish(start_two(root), expected=1)
    assert "0000.jpg is 7 x 7 pixels" in read_failure(root)


def test_more_processes_than_a_batch_has_samples_are_refused(tmp_path: Path) -> None:
    root = make_root(tmp_path, hyperparameters={"mini_batch_size": "1"})
    finish(start_two(root), expected=1)
    assert read_failure(root).startswith("`mini_batch_size` is 1, but it is split over the 2")


def test_another_number_of_processes_does_not_go_on_within_an_epoch(tmp_path: Path) -> None:
    root = make_root(tmp_path, hyperparameters={"epochs": "9", "beta_value": "1"})
    (root / "checkpoints").mkdir()
    process = start_two(root)
    read_until(process, "Epoch[0] Train-accuracy")
    process.send_signal(signal.SIGTERM)
    finish(process)
    finish(start_train(root), expected=1)
    assert "was made by 2 training processes, but this job has 1" in read_failure(root)


def test_between_epochs_an_unsifted_job_may_change_its_number_of_processes(
    tmp_path: Path,
) -> None:
    root = make_root(tmp_path, hyperparameters={"epochs": "1"})
    (root / "checkpoints").mkdir()
    finish(start_two(root))
    configure(root, epochs="2")
    assert "Resuming from a checkpoint after 1 epochs" in finish(start_train(root))
    state = safetensors.torch.load_file(root / "checkpoints/checkpoint-0002.safetensors")
    assert all(torch.isfinite(value.float()).all() for value in state.values())


def list_children(pid: int) -> list[int]:
    return [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_running(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
