from __future__ import annotations

from pathlib import Path

import boto3
import pytest

from sagemaker_sift.cli.main import main
from tests.supports.aws import BUCKET, open_account, set_environment

ROLE = "arn:aws:iam::111122223333:role/a"
CONTENT = f"""\
SchemaVersion: '1.0'
SageMaker:
  TrainingJob:
    RoleArn: {ROLE}
    Environment: {{TOKEN: 5ecr3t}}
  Model: {{EnableNetworkIsolation: true}}
"""


@pytest.fixture(autouse=True)
def no_account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    set_environment(monkeypatch, tmp_path)


def test_each_setting_is_printed_with_file_and_line_and_secrets_are_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    user = tmp_path / "config" / "sagemaker" / "config.yaml"
    user.parent.mkdir(parents=True)
    user.write_text(CONTENT)
    extra = tmp_path / "extra.yaml"
    extra.write_text(
        "SchemaVersion: '1.0'\nSageMaker: {TrainingJob: {EnableNetworkIsolation: true}}\n"
    )
    assert main(["config", "explain", "--config", str(extra)]) == 0
    shown = capsys.readouterr().out
    assert [line.split() for line in shown.splitlines()] == [
        ["setting", "value", "source"],
        ["SageMaker.TrainingJob.EnableNetworkIsolation", "true", f"{extra}:2"],
        ["SageMaker.TrainingJob.Environment", "TOKEN=***", f"{user}:5"],
        ["SageMaker.TrainingJob.RoleArn", ROLE, f"{user}:4"],
        ["SageMaker.Model", "(not", "used)", f"{user}:6"],
    ]
    assert "5ecr3t" not in shown


def test_without_files_it_says_so_and_needs_no_account(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert main(["config", "explain"]) == 0
    assert capsys.readouterr().out == "No config file sets anything.\n"


def test_a_file_on_s3_is_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with open_account(monkeypatch, tmp_path):
        boto3.client("s3").put_object(Bucket=BUCKET, Key="team/config.yaml", Body=CONTENT)
        monkeypatch.setenv("SAGEMAKER_ADMIN_CONFIG_OVERRIDE", f"s3://{BUCKET}/team")
        assert main(["config", "explain"]) == 0
        assert f"s3://{BUCKET}/team/config.yaml:4" in capsys.readouterr().out
        assert main(["config", "explain", "--config", f"s3://{BUCKET}/nowhere/"]) == 1
        assert "does not exist, but `extra` names it." in capsys.readouterr().err
        assert main(["config", "explain", "--config", "s3:///a.yaml"]) == 1
        assert "'s3:///a.yaml' is not an S3 URI" in capsys.readouterr().err


def test_a_mistake_is_one_message_with_file_and_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(CONTENT.replace(ROLE, "admin"))
    assert main(["config", "explain", "--config", str(path)]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith(f"error: {path}:4: `SageMaker.TrainingJob.RoleArn` has 5 charac")
