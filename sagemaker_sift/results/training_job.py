"""A training job that runs or has run: watch it, wait for it, stop it, read what it left."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sagemaker_sift.backends.errors import translate_errors
from sagemaker_sift.exceptions import (
    AccessDeniedError,
    ArtifactError,
    BackendError,
    JobFailedError,
    JobStoppedError,
    NotFoundError,
)
from sagemaker_sift.results.download import download_artifact
from sagemaker_sift.results.job_handle import JobHandle
from sagemaker_sift.results.log_tail import LogTail
from sagemaker_sift.results.metrics import TrainingJobAnalytics
from sagemaker_sift.results.progress import choose_view
from sagemaker_sift.session import JobSession

_LOG_TAIL_LINES = 15
_ENDED = {"Completed", "Failed", "Stopped"}


def list_tags(session: JobSession, arn: str) -> list[dict[str, str]]:
    """Return the tags of a resource, without those of AWS itself.

    None, with a warning, if the identity may not list them.
    """
    tags: list[dict[str, str]] = []
    page: dict[str, Any] = {}
    try:
        with translate_errors():
            while True:
                response = session.sagemaker_client.list_tags(ResourceArn=arn, **page)
                tags += [dict(tag) for tag in response["Tags"]]
                if not response.get("NextToken"):
                    return [tag for tag in tags if not tag["Key"].startswith("aws:")]
                page = {"NextToken": response["NextToken"]}
    except AccessDeniedError as error:
        warnings.warn(f"The tags of {arn} are not known: {error}", stacklevel=3)
        return []


class TrainingJob(JobHandle):
    """A handle on one training job; it holds no state of its own beyond the name.

    Args:
        name: Name of the job.
        session: Where it runs.
    """

    _kind = "Training job"
    _attach = "AlgorithmEstimator"

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
        if self.describe()["TrainingJobStatus"] in _ENDED | {"Stopping"}:
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

        Ctrl-C stops the job too where the session says so (a local one does); elsewhere the job
        runs on, and a line says how to come back to it.

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
            else:
                self.tell_that_it_runs_on()
            raise
        except NotFoundError:
            raise
        except BackendError:
            self.tell_that_it_runs_on()
            raise
        reason = description.get("FailureReason", "")
        if description["TrainingJobStatus"] == "Failed":
            raise JobFailedError(self.name, reason or "failed", self.read_log_tail())
        if description["TrainingJobStatus"] == "Stopped":
            raise JobStoppedError(self.name, f"was stopped ({description['SecondaryStatus']}).")
        return description

    def _follow(self, logs: bool | str | None, sleep: Callable[[float], None]) -> dict[str, Any]:
        description = self.describe()
        view = choose_view(logs, description)
        tail = LogTail(self.name, self.session, is_read=logs not in {False, None, "None"})
        shown = ""
        try:
            while True:
                description = self.describe_patiently(sleep)
                tail.show(view)
                if description["SecondaryStatus"] != shown:
                    shown = description["SecondaryStatus"]
                    view.show_status(shown)
                if description["TrainingJobStatus"] in _ENDED:
                    if tail.is_read and self.session.log_lag_s:
                        sleep(self.session.log_lag_s)
                        tail.show(view)
                    return description
                sleep(self.session.poll_s)
        finally:
            view.close()

    def tags(self, description: Mapping[str, Any] | None = None) -> list[dict[str, str]]:
        """Return the tags of the job; none, with a warning, if the identity may not list them.

        Args:
            description: What :meth:`describe` returned, to spare a call.
        """
        arn = (self.describe() if description is None else description)["TrainingJobArn"]
        return list_tags(self.session, arn)

    def download(self, folder: str | os.PathLike[str], *, overwrite: bool = False) -> list[Path]:
        """Unpack the model's artifact into a folder and return the paths of its files.

        Args:
            folder: Made if it is not there.
            overwrite: Whether files of the same names may be replaced.

        Raises:
            ArtifactError: If the job has left no model, or the archive is damaged or unsafe.
            FileExistsError: If a file is there already.
        """
        return download_artifact(self.session, self.model_data, Path(folder), overwrite=overwrite)

    def read_log(self) -> list[str]:
        """Return every line of the log so far."""
        return self.session.read_log(self.name)[0]

    def read_log_tail(self, num_lines: int = _LOG_TAIL_LINES) -> list[str]:
        """Return the last lines of the log; none if it cannot be read."""
        try:
            return self.session.read_last_lines(self.name, num_lines)
        except BackendError:
            return []

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
