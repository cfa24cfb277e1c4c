"""Logs and metrics in CloudWatch Logs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from botocore.stub import Stubber

from sagemaker_sift.backends.aws.log_streams import LOG_GROUP
from sagemaker_sift.backends.metric_definitions import MetricReader
from sagemaker_sift.contract.metrics import MetricPoint
from sagemaker_sift.exceptions import AccessDeniedError, NotFoundError
from sagemaker_sift.session import Session
from tests.supports.aws import (
    ACCOUNT,
    BUCKET,
    FIRST_EVENT_MS,
    REGION,
    make_client,
    make_session,
    open_account,
    write_log,
)

START_S = FIRST_EVENT_MS / 1000
STREAM = "job/algo-1-1"


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Session]:
    with open_account(monkeypatch, tmp_path):
        yield Session(make_session(), default_bucket=BUCKET)


def stub(session: Session, service: str) -> Stubber:
    stubber = Stubber(session._clients.get(service))
    stubber.activate()
    return stubber


def describe_job(session: Session, **more: Any) -> None:
    """Answer DescribeTrainingJob, once or twice, with metrics as the job of these tests has."""
    answer = {
        "TrainingJobName": "job",
        "TrainingJobArn": f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:training-job/job",
        "ModelArtifacts": {"S3ModelArtifacts": ""},
        "TrainingJobStatus": "InProgress",
        "SecondaryStatus": "Training",
        "StoppingCondition": {},
        "CreationTime": datetime.fromtimestamp(0, tz=UTC),
        "AlgorithmSpecification": {
            "TrainingInputMode": "File",
            "MetricDefinitions": [{"Name": "loss", "Regex": "loss=([0-9.]+)"}],
        },
    } | more
    stubber = stub(session, "sagemaker")
    for _ in range(2):
        stubber.add_response("describe_training_job", answer)


def test_a_job_without_a_log_has_no_lines(session: Session) -> None:
    assert session.read_log("job")[0] == []
    write_log("another-job/algo-1-1", ["x"])
    lines, position = session.read_log("job")
    assert lines == []
    write_log(STREAM, ["first"])
    assert session.read_log("job", position)[0] == ["first"]


def test_the_log_goes_on_from_a_position(session: Session) -> None:
    write_log(STREAM, ["one", "two"])
    lines, first = session.read_log("job")
    assert lines == ["one", "two"]
    assert session.read_log("job", first)[0] == []
    write_log(STREAM, [(2, "three\nfour\r\n"), (3, "\n")])
    lines, second = session.read_log("job", first)
    assert lines == ["three", "four", ""]
    assert session.read_log("job", first)[0] == lines
    assert session.read_log("job", second)[0] == []
    with pytest.raises(TypeError):
        first["x"] = 1


def test_jobs_whose_names_begin_alike_are_kept_apart(session: Session) -> None:
    write_log("job/algo-1-1", ["mine"])
    write_log("job-2/algo-1-1", ["not mine"])
    assert session.read_log("job")[0] == ["mine"]


def test_hosts_are_merged_by_time_and_named(session: Session) -> None:
    write_log("job/algo-1-1790", [(0, "a"), (20, "c")])
    assert session.read_log("job")[0] == ["a", "c"]
    write_log("job/algo-2-1790", [(10, "b\nb2"), (30, "d")])
    expected = ["algo-1: a", "algo-2: b", "algo-2: b2", "algo-1: c", "algo-2: d"]
    assert session.read_log("job")[0] == expected


def test_a_host_that_was_started_again_is_still_one_host(session: Session) -> None:
    write_log("job/algo-1-1790", [(0, "a")])
    write_log("job/algo-1-1791", [(10, "b")])
    assert session.read_log("job")[0] == ["a", "b"]


def test_many_streams_are_all_found(session: Session) -> None:
    for idx in range(60):  # more than a page of DescribeLogStreams
        write_log(f"job/algo-{idx + 1}-1", [(idx, str(idx))])
    lines, _ = session.read_log("job")
    assert lines == [f"algo-{idx + 1}: {idx}" for idx in range(60)]


def answer_page(stubber: Stubber, token: str | None, after: str, *texts: str, at: int = 5) -> None:
    expected = {"logGroupName": LOG_GROUP, "logStreamName": STREAM, "startFromHead": True}
    if token is not None:
        expected["nextToken"] = token
    events = [{"timestamp": at, "message": text} for text in texts]
    stubber.add_response("get_log_events", {"events": events, "nextForwardToken": after}, expected)


def answer_streams(stubber: Stubber) -> None:
    stubber.add_response("describe_log_streams", {"logStreams": [{"logStreamName": STREAM}]})


def test_every_page_is_read_even_behind_an_empty_one(session: Session) -> None:
    stubber = stub(session, "logs")
    answer_streams(stubber)
    answer_page(stubber, None, "f/1", "a")
    answer_page(stubber, "f/1", "f/2")
    answer_page(stubber, "f/2", "f/3", "b")
    answer_page(stubber, "f/3", "f/3")
    assert session.read_log("job")[0] == ["a", "b"]
    stubber.assert_no_pending_responses()


def test_a_token_that_is_too_old_loses_and_repeats_nothing(session: Session) -> None:
    stubber = stub(session, "logs")
    answer_streams(stubber)
    answer_page(stubber, None, "f/1", "a", at=4)
    answer_page(stubber, "f/1", "f/2", "b", "c", at=5)
    answer_page(stubber, "f/2", "f/2")
    lines, position = session.read_log("job")
    assert lines == ["a", "b", "c"]
    answer_streams(stubber)
    stubber.add_client_error("get_log_events", "InvalidParameterException", "token expired")
    again = [{"timestamp": 5, "message": text} for text in "bcd"]
    again.append({"timestamp": 6, "message": "e"})
    expected = {
        "logGroupName": LOG_GROUP,
        "logStreamName": STREAM,
        "startFromHead": True,
        "startTime": 5,
    }
    stubber.add_response("get_log_events", {"events": again, "nextForwardToken": "f/9"}, expected)
    stubber.add_response(
        "get_log_events",
        {"events": [], "nextForwardToken": "f/9"},
        expected | {"nextToken": "f/9"},
    )
    lines, position = session.read_log("job", position)
    assert lines == ["d", "e"]
    answer_streams(stubber)
    answer_page(stubber, "f/9", "f/9")
    assert session.read_log("job", position)[0] == []
    stubber.assert_no_pending_responses()


def test_events_of_one_time_are_counted_over_calls(session: Session) -> None:
    stubber = stub(session, "logs")
    position = None
    for token, after, text in ((None, "f/1", "a"), ("f/1", "f/2", "b")):
        answer_streams(stubber)
        answer_page(stubber, token, after, text)
        answer_page(stubber, after, after)
        _, position = session.read_log("job", position)
    assert position is not None
    assert position[STREAM].num_at_last == 2


def test_a_stream_that_vanishes_is_passed_over(session: Session) -> None:
    stubber = stub(session, "logs")
    answer_streams(stubber)
    stubber.add_client_error("get_log_events", "ResourceNotFoundException")
    assert session.read_log("job")[0] == []


def test_a_log_that_may_not_be_read_says_which_permission_is_missing(session: Session) -> None:
    stub(session, "logs").add_client_error("describe_log_streams", "AccessDeniedException", "no")
    with pytest.raises(AccessDeniedError, match="the log of 'job': no") as caught:
        session.read_log("job")
    assert caught.value.action == "logs:DescribeLogStreams"


def test_addresses_of_the_console(session: Session) -> None:
    assert session.describe_log("my-job") == (
        "https://eu-west-1.console.aws.amazon.com/cloudwatch/home?region=eu-west-1#logsV2:"
        "log-groups/log-group/$252Faws$252Fsagemaker$252FTrainingJobs"
        "$3FlogStreamNameFilter$3Dmy-job$252F"
    )
    assert session.describe_metrics("my-job") == (
        "https://eu-west-1.console.aws.amazon.com/sagemaker/home?region=eu-west-1#/jobs/my-job"
    )


def test_metrics_are_read_from_the_log_with_their_times(session: Session) -> None:
    describe_job(session)
    write_log("job/algo-1-1", [(0, "loss=0.5"), (10, "nothing"), (3000, "x loss=0.25 y")])
    first = [MetricPoint("loss", 0.5, START_S), MetricPoint("loss", 0.25, START_S + 3)]
    assert session.read_metrics("job") == first
    calls: list[Any] = []
    events = session._clients.get("logs").meta.events
    events.register(
        "provide-client-params.cloudwatch-logs.GetLogEvents",
        lambda params, **_: calls.append(params.get("nextToken")),
    )
    write_log("job/algo-2-1", [(1000, "loss=0.4")])
    assert session.read_metrics("job") == [
        first[0],
        MetricPoint("loss", 0.4, START_S + 1),
        first[1],
    ]
    assert calls[0] is not None


FINAL = {
    "FinalMetricDataList": [
        {"MetricName": "b", "Value": 0.5, "Timestamp": datetime.fromtimestamp(20, tz=UTC)},
        {"MetricName": "a", "Value": 0.25, "Timestamp": datetime.fromtimestamp(10, tz=UTC)},
    ]
}


@pytest.mark.parametrize("reason", ["denied", "gone"])
def test_without_a_log_the_last_values_are_taken(reason: str, session: Session) -> None:
    describe_job(session, **FINAL)
    if reason == "denied":
        stub(session, "logs").add_client_error("describe_log_streams", "AccessDeniedException")
    assert session.read_metrics("job") == [
        MetricPoint("a", 0.25, 10.0),
        MetricPoint("b", 0.5, 20.0),
    ]


def test_a_log_in_which_nothing_is_found_leaves_the_last_values(session: Session) -> None:
    describe_job(session, **FINAL)
    write_log("job/algo-1-1", [(0, "no metric here")])
    assert [point.name for point in session.read_metrics("job")] == ["a", "b"]


def test_metrics_of_an_unknown_job_are_an_error(session: Session) -> None:
    with pytest.raises(NotFoundError, match="Could not find training job"):
        session.read_metrics("nothing")


def test_definitions_that_find_no_number_find_nothing() -> None:
    reader = MetricReader(
        [
            {"Name": "broken", "Regex": "("},
            {"Name": "no-group", "Regex": "loss"},
            {"Name": "word", "Regex": "loss=(.)"},
            {"Name": "optional", "Regex": "loss(x)?"},
            {"Name": "good", "Regex": "=([a-z0-9]+)"},
        ]
    )
    assert [point.name for point in reader.read("loss=nan", 1.0)] == ["good"]
    assert list(reader.read("loss=abc", 1.0)) == []
    assert list(reader.read("loss=3", 2.0)) == [
        MetricPoint("word", 3.0, 2.0),
        MetricPoint("good", 3.0, 2.0),
    ]


def test_the_log_of_moto_is_the_one_that_is_read(session: Session) -> None:
    write_log(STREAM, ["x"])
    groups = make_client("logs").describe_log_groups()["logGroups"]
    assert [group["logGroupName"] for group in groups] == ["/aws/sagemaker/TrainingJobs"]
