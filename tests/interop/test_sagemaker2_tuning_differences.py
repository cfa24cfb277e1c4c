"""Tuning jobs: what the SDK v2 does, and what happens here.

Every test shows one row of the table in docs/differences.md, and is called like it.
"""

from __future__ import annotations

import re
from typing import Any

import pytest
import sagemaker.utils
from botocore.exceptions import ClientError, ParamValidationError

from sagemaker_sift import InvalidRequestError, TuningLimits
from tests.interop.libraries import (
    OURS,
    SDK,
    build_client,
    build_estimator,
    build_session,
    build_tuner,
    find_sent,
)
from tests.supports.algorithms import EchoClient

pytestmark = pytest.mark.interop

FILES = {"training": "s3://bucket/train"}


def tune(library: Any, inputs: Any = None, job_name: str = "job", **arguments: Any) -> Any:
    """Return the request that a tuner sends."""

    def program(library: Any, client: EchoClient) -> None:
        tuner = build_tuner(library, client, **arguments)
        tuner.fit(FILES if inputs is None else inputs, job_name=job_name, wait=False)

    return find_sent(program, library)


def find_messages(inputs: Any = None, job_name: str = "job", **arguments: Any) -> str:
    """Return the problems that a tuner is refused with here."""
    with pytest.raises(InvalidRequestError) as caught:
        tune(OURS, inputs, job_name, **arguments)
    return "\n".join(map(str, caught.value.problems))


def test_required_hyperparameter_that_is_tuned() -> None:
    def program(library: Any, client: EchoClient) -> None:
        estimator = build_estimator(library, client, hyperparameters=None)
        ranges = {"max_leaf_nodes": library.IntegerParameter(2, 900)}
        tuner = library.HyperparameterTuner(estimator, "validation:accuracy", ranges)
        tuner.fit(FILES, job_name="job", wait=False)

    with pytest.raises(ValueError, match="Required hyperparameter: max_leaf_nodes is not set"):
        find_sent(program, SDK)
    definition = find_sent(program, OURS)["TrainingJobDefinition"]
    assert "max_leaf_nodes" not in definition["StaticHyperParameters"]


def test_grid_without_max_jobs() -> None:
    def grid(library: Any) -> Any:
        ranges = {"criterion": library.CategoricalParameter(["gini", "entropy"])}
        return tune(library, hyperparameter_ranges=ranges, strategy="Grid", max_jobs=None)

    with pytest.raises(ParamValidationError, match=r"MaxNumberOfTrainingJobs, value: None"):
        grid(SDK)
    limits = grid(OURS)["HyperParameterTuningJobConfig"]["ResourceLimits"]
    assert limits == {"MaxParallelTrainingJobs": 2}


def test_max_jobs_left_out() -> None:
    def find_limits(library: Any, **arguments: Any) -> Any:
        request = tune(library, max_jobs=None, max_parallel_jobs=1, **arguments)
        return request["HyperParameterTuningJobConfig"]["ResourceLimits"]

    one = {"MaxNumberOfTrainingJobs": 1, "MaxParallelTrainingJobs": 1}
    assert find_limits(SDK) == find_limits(OURS) == one
    hour = {"max_runtime_in_seconds": 3600}
    assert find_limits(SDK, **hour) == one | {"MaxRuntimeInSeconds": 3600}
    assert find_limits(OURS, **hour) == {"MaxParallelTrainingJobs": 1, "MaxRuntimeInSeconds": 3600}


def test_no_name_and_no_base_name() -> None:
    with pytest.raises(RuntimeError, match="training_image_uri is never meant to be called"):
        build_tuner(SDK, build_client()).fit(FILES, wait=False)
    name = build_tuner(OURS, build_client()).request(FILES)["HyperParameterTuningJobName"]
    assert re.fullmatch(r"scikit-decision-\d{6}-\d{4}-[a-z0-9]{4}", name)


def test_generated_names(monkeypatch: pytest.MonkeyPatch) -> None:
    def program(library: Any, client: EchoClient) -> None:
        tuner = build_tuner(library, client, base_tuning_job_name="base")
        tuner.fit(FILES, wait=False)
        tuner.fit(FILES, wait=False)

    first, second = (one["HyperParameterTuningJobName"] for one in find_sent(program, OURS))
    assert re.fullmatch(r"base-\d{6}-\d{4}-[a-z0-9]{4}", first)
    assert first != second
    assert re.fullmatch(r"\d{6}-\d{4}", sagemaker.utils.sagemaker_short_timestamp())
    monkeypatch.setattr("sagemaker.utils.sagemaker_short_timestamp", lambda: "261121-0930")
    with pytest.raises(ClientError, match="base-261121-0930 exists already"):
        find_sent(program, SDK)


def test_a_name_that_is_too_long() -> None:
    assert tune(SDK, job_name="x" * 33)["HyperParameterTuningJobName"] == "x" * 33
    assert "`job_name` has 33 characters" in find_messages(job_name="x" * 33)


def test_channels_of_a_tuning_job() -> None:
    channels = tune(SDK, {"trian": "s3://bucket/train"})["TrainingJobDefinition"]
    assert channels["InputDataConfig"][0]["ChannelName"] == "trian"
    found = find_messages({"trian": "s3://bucket/train"})
    assert "Did you mean 'training'?" in found
    assert "lacks the channel 'training', which is required" in found


def test_metric_definitions_of_the_estimator() -> None:
    given = {"estimator_metric_definitions": [{"Name": "f1", "Regex": "f1=([0-9.]+)"}]}
    theirs = tune(SDK, **given)["TrainingJobDefinition"]["AlgorithmSpecification"]
    assert "MetricDefinitions" not in theirs
    ours = tune(OURS, **given)["TrainingJobDefinition"]["AlgorithmSpecification"]
    assert ours["MetricDefinitions"] == given["estimator_metric_definitions"]


def test_isolation_and_encryption_of_the_config_file() -> None:
    job = {"EnableNetworkIsolation": True, "EnableInterContainerTrafficEncryption": True}
    config = {"SchemaVersion": "1.0", "SageMaker": {"TrainingJob": job}}

    def program(library: Any, client: EchoClient) -> None:
        session = build_session(library, client, sagemaker_config=config)
        tuner = build_tuner(library, client, estimator_sagemaker_session=session)
        tuner.fit(FILES, job_name="job", wait=False)

    assert not job.keys() & find_sent(program, SDK)["TrainingJobDefinition"].keys()
    ours = find_sent(program, OURS)["TrainingJobDefinition"]
    assert {name: ours[name] for name in job} == job


def test_include_cls_metadata() -> None:
    def program(library: Any, client: EchoClient) -> None:
        build_tuner(library, client).fit(FILES, "job", include_cls_metadata=True, wait=False)

    static = find_sent(program, SDK)["TrainingJobDefinition"]["StaticHyperParameters"]
    assert static["sagemaker_estimator_class_name"] == '"AlgorithmEstimator"'
    with pytest.raises(InvalidRequestError, match="the algorithm has no hyperparameters"):
        program(OURS, build_client())


def create(library: Any, client: EchoClient) -> Any:
    """Return a tuner of one estimator that has a name."""
    return library.HyperparameterTuner.create(
        {"trees": build_estimator(library, client)},
        {"trees": "validation:accuracy"},
        {"trees": {"min_gain": library.ContinuousParameter(0.1, 0.5)}},
    )


def test_fit_of_several_estimators_without_include_cls_metadata() -> None:
    inputs = {"trees": FILES}
    with pytest.raises(ValueError, match="'include_cls_metadata' must be a dictionary"):
        create(SDK, build_client()).fit(inputs, "job", wait=False)
    client = build_client()
    create(OURS, client).fit(inputs, "job", wait=False)
    assert client.sent[0][1]["TrainingJobDefinitions"][0]["DefinitionName"] == "trees"


def test_fit_with_further_arguments() -> None:
    client = build_client()
    build_tuner(SDK, client).fit(FILES, "job", wait=False, logs=True)
    assert len(client.sent) == 1
    with pytest.raises(TypeError, match=r"'logs' is not an argument of HyperparameterTuner\.fit"):
        build_tuner(OURS, build_client()).fit(FILES, "job", wait=False, logs=True)


def test_autotune_and_what_is_not_tunable() -> None:
    def find_auto(library: Any) -> set[str]:
        ranges = tune(library, hyperparameter_ranges={}, autotune=True)[
            "HyperParameterTuningJobConfig"
        ]["ParameterRanges"]
        return {entry["Name"] for entry in ranges["AutoParameters"]}

    assert find_auto(SDK) == {"max_leaf_nodes", "min_gain", "criterion", "depth"}
    assert find_auto(OURS) == {"max_leaf_nodes", "min_gain", "criterion"}


def test_tags_with_the_same_key() -> None:
    own, of_estimator = {"Key": "team", "Value": "a"}, {"Key": "team", "Value": "b"}

    def find_tags(library: Any) -> Any:
        return tune(library, tags=[own], estimator_tags=[of_estimator])["Tags"]

    assert find_tags(SDK) == [own, of_estimator]
    assert find_tags(OURS) == [own]
    assert "has the key 'team' more than once" in find_messages(tags=[own, of_estimator])


def test_a_list_of_tags_that_is_given() -> None:
    def find_own(library: Any) -> Any:
        own = [{"Key": "run", "Value": "7"}]
        tune(library, tags=own, estimator_tags=[{"Key": "team", "Value": "b"}])
        return own

    assert find_own(SDK) == [{"Key": "run", "Value": "7"}, {"Key": "team", "Value": "b"}]
    assert find_own(OURS) == [{"Key": "run", "Value": "7"}]


NONSENSE: dict[str, tuple[dict[str, Any], str]] = {
    "strategy": ({"strategy": "Bayes"}, "`strategy` is 'Bayes', which the API does not know"),
    "objective type": ({"objective_type": "Max"}, "`objective_type` is 'Max'"),
    "early stopping": ({"early_stopping_type": "On"}, "`early_stopping_type` is 'On'"),
    "too many jobs": ({"max_jobs": 501}, "`max_jobs` is 501, but at most 500"),
    "too many at a time": ({"max_parallel_jobs": 11, "max_jobs": 20}, "is 11, but at most 10"),
    "more at a time than jobs": ({"max_parallel_jobs": 5}, "must be at most max_jobs, 4"),
    "metric": ({"objective_metric_name": "loss"}, "no objective metric of the algorithm"),
    "metric turned round": ({"objective_type": "Minimize"}, "offers 'validation:accuracy' to Max"),
}


@pytest.mark.parametrize("case", NONSENSE)
def test_settings_that_the_service_refuses(case: str) -> None:
    arguments, message = NONSENSE[case]
    assert tune(SDK, **arguments)["HyperParameterTuningJobName"] == "job"
    assert message in find_messages(**arguments)


RANGES: dict[str, tuple[str, str, tuple[Any, ...], str]] = {
    "unknown name": ("gain", "ContinuousParameter", (0.1, 0.5), "Did you mean 'min_gain'"),
    "not tunable": ("depth", "IntegerParameter", (1, 5), "is not tunable, says the algorithm"),
    "other kind": ("min_gain", "IntegerParameter", (0, 1), "Use a ContinuousParameter"),
    "outside": ("min_gain", "ContinuousParameter", (0.1, 5.0), "which reaches '5.0'"),
    "turned round": ("min_gain", "ContinuousParameter", (0.5, 0.1), "Swap them"),
    "logarithm of 0": ("min_gain", "ContinuousParameter", (0, 0.5, "Logarithmic"), "above 0"),
    "scaling": ("min_gain", "ContinuousParameter", (0.1, 0.5, "Log"), "Did you mean"),
}


@pytest.mark.parametrize("case", RANGES)
def test_ranges_that_the_service_refuses(case: str) -> None:
    name, kind, arguments, message = RANGES[case]

    def build(library: Any) -> dict[str, Any]:
        return {name: getattr(library, kind)(*arguments)}

    assert tune(SDK, hyperparameter_ranges=build(SDK))["HyperParameterTuningJobName"] == "job"
    assert message in find_messages(hyperparameter_ranges=build(OURS))


def test_more_parents_than_five() -> None:
    def build(library: Any) -> dict[str, Any]:
        kind = library.WarmStartTypes.TRANSFER_LEARNING
        return {"warm_start_config": library.WarmStartConfig(kind, set("abcdef"))}

    parents = tune(SDK, **build(SDK))["WarmStartConfig"]["ParentHyperParameterTuningJobs"]
    assert len(parents) == 6
    assert "has 6 entries, but must have at most 5" in find_messages(**build(OURS))


def test_a_parent_that_still_runs() -> None:
    def program(library: Any, client: EchoClient) -> None:
        client.status = "InProgress"
        tuner = build_tuner(library, client)
        tuner.fit(FILES, job_name="parent", wait=False)
        tuner.transfer_learning_tuner().fit(FILES, job_name="child", wait=False)

    assert len(find_sent(program, SDK)) == 2
    with pytest.raises(InvalidRequestError, match="is InProgress, but a parent must have ended"):
        program(OURS, build_client())


def test_limits_that_aws_has_raised() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'limits'"):
        tune(SDK, limits=TuningLimits.quota())
    config = tune(OURS, max_jobs=750, limits=TuningLimits.quota())
    limits = config["HyperParameterTuningJobConfig"]["ResourceLimits"]
    assert limits["MaxNumberOfTrainingJobs"] == 750


def test_before_a_launch() -> None:
    with pytest.raises(ValueError, match="No tuning job available"):
        build_tuner(SDK, build_client()).wait()
    with pytest.raises(AttributeError, match="'NoneType' object has no attribute 'name'"):
        build_tuner(SDK, build_client()).analytics()
    for method in ("wait", "analytics", "best_training_job", "describe"):
        with pytest.raises(RuntimeError, match="No tuning job was launched yet"):
            getattr(build_tuner(OURS, build_client()), method)()
