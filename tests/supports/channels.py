"""Channels of every form on disk, for tests of what a job's input is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from sagemaker_sift.contract.container import ContainerPaths
from sagemaker_sift.trainer.inputs import (
    JobInput,
    read_job_input,
)
from tests.supports.recordio import write_image_records

Fill = Callable[[Path, str], None]


def folders(data: Path, name: str) -> None:
    for class_name in ("cat", "dog"):
        (data / name / class_name).mkdir(parents=True)
        (data / name / class_name / "1.jpg").write_bytes(b"image")


def records(data: Path, name: str) -> None:
    for idx in range(2):
        write_image_records(data / name / f"part{idx}.rec", [(idx, b"image")])
        (data / name / f"part{idx}.idx").write_text("0\t0\n")


def images(data: Path, name: str) -> None:
    (data / name).mkdir(parents=True)
    for idx in range(2):
        (data / name / f"{idx}.png").write_bytes(b"image")


def list_of(data: Path, name: str) -> None:
    (data / name).mkdir(parents=True)
    (data / name / f"{name}.lst").write_text("0\t0\t0.png\n1\t1\t1.png\n")


def nothing(data: Path, name: str) -> None:
    (data / name).mkdir(parents=True)


def absent(data: Path, name: str) -> None:
    pass


def read(data: Path, given: dict[str, Any], num_hosts: int = 1) -> JobInput:
    return read_job_input(given, ContainerPaths(data.parents[1]), num_hosts=num_hosts)


Fill = Callable[[Path, str], None]
