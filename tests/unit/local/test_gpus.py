"""Which GPUs a local job gets."""

from __future__ import annotations

from pathlib import Path

import pytest

from sagemaker_sift.backends.local.gpus import choose_gpus, list_gpus


def test_gpus_are_the_drivers_device_files(tmp_path: Path) -> None:
    for name in ("nvidia10", "nvidia2", "nvidia0", "nvidiactl", "nvidia-uvm", "null"):
        (tmp_path / name).touch()
    assert list_gpus({}, tmp_path) == ["0", "2", "10"]


def test_a_machine_without_a_driver_has_none(tmp_path: Path) -> None:
    assert list_gpus({}, tmp_path) == []
    assert list_gpus({}, tmp_path / "missing") == []


@pytest.mark.parametrize(
    ("visible", "gpus"),
    [("1,GPU-ab", ["1", "GPU-ab"]), ("", []), ("-1", []), (" 3 ", ["3"])],
    ids=["two", "none", "minus-one", "spaces"],
)
def test_what_the_launching_process_sees_is_all_there_is(
    visible: str, gpus: list[str], tmp_path: Path
) -> None:
    (tmp_path / "nvidia7").touch()
    assert list_gpus({"CUDA_VISIBLE_DEVICES": visible}, tmp_path) == gpus


def machines(kind: str, count: int = 1) -> dict[str, object]:
    return {"InstanceType": kind, "InstanceCount": count}


def test_without_gpus_nothing_is_said() -> None:
    assert choose_gpus(machines("ml.p3.8xlarge"), [], []) is None


def test_a_job_gets_as_many_as_its_machines_have() -> None:
    assert choose_gpus(machines("ml.p3.2xlarge"), ["0", "1", "2"], []) == ["0"]
    assert choose_gpus(machines("ml.p3.2xlarge", 2), ["0", "1", "2"], []) == ["0", "1"]
    assert choose_gpus(machines("ml.p3.16xlarge"), ["0", "1", "2"], []) == ["0", "1", "2"]
    groups = {"InstanceGroups": [machines("ml.g5.xlarge"), machines("ml.m5.xlarge", 3)]}
    assert choose_gpus(groups, ["0", "1", "2"], []) == ["0"]


def test_a_job_of_cpu_machines_gets_none() -> None:
    assert choose_gpus(machines("ml.c5.xlarge"), ["0", "1"], []) == []


def test_the_least_used_ones_are_taken() -> None:
    assert choose_gpus(machines("ml.g5.xlarge"), ["0", "1"], [["0"], ["0"], ["1"]]) == ["1"]
    assert choose_gpus(machines("ml.g5.xlarge"), ["3", "1"], [["1"]]) == ["3"]
    assert choose_gpus(machines("ml.g5.xlarge", 2), ["b", "a", "c"], [["b"]]) == ["a", "c"]


def test_types_of_other_algorithms_are_told_by_their_family() -> None:
    assert choose_gpus(machines("ml.p9.large"), ["0", "1"], []) == ["0"]
    assert choose_gpus(machines("ml.r5.large"), ["0", "1"], []) == []
