from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sagemaker_sift.defaults import Defaults, Setting
from sagemaker_sift.exceptions import (
    AccessDeniedError,
    BackendError,
    ConfigurationError,
    NotFoundError,
)
from tests.supports.aws import set_environment

ROLE = "arn:aws:iam::111122223333:role/a"
JOB = "SageMaker.TrainingJob"


@pytest.fixture(autouse=True)
def no_files_but_those_of_the_test(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    set_environment(monkeypatch, tmp_path)


def write(path: Path, *lines: str) -> str:
    """Write a config file whose SageMaker section begins on line 3; return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    head = ["SchemaVersion: '1.0'", "SageMaker:"]
    path.write_text("\n".join([*head, *(f"  {line}" for line in lines)]) + "\n", encoding="utf-8")
    return str(path)


def test_without_files_there_are_no_settings() -> None:
    assert Defaults.load(environ={}).settings() == []
    assert Defaults().settings() == []
    assert Defaults().find(f"{JOB}.RoleArn") is None


def test_every_setting_names_its_file_and_line(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.yaml",
        "TrainingJob:",
        f"  RoleArn: {ROLE}",
        "  OutputDataConfig: {KmsKeyId: key-out}",
        "  ResourceConfig:",
        "    VolumeKmsKeyId: key-volume",
        "  VpcConfig:",
        "    Subnets:",
        "      - subnet-1",
        "      - subnet-2",
        "    SecurityGroupIds: [sg-1]",
        "  EnableNetworkIsolation: true",
        "  EnableInterContainerTrafficEncryption: false",
        "  Environment:",
        "    LOG_LEVEL: debug",
        "    TOKEN: '1'",
        "  Tags:",
        "  - {Key: team, Value: vision}",
        "  ProfilerConfig: {DisableProfiler: true}",
        "PythonSDK:",
        "  Modules:",
        "    Session:",
        "      DefaultS3Bucket: bucket-1",
        "      DefaultS3ObjectKeyPrefix: team/a",
    )
    settings = Defaults.load([path], environ={}).settings()
    assert settings == [
        Setting("SageMaker.PythonSDK.Modules.Session.DefaultS3Bucket", "bucket-1", f"{path}:24"),
        Setting(
            "SageMaker.PythonSDK.Modules.Session.DefaultS3ObjectKeyPrefix", "team/a", f"{path}:25"
        ),
        Setting(f"{JOB}.EnableInterContainerTrafficEncryption", False, f"{path}:14"),
        Setting(f"{JOB}.EnableNetworkIsolation", True, f"{path}:13"),
        Setting(f"{JOB}.Environment", {"LOG_LEVEL": "debug", "TOKEN": "1"}, f"{path}:15"),
        Setting(f"{JOB}.OutputDataConfig.KmsKeyId", "key-out", f"{path}:5"),
        Setting(f"{JOB}.ProfilerConfig.DisableProfiler", True, f"{path}:20"),
        Setting(f"{JOB}.ResourceConfig.VolumeKmsKeyId", "key-volume", f"{path}:7"),
        Setting(f"{JOB}.RoleArn", ROLE, f"{path}:4"),
        Setting(f"{JOB}.Tags", [{"Key": "team", "Value": "vision"}], f"{path}:18"),
        Setting(f"{JOB}.VpcConfig.SecurityGroupIds", ["sg-1"], f"{path}:12"),
        Setting(f"{JOB}.VpcConfig.Subnets", ["subnet-1", "subnet-2"], f"{path}:9"),
    ]


def test_the_user_wins_over_the_administrator_and_further_files_over_both(tmp_path: Path) -> None:
    admin = write(
        tmp_path / "site-config/sagemaker/config.yaml",
        "TrainingJob:",
        f"  RoleArn: {ROLE}",
        "  VpcConfig: {Subnets: [subnet-1, subnet-2], SecurityGroupIds: [sg-1]}",
        "  Environment: {PROXY: proxy, LOG_LEVEL: info}",
        "  Tags: [{Key: a, Value: '1'}, {Key: b, Value: '2'}]",
    )
    user = write(
        tmp_path / "config/sagemaker/config.yaml",
        "TrainingJob:",
        "  VpcConfig: {Subnets: [subnet-3]}",
        "  Environment: {LOG_LEVEL: debug}",
        "  Tags: [{Key: c, Value: '3'}]",
    )
    extra = write(tmp_path / "extra.yaml", "TrainingJob:", f"  RoleArn: {ROLE}/extra")
    defaults = Defaults.load([extra])
    assert defaults.settings() == [
        Setting(
            f"{JOB}.Environment", {"PROXY": "proxy", "LOG_LEVEL": "debug"}, f"{admin}:6, {user}:5"
        ),
        Setting(f"{JOB}.RoleArn", f"{ROLE}/extra", f"{extra}:4"),
        Setting(f"{JOB}.Tags", [{"Key": "c", "Value": "3"}], f"{user}:6"),
        Setting(f"{JOB}.VpcConfig.SecurityGroupIds", ["sg-1"], f"{admin}:5"),
        Setting(f"{JOB}.VpcConfig.Subnets", ["subnet-3"], f"{user}:4"),
    ]


def test_an_environment_that_is_all_replaced_names_the_last_file_alone(tmp_path: Path) -> None:
    first = write(tmp_path / "a.yaml", "TrainingJob: {Environment: {A: '1'}}")
    second = write(tmp_path / "b.yaml", "TrainingJob: {Environment: {A: '2'}}")
    found = Defaults.load([first, second], environ={}).find(f"{JOB}.Environment")
    assert found == Setting(f"{JOB}.Environment", {"A": "2"}, f"{second}:3")


def test_overrides_name_a_file_or_a_folder_in_place_of_the_default(tmp_path: Path) -> None:
    write(tmp_path / "site-config/sagemaker/config.yaml", "TrainingJob: {RoleArn: not read}")
    write(tmp_path / "config/sagemaker/config.yaml", "TrainingJob: {RoleArn: not read}")
    admin = write(tmp_path / "admin.yaml", f"TrainingJob: {{RoleArn: {ROLE}}}")
    user = write(
        tmp_path / "folder/config.yaml", "TrainingJob: {OutputDataConfig: {KmsKeyId: key-1}}"
    )
    environ = {
        "SAGEMAKER_ADMIN_CONFIG_OVERRIDE": admin,
        "SAGEMAKER_USER_CONFIG_OVERRIDE": str(tmp_path / "folder"),
    }
    assert [setting.source for setting in Defaults.load(environ=environ).settings()] == [
        f"{user}:3",
        f"{admin}:3",
    ]


def test_overrides_are_taken_from_this_process_by_default(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = write(tmp_path / "a.yaml", f"TrainingJob: {{RoleArn: {ROLE}}}")
    monkeypatch.setenv("SAGEMAKER_USER_CONFIG_OVERRIDE", path)
    assert [setting.source for setting in Defaults.load().settings()] == [f"{path}:3"]


def test_an_empty_device_turns_the_default_file_off(tmp_path: Path) -> None:
    write(tmp_path / "config/sagemaker/config.yaml", "TrainingJob: {RoleArn: not read}")
    assert Defaults.load(environ={"SAGEMAKER_USER_CONFIG_OVERRIDE": "/dev/null"}).settings() == []


@pytest.mark.parametrize("content", ["", "# nothing\n", "---\n", "{}\n", "null\n"])
def test_a_file_that_says_nothing_is_no_mistake(content: str, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(content)
    assert Defaults.load([tmp_path / "a.yaml"], environ={}).settings() == []


def test_what_was_named_must_exist(tmp_path: Path) -> None:
    for extra, environ, named_by in (
        ([tmp_path / "no.yaml"], {}, "`extra`"),
        ([], {"SAGEMAKER_ADMIN_CONFIG_OVERRIDE": str(tmp_path / "no.yaml")}, "SAGEMAKER_ADMIN"),
        ([], {"SAGEMAKER_USER_CONFIG_OVERRIDE": str(tmp_path / "no.yaml")}, "SAGEMAKER_USER"),
    ):
        with pytest.raises(ConfigurationError) as caught:
            Defaults.load(extra, environ=environ)
        assert caught.value.file == str(tmp_path / "no.yaml")
        assert f"does not exist, but {named_by}" in str(caught.value)
    (tmp_path / "folder").mkdir()
    with pytest.raises(ConfigurationError, match=r"folder/config\.yaml: does not exist"):
        Defaults.load([tmp_path / "folder"], environ={})
    with pytest.raises(ConfigurationError, match="SAGEMAKER_USER_CONFIG_OVERRIDE: is empty"):
        Defaults.load(environ={"SAGEMAKER_USER_CONFIG_OVERRIDE": ""})


def test_a_file_that_cannot_be_read_is_named_with_the_reason(tmp_path: Path) -> None:
    loop = tmp_path / "loop.yaml"
    loop.symlink_to(loop)
    with pytest.raises(ConfigurationError, match=r"loop\.yaml: cannot be read: .*symbolic links"):
        Defaults.load([loop], environ={})
    with pytest.raises(ConfigurationError, match="is no path"):
        Defaults.load(["a\0b"], environ={})


def test_one_path_in_place_of_a_list_is_refused() -> None:
    with pytest.raises(TypeError, match=r"must be a list of paths: \['a\.yaml'\]"):
        Defaults.load("a.yaml", environ={})


def test_settings_of_a_program_have_its_name_as_source() -> None:
    content = {
        "SchemaVersion": "1.0",
        "SageMaker": {
            "TrainingJob": {"RoleArn": ROLE, "Environment": {"A": "1"}},
            "Model": {"ExecutionRoleArn": ROLE},
        },
    }
    defaults = Defaults.from_mapping(content, "sagemaker_config")
    assert defaults.settings() == [
        Setting(f"{JOB}.Environment", {"A": "1"}, "sagemaker_config"),
        Setting(f"{JOB}.RoleArn", ROLE, "sagemaker_config"),
    ]
    assert defaults.unread() == [("SageMaker.Model", "sagemaker_config")]
    assert Defaults.from_mapping(None, "none").settings() == []
    assert Defaults.from_mapping({}, "none").settings() == []


def test_values_that_may_be_secrets_are_masked_for_people(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    write(
        path,
        "TrainingJob:",
        "  Environment: {TOKEN: s3cret, LOG_LEVEL: debug}",
        "  EnableNetworkIsolation: true",
        "  Tags: [{Key: team, Value: vision}, {Key: cost, Value: '7'}]",
        "  VpcConfig: {Subnets: [subnet-1, subnet-2]}",
    )
    path.write_text(path.read_text() + "CustomParameters: {Password: s3cret}\n")
    settings = Defaults.load([path], environ={}).settings()
    assert {setting.path.rpartition(".")[2]: setting.shown for setting in settings} == {
        "Password": "***",
        "EnableNetworkIsolation": "true",
        "Environment": "TOKEN=***, LOG_LEVEL=***",
        "Tags": "team=vision, cost=7",
        "Subnets": "subnet-1, subnet-2",
    }


class Bucket:
    """S3 with the objects of one test; what is denied or missing is said as S3 does."""

    def __init__(self, objects: dict[str, str], *, may_list: bool = True) -> None:
        self.objects = objects
        self.may_list = may_list
        self.asked: list[str] = []

    def read(self, uri: str) -> bytes:
        self.asked.append(uri)
        if uri in self.objects:
            return self.objects[uri].encode()
        if self.may_list:
            raise NotFoundError("no", operation="GetObject", code="NoSuchKey")
        raise AccessDeniedError("no", operation="GetObject", code="AccessDenied")


FILE = f"SchemaVersion: '1.0'\nSageMaker: {{TrainingJob: {{RoleArn: {ROLE}}}}}\n"


@pytest.mark.parametrize("may_list", [True, False])
@pytest.mark.parametrize(
    ("named", "stored"),
    [
        ("s3://b/team/config.yaml", "s3://b/team/config.yaml"),
        ("s3://b/team/other.yml", "s3://b/team/other.yml"),
        ("s3://b/team/file", "s3://b/team/file"),
        ("s3://b/team", "s3://b/team/config.yaml"),
        ("s3://b/team/", "s3://b/team/config.yaml"),
        ("s3://b", "s3://b/config.yaml"),
    ],
)
def test_a_file_or_folder_on_s3_is_read(named: str, stored: str, may_list: bool) -> None:
    bucket = Bucket({stored: FILE}, may_list=may_list)
    environ = {"SAGEMAKER_ADMIN_CONFIG_OVERRIDE": named}
    found = Defaults.load(environ=environ, read_s3=bucket.read).find(f"{JOB}.RoleArn")
    assert found == Setting(f"{JOB}.RoleArn", ROLE, f"{stored}:2")


def test_nothing_on_s3_is_read_unless_it_is_named() -> None:
    bucket = Bucket({})
    assert Defaults.load(environ={}, read_s3=bucket.read).settings() == []
    assert bucket.asked == []


def test_s3_without_a_reader_a_missing_object_and_a_denied_one_are_told_apart() -> None:
    with pytest.raises(ConfigurationError, match=r"s3://b/a\.yaml: lies on S3.*`extra`"):
        Defaults.load(["s3://b/a.yaml"], environ={})
    with pytest.raises(ConfigurationError, match=r"s3://b/a and s3://b/a/config\.yaml: does not"):
        Defaults.load(["s3://b/a"], environ={}, read_s3=Bucket({}).read)
    with pytest.raises(AccessDeniedError):
        Defaults.load(["s3://b/a"], environ={}, read_s3=Bucket({}, may_list=False).read)

    def break_down(uri: str) -> bytes:
        raise BackendError("no", operation="GetObject", code="InternalError")

    with pytest.raises(BackendError) as caught:
        Defaults.load(["s3://b/a"], environ={}, read_s3=break_down)
    assert caught.value.code == "InternalError"


def test_importing_sessions_and_defaults_loads_no_reader_of_yaml() -> None:
    probe = (
        "import sagemaker_sift.session, sagemaker_sift.defaults, sys; "
        "print([m for m in ('yaml', 'platformdirs', 'boto3') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", probe], check=True, capture_output=True, text=True
    )
    assert done.stdout == "[]\n"
