"""Two hosts on two loopback addresses, which find each other by the container's own files."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from sagemaker_sift.trainer.distributed import Cluster
from sagemaker_sift.trainer.errors import TrainingError

REPOSITORY = Path(__file__).parents[2]
HOSTS = ["127.0.0.1", "127.0.0.2"]


def test_two_hosts_sift_one_training(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind((HOSTS[0], 0))
        port = free.getsockname()[1]
    processes = [start_host(tmp_path / host, host, port) for host in HOSTS]
    outputs = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    results = [
        json.loads((tmp_path / host / "output/data/result.json").read_text()) for host in HOSTS
    ]
    assert [(result["rank"], result["num_ranks"]) for result in results] == [(0, 2), (1, 2)]
    assert results[0]["weights"] == pytest.approx(results[1]["weights"], abs=1e-6)
    counts = [[len(batches) for batches in result["epochs"]] for result in results]
    assert counts[0] == counts[1]
    assert min(counts[0]) > 0
    ids = [i for result in results for batch in result["epochs"][0] for i in batch]
    assert len(set(ids)) == len(ids) > 60
    assert all(result["sifted_out"] > 0 for result in results)


def start_host(root: Path, host: str, port: int) -> subprocess.Popen[str]:
    config = root / "input/config"
    config.mkdir(parents=True)
    resources = {"current_host": host, "hosts": HOSTS, "network_interface_name": "lo"}
    (config / "resourceconfig.json").write_text(json.dumps(resources))
    return subprocess.Popen(
        [sys.executable, "-m", "tests.supports.sifting_host", str(port)],
        cwd=REPOSITORY,
        env=os.environ | {"SAGEMAKER_BASE_DIR": str(root), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_a_machine_alone_needs_no_file() -> None:
    assert Cluster.from_resource_config({}).hosts == ("localhost",)


def test_a_host_that_is_not_in_the_list_is_told() -> None:
    with pytest.raises(TrainingError, match="current host 'algo-3', which is not among"):
        Cluster.from_resource_config({"current_host": "algo-3", "hosts": ["algo-1", "algo-2"]})
