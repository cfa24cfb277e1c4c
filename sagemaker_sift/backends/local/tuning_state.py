"""Where a tuning job stands, and what is due next: a function of its record and its jobs.

Source of the service's words: failure reasons of Amazon SageMaker tuning jobs, as users quote
them; of the limits and criteria: API reference, ``HyperParameterTuningJobConfig``.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sagemaker_sift.backends.local.search.completion import Completion
from sagemaker_sift.backends.local.search.searcher import Searcher, build_searcher
from sagemaker_sift.backends.local.search.space import Space
from sagemaker_sift.backends.local.search.stopping import (
    Curve,
    HyperbandRule,
    MedianRule,
    StoppingRule,
    read_resources,
)
from sagemaker_sift.backends.local.search.trial import Trial
from sagemaker_sift.backends.local.store import TUNING_JOB, Record
from sagemaker_sift.backends.local.tuned_job import TunedJob
from sagemaker_sift.backends.local.tuning_definition import (
    OBJECTIVE_HYPERPARAMETER,
    Definition,
    read_recorded,
)
from sagemaker_sift.limits import TuningLimits

_PATIENCE = 5
_NONE_SUCCEEDED = (
    f"No training job succeeded after {_PATIENCE} attempts. For additional details, please take a "
    "look at the training job failures by listing training jobs for the hyperparameter tuning job."
)
_ALL_FAILED = (
    "All training jobs failed. Please take a look at the training jobs failures to get more "
    "details."
)
_NO_METRIC = (
    "No objective metrics found after running {number} training jobs. Please ensure that the "
    "custom algorithm is emitting the objective metric as defined by the regular expression "
    "provided."
)


_NO_NUMBER = (
    "No training job has ended with a finite value of the objective metric. Take a look at their "
    "logs; narrower ranges may help."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A training job that is due.

    Attributes:
        request: Its CreateTrainingJob request.
        service_hyperparameters: What the service adds to the hyperparameters.
        local: Fields of our own for its record.
    """

    request: dict[str, Any]
    service_hyperparameters: dict[str, str]
    local: dict[str, Any]


class TuningState:
    """One tuning job as it was at the last :meth:`look`.

    Args:
        record: Of the tuning job.
        parents: For each parent of a warm start its trials.

    Attributes:
        ending: Why the job is coming to its end, in words; empty while it goes on.
        failure: Why it has failed; empty unless it has.
        num_threads: Threads of each training job.
    """

    def __init__(self, record: Record, parents: Sequence[Sequence[Trial]] = ()) -> None:
        self._record = record
        self._name: str = record[TUNING_JOB.name_field]
        config = record["HyperParameterTuningJobConfig"]
        self._strategy: str = config["Strategy"]
        self._definitions = read_recorded(record)
        self._by_name = {one.name: one for one in self._definitions}
        self._searchers = {
            one.name: self._build_searcher(one, parents) for one in self._definitions
        }
        self._rules = {one.name: self._build_rule(one, config) for one in self._definitions}
        self._completion = Completion(
            config.get("TuningJobCompletionCriteria") or {},
            maximize=self._definitions[0].maximize,
        )
        limits = config["ResourceLimits"]
        self._max_parallel = int(limits["MaxParallelTrainingJobs"])
        self._max_jobs = int(limits.get("MaxNumberOfTrainingJobs") or self._count_points())
        self._max_runtime_s: float | None = limits.get("MaxRuntimeInSeconds")
        cores = len(os.sched_getaffinity(0))
        self.num_threads = max(1, cores // min(self._max_parallel, self._max_jobs))
        self.ending = ""
        self.failure = ""
        self._jobs: list[TunedJob] = []
        self._latest: dict[int, TunedJob] = {}
        self._num_points = 0  # those too whose training job was deleted since
        self._is_exhausted = False

    def metric_of(self, definition: str | None) -> str:
        """Return the objective metric of a training job definition."""
        return self._by_name[definition].metric_name

    @property
    def num_running(self) -> int:
        """Training jobs that have not ended."""
        return sum(job.is_running for job in self._jobs)

    def look(self, jobs: Iterable[TunedJob], runtime_s: float) -> None:
        """Take the training jobs as they are now, in the order of their launch.

        Args:
            jobs: All of them, earlier attempts too.
            runtime_s: How long the tuning job has run.
        """
        self._jobs = list(jobs)
        self._latest = {job.idx: job for job in self._jobs}
        self._num_points = max(self._num_points, 1 + max(self._latest, default=-1))
        if not self.ending:
            self.ending = self._find_ending(runtime_s)

    def add(self, job: TunedJob) -> None:
        """Take a training job that has just been launched."""
        self._jobs.append(job)
        self._latest[job.idx] = job
        self._num_points = max(self._num_points, job.idx + 1)

    def next_point(self) -> Point | None:
        """Return the training job to launch now, if there is one and room for it."""
        if self.ending or self.num_running >= self._max_parallel:
            return None
        for idx, job in self._latest.items():
            if job.is_lost:
                point = self._build_point(
                    idx, self._by_name[job.definition], job.values, job.attempt + 1
                )
                losses = job.num_supervisor_losses + job.has_lost_supervisor
                return replace(point, local=point.local | {"SupervisorLosses": losses})
        idx = self._num_points
        if idx >= self._max_jobs or self._is_exhausted:
            return None
        for shift in range(len(self._definitions)):
            definition = self._definitions[(idx + shift) % len(self._definitions)]
            values = self._searchers[definition.name].suggest(
                self._count_of(definition), self._read_trials(definition)
            )
            if values is not None:
                return self._build_point(idx, definition, values, 1)
        self._is_exhausted = True
        return None

    def find_hopeless(self) -> dict[str, str]:
        """Return which running training jobs fall behind, with the reason in words."""
        found: dict[str, str] = {}
        for definition in self._definitions:
            rule = self._rules[definition.name]
            if rule is not None:
                places = self._find_places(definition.name)
                curves = [
                    Curve(
                        name=job.name,
                        idx=places[job.idx],
                        values=job.curve,
                        is_running=job.status == "InProgress",
                    )
                    for job in self._latest.values()
                    if job.definition == definition.name and not job.is_lost
                ]
                found |= rule.find_hopeless(curves)
        return found

    def describe_completion(self, now: float) -> dict[str, Any]:
        """Return the API's ``TuningJobCompletionDetails``.

        Args:
            now: Epoch seconds.
        """
        objectives = self._read_objectives()
        details: dict[str, Any] = {
            "NumberOfTrainingJobsObjectiveNotImproving": self._completion.count_not_improving(
                objectives
            )
        }
        if self._completion.has_converged(objectives):
            details["ConvergenceDetectedTime"] = now
        return details

    def _find_ending(self, runtime_s: float) -> str:
        ended = [job for job in self._latest.values() if not job.is_running and not job.is_lost]
        succeeded = [job for job in ended if job.status != "Failed"]
        if len(ended) >= _PATIENCE and not succeeded:
            self.failure = _NONE_SUCCEEDED
            return "no training job succeeded"
        if len(succeeded) >= _PATIENCE and not any(job.curve for job in succeeded):
            self.failure = _NO_METRIC.format(number=len(succeeded))
            return "no training job reports the objective metric"
        reason = self._completion.find_reason(self._read_objectives())
        if reason:
            return reason
        if self._max_runtime_s is not None and runtime_s >= self._max_runtime_s:
            return f"it has run for {self._max_runtime_s:g} s, its MaxRuntimeInSeconds"
        is_all_launched = self._num_points >= self._max_jobs or self._is_exhausted
        if not is_all_launched or len(ended) < len(self._latest) or self.num_running:
            return ""
        if not succeeded:
            self.failure = _ALL_FAILED
        elif not any(job.curve for job in succeeded):
            self.failure = _NO_METRIC.format(number=len(succeeded))
        elif all(job.objective is None for job in succeeded):
            self.failure = _NO_NUMBER
        return "all training jobs have ended"

    def _read_objectives(self) -> list[float | None]:
        """Return the final objectives in the order in which the jobs ended."""
        ended = [job for job in self._latest.values() if not job.is_running and not job.is_lost]
        return [job.objective for job in sorted(ended, key=lambda job: job.end_idx)]

    def _read_trials(self, definition: Definition) -> list[Trial]:
        return [
            to_trial(job)
            for job in self._latest.values()
            if job.definition == definition.name and not job.is_lost
        ]

    def _build_point(
        self, idx: int, definition: Definition, values: Mapping[str, str], attempt: int
    ) -> Point:
        key = f"{self._name} {self._record['CreationTime']} {idx}"
        stem = f"{self._name}-{idx + 1:03d}"
        name = f"{stem}-{_digest(f'{key} {attempt}')}"
        local = {"Idx": idx, "Attempt": attempt, "Tuned": dict(values)}
        if definition.name is not None:
            local["Definition"] = definition.name
        return Point(
            request=definition.build_request(name, values, f"{stem}-{_digest(key)}"),
            service_hyperparameters={OBJECTIVE_HYPERPARAMETER: definition.metric_name},
            local=local,
        )

    def _build_searcher(
        self, definition: Definition, parents: Sequence[Sequence[Trial]]
    ) -> Searcher:
        warm_start = self._record.get("WarmStartConfig", {})
        kind = warm_start.get("WarmStartType")
        seed = int(self._record["Local"]["Seed"])
        others = [
            parent[TUNING_JOB.name_field]
            for parent in warm_start.get("ParentHyperParameterTuningJobs", [])
        ]
        others += [definition.name] if definition.name else []
        if others:  # else it would repeat the points of a parent, or of another definition
            digest = hashlib.sha256(f"{seed} {' '.join(others)}".encode()).digest()
            seed = int.from_bytes(digest[:4])
        return build_searcher(
            self._strategy,
            definition.ranges,
            maximize=definition.maximize,
            seed=seed,
            parents=parents,
            is_same_data=kind != "TransferLearning",
        )

    def _build_rule(
        self, definition: Definition, config: Mapping[str, Any]
    ) -> StoppingRule | None:
        if self._strategy == "Hyperband":
            hyperband = config.get("StrategyConfig", {}).get("HyperbandStrategyConfig")
            low, high = read_resources(hyperband, definition.static)
            return HyperbandRule(maximize=definition.maximize, min_resource=low, max_resource=high)
        if config.get("TrainingJobEarlyStoppingType") == "Auto":
            return MedianRule(maximize=definition.maximize)
        return None

    def _count_points(self) -> float:
        """Return how many training jobs a job without a number launches at most."""
        most = TuningLimits().max_jobs
        points = sum(Space.from_ranges(one.ranges).size for one in self._definitions)
        return points if self._strategy == "Grid" else min(points, most)

    def _count_of(self, definition: Definition) -> int:
        return len(self._find_places(definition.name))

    def _find_places(self, definition: str | None) -> dict[int, int]:
        """Return for each point of a definition its place among them."""
        points = [
            idx for idx in range(self._num_points) if self._find_definition(idx) == definition
        ]
        return {idx: place for place, idx in enumerate(points)}

    def _find_definition(self, idx: int) -> str | None:
        """Return the definition of a point; of one that was deleted, the one whose turn it was."""
        if idx in self._latest:
            return self._latest[idx].definition
        return self._definitions[idx % len(self._definitions)].name


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def to_trial(job: TunedJob, static: Mapping[str, str] | None = None) -> Trial:
    """Return what a search may know of a training job.

    Args:
        job: The training job.
        static: Hyperparameters that it had besides the tuned ones.
    """
    return Trial(
        values={**(static or {}), **job.values},
        objective=job.objective,
        is_running=job.is_running,
        curve=tuple(job.curve),
    )
