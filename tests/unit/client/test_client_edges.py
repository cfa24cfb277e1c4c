"""What people do with estimators besides the plain thing."""

from __future__ import annotations

import copy
import enum
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sagemaker_sift import (
    Algorithm,
    AlgorithmEstimator,
    ConflictError,
    InvalidRequestError,
    JobFailedError,
    NotFoundError,
    TrainingInput,
)
from sagemaker_sift.contract.specification import build_training_specification
from sagemaker_sift.exceptions import ConfigurationError, SiftError
from tests.supports.algorithms import (
    BUNDLED,
    build_session,
    build_trees,
    build_trees_estimator,
    categorical,
    error,
    integer,
)
from tests.supports.tuning import INPUTS

LEAVES = {"hyperparameters": {"max_leaf_nodes": 5}}


@pytest.mark.parametrize(
    ("declared", "given"),
    [
        ("text/csv;label_size=0", "text/csv;label_size=0"),
        ("text/csv", "Text/CSV; charset=utf-8"),
        ("image/*", "image/png"),
        ("*/*", "application/x-image"),
    ],
)
def test_content_types_that_are_right(tmp_path: Path, declared: str, given: str) -> None:
    spec = build_trees()
    spec["TrainingChannels"][0]["SupportedContentTypes"] = [declared]
    session = build_session(tmp_path, own=spec)
    estimator = build_trees_estimator(
        tmp_path, algorithm_arn="own", sagemaker_session=session, **LEAVES
    )
    [channel] = estimator.request(TrainingInput("s3://b/c", content_type=given), "job")[
        "InputDataConfig"
    ]
    assert channel["ContentType"] == given
    wrong = TrainingInput("s3://b/c", content_type="image" if declared == "*/*" else "text/json")
    with pytest.raises(InvalidRequestError, match="content_type"):
        estimator.validate(wrong)


def test_a_channel_that_has_a_name_keeps_it(tmp_path: Path) -> None:
    estimator = build_trees_estimator(tmp_path, **LEAVES)
    named = {"ChannelName": "validation", **TrainingInput("s3://b/v").config}
    [channel] = estimator.unchecked_request(named, "job")["InputDataConfig"]
    assert channel["ChannelName"] == "validation"
    with pytest.raises(InvalidRequestError, match="is 'validation' a second time"):
        estimator.request([named, named, {"ChannelName": "training"} | named], "job")


def test_a_model_to_go_on_from_is_given_once(tmp_path: Path) -> None:
    spec = build_trees()
    spec["TrainingChannels"].append({"Name": "model", "SupportedInputModes": ["File"]})
    session = build_session(tmp_path, own=spec)
    estimator = build_trees_estimator(
        tmp_path, algorithm_arn="own", sagemaker_session=session, model_uri="s3://b/m", **LEAVES
    )
    same = estimator.request(INPUTS | {"model": "s3://b/m"}, "job")
    assert [one["ChannelName"] for one in same["InputDataConfig"]] == ["training", "model"]
    with pytest.raises(InvalidRequestError, match="is 'model' a second time"):
        estimator.request(INPUTS | {"model": "s3://b/other"}, "job")
    estimator.fit(INPUTS, wait=False, job_name="job")
    attached = AlgorithmEstimator.attach("job", session)
    assert attached.model_uri == "s3://b/m"
    assert attached.request(INPUTS, "again") == estimator.request(INPUTS, "again")


def test_two_empty_lists_mean_no_vpc_and_a_text_is_no_list(tmp_path: Path) -> None:
    estimator = build_trees_estimator(tmp_path, subnets=[], security_group_ids=[], **LEAVES)
    assert "VpcConfig" not in estimator.request(INPUTS, "job")
    estimator.subnets, estimator.security_group_ids = "subnet-1", ["sg-1"]
    with pytest.raises(InvalidRequestError, match="`subnets` is 'subnet-1', but must be a list"):
        estimator.request(INPUTS, "job")
    estimator.subnets, estimator.volume_kms_key = ["subnet-1"], ""
    assert "VolumeKmsKeyId" not in estimator.request(INPUTS, "job")["ResourceConfig"]


class Mode(enum.Enum):
    PIPE = "Pipe"


def test_scalars_of_numpy_members_of_enums_and_paths(tmp_path: Path) -> None:
    estimator = build_trees_estimator(
        tmp_path,
        volume_size=np.int64(40),
        input_mode=Mode.PIPE,
        checkpoint_s3_uri="s3://b/c",
        checkpoint_local_path=Path("/opt/ml/checkpoints"),
        hyperparameters={"max_leaf_nodes": np.int32(7), "min_gain": np.float64(0.25)},
    )
    request = estimator.request(INPUTS, "job")
    assert request["ResourceConfig"]["VolumeSizeInGB"] == 40
    assert request["AlgorithmSpecification"]["TrainingInputMode"] == "Pipe"
    assert request["CheckpointConfig"]["LocalPath"] == "/opt/ml/checkpoints"
    assert request["HyperParameters"]["max_leaf_nodes"] == "7"
    assert request["HyperParameters"]["min_gain"] == "0.25"


@pytest.mark.parametrize("text", ["3.0", " 3 ", "3e0", 3.0, "+3"])
def test_whole_numbers_are_written_as_such(tmp_path: Path, text: Any) -> None:
    estimator = build_trees_estimator(tmp_path, hyperparameters={"max_leaf_nodes": text})
    assert estimator.hyperparameters()["max_leaf_nodes"] == "3"


@pytest.mark.parametrize("text", ["1_0", "\u0663", "0x3", "3,0", "nan", "", True])
def test_what_is_no_number_is_refused(tmp_path: Path, text: Any) -> None:
    with pytest.raises(InvalidRequestError, match="`max_leaf_nodes`"):
        build_trees_estimator(tmp_path, hyperparameters={"max_leaf_nodes": text})


def test_the_algorithm_s_own_default_is_never_the_user_s_mistake(tmp_path: Path) -> None:
    spec = build_trees(
        SupportedHyperParameters=[
            integer("depth", 1, 10, DefaultValue="0"),
            categorical("kind", ["a", "b"], DefaultValue="None"),
        ]
    )
    session = build_session(tmp_path, odd=spec)
    estimator = build_trees_estimator(tmp_path, algorithm_arn="odd", sagemaker_session=session)
    assert estimator.request(INPUTS, "job")["HyperParameters"] == {"depth": "0", "kind": "None"}
    with pytest.raises(InvalidRequestError, match="`depth` is 11"):
        estimator.set_hyperparameters(depth=11)


def test_a_registered_specification_may_be_stricter_than_the_contract(tmp_path: Path) -> None:
    spec = build_training_specification("image:1")
    for entry in spec["SupportedHyperParameters"]:
        if entry["Name"] == "epochs":
            entry["DefaultValue"] = "5"
            bounds = entry["Range"]["IntegerParameterRangeSpecification"]
            bounds |= {"MinValue": "1", "MaxValue": "10"}
    session = build_session(tmp_path, strict=spec)
    estimator = build_trees_estimator(
        tmp_path, algorithm_arn="strict", sagemaker_session=session, hyperparameters=BUNDLED
    )
    assert estimator.hyperparameters()["epochs"] == "5"
    with pytest.raises(InvalidRequestError, match="`epochs` is 20, but must be an integer from 1"):
        estimator.set_hyperparameters(epochs=20)


def test_an_instance_type_that_is_newer_than_botocore(tmp_path: Path) -> None:
    spec = build_trees(SupportedTrainingInstanceTypes=["ml.z9.large"])
    session = build_session(tmp_path, new=spec)
    estimator = build_trees_estimator(
        tmp_path,
        algorithm_arn="new",
        sagemaker_session=session,
        instance_type="ml.z9.large",
        **LEAVES,
    )
    assert estimator.request(INPUTS, "job")["ResourceConfig"]["InstanceType"] == "ml.z9.large"
    estimator.instance_type = "ml.z9.xlarge"
    with pytest.raises(InvalidRequestError, match="`instance_type`"):
        estimator.request(INPUTS, "job")


def test_a_secret_of_the_environment_is_not_quoted(tmp_path: Path) -> None:
    estimator = build_trees_estimator(tmp_path, environment={"TOKEN": 12345}, **LEAVES)
    with pytest.raises(InvalidRequestError, match=r"`environment\['TOKEN'\]`") as caught:
        estimator.request(INPUTS, "job")
    assert "12345" not in str(caught.value)
    assert "12345" not in str(estimator.explain())


def test_explain_knows_attributes_that_were_changed(tmp_path: Path) -> None:
    estimator = build_trees_estimator(tmp_path)
    estimator.volume_kms_key = "alias/x"
    [row] = [row for row in estimator.explain() if row.path == "volume_kms_key"]
    assert (row.value, row.source) == ("alias/x", "attribute")


class LosesAnAnswer:
    """A client whose first answer is lost, so that botocore has sent the request twice."""

    def __init__(self, inner: Any, repeats: int) -> None:
        self.inner = inner
        self.repeats = repeats

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def create_training_job(self, **request: Any) -> None:
        if request["TrainingJobName"] not in self.inner.created:
            self.inner.create_training_job(**request)
        taken = error("CreateTrainingJob", "ResourceInUse", "exists already")
        taken.response["ResponseMetadata"] = {"RetryAttempts": self.repeats}
        raise taken


def test_a_job_whose_first_answer_was_lost_is_launched_once(tmp_path: Path) -> None:
    estimator = build_trees_estimator(tmp_path, **LEAVES)
    session = estimator.sagemaker_session
    session.sagemaker_client = LosesAnAnswer(session.sagemaker_client, repeats=1)
    estimator.fit(INPUTS, wait=False, job_name="job")
    assert estimator.job().name == "job"
    assert len(session.sagemaker_client.sent) == 1
    estimator.set_hyperparameters(max_leaf_nodes=6)
    with pytest.raises(ConflictError):
        estimator.fit(INPUTS, wait=False, job_name="job")
    session.sagemaker_client.repeats = 0
    estimator.set_hyperparameters(max_leaf_nodes=5)
    with pytest.raises(ConflictError):
        estimator.fit(INPUTS, wait=False, job_name="job")


def test_a_job_of_an_algorithm_that_is_gone_can_still_be_read(tmp_path: Path) -> None:
    estimator = build_trees_estimator(tmp_path, **LEAVES)
    estimator.fit(INPUTS, wait=False, job_name="job")
    session = estimator.sagemaker_session
    session.sagemaker_client.algorithms = {}
    with pytest.warns(UserWarning, match="cannot be checked against their algorithm"):
        attached = AlgorithmEstimator.attach("job", session)
    assert attached.hyperparameters() == estimator.hyperparameters()
    assert attached.job().describe()["TrainingJobName"] == "job"


def test_tags_of_aws_do_not_come_back(tmp_path: Path) -> None:
    estimator = build_trees_estimator(tmp_path, tags={"a": "b"}, **LEAVES)
    estimator.fit(INPUTS, wait=False, job_name="job")
    session = estimator.sagemaker_session
    session.sagemaker_client.created["job"]["Tags"].append({"Key": "aws:x", "Value": "y"})
    attached = AlgorithmEstimator.attach("job", session)
    assert attached.request(INPUTS, "again")["Tags"] == [{"Key": "a", "Value": "b"}]


@pytest.mark.parametrize(
    "original",
    [
        InvalidRequestError([]),
        NotFoundError("gone", operation="Describe", code="404"),
        JobFailedError("job", "AlgorithmError", ["a", "b"]),
        ConfigurationError("broken", file="config.yaml", line=3),
    ],
    ids=lambda one: type(one).__name__,
)
def test_errors_pass_between_processes(original: SiftError) -> None:
    for twin in (pickle.loads(pickle.dumps(original)), copy.copy(original)):
        assert type(twin) is type(original)
        assert str(twin) == str(original)
        assert vars(twin) == vars(original)


def test_a_wrong_role_or_algorithm_is_said_in_words(tmp_path: Path) -> None:
    estimator = build_trees_estimator(tmp_path, role="", **LEAVES)
    with pytest.raises(InvalidRequestError, match="`role` has 0 characters"):
        estimator.request(INPUTS, "job")
    with pytest.raises(InvalidRequestError, match="`algorithm_arn` is empty"):
        build_trees_estimator(tmp_path, algorithm_arn="")
    estimator = build_trees_estimator(tmp_path, tags=[{"key": "a"}], **LEAVES)
    with pytest.raises(InvalidRequestError, match="`tags"):
        estimator.request(INPUTS, "job")
    assert Algorithm("x", {}).hyperparameter_names() == []


def test_a_model_is_one_archive_that_is_copied(tmp_path: Path) -> None:
    spec = build_trees()
    modes = {"SupportedInputModes": ["File"], "SupportedContentTypes": []}
    spec["TrainingChannels"].append({"Name": "model", **modes})
    session = build_session(tmp_path, own=spec)
    estimator = build_trees_estimator(
        tmp_path,
        algorithm_arn="own",
        sagemaker_session=session,
        input_mode="Pipe",
        model_uri="s3://b/model.tar.gz",
        **LEAVES,
    )
    _, model = estimator.request(INPUTS, "job")["InputDataConfig"]
    assert model["InputMode"] == "File"
    assert model["ContentType"] == "application/x-sagemaker-model"
    special = TrainingInput("s3://b/m", input_mode="File", s3_data_type="ManifestFile")
    estimator.model_uri = special
    estimator.fit(INPUTS, wait=False, job_name="special")
    attached = AlgorithmEstimator.attach("special", session)
    assert attached.request(INPUTS, "again") == estimator.request(INPUTS, "again")


def test_a_copied_estimator_has_hyperparameters_of_its_own(tmp_path: Path) -> None:
    estimator = build_trees_estimator(tmp_path, **LEAVES)
    twin = copy.copy(estimator)
    twin.set_hyperparameters(max_leaf_nodes=99)
    assert estimator.hyperparameters()["max_leaf_nodes"] == "5"


def test_a_request_shares_nothing_with_the_inputs(tmp_path: Path) -> None:
    estimator = build_trees_estimator(tmp_path, **LEAVES)
    data = TrainingInput("s3://b/c")
    before = copy.deepcopy(data.config)
    request = estimator.request({"training": data}, "job")
    request["InputDataConfig"][0]["DataSource"]["S3DataSource"]["S3Uri"] = "s3://other/x"
    assert data.config == before


def test_numbers_and_flags_of_numpy(tmp_path: Path) -> None:
    spec = build_trees(SupportsDistributedTraining=True)
    spec["SupportedHyperParameters"].append(categorical("fast", ["True", "False"]))
    session = build_session(tmp_path, own=spec)
    estimator = build_trees_estimator(
        tmp_path,
        algorithm_arn="own",
        sagemaker_session=session,
        instance_count=np.int64(2),
        hyperparameters={"max_leaf_nodes": 5, "fast": np.bool_(True)},
    )
    request = estimator.request(INPUTS, "job")
    assert request["ResourceConfig"]["InstanceCount"] == 2
    assert request["HyperParameters"]["fast"] == "True"
