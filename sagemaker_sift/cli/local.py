"""``sagemaker-sift local``: the jobs of this machine, and what they take on disk."""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sagemaker_sift.backends.errors import translate_errors
from sagemaker_sift.backends.local.disk import JobCleaner, StoredJob
from sagemaker_sift.cli.job_table import JobRow, describe_size, format_rows
from sagemaker_sift.contract.problem import closest
from sagemaker_sift.exceptions import NotFoundError
from sagemaker_sift.results.training_job import TrainingJob
from sagemaker_sift.results.tuning_job import TuningJob
from sagemaker_sift.results.tuning_progress import describe_best, describe_progress
from sagemaker_sift.session import DEFAULT_LOCAL_ROOT, LocalSession

_STATUSES = ("InProgress", "Stopping", "Completed", "Failed", "Stopped")
_ENDED = {"Completed", "Failed", "Stopped"}
_FOLLOW_S = 0.5
_DAY_S = 86400


def add_command(commands: Any) -> None:
    """Add the subcommand."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "local",
        help="see, stop and clean the jobs of this machine",
        description="See, stop and clean the training and tuning jobs of this machine.",
    )
    actions = parser.add_subparsers(title="actions", required=True, metavar="ACTION")
    shown = _add_action(actions, "list", "list jobs, newest first, and what they take on disk")
    shown.add_argument("--tuning", metavar="NAME", help="only the training jobs of a tuning job")
    shown.add_argument(
        "--status", type=_read_status, metavar="STATUS", help="such as InProgress or Failed"
    )
    shown.add_argument("--name-contains", default="", metavar="TEXT")
    shown.add_argument("--max", type=_read_count, metavar="N", help="show this many")
    shown.set_defaults(run=_list)
    described = _add_action(actions, "describe", "show one job")
    described.add_argument("name", metavar="NAME")
    described.add_argument("--json", action="store_true", help="as the API describes it")
    described.set_defaults(run=_describe)
    logs = _add_action(actions, "logs", "print the log of a training job")
    logs.add_argument("name", metavar="NAME")
    logs.add_argument("--lines", type=_read_count, metavar="N", help="only the last N lines")
    logs.add_argument("--follow", action="store_true", help="go on until the job has ended")
    logs.set_defaults(run=_logs)
    stopped = _add_action(actions, "stop", "stop jobs; their models are kept")
    stopped.add_argument("names", nargs="+", metavar="NAME")
    stopped.set_defaults(run=_stop)
    cleaned = _add_action(
        actions,
        "clean",
        "delete jobs that have ended, with logs and artifacts",
        "Delete jobs that have ended with everything under their folders. A tuning job goes with "
        "its training jobs. Jobs that run, data under s3/ and artifacts elsewhere are left alone.",
    )
    cleaned.add_argument("names", nargs="*", metavar="NAME", help="all ended jobs by default")
    cleaned.add_argument("--older-than", type=_read_days, metavar="DAYS", help="that ended before")
    cleaned.add_argument("--dry-run", action="store_true", help="show what would be deleted")
    cleaned.add_argument("--yes", action="store_true", help="do not ask")
    cleaned.set_defaults(run=_clean)


def _add_action(
    actions: Any, name: str, text: str, description: str | None = None
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(
        name, help=text, description=description or f"{text[0].upper()}{text[1:]}."
    )
    parser.add_argument(
        "--root", metavar="FOLDER", help="what keeps the jobs (default: ~/.sagemaker-sift/local)"
    )
    return parser


def _read_status(text: str) -> str:
    if text not in _STATUSES:
        known = f"one of {', '.join(_STATUSES)}.{closest(text, _STATUSES)}"
        raise argparse.ArgumentTypeError(f"is {text!r}, but must be {known}")
    return text


def _read_count(text: str) -> int:
    try:
        count = int(text)
    except ValueError:
        count = -1
    if count < 0:
        raise argparse.ArgumentTypeError(f"is {text!r}, but must be a whole number from 0 on")
    return count


def _read_days(text: str) -> float:
    try:
        days = float(text)
    except ValueError:
        days = math.nan
    if not 0 <= days < math.inf:
        rule = "a finite number of at least 0, such as 30 or 0.5"
        raise argparse.ArgumentTypeError(f"is {text!r}, but must be {rule}")
    return days


def _open_session(options: argparse.Namespace) -> LocalSession:
    """Return the session on a root that is there; to look into one must not make it.

    Raises:
        FileNotFoundError: If there is no such folder.
    """
    root = str(DEFAULT_LOCAL_ROOT) if options.root is None else options.root
    if not os.path.isdir(os.path.expanduser(root)):
        raise FileNotFoundError(
            f"there is no folder {root!r}; name with --root the one that keeps the jobs"
        )
    return LocalSession(root)


def _list(options: argparse.Namespace) -> int:
    if options.root is None and not DEFAULT_LOCAL_ROOT.expanduser().exists():
        print("no jobs")  # nothing was ever launched
        return 0
    session = _open_session(options)
    session.sagemaker_client.settle()
    jobs = JobCleaner(session.root).find_jobs()
    if options.tuning is not None:
        TuningJob(options.tuning, session).describe()  # tells if there is none
    rows = [
        JobRow(job, _describe_job(job, session))
        for job in _order(jobs)
        if job.kind in {"training", "tuning"}
        and options.tuning in {None, job.tuning_job}
        and options.status in {None, job.status}
        and options.name_contains.lower() in job.name.lower()
    ][: options.max]
    if rows:
        print(format_rows(rows, time.time()))
    else:
        print("no jobs")
    total = describe_size(sum(job.num_bytes for job in jobs))
    print(f"{total} in {len(jobs)} folders of jobs under {session.root}")
    return 0


def _order(jobs: list[StoredJob]) -> list[StoredJob]:
    """Return the jobs newest first, the training jobs of a tuning job under it."""
    created = {job.name: job.creation_time for job in jobs if job.kind == "tuning"}
    return sorted(
        jobs,
        key=lambda job: (
            -created.get(job.tuning_job or job.name, job.creation_time),
            job.tuning_job or job.name,
            job.kind != "tuning",
            -job.creation_time,
        ),
    )


def _describe_job(job: StoredJob, session: LocalSession) -> dict[str, Any]:
    handle = (TuningJob if job.kind == "tuning" else TrainingJob)(job.name, session)
    return handle.describe()


def _describe(options: argparse.Namespace) -> int:
    job = _find(options.name, _open_session(options))
    description = job.describe()
    if options.json:
        print(json.dumps(description, indent=2, default=_write_time))
    elif isinstance(job, TuningJob):
        _print_tuning_job(job, description)
    else:
        _print_training_job(job, description)
    return 0


def _find(name: str, session: LocalSession) -> TrainingJob | TuningJob:
    """Return the training or tuning job of a name.

    Raises:
        NotFoundError: If there is neither.
    """
    for kind in (TrainingJob, TuningJob):
        job = kind(name, session)
        try:
            job.describe()
        except NotFoundError:
            continue
        return job
    raise NotFoundError(
        f"There is no job {name!r} under {str(session.root)!r}. "
        "'sagemaker-sift local list' shows those that are.",
        operation="DescribeTrainingJob",
        code="ValidationException",
    )


def _print_training_job(job: TrainingJob, description: Mapping[str, Any]) -> None:
    _print_fields(
        {
            "training job": job.name,
            "status": f"{description['TrainingJobStatus']}, {description['SecondaryStatus']}",
            "reason": description.get("FailureReason"),
            "started": description.get("TrainingStartTime"),
            "ended": description.get("TrainingEndTime"),
            "algorithm": description["AlgorithmSpecification"].get("AlgorithmName"),
            "tuning job": description.get("TuningJobArn", "").rpartition("/")[2],
            "model": description["ModelArtifacts"]["S3ModelArtifacts"],
            "log": job.session.describe_log(job.name),
        }
    )
    _print_table("hyperparameters", description.get("HyperParameters", {}))
    metrics = {one["MetricName"]: one["Value"] for one in description["FinalMetricDataList"]}
    _print_table("metrics, last values", metrics)


def _print_tuning_job(job: TuningJob, description: Mapping[str, Any]) -> None:
    config = description["HyperParameterTuningJobConfig"]
    limits = config["ResourceLimits"]
    parents = description.get("WarmStartConfig", {}).get("ParentHyperParameterTuningJobs", [])
    best, overall = (
        describe_best(description[field]) if field in description else None
        for field in ("BestTrainingJob", "OverallBestTrainingJob")
    )
    maximum = limits.get("MaxNumberOfTrainingJobs")
    _print_fields(
        {
            "tuning job": job.name,
            "status": describe_progress({**description, "BestTrainingJob": None}, maximum),
            "reason": description.get("FailureReason"),
            "strategy": config["Strategy"],
            "at a time": limits["MaxParallelTrainingJobs"],
            "created": description["CreationTime"],
            "ended": description.get("HyperParameterTuningEndTime"),
            "parents": ", ".join(one["HyperParameterTuningJobName"] for one in parents),
            "best": best,
            "best of all": overall,
        }
    )


def _print_fields(fields: Mapping[str, Any]) -> None:
    width = max(map(len, fields))
    for name, value in fields.items():
        if isinstance(value, datetime):
            value = f"{value.astimezone():%Y-%m-%d %H:%M:%S}"
        if value not in (None, ""):
            print(f"{name.ljust(width)}  {value}")


def _print_table(title: str, values: Mapping[str, Any]) -> None:
    if values:
        print(f"\n{title}")
        width = max(map(len, values))
        for name in sorted(values):
            print(f"  {name.ljust(width)}  {values[name]}")


def _logs(options: argparse.Namespace) -> int:
    session = _open_session(options)
    job = _find(options.name, session)
    if isinstance(job, TuningJob):
        names = [one["TrainingJobName"] for one in job.training_jobs(sort_by="CreationTime")]
        print(f"{job.name} is a tuning job; its training jobs have logs:", file=sys.stderr)
        print("\n".join(names), file=sys.stderr)
        return 1
    position: Any = None
    if options.lines is not None:
        position = session.find_log_end(job.name)
        last = session.read_last_lines(job.name, options.lines, position)
        for line in last:
            print(line)
    while True:
        has_ended = job.describe()["TrainingJobStatus"] in _ENDED
        lines, position = session.read_log(job.name, position)
        for line in lines:
            print(line, flush=True)
        if not options.follow or has_ended:
            return 0
        time.sleep(_FOLLOW_S)


def _stop(options: argparse.Namespace) -> int:
    session = _open_session(options)
    for job in [_find(name, session) for name in options.names]:
        before = job.describe()
        status = before.get("TrainingJobStatus") or before["HyperParameterTuningJobStatus"]
        job.stop()
        print(f"{job.name}: {f'has ended ({status})' if status in _ENDED else 'stopping'}")
    return 0


def _clean(options: argparse.Namespace) -> int:
    session = _open_session(options)
    with translate_errors():
        session.sagemaker_client.settle()
    cleaner = JobCleaner(session.root)
    jobs = cleaner.find_jobs()
    chosen = _choose(jobs, options)
    if not chosen:
        print("nothing to clean")
        return 0
    for job in chosen:
        print(f"{job.kind:9}  {describe_size(job.num_bytes):>9}  {job.name}")
    total = describe_size(sum(job.num_bytes for job in chosen))
    if options.dry_run:
        print(f"would delete {len(chosen)} jobs, {total}")
        return 0
    if not options.yes and not _confirm(f"Delete {len(chosen)} jobs for good, {total}? [y/N] "):
        print("nothing deleted")
        return 1
    kept = [job.name for job in chosen if not cleaner.delete(job)]
    print(f"deleted {len(chosen) - len(kept)} jobs")
    if kept:
        print(f"not deleted, as they run or files remain: {', '.join(kept)}", file=sys.stderr)
    return 1 if kept else 0


def _choose(jobs: list[StoredJob], options: argparse.Namespace) -> list[StoredJob]:
    """Return what is to be deleted: with a tuning job its training jobs, never one that runs.

    Raises:
        LookupError: If a name is unknown, or of a job that runs.
    """
    running = {job.name for job in jobs if job.is_running}
    names = set(options.names)
    unknown = sorted(names - {job.name for job in jobs})
    if unknown:
        raise LookupError(f"there is no job {', '.join(map(repr, unknown))}; see local list")
    busy = sorted(
        job.name for job in jobs if job.name in names and {job.name, job.tuning_job} & running
    )
    if busy:
        raise LookupError(f"{', '.join(busy)} runs; stop it and wait for its end first")
    before = time.time() - (options.older_than or 0.0) * _DAY_S
    return [
        job
        for job in jobs
        if not {job.name, job.tuning_job} & running
        and job.end_time <= before
        and (names & {job.name, job.tuning_job} or (not names and job.kind != "artifacts"))
    ]


def _confirm(question: str) -> bool:
    try:
        return input(question).strip().lower() in {"y", "yes"}
    except EOFError:
        print()
        return False


def _write_time(value: Any) -> str:
    return value.astimezone(UTC).isoformat() if isinstance(value, datetime) else str(value)
