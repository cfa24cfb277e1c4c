"""``sagemaker-sift tune``: one tuning job."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from typing import Any

from sagemaker_sift.algorithm import Algorithm
from sagemaker_sift.cli.hyperparameter_option import fit_name
from sagemaker_sift.cli.job_option import add_job_options, build_estimator, read_channels
from sagemaker_sift.contract.metrics import VALIDATION_ACCURACY
from sagemaker_sift.limits import TuningLimits
from sagemaker_sift.parameter import (
    CategoricalParameter,
    ContinuousParameter,
    IntegerParameter,
    ParameterRange,
)
from sagemaker_sift.requests.hyperparameter_rules import HyperparameterRules
from sagemaker_sift.strategy import STRATEGIES, HyperbandStrategyConfig, StrategyConfig
from sagemaker_sift.tuner import HyperparameterTuner
from sagemaker_sift.warm_start import WarmStartConfig, WarmStartTypes


def add_command(commands: Any) -> None:
    """Add the subcommand."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "tune",
        help="search hyperparameters with a tuning job",
        description="Search hyperparameters. A range is NAME=LOW:HIGH, whole numbers for an "
        "integer, with :Linear, :Logarithmic or :ReverseLogarithmic behind it; a choice is "
        "NAME=a,b,c. Tuning jobs run on Amazon SageMaker; with --local they are checked and, "
        "with --dry-run, printed.",
    )
    add_job_options(parser)
    search = parser.add_argument_group("search")
    search.add_argument(
        "--range",
        type=read_range_option,
        action="append",
        default=[],
        metavar="NAME=RANGE",
        help="what to search, such as beta_value=0.1:10.0:Logarithmic; may be repeated",
    )
    search.add_argument("--objective", default=VALIDATION_ACCURACY.name, metavar="METRIC")
    search.add_argument("--objective-type", default="Maximize", metavar="TYPE")
    search.add_argument("--strategy", default="Bayesian", help=", ".join(STRATEGIES))
    search.add_argument("--max-jobs", type=int, metavar="N", help="training jobs at most")
    search.add_argument("--max-parallel-jobs", type=int, default=1, metavar="N")
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
    parser.add_argument("--job-name", metavar="NAME", help="name of the tuning job")
    parser.add_argument("--dry-run", action="store_true", help="print the request, start nothing")
    parser.add_argument("--no-wait", action="store_true", help="launch it and return")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    estimator = build_estimator(options)
    tuner = HyperparameterTuner(
        estimator,
        options.objective,
        fit_ranges(options.range, estimator.algorithm),
        strategy=options.strategy,
        objective_type=options.objective_type,
        max_jobs=options.max_jobs,
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
    tuner.fit(inputs, options.job_name, wait=not options.no_wait)
    if options.no_wait:
        print(tuner.job().name)
        return 0
    print(f"best training job: {tuner.best_training_job()}")
    return 0


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
