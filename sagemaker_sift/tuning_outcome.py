"""What a tuner knows of the tuning job that it launched last, or was attached to."""

from __future__ import annotations

from typing import Any

from sagemaker_sift.results.tuning_analytics import HyperparameterTuningJobAnalytics
from sagemaker_sift.results.tuning_job import TuningJob


class TuningOutcome:
    """The part of a tuner that follows its latest job.

    Attributes:
        latest_tuning_job: The job, or ``None`` before the first.
    """

    latest_tuning_job: TuningJob | None = None

    def wait(self) -> None:
        """Follow the latest job to its end.

        Raises:
            RuntimeError: If nothing was launched yet.
            TuningJobFailedError: If the job failed.
            TuningJobStoppedError: If it was stopped.
        """
        self.job().wait()

    def describe(self) -> dict[str, Any]:
        """Return the API's description of the latest job, read anew."""
        return self.job().describe()

    def stop_tuning_job(self) -> None:
        """Ask the latest job to stop, with every training job it runs."""
        self.job().stop()

    def resume(self, wait: bool = True) -> None:
        """Go on with the latest job if it was stopped, or interrupted by a crash.

        Only a :class:`LocalSession` can: a tuning job on AWS that has ended does not go on.
        Training jobs that a crash interrupted are launched again, under other names; those that
        a stop ended count as tried, with what they had reported.

        Args:
            wait: Whether to follow the job to its end.

        Raises:
            RuntimeError: If nothing was launched yet.
            BackendError: If the job runs or has come to its end, or runs on AWS.
            TuningJobFailedError: If the job failed while waiting.
            TuningJobStoppedError: If it was stopped while waiting.
        """
        job = self.job()
        job.resume()
        if wait:
            job.wait()

    def best_training_job(self) -> str:
        """Return the name of the best training job so far.

        Raises:
            LookupError: If none has reported the objective metric yet.
        """
        return str(self.job().best_training_job()["TrainingJobName"])

    def analytics(self) -> HyperparameterTuningJobAnalytics:
        """Return what the latest job has tried, as a table."""
        return self.job().analytics

    def job(self) -> TuningJob:
        """Return the latest job.

        Raises:
            RuntimeError: If nothing was launched yet.
        """
        if self.latest_tuning_job is None:
            raise RuntimeError("No tuning job was launched yet. Call fit() or attach() first.")
        return self.latest_tuning_job
