"""Shared by all tests: no network but loopback, few threads, and a word on what is left out."""

from __future__ import annotations

import os
import sys

import pytest
from hypothesis import HealthCheck, settings

os.environ.setdefault("OMP_NUM_THREADS", "1")
settings.register_profile(
    "deterministic",
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("deterministic")


def pytest_report_header() -> list[str]:
    return [
        "left out here: tests marked gpu (make test-gpu), aws (make test-aws), "
        "packaging (make test-wheel), interop (make test-interop)"
    ]


@pytest.fixture(autouse=True)
def same_random_numbers_in_every_run() -> None:
    """Seed what a test draws without a generator of its own."""
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.manual_seed(0)
