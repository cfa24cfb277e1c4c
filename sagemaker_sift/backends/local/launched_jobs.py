"""What the coordinator of a tuning job knows of the training jobs that it has launched."""

from __future__ import annotations

from collections.abc import Callable

from sagemaker_sift.backends.local.metric_log import CurveReader
from sagemaker_sift.backends.local.storage import LocalStorage
from sagemaker_sift.backends.local.store import Record, RecordTable
from sagemaker_sift.backends.local.training_jobs import IN_PROGRESS
from sagemaker_sift.backends.local.tuned_job import TunedJob, read_tuned_job


class LaunchedJobs:
    """The training jobs of one tuning job, read anew as far as they can have changed.

    The first look at a job that has ended notes in its record what it has come to and its place
    in the order of ends; after that the record does not change any more.

    Args:
        table: Of training jobs.
        storage: Where they lie.
        tuning_job_name: The tuning job.
        metric_of: Returns the objective metric of a training job definition.
    """

    def __init__(
        self,
        table: RecordTable,
        storage: LocalStorage,
        tuning_job_name: str,
        metric_of: Callable[[str | None], str],
    ) -> None:
        self._table = table
        self._storage = storage
        self._tuning_job_name = tuning_job_name
        self._metric_of = metric_of
        records = table.list(parent=tuning_job_name)[::-1]
        self._names = [record["TrainingJobName"] for record in records]
        self._ended: dict[str, TunedJob] = {}
        self._curves: dict[str, CurveReader] = {}
        self._num_ended = max((record["Local"].get("EndIdx", 0) for record in records), default=0)
        for record in records:
            if "EndIdx" in record["Local"]:
                self._ended[record["TrainingJobName"]] = self._build(record)

    def add(self, record: Record) -> TunedJob:
        """Take a training job that has just been recorded and return it."""
        self._names.append(record["TrainingJobName"])
        return self._build(record)

    def read(self) -> list[TunedJob]:
        """Return all of them in the order of their launch; not those that were deleted since."""
        running = {
            record["TrainingJobName"]: record
            for record in self._table.list(parent=self._tuning_job_name, statuses=IN_PROGRESS)
        }
        jobs = []
        for name in list(self._names):
            job = self._ended.get(name)
            if job is None:
                record = running.get(name) or self._table.read(name)
                if record is None:
                    self._names.remove(name)
                    continue
                job = self._build(record)
                if not job.is_running:
                    job = self._ended[name] = self._note_end(job)
            jobs.append(job)
        return jobs

    def _build(self, record: Record) -> TunedJob:
        metric = self._metric_of(record["Local"].get("Definition"))
        if "Curve" in record["Local"]:
            return read_tuned_job(record, self._storage, metric)
        name = record["TrainingJobName"]
        if name not in self._curves:
            self._curves[name] = CurveReader(self._storage.job_folder(name), metric)
        return TunedJob(record, self._curves[name].read())

    def _note_end(self, job: TunedJob) -> TunedJob:
        self._num_ended += 1
        self._curves.pop(job.name, None)
        end_idx = self._num_ended

        def change(record: Record) -> None:
            record["Local"] |= {"EndIdx": end_idx, "Curve": list(job.curve)}

        try:
            return TunedJob(self._table.update(job.name, change), job.curve)
        except KeyError:  # deleted just now
            return job
