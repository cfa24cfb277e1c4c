"""What a training job achieved, as one table."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from sagemaker_sift.contract.metrics import (
    TRAIN_ACCURACY,
    VALIDATION_ACCURACY,
)
from sagemaker_sift.contract.sifting_report import SIFTING_REPORT_NAME, SiftingReport
from sagemaker_sift.exceptions import AccessDeniedError, NotFoundError
from sagemaker_sift.results.artifacts import read_member
from sagemaker_sift.results.training_job import TrainingJob


@dataclass(frozen=True, slots=True)
class TrainingSummary:
    """The result of one job.

    Attributes:
        job_name: The job.
        status: The API's ``TrainingJobStatus``.
        validation_accuracy: Best of all epochs, in [0, 1]; ``None`` without a validation channel.
        train_accuracy: Of the last epoch, in [0, 1].
        sifting: What sifting did, or ``None`` if the job did not sift.
        training_time_s: From the start of the training process to its end, seconds.
        model_data: URI of ``model.tar.gz``.
        log: Path of the log.
        metrics: Path of the metrics.
        is_sifting_known: Whether the job's output, which tells it, could be read.
    """

    job_name: str
    status: str
    validation_accuracy: float | None
    train_accuracy: float | None
    sifting: SiftingReport | None
    training_time_s: float
    model_data: str
    log: str
    metrics: str
    is_sifting_known: bool = True

    def rows(self) -> list[tuple[str, str]]:
        """Return label and value of every line of the table."""
        rows = [("training job", f"{self.job_name} ({self.status})")]
        if self.validation_accuracy is not None:
            rows.append(("validation accuracy", f"{self.validation_accuracy:.4f} (best epoch)"))
        if self.train_accuracy is not None:
            rows.append(
                ("train accuracy", f"{self.train_accuracy:.4f} (last epoch, kept samples)")
            )
        rows += self._sifting_rows()
        rows += [
            ("training time", f"{self.training_time_s:.0f} s"),
            ("model", self.model_data),
            ("log", self.log),
            ("metrics", self.metrics),
        ]
        return rows

    def _sifting_rows(self) -> list[tuple[str, str]]:
        report = self.sifting
        if report is None:
            return [("sifting", "off" if self.is_sifting_known else "not known")]
        rows = [
            ("samples seen", f"{report.samples_seen:,}"),
            ("samples kept", f"{report.samples_kept:,} ({report.kept_fraction:.1%})"),
        ]
        if report.samples_scored:
            rows.append(
                (
                    "kept while sifting",
                    f"{report.scored_kept_fraction:.1%} of {report.samples_scored:,} "
                    f"(expected 1/(1+beta) = {report.expected_fraction:.1%})",
                )
            )
        else:
            rows.append(
                ("kept while sifting", f"never sifted: {report.status or 'not known why'}")
            )
        return rows

    def __str__(self) -> str:
        width = max(len(label) for label, _ in self.rows())
        return "\n".join(f"{label.ljust(width)}  {value}" for label, value in self.rows())


def summarize(job: TrainingJob) -> TrainingSummary:
    """Return the summary of a job.

    Raises:
        NotFoundError: If there is no such job.
    """
    description = job.describe()
    analytics = job.analytics
    sifting, is_known = _read_sifting(job)
    return TrainingSummary(
        job_name=job.name,
        status=description["TrainingJobStatus"],
        validation_accuracy=analytics.best(VALIDATION_ACCURACY.name),
        train_accuracy=analytics.last(TRAIN_ACCURACY.name),
        sifting=sifting,
        is_sifting_known=is_known,
        training_time_s=_measure_time_s(description),
        model_data=description.get("ModelArtifacts", {}).get("S3ModelArtifacts", ""),
        log=job.session.describe_log(job.name),
        metrics=job.session.describe_metrics(job.name),
    )


def _read_sifting(job: TrainingJob) -> tuple[SiftingReport | None, bool]:
    """Return what sifting did, and whether the output that tells it could be read."""
    try:
        archive = job.output_data
    except (NotFoundError, AccessDeniedError):
        return None, False
    if not archive.is_file():
        return None, False
    content = read_member(archive, f"data/{SIFTING_REPORT_NAME}")
    report = None if content is None else SiftingReport.model_validate(json.loads(content))
    return report, True


def _measure_time_s(description: dict[str, Any]) -> float:
    start, end = description.get("TrainingStartTime"), description.get("TrainingEndTime")
    return (end - start).total_seconds() if start and end else 0.0
