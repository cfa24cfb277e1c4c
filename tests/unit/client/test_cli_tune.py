from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from sagemaker_sift.cli.main import main
from sagemaker_sift.contract.specification import build_training_specification
from tests.supports.algorithms import build_trees, continuous, integer
from tests.supports.aws import ACCOUNT, BUCKET, REGION, open_account
from tests.supports.sagemaker_endpoint import Endpoint, serve

ARN = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/sift"
ON_AWS = [
    "--algorithm", "my-sift", "--role", ROLE, "--instance-type", "ml.g5.xlarge",
    "--train", f"s3://{BUCKET}/train", "--validation", f"s3://{BUCKET}/v", "--output-path", f"s3://{BUCKET}/models",
    "-p", "num_classes=10", "-p", "num_training_samples=1437",
]  # fmt: skip


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Endpoint]:
    description = {
        "AlgorithmName": "my-sift",
        "AlgorithmArn": f"{ARN}:algorithm/my-sift",
        "AlgorithmStatus": "Completed",
        "AlgorithmStatusDetails": {},
        "CreationTime": 1_795_000_000,
        "TrainingSpecification": build_training_specification("image:1"),
    }
    answers = {"DescribeAlgorithm": description}
    with open_account(monkeypatch, tmp_path), serve(monkeypatch, answers) as endpoint:
        yield endpoint


@pytest.fixture
def images(tmp_path: Path) -> str:
    for name in ("cat/1.jpg", "cat/2.jpg", "dog/3.png"):
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return str(tmp_path / "images")


def test_a_dry_run_of_a_search_on_this_machine(
    images: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--range", "beta-value=0.1:10.0:Logarithmic", "--range", "optimizer=sgd,adam"]
    command = ["tune", "--local", str(tmp_path / "jobs"), "--train", images, "--dry-run"]
    command += ["--validation", images]
    more = [
        "-p",
        "mini_batch_size=2",
        "--max-jobs",
        "6",
        "--job-name",
        "dry",
        "--random-seed",
        "0",
    ]
    assert main([*command, *options, *more]) == 0
    request = json.loads(capsys.readouterr().out)
    assert request["HyperParameterTuningJobName"] == "dry"
    config = request["HyperParameterTuningJobConfig"]
    assert config["RandomSeed"] == 0
    assert config["ResourceLimits"]["MaxNumberOfTrainingJobs"] == 6
    [beta] = config["ParameterRanges"]["ContinuousParameterRanges"]
    assert (beta["Name"], beta["ScalingType"]) == ("beta_value", "Logarithmic")
    static = request["TrainingJobDefinition"]["StaticHyperParameters"]
    assert (static["num_classes"], static["num_training_samples"]) == ("2", "3")


def test_a_search_that_is_launched_on_aws(
    endpoint: Endpoint, capsys: pytest.CaptureFixture[str]
) -> None:
    endpoint.answers["CreateHyperParameterTuningJob"] = {
        "HyperParameterTuningJobArn": f"{ARN}:hyper-parameter-tuning-job/tune"
    }
    endpoint.answers["DescribeHyperParameterTuningJob"] = ("AccessDeniedException", "no")
    options = [
        "--range", "learning_rate=0.001:0.5:Logarithmic", "--strategy", "Hyperband",
        "--max-resource", "30", "--min-resource", "3", "--max-jobs", "600", "--quota",
        "--parent", "p1", "--parent", "p2", "--warm-start-type", "TransferLearning",
        "--tag", "team=vision", "--env", "LEVEL=debug", "--subnet", "subnet-1",
        "--security-group", "sg-1", "--enable-network-isolation", "--volume-size", "50",
        "--job-name", "tune", "--no-wait",
    ]  # fmt: skip
    assert main(["tune", *ON_AWS, *options]) == 0
    assert capsys.readouterr().out.split() == ["tune"]
    name, request = endpoint.asked[-1]
    assert name == "CreateHyperParameterTuningJob"
    assert request["Tags"] == [{"Key": "team", "Value": "vision"}]
    definition = request["TrainingJobDefinition"]
    assert definition["Environment"] == {"LEVEL": "debug"}
    assert definition["EnableNetworkIsolation"] is True
    assert definition["VpcConfig"] == {"Subnets": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}
    assert definition["HyperParameterTuningResourceConfig"]["VolumeSizeInGB"] == 50
    parents = request["WarmStartConfig"]["ParentHyperParameterTuningJobs"]
    assert [one["HyperParameterTuningJobName"] for one in parents] == ["p1", "p2"]
    hyperband = request["HyperParameterTuningJobConfig"]["StrategyConfig"]
    assert hyperband == {"HyperbandStrategyConfig": {"MaxResource": 30, "MinResource": 3}}


def test_a_training_job_that_is_launched_on_aws(
    endpoint: Endpoint, capsys: pytest.CaptureFixture[str]
) -> None:
    endpoint.answers["CreateTrainingJob"] = {"TrainingJobArn": f"{ARN}:training-job/job"}
    options = ["--job-name", "job", "--no-wait", "--use-spot-instances", "--max-wait", "90000"]
    assert main(["train", *ON_AWS, *options]) == 0
    assert capsys.readouterr().out.split() == ["job"]
    name, request = endpoint.asked[-1]
    assert name == "CreateTrainingJob"
    assert request["EnableManagedSpotTraining"] is True
    assert request["StoppingCondition"]["MaxWaitTimeInSeconds"] == 90_000


@pytest.mark.parametrize(
    ("command", "options", "says"),
    [
        ("tune", ["--range", "beta=1:2"], "`hyperparameter_ranges['beta']` is not a hyperp"),
        ("tune", [], "`hyperparameter_ranges` is empty"),
        ("tune", ["--range", "momentum=0.1:0.9", "--parent", "a", "--warm-start-type", "x"],
         "`warm_start_type` is 'x'"),
        ("train", ["--channel", "train_lst=local/folder"], "Upload it first"),
        ("train", ["--channel", "x=s3://nowhere-of-tests/y"], "there is no bucket"),
    ],
)  # fmt: skip
def test_mistakes_are_one_message_and_exit_code_1(
    endpoint: Endpoint,
    capsys: pytest.CaptureFixture[str],
    command: str,
    options: list[str],
    says: str,
) -> None:
    assert main([command, *ON_AWS, *options]) == 1
    shown = capsys.readouterr()
    assert says in shown.err
    assert "Traceback" not in shown.err
    assert [name for name, _ in endpoint.asked if name.startswith("Create")] == []


@pytest.mark.parametrize("text", ["beta", "beta=", "=1:2", "beta=a:b", "beta=1:2:Log:x"])
def test_a_range_that_cannot_be_read(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["tune", "--range", text])
    assert "--range" in capsys.readouterr().err


def test_without_a_region_it_says_what_to_do(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    assert main(["train", *ON_AWS]) == 1
    assert "No AWS region is configured" in capsys.readouterr().err


def test_names_with_hyphens_and_channels_given_twice(
    endpoint: Endpoint, capsys: pytest.CaptureFixture[str]
) -> None:
    specification = build_trees(
        SupportedHyperParameters=[
            integer("max-leaf-nodes", 1, 900, IsRequired=True),
            continuous("min_gain", 0, 1),
        ]
    )
    endpoint.answers["DescribeAlgorithm"]["TrainingSpecification"] = specification
    command = [
        "tune", "--algorithm", "trees", "--role", ROLE, "--instance-type", "ml.c4.xlarge",
        "--output-path", f"s3://{BUCKET}/models", "--max-jobs", "3", "--dry-run",
        "--channel", f"training=s3://{BUCKET}/train",
    ]  # fmt: skip
    assert main([*command, "-p", "max-leaf-nodes=4", "--range", "min-gain=0:1"]) == 0
    request = json.loads(capsys.readouterr().out)
    assert request["TrainingJobDefinition"]["StaticHyperParameters"] == {"max-leaf-nodes": "4"}
    ranges = request["HyperParameterTuningJobConfig"]["ParameterRanges"]
    assert [one["Name"] for one in ranges["ContinuousParameterRanges"]] == ["min_gain"]
    assert main([*command, "--range", "max-leaf-nodes=2:9", "--channel", "training=s3://b/x"]) == 1
    assert "`--channel training` is given a second time" in capsys.readouterr().err
