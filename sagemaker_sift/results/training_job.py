"""A training job that runs or has run: watch it, wait for it, stop it, read what it left."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sagemaker_sift.backends.errors import translate_errors
from sagemaker_sift.exceptions import ArtifactError, BackendError, JobFailedError, JobStoppedError
from sagemaker_sift.results.metrics import TrainingJobAnalytics
from sagemaker_sift.results.progress import choose_view
from sagemaker_sift.session import JobSession

_LOG_TAIL_LINES = 15
_ENDED = {"Completed", "Failed", "Stopped"}


class TrainingJob:
    """A handle on one training job; it holds no state of its own beyond the name.

    Args:
        name: Name of the job.
        session: Where it runs.
    """

    def __init__(self, name: str, session: JobSession) -> None:
        self.name = name
        self.session = session

    def __repr__(self) -> str:
        return f"TrainingJob({self.name!r})"

    @property
    def job_name(self) -> str:
        """Name of the job, under the word that the SageMaker SDK v2 uses."""
        return self.name

    def describe(self) -> dict[str, Any]:
        """Return the API's DescribeTrainingJob response, read anew.

        Raises:
            NotFoundError: If there is no such job.
        """
        with translate_errors():
            response: dict[str, Any] = self.session.sagemaker_client.describe_training_job(
                TrainingJobName=self.name
            )
        return response

    def stop(self) -> None:
        """Ask the job to stop; it saves its model first. A job that has ended is left alone."""
        if self.describe()["TrainingJobStatus"] in _ENDED:
            return
        try:
            with translate_errors():
                self.session.sagemaker_client.stop_training_job(TrainingJobName=self.name)
        except BackendError:
            if self.describe()["TrainingJobStatus"] not in _ENDED:
                raise

    def wait(
        self, logs: bool | str | None = True, *, sleep: Callable[[float], None] = time.sleep
    ) -> dict[str, Any]:
        """Follow the job to its end and return its description.

        Ctrl-C stops the job too where the session says so (a local one does).

        Args:
            logs: ``True`` shows progress, ``"All"`` the whole log, ``False`` nothing.
            sleep: Waits between two looks.

        Raises:
            JobFailedError: If the job failed; carries the reason and the end of the log.
            JobStoppedError: If it was stopped.
        """
        try:
            description = self._follow(logs, sleep)
        except KeyboardInterrupt:
            if self.session.stops_on_interrupt:
                self.stop()
                self._follow(False, sleep)
            raise
        reason = description.get("FailureReason", "")
        if description["TrainingJobStatus"] == "Failed":
            raise JobFailedError(self.name, reason or "failed", self.read_log_tail())
        if description["TrainingJobStatus"] == "Stopped":
            raise JobStoppedError(self.name, f"was stopped ({description['SecondaryStatus']}).")
        return description

    def _follow(self, logs: bool | str | None, sleep: Callable[[float], None]) -> dict[str, Any]:
        description = self.describe()
        view = choose_view(logs, description.get("HyperParameters", {}))
        position, shown = None, ""
        try:
            while True:
                description = self.describe()
                lines, position = self.session.read_log(self.name, position)
                for line in lines:
                    view.show_line(line)
                if description["SecondaryStatus"] != shown:
                    shown = description["SecondaryStatus"]
                    view.show_status(shown)
                if description["TrainingJobStatus"] in _ENDED:
                    return description
                sleep(self.session.poll_s)
        finally:
            view.close()

    def read_log(self) -> list[str]:
        """Return every line of the log so far."""
        return self.session.read_log(self.name)[0]

    def read_log_tail(self, num_lines: int = _LOG_TAIL_LINES) -> list[str]:
        """Return the last lines of the log."""
        return self.read_log()[-num_lines:]

    @property
    def analytics(self) -> TrainingJobAnalytics:
        """The metrics that the job has reported so far."""
        return TrainingJobAnalytics(self.name, sagemaker_session=self.session)

    @property
    def model_data(self) -> str:
        """URI of ``model.tar.gz``.

        Raises:
            ArtifactError: If the job has left no model, or none yet.
        """
        description = self.describe()
        uri: str = description.get("ModelArtifacts", {}).get("S3ModelArtifacts", "")
        if description["TrainingJobStatus"] not in _ENDED or not uri:
            status = description["TrainingJobStatus"]
            raise ArtifactError(f"Training job {self.name!r} is {status} and has no model.tar.gz.")
        return uri

    @property
    def output_data(self) -> Path:
        """Path of ``output.tar.gz``: what the algorithm wrote besides the model."""
        base = self.describe()["OutputDataConfig"]["S3OutputPath"].rstrip("/")
        return self.session.to_local_path(f"{base}/{self.name}/output/output.tar.gz")
