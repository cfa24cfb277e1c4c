"""Clients, regions and roles."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from sagemaker_sift.backends.aws.clients import AwsClients
from sagemaker_sift.backends.aws.identity import AwsIdentity
from sagemaker_sift.exceptions import (
    CredentialsError,
    InvalidRequestError,
    NotFoundError,
    UnreachableError,
)
from tests.supports.aws import (
    ACCOUNT,
    OTHER_REGION,
    REGION,
    make_client,
    make_session,
    open_account,
)

DOMAIN_ROLE = f"arn:aws:iam::{ACCOUNT}:role/domain"
USER_ROLE = f"arn:aws:iam::{ACCOUNT}:role/user-profile"
SPACE_ROLE = f"arn:aws:iam::{ACCOUNT}:role/space"


@pytest.fixture(autouse=True)
def account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    with open_account(monkeypatch, tmp_path):
        yield


def make_role(name: str, path: str = "/") -> str:
    response = make_client("iam").create_role(
        RoleName=name, Path=path, AssumeRolePolicyDocument="{}"
    )
    return str(response["Role"]["Arn"])


def assume(role: str) -> Any:
    keys = make_client("sts").assume_role(RoleArn=role, RoleSessionName="me")["Credentials"]
    return boto3.Session(
        keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"], REGION
    )


def describe_caller(arn: str) -> tuple[AwsClients, Stubber]:
    clients = AwsClients(make_session())
    stubber = Stubber(clients.get("sts"))
    caller = {"Arn": arn, "Account": ACCOUNT, "UserId": "me"}
    stubber.add_response("get_caller_identity", caller)
    stubber.activate()
    return clients, stubber


def deny(client: Any, method: str) -> None:
    stubber = Stubber(client)
    stubber.add_client_error(method, "AccessDenied", "not allowed")
    stubber.activate()


def test_clients_are_made_once_with_retries_and_a_name() -> None:
    clients = AwsClients(make_session(), None, "sagemaker-sift/1")
    client = clients.get("sagemaker")
    assert clients.get("sagemaker") is client
    assert client.meta.config.retries == {"mode": "adaptive", "total_max_attempts": 11}
    assert "sagemaker-sift/1" in client.meta.config.user_agent
    assert client.meta.region_name == REGION


def test_a_given_client_is_used_and_lends_its_region() -> None:
    given = make_client("sagemaker", OTHER_REGION)
    clients = AwsClients(make_session(), given)
    assert clients.get("sagemaker") is given
    assert clients.region == OTHER_REGION
    assert clients.get("s3").meta.region_name == OTHER_REGION


@pytest.mark.parametrize(
    ("variables", "region"),
    [
        ({"AWS_REGION": OTHER_REGION}, OTHER_REGION),
        ({"AWS_DEFAULT_REGION": REGION, "AWS_REGION": OTHER_REGION}, REGION),
    ],
)
def test_the_region_comes_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], region: str
) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert AwsClients().region == region


def test_without_a_region_the_error_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    with pytest.raises(UnreachableError, match=r"Set AWS_REGION.*region_name=.*LocalSession\(\)"):
        AwsClients()


def test_boto3s_default_session_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    default = boto3.Session(region_name=OTHER_REGION)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", default)
    assert AwsClients().boto_session is default


def test_an_unknown_profile_is_a_credentials_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(CredentialsError, match="nobody"):
        AwsClients()


def test_the_account_is_asked_for_once() -> None:
    clients, stubber = describe_caller(f"arn:aws:iam::{ACCOUNT}:user/me")
    identity = AwsIdentity(clients)
    assert identity.account_id == ACCOUNT
    assert identity.account_id == ACCOUNT
    stubber.assert_no_pending_responses()


def test_the_role_behind_the_credentials_has_its_path() -> None:
    role = make_role("trainer", "/team/a/")
    identity = AwsIdentity(AwsClients(assume(role)))
    assert identity.execution_role() == role == f"arn:aws:iam::{ACCOUNT}:role/team/a/trainer"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("trainer", "role/trainer"),
        ("AmazonSageMaker-ExecutionRole-1", "role/service-role/AmazonSageMaker-ExecutionRole-1"),
    ],
)
def test_a_role_that_may_not_be_looked_up_is_guessed(name: str, expected: str) -> None:
    clients, _ = describe_caller(f"arn:aws-cn:sts::{ACCOUNT}:assumed-role/{name}/me")
    deny(clients.get("iam"), "get_role")
    assert AwsIdentity(clients).execution_role() == f"arn:aws-cn:iam::{ACCOUNT}:{expected}"


@pytest.mark.parametrize("who", ["user/me", "root"])
def test_a_user_has_no_execution_role(who: str) -> None:
    clients, _ = describe_caller(f"arn:aws:iam::{ACCOUNT}:{who}")
    identity = AwsIdentity(clients)
    assert identity.arn == f"arn:aws:iam::{ACCOUNT}:{who}"
    with pytest.raises(InvalidRequestError, match=r"Pass `role=`, or set .*RoleArn"):
        identity.execution_role()


def test_role_names_are_looked_up_and_arns_stay() -> None:
    role = make_role("trainer", "/service-role/")
    identity = AwsIdentity(AwsClients())
    assert identity.expand_role("arn:aws:iam::1:role/x") == "arn:aws:iam::1:role/x"
    assert identity.expand_role("trainer") == role
    assert identity.expand_role("service-role/trainer") == role


def test_a_role_that_is_not_there_is_named() -> None:
    with pytest.raises(InvalidRequestError) as caught:
        AwsIdentity(AwsClients()).expand_role("trainr")
    assert str(caught.value) == (
        f"`role` is 'trainr', but account {ACCOUNT} has no role of that name. Check the name, or "
        "give the ARN, arn:aws:iam::<account>:role/<name>."
    )


def test_a_role_that_may_not_be_looked_up_must_be_an_arn() -> None:
    clients = AwsClients()
    deny(clients.get("iam"), "get_role")
    with pytest.raises(InvalidRequestError, match=r"iam:GetRole is not allowed.*give the ARN"):
        AwsIdentity(clients).expand_role("trainer")


DOMAIN = {"DomainId": "d-aaaa"}
DOMAIN_ANSWER = {
    "DefaultUserSettings": {"ExecutionRole": DOMAIN_ROLE},
    "DefaultSpaceSettings": {"ExecutionRole": SPACE_ROLE},
}
PROFILE_CALL = ("describe_user_profile", DOMAIN | {"UserProfileName": "me"})
SPACE_CALL = ("describe_space", DOMAIN | {"SpaceName": "s"})
NOTEBOOKS: dict[str, tuple[dict[str, str], list[tuple[tuple[str, Any], Any]], str]] = {
    "named-role": ({"ExecutionRoleArn": USER_ROLE, "DomainId": "d-aaaa"}, [], USER_ROLE),
    "instance": (
        {"ResourceName": "my-notebook"},
        [
            (
                ("describe_notebook_instance", {"NotebookInstanceName": "my-notebook"}),
                {"RoleArn": USER_ROLE},
            )
        ],
        USER_ROLE,
    ),
    "profile": (
        {**DOMAIN, "UserProfileName": "me", "ResourceName": "default"},
        [(PROFILE_CALL, {"UserSettings": {"ExecutionRole": USER_ROLE}})],
        USER_ROLE,
    ),
    "profile-of-the-domain": (
        {**DOMAIN, "UserProfileName": "me"},
        [(PROFILE_CALL, {}), (("describe_domain", DOMAIN), DOMAIN_ANSWER)],
        DOMAIN_ROLE,
    ),
    "shared-space": (
        {**DOMAIN, "SpaceName": "s"},
        [
            (SPACE_CALL, {"SpaceSharingSettings": {"SharingType": "Shared"}}),
            (("describe_domain", DOMAIN), DOMAIN_ANSWER),
        ],
        SPACE_ROLE,
    ),
    "private-space": (
        {**DOMAIN, "SpaceName": "s"},
        [
            (
                SPACE_CALL,
                {
                    "SpaceSharingSettings": {"SharingType": "Private"},
                    "OwnershipSettings": {"OwnerUserProfileName": "me"},
                },
            ),
            (PROFILE_CALL, {"UserSettings": {"ExecutionRole": USER_ROLE}}),
        ],
        USER_ROLE,
    ),
}


@pytest.mark.parametrize("case", NOTEBOOKS)
def test_a_notebook_runs_under_its_own_role(case: str, tmp_path: Path) -> None:
    metadata, calls, expected = NOTEBOOKS[case]
    file = tmp_path / "metadata.json"
    file.write_text(json.dumps(metadata))
    clients = AwsClients()
    stubber = Stubber(clients.get("sagemaker"))
    for (method, arguments), answer in calls:
        stubber.add_response(method, answer, arguments)
    stubber.activate()
    assert AwsIdentity(clients, file).execution_role() == expected
    stubber.assert_no_pending_responses()


@pytest.mark.parametrize("content", ["no json", "[]", "{}", '{"ResourceName": "n"}'])
def test_a_notebook_that_does_not_say_falls_back_to_the_credentials(
    content: str, tmp_path: Path
) -> None:
    (tmp_path / "metadata.json").write_text(content)
    clients = AwsClients(assume(make_role("trainer")))
    deny(clients.get("sagemaker"), "describe_notebook_instance")
    identity = AwsIdentity(clients, tmp_path / "metadata.json")
    assert identity.execution_role() == f"arn:aws:iam::{ACCOUNT}:role/trainer"


def test_a_notebook_that_is_gone_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "metadata.json").write_text('{"ResourceName": "gone"}')
    with pytest.raises(NotFoundError, match="the execution role of this notebook"):
        AwsIdentity(AwsClients(), tmp_path / "metadata.json").execution_role()
