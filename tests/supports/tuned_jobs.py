"""Training jobs of a tuning job, as its coordinator knows them."""

from __future__ import annotations

from typing import Any

from sagemaker_sift.backends.local.tuned_job import TunedJob


def build_job(
    idx: int,
    status: str = "Completed",
    curve: tuple[float, ...] = (1.0,),
    *,
    attempt: int = 1,
    **local: Any,
) -> TunedJob:
    record = {
        "TrainingJobName": f"job-{idx}-{attempt}",
        "TrainingJobStatus": status,
        "Local": {"Idx": idx, "Attempt": attempt, "Tuned": {"x": f"0.{idx}"}, "EndIdx": idx + 1},
    }
    record["Local"].update(local)
    return TunedJob(record, curve)
