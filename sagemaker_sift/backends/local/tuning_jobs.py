"""Tuning jobs of this machine: the API's operations on them."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable, Mapping
from typing import Any

from sagemaker_sift.backends.local.algorithms import Algorithms
from sagemaker_sift.backends.local.listing import Listing
from sagemaker_sift.backends.local.lock import acquire_lock, is_locked, wait_for_lock
from sagemaker_sift.backends.local.response import (
    build_arn,
    build_error,
    build_validation_error,
    check_request,
    to_response,
)
from sagemaker_sift.backends.local.search.autotune import choose_ranges
from sagemaker_sift.backends.local.storage import LocalStorage
from sagemaker_sift.backends.local.store import (
    LOST_COORDINATOR,
    TUNING_JOB,
    Record,
    RecordExistsError,
    RecordGoneError,
    RecordStore,
)
from sagemaker_sift.backends.local.training_jobs import IN_PROGRESS, TrainingJobs
from sagemaker_sift.backends.local.trash import discard
from sagemaker_sift.backends.local.tuned_job import (
    TunedJob,
    count_objectives,
    count_statuses,
    find_best,
    read_tuned_job,
)
from sagemaker_sift.backends.local.tuning_definition import (
    OBJECTIVE_HYPERPARAMETER,
    read_fields,
    read_recorded,
)
from sagemaker_sift.backends.local.tuning_request import find_tuning_problems
from sagemaker_sift.limits import TuningLimits

_CREATE = "CreateHyperParameterTuningJob"
_NAME, _STATUS = TUNING_JOB.name_field, TUNING_JOB.status_field
_LIST = Listing("ListHyperParameterTuningJobs", _NAME, _STATUS, default_sort="Name")
_LIST_JOBS = Listing(
    "ListTrainingJobsForHyperParameterTuningJob",
    "TrainingJobName",
    "TrainingJobStatus",
    default_sort="Name",
)
_BY_OBJECTIVE = "FinalObjectiveMetricValue"
_LOST = (
    "InternalServerError: the process that coordinated this tuning job ended before it did "
    "(killed, or the machine was restarted). Nothing that was found is lost: "
    "HyperparameterTuner.attach({name!r}).resume() goes on from here."
)


class TuningJobs:
    """Creates, describes, lists, stops, deletes and resumes tuning jobs.

    Args:
        store: Where they are recorded.
        storage: Where they lie.
        training_jobs: Those that they launch.
        algorithms: What these run.
        start_coordinator: Starts the process of a recorded job; gets its name and the lock.
        clock: Epoch seconds.
        limits: What jobs are held to.
    """

    def __init__(
        self,
        store: RecordStore,
        storage: LocalStorage,
        training_jobs: TrainingJobs,
        algorithms: Algorithms,
        start_coordinator: Callable[[str, int], None],
        clock: Callable[[], float],
        limits: TuningLimits,
    ) -> None:
        self._store = store
        self._table = store.tuning_jobs
        self._storage = storage
        self._training_jobs = training_jobs
        self._algorithms = algorithms
        self._start_coordinator = start_coordinator
        self._clock = clock
        self._limits = limits

    def create(self, request: dict[str, Any]) -> dict[str, Any]:
        """Check, record and start a tuning job; return its ARN."""
        algorithms, problems = find_tuning_problems(
            request, self._algorithms, self._storage, self._limits, self._describe_if_there
        )
        if problems:
            raise build_validation_error(_CREATE, problems)
        name = request[_NAME]
        if self._table.read(name) is not None:
            raise build_error(_CREATE, "ResourceInUse", _taken(name))
        folder = self._storage.tuning_folder(name)
        folder.mkdir(parents=True, exist_ok=True)
        lock = acquire_lock(folder / "lock")
        if lock is None:
            raise build_error(_CREATE, "ResourceInUse", _taken(name))
        try:
            record = self._build_record(request, algorithms)
            try:
                self._table.add(record)
            except RecordExistsError:
                raise build_error(_CREATE, "ResourceInUse", _taken(name)) from None
            self._start_coordinator(name, lock)
        finally:
            os.close(lock)
        return {"HyperParameterTuningJobArn": record["HyperParameterTuningJobArn"]}

    def _build_record(
        self, request: Mapping[str, Any], algorithms: list[dict[str, Any]]
    ) -> Record:
        now = self._clock()
        config = request["HyperParameterTuningJobConfig"]
        record: Record = {
            **request,
            "HyperParameterTuningJobArn": build_arn(TUNING_JOB.noun, request[_NAME]),
            _STATUS: "InProgress",
            "CreationTime": now,
            "LastModifiedTime": now,
            "Local": {"RuntimeS": 0.0},
        }
        record["Local"]["Seed"] = config.get("RandomSeed", secrets.randbelow(1 << 31))
        chosen = {}
        for fields, algorithm in zip(read_fields(request), algorithms, strict=True):
            ranges = fields.get("HyperParameterRanges") or config.get("ParameterRanges") or {}
            auto = ranges.get("AutoParameters")
            if auto:
                found = choose_ranges(auto, algorithm["TrainingSpecification"])
                chosen[fields.get("DefinitionName") or ""] = {
                    kind: [*ranges.get(kind, []), *found.get(kind, [])] for kind in found
                }
        if chosen:
            record["Local"]["Ranges"] = chosen
        return record

    def describe(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Return the DescribeHyperParameterTuningJob response."""
        return self._describe(self.find("DescribeHyperParameterTuningJob", request))

    def _describe(self, record: Record) -> dict[str, Any]:
        response = to_response(record, "DescribeHyperParameterTuningJobResponse")
        for fields in read_fields(response):
            objective = fields.get("TuningObjective") or record["HyperParameterTuningJobConfig"]
            objective = objective.get("HyperParameterTuningJobObjective", objective)
            static = {OBJECTIVE_HYPERPARAMETER: objective["MetricName"]}
            fields["StaticHyperParameters"] = fields.get("StaticHyperParameters", {}) | static
        jobs = self.read_jobs(record)
        response["TrainingJobStatusCounters"] = count_statuses(jobs)
        response["ObjectiveStatusCounters"] = count_objectives(jobs)
        best = self._summarize_best(record)
        if best is not None:
            response["BestTrainingJob"] = best
        warm_start = record.get("WarmStartConfig", {})
        if warm_start.get("WarmStartType") == "IdenticalDataAndAlgorithm":
            parents = [parent[_NAME] for parent in warm_start["ParentHyperParameterTuningJobs"]]
            found = [self._table.read(name) for name in parents]
            overall = self._summarize_best(record, *(one for one in found if one is not None))
            if overall is not None:
                response["OverallBestTrainingJob"] = overall
        response["ConsumedResources"] = {"RuntimeInSeconds": int(record["Local"]["RuntimeS"])}
        return response

    def read_jobs(self, record: Record) -> list[TunedJob]:
        """Return the training jobs of a recorded tuning job in the order of their launch."""
        metrics = {one.name: one.metric_name for one in read_recorded(record)}
        children = self._store.training_jobs.list(parent=record[_NAME])[::-1]
        return [
            TunedJob(child)  # its values are of no interest before it has ended
            if child["TrainingJobStatus"] in IN_PROGRESS
            else read_tuned_job(child, self._storage, metrics[child["Local"].get("Definition")])
            for child in children
        ]

    def _summarize_best(self, *records: Record) -> dict[str, Any] | None:
        maximize = read_recorded(records[0])[0].maximize
        bests = [
            (find_best(self.read_jobs(record), maximize=maximize), record) for record in records
        ]
        best = find_best((job for job, _ in bests if job is not None), maximize=maximize)
        if best is None:
            return None
        owner = next(record for job, record in bests if job is best)
        return self._summarize(best, owner)

    def _summarize(self, job: TunedJob, owner: Record) -> dict[str, Any]:
        definition = next(one for one in read_recorded(owner) if one.name == job.definition)
        return job.summarize(owner[_NAME], definition.metric_name, maximize=definition.maximize)

    def list(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Return the ListHyperParameterTuningJobs response."""
        _LIST.check(request)
        rows = []
        for record in self._table.list()[::-1]:
            row = to_response(record, "HyperParameterTuningJobSummary")
            config = record["HyperParameterTuningJobConfig"]
            row |= {"Strategy": config["Strategy"], "ResourceLimits": config["ResourceLimits"]}
            rows.append(row)
        page, token = _LIST.cut(request, _LIST.select(request, rows))
        for row in page:
            newest = self._table.read(row[_NAME])
            jobs = [] if newest is None else self.read_jobs(newest)
            row["TrainingJobStatusCounters"] = count_statuses(jobs)
            row["ObjectiveStatusCounters"] = count_objectives(jobs)
        return {
            "HyperParameterTuningJobSummaries": page,
            **({"NextToken": token} if token else {}),
        }

    def list_training_jobs(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Return the ListTrainingJobsForHyperParameterTuningJob response.

        By the final objective the best comes first unless an order is given, and jobs without
        one are left out.
        """
        _LIST_JOBS.check(request)
        record = self.find(_LIST_JOBS.operation, {_NAME: request[_NAME]})
        jobs = self.read_jobs(record)
        maximize = read_recorded(record)[0].maximize
        if request.get("SortBy") == _BY_OBJECTIVE:
            order = request.get("SortOrder", "Descending" if maximize else "Ascending")
            jobs = [job for job in jobs if job.objective is not None]
            jobs.sort(key=lambda job: job.objective or 0.0, reverse=order == "Descending")
            status = request.get("StatusEquals")
            rows = [self._summarize(job, record) for job in jobs if status in {None, job.status}]
        else:
            rows = _LIST_JOBS.select(request, [self._summarize(job, record) for job in jobs])
        page, token = _LIST_JOBS.cut(request, rows)
        return {"TrainingJobSummaries": page, **({"NextToken": token} if token else {})}

    def stop(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Ask a tuning job to stop, with every training job it runs."""
        operation = "StopHyperParameterTuningJob"
        name = self.find(operation, request)[_NAME]

        def change(record: Record) -> None:
            if record[_STATUS] not in IN_PROGRESS:
                message = f"The tuning job {name!r} has ended already ({record[_STATUS]})."
                raise build_error(operation, "ValidationException", message)
            record[_STATUS] = "Stopping"
            record["LastModifiedTime"] = self._clock()

        self._table.update(name, change)
        return {}

    def delete(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Forget a tuning job that has ended; its training jobs and their artifacts stay."""
        operation = "DeleteHyperParameterTuningJob"
        check_request(operation, request)
        record = self._table.read(request[_NAME])
        if record is None:
            return {}
        name = record[_NAME]

        def check(newest: Record) -> None:
            if newest[_STATUS] in IN_PROGRESS:
                message = f"The tuning job {name!r} is {newest[_STATUS]}. Stop it first."
                raise build_error(operation, "ValidationException", message)

        check(record)
        lock = self._take_over(name)
        if lock is None:
            message = f"The tuning job {name!r} is being ended or resumed by somebody else."
            raise build_error(operation, "ValidationException", message)
        try:
            with contextlib.suppress(RecordGoneError):
                self._table.delete(name, check)
                discard(self._storage.tuning_folder(name), self._storage.root)
        finally:
            os.close(lock)
        return {}

    def resume(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Go on with a tuning job that was stopped or whose coordinator was killed."""
        operation = "ResumeHyperParameterTuningJob"
        name = self.find("DescribeHyperParameterTuningJob", request)[_NAME]
        for fields in read_fields(self._table.read(name) or {}):
            algorithm = fields["AlgorithmSpecification"]["AlgorithmName"]
            self._algorithms.describe({"AlgorithmName": algorithm})  # tells if it is gone
        lock = self._take_over(name)
        if lock is None:
            message = f"The tuning job {name!r} is still running. Wait for its end."
            raise build_error(operation, "ResourceInUse", message)

        def change(record: Record) -> None:
            was_lost = bool(record["Local"].pop("Lost", None))
            if record[_STATUS] != "Stopped" and not was_lost:
                message = (
                    f"The tuning job {name!r} is {record[_STATUS]}; only one that was stopped or "
                    "interrupted goes on. Start another one from it with warm_start_config."
                )
                raise build_error(operation, "ValidationException", message)
            record[_STATUS] = "InProgress"
            record["LastModifiedTime"] = self._clock()
            for field in ("FailureReason", "HyperParameterTuningEndTime"):
                record.pop(field, None)

        try:
            self._table.update(name, change)
            self._start_coordinator(name, lock)
        finally:
            os.close(lock)
        return {}

    def _take_over(self, name: str) -> int | None:
        """Return the lock of a job; a coordinator that has recorded the end is waited for."""
        path = self._storage.tuning_folder(name) / "lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        record = self._table.read(name) or {_STATUS: ""}
        return acquire_lock(path) if record[_STATUS] in IN_PROGRESS else wait_for_lock(path)

    def find(self, operation: str, request: Mapping[str, Any]) -> Record:
        """Return the record that a call names.

        Raises:
            ClientError: ``ResourceNotFound`` if there is none.
        """
        check_request(operation, request)
        name = request[_NAME]
        record = self._table.read(name)
        if record is None:
            message = f"Tuning job {name!r} not found under {str(self._storage.root)!r}."
            raise build_error(operation, "ResourceNotFound", message)
        return record

    def _describe_if_there(self, name: str) -> dict[str, Any] | None:
        record = self._table.read(name)
        return None if record is None else self._describe(record)

    def settle(self) -> None:
        """Find the truth of every job: one without a living coordinator does not go on.

        Its training jobs are asked to stop. One that was being stopped is Stopped as soon as
        they have ended; any other has failed, and can be resumed.
        """
        for record in self._table.list(statuses=IN_PROGRESS):
            name = record[_NAME]
            if is_locked(self._storage.tuning_folder(name) / "lock"):
                continue
            running = [
                job["TrainingJobName"]
                for job in self._store.training_jobs.list(parent=name, statuses=IN_PROGRESS)
            ]
            for job_name in running:
                self._training_jobs.ask_to_stop(job_name, Lost=LOST_COORDINATOR)
            if record[_STATUS] == "Stopping" and running:
                continue
            with contextlib.suppress(RecordGoneError):  # deleted just now
                self._table.update(name, self._note_loss)

    def _note_loss(self, record: Record) -> None:
        name = record[_NAME]
        is_alive = is_locked(self._storage.tuning_folder(name) / "lock")
        if record[_STATUS] not in IN_PROGRESS or is_alive:
            return
        now = self._clock()
        if record[_STATUS] == "Stopping":
            record[_STATUS] = "Stopped"
        else:
            record[_STATUS] = "Failed"
            record["FailureReason"] = _LOST.format(name=name)
            record["Local"]["Lost"] = LOST_COORDINATOR
        record["HyperParameterTuningEndTime"] = record["LastModifiedTime"] = now


def _taken(name: str) -> str:
    return f"The name {name!r} is taken by another tuning job. Choose another one."
