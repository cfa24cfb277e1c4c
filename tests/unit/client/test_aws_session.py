from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.stub import Stubber

from sagemaker_sift import exceptions
from sagemaker_sift.defaults import Defaults, Setting
from sagemaker_sift.session import (
    Explanation,
    JobSession,
    LocalSession,
    Session,
    adopt_session,
    get_execution_role,
)
from tests.supports.aws import (
    ACCOUNT,
    BUCKET,
    OTHER_REGION,
    REGION,
    make_client,
    make_session,
    open_account,
)

ROLE = f"arn:aws:iam::{ACCOUNT}:role/service-role/trainer"
CONFIG: dict[str, Any] = {
    "SchemaVersion": "1.0",
    "SageMaker": {
        "TrainingJob": {"RoleArn": ROLE, "Environment": {"API_TOKEN": "hidden"}},
        "PythonSDK": {
            "Modules": {
                "Session": {
                    "DefaultS3Bucket": "bucket-of-config",
                    "DefaultS3ObjectKeyPrefix": "team/a",
                }
            }
        },
    },
}
CONFIG_FILE = f"""
SchemaVersion: '1.0'
SageMaker:
  TrainingJob:
    RoleArn: {ROLE}
"""


@pytest.fixture(autouse=True)
def account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    with open_account(monkeypatch, tmp_path):
        yield


def test_a_session_is_one_of_sagemaker() -> None:
    session = Session(make_session())
    assert isinstance(session, JobSession)
    assert (session.stops_on_interrupt, session.allows_file_uris) == (False, False)
    assert session.boto_session is make_session()
    assert session.boto_region_name == REGION
    assert session.account_id() == ACCOUNT
    assert session.sagemaker_client.meta.service_model.service_name == "sagemaker"
    assert "sagemaker-sift/" in session.sagemaker_client.meta.config.user_agent
    assert repr(session) == f"Session(region {REGION!r})"


def test_a_given_client_is_kept() -> None:
    client = make_client("sagemaker", OTHER_REGION)
    session = Session(make_session(), client)
    assert session.sagemaker_client is client
    assert session.boto_region_name == OTHER_REGION


def test_arguments_for_serving_are_refused() -> None:
    expected = r"Session does not use `sagemaker_runtime_client`, `settings`\. Leave it out"
    given: Any = object()
    with pytest.raises(TypeError, match=expected):
        Session(make_session(), sagemaker_runtime_client=given, settings=given)


def test_the_time_between_two_looks_varies_by_a_fifth() -> None:
    numbers = iter([0.0, 0.5, 0.999])
    session = Session(make_session(), draw=lambda: next(numbers))
    assert session.poll_s == pytest.approx(4.0)
    assert session.poll_s == pytest.approx(5.0)
    assert session.poll_s == pytest.approx(5.998)
    session.poll_s = 0.0
    numbers = iter([0.7])
    assert session.poll_s == 0.0


def test_the_argument_comes_before_the_config_and_the_config_before_the_rule() -> None:
    ruled = Session(make_session())
    assert ruled.default_bucket() == f"sagemaker-{REGION}-{ACCOUNT}"
    assert ruled.default_output_path() == f"s3://sagemaker-{REGION}-{ACCOUNT}/"
    assert ruled.default_bucket_prefix is None
    configured = Session(make_session(), sagemaker_config=CONFIG)
    assert configured.default_bucket() == "bucket-of-config"
    assert configured.default_output_path() == "s3://bucket-of-config/team/a/"
    given = Session(
        make_session(),
        default_bucket=BUCKET,
        default_bucket_prefix="mine",
        sagemaker_config=CONFIG,
    )
    assert given.default_output_path() == f"s3://{BUCKET}/mine/"


def test_a_named_bucket_is_not_made() -> None:
    session = Session(make_session(), default_bucket="not-made")
    assert session.default_bucket() == "not-made"
    names = [bucket["Name"] for bucket in make_client("s3").list_buckets()["Buckets"]]
    assert names == [BUCKET]


def test_the_config_files_are_read_from_disk_and_from_s3(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert Session(make_session()).defaults.settings() == []
    file = tmp_path / "config.yaml"
    file.write_text(CONFIG_FILE)
    monkeypatch.setenv("SAGEMAKER_USER_CONFIG_OVERRIDE", str(file))
    assert Session(make_session()).default_role() == ROLE
    other = CONFIG_FILE.replace("trainer", "of-s3")
    make_client("s3").put_object(Bucket=BUCKET, Key="team/config.yaml", Body=other.encode())
    for uri in (f"s3://{BUCKET}/team/config.yaml", f"s3://{BUCKET}/team"):
        monkeypatch.setenv("SAGEMAKER_USER_CONFIG_OVERRIDE", uri)
        assert Session(make_session()).default_role().endswith("of-s3")
    monkeypatch.setenv("SAGEMAKER_USER_CONFIG_OVERRIDE", f"s3://{BUCKET}/nothing.yaml")
    with pytest.raises(exceptions.ConfigurationError, match="does not exist"):
        Session(make_session())


def test_defaults_may_be_given_as_they_are() -> None:
    defaults = Defaults([Setting("SageMaker.TrainingJob.RoleArn", ROLE, "here")])
    session = Session(make_session(), sagemaker_config=defaults)
    assert session.defaults is defaults
    assert session.default_role() == ROLE
    with pytest.raises(exceptions.ConfigurationError, match="sagemaker_config"):
        Session(make_session(), sagemaker_config={"SageMaker": {"TrainingJob": 3}})


def test_without_a_config_the_role_is_the_one_that_runs_here() -> None:
    session = Session(make_session())
    stubber = Stubber(session._clients.get("sts"))
    arn = f"arn:aws:sts::{ACCOUNT}:assumed-role/trainer/me"
    stubber.add_response("get_caller_identity", {"Arn": arn, "Account": ACCOUNT})
    make_client("iam").create_role(
        RoleName="trainer", Path="/service-role/", AssumeRolePolicyDocument="{}"
    )
    with stubber:
        assert session.default_role() == ROLE
    assert session.get_caller_identity_arn() == ROLE
    assert session.expand_role("trainer") == ROLE
    assert get_execution_role(session) == ROLE


def test_a_user_is_told_to_give_a_role() -> None:
    with pytest.raises(exceptions.InvalidRequestError, match=f"{ACCOUNT}:user/moto is no role"):
        get_execution_role(Session(make_session()))
    assert get_execution_role(LocalSession("unused")).endswith("role/sagemaker-sift-local")


@pytest.fixture(autouse=True)
def own_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("location", ["s3://b/train", "https://s3/b", "arn://x"])
def test_uris_are_inputs_as_they_are(location: str) -> None:
    assert Session(make_session()).to_input_uri(location) == location


@pytest.mark.parametrize("location", ["data/train", "/data/train", "file:///data/train"])
def test_paths_must_be_uploaded_first(location: str) -> None:
    with pytest.raises(exceptions.InvalidRequestError) as caught:
        Session(make_session()).to_input_uri(location)
    assert str(caught.value) == (
        f"`inputs` has {location!r}, which is on this machine, where SageMaker cannot read it. "
        f"Upload it first: session.upload_data({location.removeprefix('file://')!r})."
    )


def test_a_session_explains_itself_without_asking_aws() -> None:
    session = Session(make_session(), sagemaker_config=CONFIG, default_bucket_prefix="mine")
    for service in ("s3", "sts", "sagemaker"):
        Stubber(session._clients.get(service)).activate()  # any call would fail
    lines = str(session.explain()).splitlines()
    assert lines[0].split() == ["setting", "value", "source"]
    assert [line.split() for line in lines[1:]] == [
        ["region", REGION, "boto3", "session"],
        [
            "SageMaker.PythonSDK.Modules.Session.DefaultS3Bucket",
            "bucket-of-config",
            "sagemaker_config",
        ],
        ["default_bucket_prefix", "mine", "argument", "of", "Session"],
        [
            "SageMaker.PythonSDK.Modules.Session.DefaultS3ObjectKeyPrefix",
            "team/a",
            "sagemaker_config",
        ],
        ["SageMaker.TrainingJob.Environment", "API_TOKEN=***", "sagemaker_config"],
        ["SageMaker.TrainingJob.RoleArn", ROLE, "sagemaker_config"],
    ]
    assert len({line.index(line.split()[1]) for line in lines}) == 1
    assert "hidden" not in repr(session.explain())


def test_what_is_not_set_is_explained_too() -> None:
    rows = {row.path: (row.value, row.source) for row in Session(make_session()).explain()}
    assert rows == {
        "region": (REGION, "boto3 session"),
        "default_bucket": (f"sagemaker-{REGION}-{{account}}", "made when first needed"),
        "role": ("the role that runs here", "identity of the credentials"),
    }


def test_sections_that_are_not_used_are_explained() -> None:
    defaults = Defaults([], [("SageMaker.Model", "file:3")])
    rows = Session(make_session(), sagemaker_config=defaults).explain().rows
    assert rows[-1] == Setting("SageMaker.Model", "(not used)", "file:3")


def test_a_local_session_explains_itself(tmp_path: Path) -> None:
    defaults = Defaults([Setting("SageMaker.TrainingJob.RoleArn", ROLE, "here")])
    explanation = LocalSession(tmp_path, defaults=defaults).explain()
    assert isinstance(explanation, Explanation)
    assert [(row.path, row.value) for row in explanation] == [
        ("root", str(tmp_path)),
        ("account", "000000000000"),
        ("default_bucket", "sagemaker-sift-local"),
        ("SageMaker.TrainingJob.RoleArn", ROLE),
    ]


def make_foreign(**more: Any) -> Any:
    """Return what a session of the SageMaker SDK looks like from outside."""
    client = make_client("sagemaker")
    return SimpleNamespace(boto_session=make_session(), sagemaker_client=client, **more)


def test_sessions_of_ours_stay_and_none_is_a_new_one(tmp_path: Path) -> None:
    local = LocalSession(tmp_path)
    assert adopt_session(local) is local
    assert isinstance(adopt_session(None), Session)


def test_a_session_of_the_sdk_is_taken_over() -> None:
    foreign = make_foreign(
        _default_bucket=None,
        _default_bucket_name_override=BUCKET,
        default_bucket_prefix="team/b",
        sagemaker_config=CONFIG,
    )
    session = adopt_session(foreign)
    assert isinstance(session, Session)
    assert session.boto_session is foreign.boto_session
    assert session.sagemaker_client is foreign.sagemaker_client
    assert session.default_output_path() == f"s3://{BUCKET}/team/b/"
    assert session.default_role() == ROLE


@pytest.mark.parametrize(
    ("more", "bucket"),
    [
        ({"_default_bucket": "used"}, "used"),
        ({"_default_bucket": "ruled", "_default_bucket_set_by_sdk": True}, None),
        ({"_default_bucket": "used", "_default_bucket_name_override": "named"}, "named"),
        ({}, None),
    ],
)
def test_the_bucket_of_the_sdks_session_is_taken_over(
    more: dict[str, Any], bucket: str | None
) -> None:
    session = adopt_session(make_foreign(sagemaker_config={}, **more))
    assert isinstance(session, Session)
    assert session.default_bucket() == (bucket or f"sagemaker-{REGION}-{ACCOUNT}")
    assert session.defaults.settings() == []


@pytest.mark.parametrize("value", ["us-east-1", object(), 3])
def test_what_is_no_session_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match=r"is no session. Give Session\(\)"):
        adopt_session(value)


def test_a_local_session_of_the_sdk_is_refused() -> None:
    with pytest.raises(TypeError, match=r"Give sagemaker_sift.LocalSession\(\) instead"):
        adopt_session(make_foreign(local_mode=True))


def test_boto3_is_loaded_by_the_first_session_only(tmp_path: Path) -> None:
    program = f"""
import sys
from sagemaker_sift.session import LocalSession, Session, adopt_session, get_execution_role
session = LocalSession({str(tmp_path)!r})
session.sagemaker_client.list_training_jobs()
session.explain()
adopt_session(session)
print(sorted({{"boto3", "s3transfer", "yaml", "rich", "pandas"}} & set(sys.modules)))
Session()
print("boto3" in sys.modules)
"""
    command = [sys.executable, "-c", program]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert output.split("\n")[:2] == ["[]", "True"]
