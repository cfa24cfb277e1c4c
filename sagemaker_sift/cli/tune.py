"""``sagemaker-sift tune``: one tuning job."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from sagemaker_sift.algorithm import Algorithm
from sagemaker_sift.cli.hyperparameter_option import fit_name, read_hyperparameters
from sagemaker_sift.cli.job_option import add_job_options, build_estimator, read_channels
from sagemaker_sift.contract.metrics import VALIDATION_ACCURACY
from sagemaker_sift.contract.problem import Problem
from sagemaker_sift.contract.specification import ALGORITHM_NAME
from sagemaker_sift.exceptions import (
    InvalidRequestError,
    TuningJobFailedError,
    TuningJobStoppedError,
)
from sagemaker_sift.limits import TuningLimits
from sagemaker_sift.parameter import (
    CategoricalParameter,
    ContinuousParameter,
    IntegerParameter,
    ParameterRange,
)
from sagemaker_sift.requests.hyperparameter_rules import HyperparameterRules
from sagemaker_sift.results.tuning_job import TuningJob
from sagemaker_sift.session import LocalSession
from sagemaker_sift.strategy import STRATEGIES, HyperbandStrategyConfig, StrategyConfig
from sagemaker_sift.tuner import HyperparameterTuner
from sagemaker_sift.warm_start import WarmStartConfig, WarmStartTypes

LOCAL_MAX_JOBS = 10
"""Training jobs of a search on this machine that nothing else ends."""

LOCAL_RANGES: Mapping[str, ParameterRange] = {
    "beta_value": ContinuousParameter(0.1, 10.0, "Logarithmic"),
    "learning_rate": ContinuousParameter(0.001, 0.5, "Logarithmic"),
}
"""What a search on this machine tries if it is not told."""

_WITH_RESUME = {"resume", "local", "no_wait"}
_OPTION_NAMES = {
    "hyperparameters": "hyperparameter",
    "tags": "tag",
    "environment": "env",
    "subnets": "subnet",
    "security_group_ids": "security-group",
}
_CAN_GO_ON = "InternalServerError"  # how the reason begins if the job's own process was lost


def add_command(commands: Any) -> None:
    """Add the subcommand."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "tune",
        help="search hyperparameters with a tuning job",
        description="Search hyperparameters, with --local on this machine, otherwise on Amazon "
        "SageMaker. A range is NAME=LOW:HIGH, whole numbers for an integer, with :Linear, "
        ":Logarithmic or :ReverseLogarithmic behind it; a choice is NAME=a,b,c. A tuning job on "
        "this machine is a process of its own: Ctrl-C only ends the waiting.",
    )
    _add_options(parser)
    parser.set_defaults(run=_run, interrupt_stops_job=False)


def _add_options(parser: argparse.ArgumentParser) -> None:
    add_job_options(parser)
    _add_search_options(parser)
    parser.add_argument("--job-name", metavar="NAME", help="name of the tuning job")
    parser.add_argument(
        "--resume",
        metavar="NAME",
        help="go on with a tuning job of this machine that was stopped or interrupted, with every "
        "setting it had; takes --local and --no-wait only",
    )
    parser.add_argument("--dry-run", action="store_true", help="print the request, start nothing")
    parser.add_argument("--no-wait", action="store_true", help="launch it and return")


def _add_search_options(parser: argparse.ArgumentParser) -> None:
    search = parser.add_argument_group("search")
    search.add_argument(
        "--range",
        type=read_range_option,
        action="append",
        default=[],
        metavar="NAME=RANGE",
        help="what to search, such as beta_value=0.1:10.0:Logarithmic; may be repeated "
        "(default with --local: beta_value and learning_rate)",
    )
    search.add_argument("--objective", default=VALIDATION_ACCURACY.name, metavar="METRIC")
    search.add_argument("--objective-type", default="Maximize", metavar="TYPE")
    search.add_argument("--strategy", default="Bayesian", help=", ".join(STRATEGIES))
    search.add_argument(
        "--max-jobs",
        type=int,
        metavar="N",
        help=f"training jobs at most (default with --local: {LOCAL_MAX_JOBS}, unless "
        "--max-runtime ends the search; Grid: one for each point)",
    )
    search.add_argument(
        "--max-parallel-jobs",
        type=int,
        default=1,
        metavar="N",
        help="training jobs at a time (default: 1); on this machine they share its cores",
    )
    search.add_argument("--max-runtime", type=int, metavar="S", help="of the tuning job, seconds")
    search.add_argument("--early-stopping", default="Off", metavar="TYPE", help="Off or Auto")
    search.add_argument("--random-seed", type=int, metavar="N")
    search.add_argument("--max-resource", type=int, metavar="EPOCHS", help="of Hyperband")
    search.add_argument("--min-resource", type=int, metavar="EPOCHS", help="of Hyperband")
    search.add_argument("--autotune", action="store_true", help="let the service choose ranges")
    search.add_argument(
        "--parent",
        action="append",
        metavar="NAME",
        help="earlier tuning job to start from; 1 to 5",
    )
    search.add_argument(
        "--warm-start-type",
        default=WarmStartTypes.IDENTICAL_DATA_AND_ALGORITHM.value,
        metavar="TYPE",
        help=" or ".join(kind.value for kind in WarmStartTypes),
    )
    search.add_argument(
        "--quota",
        action="store_true",
        help="hold the job to the service quotas of today instead of 500 jobs, 10 at a time",
    )


def _run(options: argparse.Namespace) -> int:
    if options.resume is not None:
        return _resume(options)
    estimator = build_estimator(options)
    tuner = HyperparameterTuner(
        estimator,
        options.objective,
        fit_ranges(_choose_ranges(options), estimator.algorithm),
        strategy=options.strategy,
        objective_type=options.objective_type,
        max_jobs=_choose_max_jobs(options),
        max_parallel_jobs=options.max_parallel_jobs,
        max_runtime_in_seconds=options.max_runtime,
        warm_start_config=WarmStartConfig(options.warm_start_type, options.parent)
        if options.parent
        else None,
        strategy_config=_read_hyperband(options),
        early_stopping_type=options.early_stopping,
        random_seed=options.random_seed,
        autotune=options.autotune,
        limits=TuningLimits.quota(options.strategy) if options.quota else None,
    )
    inputs = read_channels(options)
    if options.dry_run:
        print(json.dumps(tuner.request(inputs, options.job_name), indent=2))
        return 0
    tuner.fit(inputs, options.job_name, wait=False)
    return _follow(tuner.job(), options)


def _choose_ranges(options: argparse.Namespace) -> list[tuple[str, ParameterRange]]:
    """Return the ranges; on this machine, without any, those of what the user left open."""
    is_ours = options.algorithm in {None, ALGORITHM_NAME}
    if options.range or options.autotune or options.local is None or not is_ours:
        return list(options.range)
    given = read_hyperparameters(options, LOCAL_RANGES)
    return [(name, entry) for name, entry in LOCAL_RANGES.items() if name not in given]


def _choose_max_jobs(options: argparse.Namespace) -> int | None:
    """Return the limit; on AWS the tuner's own default counts, as every job is billed."""
    is_ended_otherwise = options.max_runtime is not None or options.strategy == "Grid"
    if options.max_jobs is not None or options.local is None or is_ended_otherwise:
        number: int | None = options.max_jobs
        return number
    return LOCAL_MAX_JOBS


def _resume(options: argparse.Namespace) -> int:
    """Go on with a job of this machine.

    Raises:
        InvalidRequestError: If there are options that it would not heed.
    """
    bare = argparse.ArgumentParser()
    _add_options(bare)
    problems = [
        Problem(
            f"--{_OPTION_NAMES.get(name, name.replace('_', '-'))}",
            "is given with --resume. Leave it out: the job goes on with every setting it had.",
        )
        for name, default in vars(bare.parse_args([])).items()
        if name not in _WITH_RESUME and getattr(options, name) != default
    ]
    if options.local is None:
        message = "goes on with tuning jobs of this machine only. Add --local."
        problems.insert(0, Problem("--resume", message))
    if problems:
        raise InvalidRequestError(problems)
    job = TuningJob(options.resume, LocalSession(options.local or None))
    job.resume()
    return _follow(job, options)


def _follow(job: TuningJob, options: argparse.Namespace) -> int:
    """Wait for the end unless told otherwise, and say what came out and how to go on."""
    if options.no_wait:
        print(job.name)
        return 0
    try:
        job.wait()
    except KeyboardInterrupt:
        if options.local is not None:
            print(
                f"In the shell: {_write_command(options, 'describe', job.name)} shows it, "
                f"{_write_command(options, 'stop', job.name)} stops it.",
                file=sys.stderr,
            )
        raise
    except TuningJobStoppedError:
        _tell_how_to_resume(job, options)
        raise
    except TuningJobFailedError as error:
        if error.reason.startswith(_CAN_GO_ON):
            _tell_how_to_resume(job, options)
        raise
    _print_best(job)
    if options.local is not None:
        best = job.best_training_job()["TrainingJobName"]
        print("\nWhat next:")
        print(f"  the whole search  {_write_command(options, 'describe', job.name)}")
        print(f"  the best model    {_write_command(options, 'describe', best)}")
        print(f"  search on         the same command with --parent {job.name}")
    return 0


def _print_best(job: TuningJob) -> None:
    best = job.best_training_job()
    objective = best["FinalHyperParameterTuningJobObjectiveMetric"]
    rows = {objective["MetricName"]: f"{objective['Value']:.6g}", **best["TunedHyperParameters"]}
    width = max(map(len, rows))
    print(f"\nbest training job: {best['TrainingJobName']}")
    for name, value in rows.items():
        print(f"  {name.ljust(width)}  {value}")


def _tell_how_to_resume(job: TuningJob, options: argparse.Namespace) -> None:
    if options.local is not None:
        root = f" {shlex.quote(options.local)}" if options.local else ""
        command = f"sagemaker-sift tune --resume {job.name} --local{root}"
        print(f"Go on with it: {command}", file=sys.stderr)


def _write_command(options: argparse.Namespace, action: str, name: str) -> str:
    root = f" --root {shlex.quote(options.local)}" if options.local else ""
    return f"sagemaker-sift local {action} {name}{root}"


def fit_ranges(
    given: Iterable[tuple[str, ParameterRange]], algorithm: Algorithm
) -> dict[str, ParameterRange]:
    """Return the ranges by the algorithm's names; whole numbers for a continuous one are right.

    Args:
        given: Names, perhaps with hyphens, and ranges.
        algorithm: What declares them.
    """
    entries = HyperparameterRules(algorithm.training_specification).entries
    ranges: dict[str, ParameterRange] = {}
    for written, entry in given:
        name = fit_name(written, entries)
        is_continuous = entries.get(name, {}).get("Type") == "Continuous"
        ranges[name] = (
            ContinuousParameter(entry.min_value, entry.max_value, entry.scaling_type)
            if is_continuous and isinstance(entry, IntegerParameter)
            else entry
        )
    return ranges


def _read_hyperband(options: argparse.Namespace) -> StrategyConfig | None:
    if options.max_resource is None and options.min_resource is None:
        return None
    return StrategyConfig(HyperbandStrategyConfig(options.max_resource, options.min_resource))


def read_range_option(text: str) -> tuple[str, ParameterRange]:
    """Return name and range of ``NAME=LOW:HIGH[:SCALING]`` or ``NAME=a,b,c``.

    Example:
        >>> read_range_option("beta_value=0.1:10.0:Logarithmic")
        ('beta_value', ContinuousParameter(0.1, 10.0, 'Logarithmic'))
        >>> read_range_option("optimizer=sgd,adam")
        ('optimizer', CategoricalParameter(['sgd', 'adam']))
        >>> read_range_option("num_layers=20:110")
        ('num_layers', IntegerParameter(20, 110))
    """
    name, equals, form = text.partition("=")
    name, parts = name.strip(), form.split(":")
    if not (name and equals and form) or len(parts) > 3:
        raise argparse.ArgumentTypeError(
            f"is {text!r}, but must be NAME=LOW:HIGH, NAME=LOW:HIGH:SCALING or NAME=a,b,c"
        )
    if len(parts) == 1:
        return name, CategoricalParameter([value.strip() for value in form.split(",")])
    scaling = parts[2] if len(parts) == 3 else "Auto"
    try:
        return name, IntegerParameter(int(parts[0]), int(parts[1]), scaling)
    except ValueError:
        pass
    try:
        return name, ContinuousParameter(float(parts[0]), float(parts[1]), scaling)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"is {text!r}, but {parts[0]!r} and {parts[1]!r} must be numbers"
        ) from None
