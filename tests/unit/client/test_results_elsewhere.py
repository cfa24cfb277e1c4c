"""What a job elsewhere has left, or has not."""

from __future__ import annotations

import json
import tarfile
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from sagemaker_sift import AccessDeniedError, ArtifactError, NotFoundError, TrainingJob
from sagemaker_sift.results.summary import summarize
from tests.supports.algorithms import NOW, build_session


class EndedJob:
    """A job on a session whose archives are what a test puts there."""

    def __init__(self, root: Path, output: Any, model: str = "s3://b/out/job/output/m.tar.gz"):
        self.session = build_session(root)
        self.session.sagemaker_client = self
        self.session.to_local_path = self.fetch  # type: ignore[method-assign]
        self.output = output
        self.model = model
        self.job = TrainingJob("job", self.session)

    def describe_training_job(self, TrainingJobName: str) -> dict[str, Any]:
        return {
            "TrainingJobName": TrainingJobName,
            "TrainingJobStatus": "Completed",
            "SecondaryStatus": "Completed",
            "OutputDataConfig": {"S3OutputPath": "s3://b/out/"},
            "ModelArtifacts": {"S3ModelArtifacts": self.model},
            "TrainingStartTime": NOW,
            "TrainingEndTime": NOW,
        }

    def fetch(self, uri: str) -> Path:
        assert uri == "s3://b/out/job/output/output.tar.gz"
        if isinstance(self.output, Exception):
            raise self.output
        path: Path = self.output
        return path


def pack(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, BytesIO(content))
    return path


@pytest.mark.parametrize("kind", [NotFoundError, AccessDeniedError])
def test_without_its_output_nothing_is_known_of_sifting(
    tmp_path: Path, kind: type[NotFoundError]
) -> None:
    gone = kind("no", operation="GetObject", code="403")
    summary = summarize(EndedJob(tmp_path, gone).job)
    assert not summary.is_sifting_known
    assert ("sifting", "not known") in summary.rows()


def test_an_output_without_a_report_says_that_sifting_was_off(tmp_path: Path) -> None:
    archive = pack(tmp_path / "output.tar.gz", {"data/other.json": b"{}"})
    summary = summarize(EndedJob(tmp_path, archive).job)
    assert ("sifting", "off") in summary.rows()


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        ({"status": "waiting for the first losses"}, "never sifted: waiting for the first losses"),
        ({}, "never sifted: not known why"),  # a report of version 0.5
        ({"status": "on", "samples_scored": 20}, "60.0% of 20 (expected 1/(1+beta) = 50.0%)"),
    ],
)
def test_a_report_says_how_much_was_kept_or_why_nothing_was_sifted(
    tmp_path: Path, told: dict[str, Any], shown: str
) -> None:
    report = {"beta_value": 1.0, "samples_seen": 30, "samples_kept": 22, "samples_scored": 0}
    report |= {"samples_scored_kept": 12, "batches_presented": 3, "batches_trained": 2}
    content = json.dumps(report | {"seconds": {}} | told).encode()
    archive = pack(tmp_path / "output.tar.gz", {"data/sifting.json": content})
    summary = summarize(EndedJob(tmp_path, archive).job)
    assert ("kept while sifting", shown) in summary.rows()


def test_a_model_that_was_left_unpacked_says_how_to_fetch_it(tmp_path: Path) -> None:
    job = EndedJob(tmp_path, None, model="s3://b/out/job/output/model/").job
    with pytest.raises(ArtifactError, match="left its model unpacked"):
        job.download(tmp_path / "model")
    assert not (tmp_path / "model").exists()
