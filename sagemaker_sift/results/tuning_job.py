"""A tuning job that runs or has run: watch it, wait for it, stop it, list what it launched."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from sagemaker_sift.backends.errors import translate_errors
from sagemaker_sift.exceptions import (
    AccessDeniedError,
    BackendError,
    NotFoundError,
    TuningJobFailedError,
    TuningJobStoppedError,
)
from sagemaker_sift.results.job_handle import JobHandle
from sagemaker_sift.results.log_tail import LogTail
from sagemaker_sift.results.training_job import TrainingJob, list_tags
from sagemaker_sift.results.tuning_analytics import HyperparameterTuningJobAnalytics
from sagemaker_sift.results.tuning_progress import choose_view
from sagemaker_sift.session import JobSession

_ENDED = {"Completed", "Failed", "Stopped", "DeleteFailed"}
_PAGE = 100


class TuningJob(JobHandle):
    """A handle on one tuning job; it holds no state of its own beyond the name.

    Args:
        name: Name of the tuning job.
        session: Where it runs.
    """

    _kind = "Tuning job"
    _attach = "HyperparameterTuner"

    def describe(self) -> dict[str, Any]:
        """Return the API's DescribeHyperParameterTuningJob response, read anew.

        Raises:
            NotFoundError: If there is no such job.
        """
        with translate_errors():
            response: dict[str, Any] = (
                self.session.sagemaker_client.describe_hyper_parameter_tuning_job(
                    HyperParameterTuningJobName=self.name
                )
            )
        return response

    def stop(self) -> None:
        """Ask the job to stop, with every training job it runs. One that has ended is left."""
        if self.describe()["HyperParameterTuningJobStatus"] in _ENDED | {"Stopping"}:
            return
        try:
            with translate_errors():
                self.session.sagemaker_client.stop_hyper_parameter_tuning_job(
                    HyperParameterTuningJobName=self.name
                )
        except BackendError:
            if self.describe()["HyperParameterTuningJobStatus"] not in _ENDED:
                raise

    def resume(self) -> None:
        """Go on with a job that was stopped or interrupted; only a local session can.

        Raises:
            BackendError: If the job runs or has come to its end, or the session cannot.
        """
        client = self.session.sagemaker_client
        if not hasattr(client, "resume_hyper_parameter_tuning_job"):
            raise BackendError(
                "A tuning job on Amazon SageMaker that has ended does not go on. Start another "
                "one from it: tuner.identical_dataset_and_algorithm_tuner().",
                operation="ResumeHyperParameterTuningJob",
                code="UnsupportedOperation",
            )
        with translate_errors():
            client.resume_hyper_parameter_tuning_job(HyperParameterTuningJobName=self.name)

    def wait(
        self, logs: bool | str | None = True, *, sleep: Callable[[float], None] = time.sleep
    ) -> dict[str, Any]:
        """Follow the job to its end and return its description.

        Ctrl-C leaves it running; a line says how to come back to it.

        Args:
            logs: ``True`` shows a table of the training jobs on a terminal (with the package
                rich) and elsewhere a line for every change, ``"All"`` lines and the log lines of
                the training jobs, ``False`` nothing.
            sleep: Waits between two looks.

        Raises:
            TuningJobFailedError: If the job failed; carries the reason.
            TuningJobStoppedError: If it was stopped.
            NotFoundError: If it was deleted.
        """
        try:
            description = self._follow(logs, sleep)
        except NotFoundError:
            raise
        except (KeyboardInterrupt, BackendError):
            self.tell_that_it_runs_on()
            raise
        status, reason = (
            description["HyperParameterTuningJobStatus"],
            description.get("FailureReason", ""),
        )
        if status == "Stopped":
            raise TuningJobStoppedError(self.name, "was stopped.")
        if status != "Completed":
            raise TuningJobFailedError(self.name, reason or status)
        return description

    def _follow(self, logs: bool | str | None, sleep: Callable[[float], None]) -> dict[str, Any]:
        description = self.describe()
        view = choose_view(logs, description, self._list_in_order)
        tails: dict[str, LogTail] = {}
        try:
            while True:
                view.show(description)
                if logs == "All":
                    self._show_logs(tails)
                if description["HyperParameterTuningJobStatus"] in _ENDED:
                    if logs == "All" and self.session.log_lag_s:
                        sleep(self.session.log_lag_s)
                        self._show_logs(tails)
                    return description
                sleep(self.session.poll_s)
                try:
                    description = self.describe_patiently(sleep)
                except NotFoundError as error:
                    raise NotFoundError(
                        f"Tuning job {self.name!r} was deleted while it was waited for. {error}",
                        operation=error.operation,
                        code=error.code,
                    ) from error
        finally:
            view.close()

    def _list_in_order(self) -> Iterator[dict[str, Any]]:
        return self.training_jobs(sort_by="CreationTime", sort_order="Ascending")

    def _show_logs(self, tails: dict[str, LogTail]) -> None:
        for summary in self.training_jobs(sort_by="CreationTime"):
            name = summary["TrainingJobName"]
            tail = tails.setdefault(name, LogTail(name, self.session))
            for line in tail.lines():
                sys.stdout.write(f"{name}: {line}\n")
        sys.stdout.flush()

    def training_jobs(
        self,
        status: str | None = None,
        sort_by: str = "FinalObjectiveMetricValue",
        sort_order: str | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Yield the summaries of the training jobs that it launched.

        The call that lists the training jobs of one tuning job is not throttled as hard as the
        one that lists all.

        Args:
            status: Only those with this ``TrainingJobStatus``.
            sort_by: ``FinalObjectiveMetricValue`` (best first unless told otherwise), ``Name``,
                ``CreationTime`` or ``Status``.
            sort_order: ``Ascending`` or ``Descending``; by default the service's own.
        """
        arguments = {
            "HyperParameterTuningJobName": self.name,
            "MaxResults": _PAGE,
            "SortBy": sort_by,
            "StatusEquals": status,
            "SortOrder": sort_order,
        }
        page = {name: value for name, value in arguments.items() if value is not None}
        while True:
            with translate_errors():
                client = self.session.sagemaker_client
                response = client.list_training_jobs_for_hyper_parameter_tuning_job(**page)
            yield from response["TrainingJobSummaries"]
            if not response.get("NextToken"):
                return
            page["NextToken"] = response["NextToken"]

    def best_training_job(self) -> dict[str, Any]:
        """Return the summary of the best training job so far.

        Raises:
            LookupError: If none has reported the objective metric yet.
        """
        best: dict[str, Any] = self.describe().get("BestTrainingJob") or {}
        if not best.get("TrainingJobName"):
            raise LookupError(
                f"Tuning job {self.name!r} has no best training job yet: none of its training "
                "jobs has reported the objective metric."
            )
        return best

    def training_job(self, name: str) -> TrainingJob:
        """Return a handle on one of its training jobs."""
        return TrainingJob(name, self.session)

    def tags(self, description: Mapping[str, Any] | None = None) -> list[dict[str, str]]:
        """Return the tags of the job; none, with a warning, if the identity may not list them."""
        found = self.describe() if description is None else description
        return list_tags(self.session, found["HyperParameterTuningJobArn"])

    @property
    def analytics(self) -> HyperparameterTuningJobAnalytics:
        """The training jobs as a table."""
        return HyperparameterTuningJobAnalytics(self.name, sagemaker_session=self.session)


def find_parents(names: Iterable[str], session: JobSession) -> dict[str, dict[str, Any] | None]:
    """Return what tuning jobs are, as far as the identity may ask.

    Args:
        names: Of tuning jobs.
        session: Where they ran.

    Returns:
        Descriptions by name; ``None`` for a job that does not exist. A job that may not be
        described is left out.
    """
    found: dict[str, dict[str, Any] | None] = {}
    for name in names:
        try:
            found[name] = TuningJob(name, session).describe()
        except NotFoundError:
            found[name] = None
        except AccessDeniedError:
            continue
    return found
