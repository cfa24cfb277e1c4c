from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from sagemaker_sift.algorithm import Algorithm
from sagemaker_sift.cli.main import main
from sagemaker_sift.contract.specification import build_training_specification
from tests.supports.aws import ACCOUNT, OTHER_REGION, REGION, set_environment
from tests.supports.sagemaker_endpoint import serve

IMAGE = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/sift:1"
ARN = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:algorithm/mine"
DESCRIPTION: dict[str, Any] = {
    "AlgorithmName": "mine",
    "AlgorithmArn": ARN,
    "CreationTime": 1_790_000_000,
    "AlgorithmStatus": "Completed",
    "AlgorithmStatusDetails": {},
    "TrainingSpecification": build_training_specification(IMAGE),
}


@pytest.fixture(autouse=True)
def no_account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    set_environment(monkeypatch, tmp_path)


def test_the_spec_is_the_bundled_algorithm(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["algorithm", "spec", "--image", IMAGE, "--name", "mine"]) == 0
    assert json.loads(capsys.readouterr().out) == (
        Algorithm.from_contract(IMAGE, name="mine").to_request()
    )
    path = tmp_path / "a.json"
    assert main(["algorithm", "spec", "--inference-image", "serve:1", "-o", str(path)]) == 0
    assert capsys.readouterr().out == f"written: {path}\n"
    written = json.loads(path.read_text())
    assert written["InferenceSpecification"]["Containers"] == [{"Image": "serve:1"}]


def test_a_spec_without_an_image_is_to_be_looked_at_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.json"
    main(["algorithm", "spec", "-o", str(path)])
    capsys.readouterr()
    assert main(["algorithm", "validate", str(path)]) == 1
    assert capsys.readouterr().err == (
        "error: `TrainingSpecification.TrainingImage` is a placeholder. "
        "Put the URI of your image there, or give one.\n"
    )


def test_a_valid_file_is_counted_and_every_mistake_of_another_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.json"
    Algorithm.from_contract(IMAGE).save(path)
    assert main(["algorithm", "validate", str(path)]) == 0
    specification = build_training_specification(IMAGE)
    counts = [
        len(specification[field])
        for field in ("SupportedHyperParameters", "TrainingChannels", "MetricDefinitions")
    ]
    assert capsys.readouterr().out == (
        "valid: sift-image-classification, {} hyperparameters, {} channels, {} metrics\n".format(
            *counts
        )
    )
    specification["TrainingChannels"] = []
    specification["MetricDefinitions"][0]["Regex"] = "("
    path.write_text(json.dumps(specification))
    assert main(["algorithm", "validate", str(path), "--name", "mine"]) == 1
    shown = capsys.readouterr().err
    assert shown.startswith("error: 2 things are wrong:\n")
    assert "TrainingChannels` has 0 entries" in shown
    path.write_text("{\n,")
    assert main(["algorithm", "validate", str(path)]) == 1
    assert f"`{path}:2` is not JSON" in capsys.readouterr().err


def test_a_dry_run_prints_the_request_with_its_validation_and_sends_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["algorithm", "register", "--image", IMAGE, "--dry-run", "--certify"]
    command += ["--inference-image", "serve:1", "--train", "s3://b/train", "--output", "s3://b/o"]
    command += ["--validation-role", f"arn:aws:iam::{ACCOUNT}:role/sift"]
    command += ["--instance-type", "ml.m5.large", "--transform-input", "s3://b/images"]
    command += ["-p", "num_classes=2", "-p", "num_training_samples=40"]
    with serve(monkeypatch, {}) as endpoint:
        assert main(command) == 0
    assert endpoint.asked == []
    request = json.loads(capsys.readouterr().out)
    assert request["CertifyForMarketplace"] is True
    profile = request["ValidationSpecification"]["ValidationProfiles"][0]
    assert profile["TrainingJobDefinition"]["HyperParameters"] == {
        "num_classes": "2",
        "num_training_samples": "40",
    }
    assert profile["TransformJobDefinition"]["TransformResources"]["InstanceType"] == "ml.m5.large"


def test_registering_sends_the_request_waits_and_prints_the_arn(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = {"CreateAlgorithm": {"AlgorithmArn": ARN}, "DescribeAlgorithm": DESCRIPTION}
    with serve(monkeypatch, answers) as endpoint:
        assert main(["algorithm", "register", "--image", IMAGE, "--name", "mine"]) == 0
        assert main(["algorithm", "register", "--image", IMAGE, "--no-wait"]) == 0
    assert capsys.readouterr().out == f"{ARN}\n" * 2
    expected = Algorithm.from_contract(IMAGE, name="mine").to_request()
    assert endpoint.asked[:2] == [
        ("CreateAlgorithm", expected),
        ("DescribeAlgorithm", {"AlgorithmName": ARN}),
    ]
    assert [operation for operation, _ in endpoint.asked[2:]] == ["CreateAlgorithm"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ([], "give either FILE or --image"),
        (["a.json", "--image", IMAGE], "give either FILE or --image"),
        (["a.json", "--inference-image", IMAGE], "goes with --image"),
        (
            ["--image", IMAGE, "--validation", "s3://b/v"],
            "a validation needs --validation-role, --train, --output, --instance-type too",
        ),
        (["--image", IMAGE, "-p", "epochs=1"], "a validation needs --validation-role"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    options: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["algorithm", "register", *options])
    assert stopped.value.code == 2
    assert says in capsys.readouterr().err


def test_an_algorithm_is_described_and_listed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = {
        name: DESCRIPTION[name]
        for name in ("AlgorithmName", "AlgorithmArn", "CreationTime", "AlgorithmStatus")
    }
    answers = {
        "DescribeAlgorithm": DESCRIPTION,
        "ListAlgorithms": {"AlgorithmSummaryList": [summary]},
    }
    with serve(monkeypatch, answers) as endpoint:
        assert main(["algorithm", "describe", "mine"]) == 0
        shown = json.loads(capsys.readouterr().out)
        assert main(["algorithm", "list", "--name-contains", "mi"]) == 0
        assert capsys.readouterr().out == f"mine  Completed  2026-09-21  {ARN}\n"
        assert main(["algorithm", "list", "--status", "Failed"]) == 0
        assert capsys.readouterr().out == f"no algorithm in {REGION}\n"
    assert shown["TrainingSpecification"] == DESCRIPTION["TrainingSpecification"]
    assert shown["CreationTime"].startswith("2026-09-21")
    assert endpoint.asked[1][1]["NameContains"] == "mi"


def test_the_region_of_the_option_is_the_one_in_use(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = {"DescribeAlgorithm": ("ValidationException", f"Algorithm {ARN} does not exist.")}
    with serve(monkeypatch, answers):
        assert main(["algorithm", "describe", "mine", "--region", OTHER_REGION]) == 1
        assert "There is no algorithm 'mine' in us-east-1" in capsys.readouterr().err
        assert main(["algorithm", "describe", ARN, "--region", OTHER_REGION]) == 1
        assert "but the session is in us-east-1" in capsys.readouterr().err
    assert main(["algorithm", "describe", "mine", "--profile", "nobody"]) == 1
    assert "nobody" in capsys.readouterr().err


def test_the_region_of_the_environment_stands_in(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    with serve(monkeypatch, {"ListAlgorithms": {"AlgorithmSummaryList": []}}):
        assert main(["algorithm", "list"]) == 0
    assert capsys.readouterr().out == "no algorithm in eu-central-1\n"


@pytest.mark.parametrize(
    ("options", "answer", "is_deleted"),
    [
        (["--yes"], "", True),
        ([], "y\n", True),
        ([], "yes\n", True),
        ([], "n\n", False),
        ([], "\n", False),
        ([], "", False),
    ],
    ids=["option", "y", "yes", "n", "return", "no terminal"],
)
def test_deleting_asks_first(
    options: list[str],
    answer: str,
    is_deleted: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(answer))
    answers = {"DescribeAlgorithm": DESCRIPTION, "DeleteAlgorithm": {}}
    with serve(monkeypatch, answers) as endpoint:
        code = main(["algorithm", "delete", "mine", *options])
    operations = [operation for operation, _ in endpoint.asked]
    shown = capsys.readouterr().out
    assert ("DeleteAlgorithm" in operations) is is_deleted
    assert code == (0 if is_deleted else 1)
    assert f"deleted: 'mine' in {REGION}" in shown if is_deleted else "nothing deleted" in shown


def test_the_instances_are_listed_with_a_batch_size(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["algorithm", "instances"]) == 0
    rows = {line.split()[0]: line.split()[1:] for line in capsys.readouterr().out.splitlines()}
    assert rows["ml.p3.8xlarge"] == ["4", "128"]
    assert rows["ml.m5.large"] == ["0", "32"]
    assert len(rows) == 41
