"""Records and programs for tests of the local backend."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sagemaker_sift.backends.local.store import Record, set_status


def build_record(root: Path, name: str = "job", **changes: Any) -> Record:
    """Return the record of a job that has just been created."""
    record: Record = {
        "TrainingJobName": name,
        "TrainingJobArn": f"arn:aws:sagemaker:local:000000000000:training-job/{name}",
        "AlgorithmSpecification": {
            "AlgorithmName": "sift-image-classification",
            "TrainingInputMode": "File",
            "MetricDefinitions": [{"Name": "m", "Regex": "m=([0-9.]+)"}],
        },
        "HyperParameters": {"epochs": "2"},
        "OutputDataConfig": {"S3OutputPath": f"file://{root / 'out'}"},
        "ModelArtifacts": {"S3ModelArtifacts": f"file://{root}/out/{name}/output/model.tar.gz"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
        "CreationTime": 100.0,
        "Local": {},
    } | changes
    set_status(record, "InProgress", "Starting", 100.0)
    return record
