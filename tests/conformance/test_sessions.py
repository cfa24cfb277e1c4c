"""The sessions' suite on this machine, on AWS in this process, and over HTTP."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import boto3
import pytest
from botocore.config import Config
from moto.server import ThreadedMotoServer

from sagemaker_sift.backends.local.supervisor import LOG_NAME
from sagemaker_sift.session import JobSession, LocalSession, Session
from tests.conformance.session_suite import ROLE, SessionSuite
from tests.supports.aws import (
    ACCOUNT,
    FIRST_EVENT_MS,
    REGION,
    make_bucket,
    make_session,
    open_account,
    set_environment,
    write_log,
)

ROLE_NAME = ROLE.rpartition("/")[2]


class TestLocalSession(SessionSuite):
    """Jobs on this machine."""

    @pytest.fixture
    def session(self, tmp_path: Path) -> JobSession:
        return LocalSession(tmp_path / "root")

    def make_bucket(self, name: str) -> None:
        """Do nothing: buckets are folders, made when needed."""

    def write_log(self, session: JobSession, job_name: str, lines: Sequence[str]) -> None:
        assert isinstance(session, LocalSession)
        path = Path(session.describe_log(job_name))
        assert path.name == LOG_NAME
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as file:
            file.writelines(f"{line}\n" for line in lines)


class AwsSuite(SessionSuite):
    """Sessions of AWS have a role of their own and make the default bucket."""

    num_written = 0

    def make_bucket(self, name: str) -> None:
        make_bucket(name)

    def write_log(self, session: JobSession, job_name: str, lines: Sequence[str]) -> None:
        start_ms = FIRST_EVENT_MS + self.num_written
        write_log(f"{job_name}/algo-1-1790000000", lines, start_ms)
        self.num_written += len(lines)


def assume_role(clients: boto3.Session) -> boto3.Session:
    """Make a role and return a session of boto3 that runs under it."""
    role = clients.client("iam").create_role(
        RoleName=ROLE_NAME, Path="/service-role/", AssumeRolePolicyDocument="{}"
    )["Role"]["Arn"]
    keys = clients.client("sts").assume_role(RoleArn=role, RoleSessionName="me")["Credentials"]
    return boto3.Session(
        keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"], REGION
    )


class TestSession(AwsSuite):
    """Jobs on AWS, as moto answers in this process."""

    @pytest.fixture
    def session(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[JobSession]:
        with open_account(monkeypatch, tmp_path):
            yield Session(assume_role(make_session()))

    def test_the_role_that_runs_here_is_the_default(self, session: JobSession) -> None:
        assert session.default_role() == ROLE
        assert session.expand_role(ROLE_NAME) == ROLE


class TestSessionOverHttp:
    """One way through over real HTTP, with the endpoint that the environment names."""

    @pytest.fixture
    def endpoint(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
        set_environment(monkeypatch, tmp_path)
        server = ThreadedMotoServer("127.0.0.1", 0)
        server.start()
        try:
            host, port = server.get_host_and_port()
            monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
            yield f"http://{host}:{port}"
        finally:
            server.stop()

    def test_data_and_logs_go_through(self, endpoint: str, tmp_path: Path) -> None:
        clients = boto3.Session(region_name=REGION)
        session = Session(clients)
        assert session.sagemaker_client.meta.endpoint_url == endpoint
        (tmp_path / "set" / "cat").mkdir(parents=True)
        content = bytes(range(256)) * (9 << 12)
        (tmp_path / "set" / "cat" / "1.rec").write_bytes(content)
        (tmp_path / "set" / "a b.lst").write_bytes(b"list")
        uri = session.upload_data(str(tmp_path / "set"))
        assert uri == f"s3://sagemaker-{REGION}-{ACCOUNT}/data"
        assert session.to_local_path(f"{uri}/cat/1.rec").read_bytes() == content
        assert session.to_local_path(f"{uri}/a b.lst").read_bytes() == b"list"
        role = clients.client("iam", config=Config(retries={"total_max_attempts": 1})).create_role(
            RoleName=ROLE_NAME, Path="/service-role/", AssumeRolePolicyDocument="{}"
        )
        assert session.expand_role(ROLE_NAME) == role["Role"]["Arn"] == ROLE
        logs = clients.client("logs")
        place = {"logGroupName": "/aws/sagemaker/TrainingJobs", "logStreamName": "job/algo-1-1"}
        logs.create_log_group(logGroupName=place["logGroupName"])
        logs.create_log_stream(**place)
        event = {"timestamp": FIRST_EVENT_MS, "message": "hello"}
        logs.put_log_events(logEvents=[event], **place)
        assert session.read_log("job")[0] == ["hello"]
