"""Nothing that is said of a job is lost, nothing is added, and nothing breaks the checks."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from sagemaker_sift import (
    AlgorithmEstimator,
    CategoricalParameter,
    ContinuousParameter,
    FileSystemInput,
    HyperbandStrategyConfig,
    HyperparameterTuner,
    InstanceGroup,
    IntegerParameter,
    InvalidRequestError,
    StrategyConfig,
    TrainingInput,
    TuningJobCompletionCriteriaConfig,
    WarmStartConfig,
)
from sagemaker_sift.requests.service_model import find_violations
from tests.supports.algorithms import ROLE, build_session, build_trees, build_trees_estimator

WORD = st.text("abcdefghij", min_size=3, max_size=12)
FLAG = st.booleans()
NUMBER = st.integers(1, 999)

ARGUMENTS: dict[str, tuple[str, st.SearchStrategy[Any]]] = {
    "volume_size": ("ResourceConfig.VolumeSizeInGB", NUMBER),
    "volume_kms_key": ("ResourceConfig.VolumeKmsKeyId", WORD),
    "max_run": ("StoppingCondition.MaxRuntimeInSeconds", NUMBER),
    "max_wait": ("StoppingCondition.MaxWaitTimeInSeconds", NUMBER),
    "input_mode": (
        "AlgorithmSpecification.TrainingInputMode",
        st.sampled_from(["File", "Pipe", "FastFile"]),
    ),
    "output_kms_key": ("OutputDataConfig.KmsKeyId", WORD),
    "metric_definitions": (
        "AlgorithmSpecification.MetricDefinitions",
        st.lists(st.fixed_dictionaries({"Name": WORD, "Regex": WORD}), min_size=1, max_size=3),
    ),
    "checkpoint_s3_uri": ("CheckpointConfig.S3Uri", WORD.map("s3://bucket/{}".format)),
    "checkpoint_local_path": ("CheckpointConfig.LocalPath", WORD.map("/opt/{}".format)),
    "environment": ("Environment", st.dictionaries(WORD, WORD, min_size=1, max_size=3)),
    "max_retry_attempts": ("RetryStrategy.MaximumRetryAttempts", st.integers(1, 30)),
    "keep_alive_period_in_seconds": ("ResourceConfig.KeepAlivePeriodInSeconds", NUMBER),
    "training_plan": ("ResourceConfig.TrainingPlanArn", WORD),
    "encrypt_inter_container_traffic": ("EnableInterContainerTrafficEncryption", st.just(True)),
    "enable_network_isolation": ("EnableNetworkIsolation", st.just(True)),
    "use_spot_instances": ("EnableManagedSpotTraining", st.just(True)),
}
"""Arguments that stand at one place of CreateTrainingJob, as they are."""

FILES = {"training": "s3://bucket/data"}
PLAIN = {
    "volume_size": None,
    "max_run": None,
    "role": ROLE,
    "instance_type": "ml.c4.xlarge",
    "output_path": "s3://bucket/models",
    "hyperparameters": {"max_leaf_nodes": 5},
}


def some_of(table: Mapping[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=dict(table))


def flatten(value: Any, path: str = "") -> dict[str, Any]:
    """Return leaves by path; lists and the environment count as leaves."""
    if not isinstance(value, Mapping) or path == "Environment":
        return {path: value}
    flat: dict[str, Any] = {}
    for name, field in value.items():
        flat |= flatten(field, f"{path}.{name}" if path else name)
    return flat


ROOT = Path(tempfile.mkdtemp(prefix="sift-properties-"))
SESSION = build_session(ROOT, trees=build_trees(SupportsDistributedTraining=True))


@given(some_of({name: strategy for name, (_, strategy) in ARGUMENTS.items()}))
def test_every_argument_appears_at_its_place_and_nothing_else_does(chosen: dict[str, Any]) -> None:
    plain = build_trees_estimator(ROOT, sagemaker_session=SESSION, **PLAIN)
    estimator = build_trees_estimator(ROOT, sagemaker_session=SESSION, **(PLAIN | chosen))
    expected = flatten(plain.unchecked_request(FILES, "job"))
    expected |= {ARGUMENTS[name][0]: value for name, value in chosen.items()}
    assert flatten(estimator.unchecked_request(FILES, "job")) == expected


@given(some_of({name: strategy for name, (_, strategy) in ARGUMENTS.items()}))
def test_a_definition_says_all_that_the_training_job_says(chosen: dict[str, Any]) -> None:
    chosen.pop("keep_alive_period_in_seconds", None)  # refused, see the checks
    estimator = build_trees_estimator(ROOT, sagemaker_session=SESSION, **(PLAIN | chosen))
    tuner = HyperparameterTuner(
        estimator, "validation:accuracy", {"min_gain": ContinuousParameter(0, 1)}
    )
    described, _, problems = tuner.definitions[None].describe(
        FILES, "Maximize", is_autotuned=False, with_metadata=False
    )
    from sagemaker_sift.requests.tuning_job import build_definition

    job = flatten(estimator.unchecked_request(FILES, "job"))
    definition = flatten(build_definition(described))
    resources = (
        "ResourceConfig" if "training_plan" in chosen else "HyperParameterTuningResourceConfig"
    )
    renamed = {
        path.replace("ResourceConfig", resources).replace(
            "HyperParameters", "StaticHyperParameters"
        ): value
        for path, value in job.items()
        if path not in {"TrainingJobName", "HyperParameters.min_gain"}
    }
    assert definition == renamed
    assert problems == []


CHANNELS = st.one_of(
    st.builds(
        TrainingInput,
        WORD.map("s3://bucket/{}".format),
        distribution=st.sampled_from([None, "FullyReplicated", "ShardedByS3Key"]),
        compression=st.sampled_from([None, "None", "Gzip"]),
        content_type=st.none() | WORD,
        record_wrapping=st.sampled_from([None, "None", "RecordIO"]),
        s3_data_type=st.sampled_from(["S3Prefix", "ManifestFile", "AugmentedManifestFile"]),
        instance_groups=st.none() | st.lists(WORD, max_size=2),
        input_mode=st.sampled_from([None, "File", "Pipe", "FastFile"]),
        attribute_names=st.none() | st.lists(WORD, max_size=2),
        shuffle_config=st.none() | NUMBER,
    ),
    st.builds(
        FileSystemInput,
        st.just("fs-0123456789abcdef0"),
        st.sampled_from(["EFS", "FSxLustre"]),
        WORD.map("/{}".format),
        st.sampled_from(["ro", "rw"]),
        st.none() | WORD,
    ),
)


@given(st.dictionaries(WORD, CHANNELS, min_size=1, max_size=4))
def test_every_channel_is_sent_as_it_was_described(channels: dict[str, Any]) -> None:
    estimator = build_trees_estimator(ROOT, sagemaker_session=SESSION, **PLAIN)
    sent = estimator.unchecked_request(channels, "job")["InputDataConfig"]
    assert sent == [{"ChannelName": name, **value.config} for name, value in channels.items()]


RANGES = some_of(
    {
        "min_gain": st.builds(
            ContinuousParameter,
            st.floats(0.001, 0.4),
            st.floats(0.5, 0.99),
            st.sampled_from(["Auto", "Linear", "Logarithmic", "ReverseLogarithmic"]),
        ),
        "max_leaf_nodes": st.builds(
            IntegerParameter,
            st.integers(1, 50),
            st.integers(60, 900),
            st.sampled_from(["Auto", "Linear", "Logarithmic"]),
        ),
        "criterion": st.permutations(["gini", "entropy"]).map(CategoricalParameter),
    }
).filter(bool)
TUNING = some_of(
    {
        "max_parallel_jobs": st.integers(1, 10),
        "max_runtime_in_seconds": st.integers(120, 9999),
        "random_seed": st.integers(0, 9),
        "early_stopping_type": st.sampled_from(["Off", "Auto"]),
        "tags": st.dictionaries(WORD, WORD, max_size=3),
        "completion_criteria_config": st.builds(
            TuningJobCompletionCriteriaConfig,
            st.none() | st.integers(3, 9),
            st.none() | FLAG,
            st.none() | st.floats(-1, 1),
        ),
        "warm_start_config": st.builds(
            WarmStartConfig,
            st.sampled_from(["TransferLearning", "IdenticalDataAndAlgorithm"]),
            st.lists(WORD, min_size=1, max_size=5),
        ),
    }
)


@settings(deadline=None)
@given(
    RANGES, TUNING, some_of({"volume_kms_key": WORD, "environment": ARGUMENTS["environment"][1]})
)
def test_a_tuning_job_comes_back_as_it_went(
    ranges: dict[str, Any], tuning: dict[str, Any], arguments: dict[str, Any]
) -> None:
    session = build_session(ROOT, trees=build_trees())
    session.sagemaker_client.hides_others = True
    estimator = AlgorithmEstimator(
        "trees", sagemaker_session=session, **(PLAIN | {"max_run": 60} | arguments)
    )
    tuner = HyperparameterTuner(
        estimator, "validation:accuracy", ranges, **({"max_jobs": 10, **tuning})
    )
    is_small = set(ranges) == {"criterion"}
    if is_small:
        tuner.max_jobs, tuner.max_parallel_jobs = 2, 1
    request = tuner.request(FILES, "name")
    assert find_violations("CreateHyperParameterTuningJob", request) == []
    tuner.fit(FILES, "name", wait=False)
    assert HyperparameterTuner.attach("name", session).request(FILES, "name") == request


SCALARS = st.one_of(
    st.none(),
    FLAG,
    st.integers(-5, 5000),
    st.floats(),
    st.text(max_size=6),
    st.just([]),
    st.just({}),
)
ANYTHING = some_of(
    dict.fromkeys(
        [
            "strategy", "objective_type", "max_jobs", "max_parallel_jobs",
            "max_runtime_in_seconds", "base_tuning_job_name", "early_stopping_type",
            "random_seed", "objective_metric_name",
        ],
        SCALARS,
    )
)  # fmt: skip
ANY_RANGE = st.one_of(
    st.builds(ContinuousParameter, SCALARS, SCALARS, SCALARS),
    st.builds(IntegerParameter, SCALARS, SCALARS, SCALARS),
    st.builds(CategoricalParameter, SCALARS | st.lists(SCALARS, max_size=3)),
)
ANY_HYPERBAND = st.builds(
    StrategyConfig, st.none() | st.builds(HyperbandStrategyConfig, SCALARS, SCALARS)
)


@settings(deadline=None)
@given(
    ANYTHING,
    st.dictionaries(st.sampled_from(["min_gain", "max_leaf_nodes", "depth", "x"]), ANY_RANGE),
    st.none() | ANY_HYPERBAND,
    some_of(
        dict.fromkeys(["volume_size", "max_run", "max_wait", "instance_count", "role"], SCALARS)
    ),
    st.none() | st.lists(st.builds(InstanceGroup, WORD, WORD, SCALARS), max_size=2),
)
def test_whatever_is_given_is_right_or_refused_in_words(
    tuning: dict[str, Any],
    ranges: dict[str, Any],
    hyperband: Any,
    arguments: dict[str, Any],
    groups: Any,
) -> None:
    estimator = build_trees_estimator(ROOT, sagemaker_session=SESSION, **PLAIN)
    for name, value in arguments.items():
        setattr(estimator, name, value)
    estimator.instance_groups = groups
    given_ = {"objective_metric_name": "validation:accuracy", **tuning}
    tuner = HyperparameterTuner(
        estimator,
        hyperparameter_ranges=ranges or {"min_gain": ContinuousParameter(0, 1)},
        strategy_config=hyperband,
        **given_,
    )
    problems: tuple[Any, ...] = ()
    try:
        request = tuner.request(FILES, "name")
    except InvalidRequestError as error:
        problems = error.problems
    else:
        assert find_violations("CreateHyperParameterTuningJob", request) == []
    assert all(problem.path and problem.message for problem in problems)
