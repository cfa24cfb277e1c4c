"""What makes the parents of a warm start wrong, as far as their descriptions tell.

Source: developer guide, "Run a warm start hyperparameter tuning job", restrictions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sagemaker_sift.contract.problem import Problem
from sagemaker_sift.limits import TuningLimits

_GUIDE = "developer guide, warm start restrictions"
_TERMINAL = ("Completed", "Stopped", "Failed")
_MAX_CHANGES = 10
_MAX_SHOWN = 5
_AUTO = "Auto"
_METADATA = {"sagemaker_estimator_class_name", "sagemaker_estimator_module"}


def find_parent_problems(
    request: Mapping[str, Any],
    parents: Mapping[str, Mapping[str, Any] | None],
    limits: TuningLimits,
    defaults: Mapping[str, str],
) -> Iterator[Problem]:
    """Yield what keeps a tuning job from starting from its parents.

    Args:
        request: A CreateHyperParameterTuningJob request of one training job definition.
        parents: DescribeHyperParameterTuningJob responses by name; ``None`` for a job that does
            not exist.
        limits: What the job is held to.
        defaults: The algorithm's own values of hyperparameters; a job may leave them out.
    """
    kind = request["WarmStartConfig"]["WarmStartType"]
    launched = 0
    for name, parent in parents.items():
        path = f"warm_start_config.parents[{name!r}]"
        if parent is None:
            yield Problem(path, "does not exist. Check the name and the region.", _GUIDE)
            continue
        status = parent.get("HyperParameterTuningJobStatus")
        if status not in _TERMINAL:
            message = f"is {status}, but a parent must have ended. Wait for it, or stop it."
            yield Problem(path, message, _GUIDE)
        if "TrainingJobDefinition" not in parent:
            message = "searched several algorithms, but a parent must have one."
            yield Problem(path, message, _GUIDE)
            continue
        yield from _check_objective(request, parent, path)
        yield from _check_hyperparameters(request, parent, path, defaults)
        if kind == "IdenticalDataAndAlgorithm":
            yield from _check_identity(request, parent, path)
        counters = parent.get("TrainingJobStatusCounters", {})
        launched += sum(counters.get(name, 0) for name in counters)
    limit = request["HyperParameterTuningJobConfig"]["ResourceLimits"]
    jobs = limit.get("MaxNumberOfTrainingJobs")
    if jobs is not None and jobs <= limits.max_jobs < jobs + launched:
        message = (
            f"is {jobs}, and the parents have launched {launched} training jobs, which count too: "
            f"at most {limits.max_jobs} are allowed. Lower it, or pass "
            "limits=TuningLimits(max_jobs=...) if your account has more."
        )
        yield Problem("max_jobs", message, _GUIDE)


def _check_objective(
    request: Mapping[str, Any], parent: Mapping[str, Any], path: str
) -> Iterator[Problem]:
    field = "HyperParameterTuningJobObjective"
    own = request["HyperParameterTuningJobConfig"][field]
    theirs = parent["HyperParameterTuningJobConfig"].get(field, {})
    if own.get("MetricName") != theirs.get("MetricName"):
        message = (
            f"optimized {theirs.get('MetricName')!r}, but this job {own.get('MetricName')!r}. "
            "The objective metric must be the same."
        )
        yield Problem(path, message, _GUIDE)


def _check_hyperparameters(
    request: Mapping[str, Any],
    parent: Mapping[str, Any],
    path: str,
    defaults: Mapping[str, str],
) -> Iterator[Problem]:
    own_static, own_tuned = _read_hyperparameters(request)
    static, tuned = _read_hyperparameters(parent)
    own_static = _fill(own_static, own_tuned, defaults)
    static = _fill(static, tuned, defaults)
    own, theirs = {*own_static, *own_tuned}, {*static, *tuned}
    if own != theirs:
        parts = [
            f"{words} {', '.join(names[:_MAX_SHOWN])}{', ...' if len(names) > _MAX_SHOWN else ''}"
            for words, names in (
                ("has not", sorted(own - theirs)),
                ("has besides", sorted(theirs - own)),
            )
            if names
        ]
        message = f"{' and '.join(parts)}, but static and tuned hyperparameters together must be "
        hint = " Pass include_cls_metadata=True." if _METADATA & (theirs - own) else ""
        yield Problem(path, f"{message}the same in all jobs.{hint}", _GUIDE)
        return
    for name in sorted(own_tuned.keys() & tuned.keys()):
        kinds = {own_tuned[name][0], tuned[name][0]}
        if len(kinds) > 1 and _AUTO not in kinds:
            message = f"tuned {name!r} as {tuned[name][0]}, this job as {own_tuned[name][0]}."
            yield Problem(path, f"{message} The type must not change.", _GUIDE)
    changes = sum(
        tuned[name][1] if name in tuned else _count_change(own_static[name], static[name])
        for name in own_static
    )
    if changes > _MAX_CHANGES:
        message = (
            f"differs in {changes} places: tuned hyperparameters that became static, and static "
            f"values. At most {_MAX_CHANGES} are allowed."
        )
        yield Problem(path, message, _GUIDE)


def _fill(
    static: Mapping[str, str], tuned: Mapping[str, Any], defaults: Mapping[str, str]
) -> dict[str, str]:
    """Return the static values with the algorithm's own where a job has left them out."""
    left_out = {name: value for name, value in defaults.items() if name not in tuned}
    return left_out | dict(static)


def _count_change(own: str, theirs: str) -> int:
    """Return how much a static value counts: 2 for a category, 1 for a number, 0 if equal."""
    if own == theirs:
        return 0
    try:
        return int(float(own) != float(theirs))
    except ValueError:
        return 2


def _read_hyperparameters(
    job: Mapping[str, Any],
) -> tuple[dict[str, str], dict[str, tuple[str, int]]]:
    """Return static values, and type and number of changes of every tuned hyperparameter."""
    static = {
        name: value
        for name, value in job["TrainingJobDefinition"].get("StaticHyperParameters", {}).items()
        if not name.startswith("_")
    }
    ranges = job["HyperParameterTuningJobConfig"].get("ParameterRanges", {})
    tuned = {
        entry["Name"]: (kind, len(entry.get("Values", [None])))
        for kind in ("Integer", "Continuous", "Categorical")
        for entry in ranges.get(f"{kind}ParameterRanges", [])
    }
    auto = {entry["Name"]: (_AUTO, 1) for entry in ranges.get("AutoParameters", [])}
    return static, tuned | auto


def _check_identity(
    request: Mapping[str, Any], parent: Mapping[str, Any], path: str
) -> Iterator[Problem]:
    own, theirs = request["TrainingJobDefinition"], parent["TrainingJobDefinition"]
    if _read_places(own) != _read_places(theirs):
        message = "read other data, but the type is 'IdenticalDataAndAlgorithm'. Use "
        yield Problem(path, f"{message}'TransferLearning'.", _GUIDE)
    names = [
        str(
            one["AlgorithmSpecification"].get("AlgorithmName")
            or one["AlgorithmSpecification"].get("TrainingImage")
        ).rsplit("/", 1)[-1]
        for one in (own, theirs)
    ]
    if names[0].lower() != names[1].lower():
        message = f"ran {names[1]!r}, but the type is 'IdenticalDataAndAlgorithm' and this job "
        yield Problem(path, f"{message}runs {names[0]!r}. Use 'TransferLearning'.", _GUIDE)


def _read_places(definition: Mapping[str, Any]) -> dict[str, Any]:
    """Return by channel where the data lies."""
    return {
        channel["ChannelName"]: _drop_slash(channel["DataSource"])
        for channel in definition.get("InputDataConfig", [])
    }


def _drop_slash(source: Mapping[str, Any]) -> Any:
    s3, files = source.get("S3DataSource"), source.get("FileSystemDataSource")
    if files is not None:
        return files.get("FileSystemId"), str(files.get("DirectoryPath", "")).rstrip("/")
    return source if s3 is None else str(s3.get("S3Uri", "")).rstrip("/")
