"""Algorithm resources: registered, found, listed, waited for and deleted, at boto3's client."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from sagemaker_sift import Algorithm, AlgorithmFailedError, AlgorithmSummary, LocalSession
from sagemaker_sift.contract.specification import (
    ALGORITHM_NAME,
    INSTANCE_TYPES,
    build_training_specification,
    is_bundled,
)
from sagemaker_sift.exceptions import (
    AccessDeniedError,
    BackendError,
    ConflictError,
    InvalidRequestError,
    NotFoundError,
)
from tests.supports.aws import ACCOUNT, REGION, set_environment

IMAGE = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/sift:1"
ARN = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:algorithm/mine"
NOW = datetime(2026, 11, 21, tzinfo=UTC)


class StubbedSession(SimpleNamespace):
    """A session on AWS whose answers the test writes down."""

    sagemaker_client: Any
    stub: Stubber
    poll_s: float


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[StubbedSession]:
    set_environment(monkeypatch, tmp_path)
    client = boto3.client("sagemaker")
    with Stubber(client) as stub:
        yield StubbedSession(sagemaker_client=client, stub=stub, poll_s=7.0)
        stub.assert_no_pending_responses()


def describe(status: str = "Completed", **more: Any) -> dict[str, Any]:
    """Return a DescribeAlgorithm response."""
    return {
        "AlgorithmName": "mine",
        "AlgorithmArn": ARN,
        "CreationTime": NOW,
        "TrainingSpecification": build_training_specification(IMAGE),
        "AlgorithmStatus": status,
        "AlgorithmStatusDetails": {},
        **more,
    }


def test_the_bundled_algorithm_registers_under_any_name_and_knows_its_arn(
    session: StubbedSession,
) -> None:
    algorithm = Algorithm.from_contract(IMAGE, name="mine", tags=[{"Key": "a", "Value": "b"}])
    expected = {
        "AlgorithmName": "mine",
        "AlgorithmDescription": "Image classification with sifting: ResNet training in which "
        "samples of low loss are dropped before the forward and backward pass.",
        "TrainingSpecification": build_training_specification(IMAGE),
        "Tags": [{"Key": "a", "Value": "b"}],
    }
    session.stub.add_response("create_algorithm", {"AlgorithmArn": ARN}, expected)
    assert algorithm.register(session, wait=False) is algorithm
    assert algorithm.arn == ARN
    assert is_bundled(algorithm.training_specification)


def test_waiting_looks_again_until_it_is_ready(session: StubbedSession) -> None:
    session.stub.add_response("create_algorithm", {"AlgorithmArn": ARN})
    for status in ("Pending", "InProgress", "Completed"):
        session.stub.add_response("describe_algorithm", describe(status), {"AlgorithmName": ARN})
    slept: list[float] = []
    Algorithm.from_contract(IMAGE, name="mine").register(session, sleep=slept.append)
    assert slept == [7.0, 7.0]


def test_a_failure_names_each_validation_and_scan_that_failed(session: StubbedSession) -> None:
    details = {
        "ValidationStatuses": [
            {"Name": "train", "Status": "Failed", "FailureReason": "exit code 1"},
            {"Name": "transform", "Status": "NotStarted"},
        ],
        "ImageScanStatuses": [
            {"Name": "sift", "Status": "Failed"},
            {"Name": "serve", "Status": "Completed"},
        ],
    }
    session.stub.add_response(
        "describe_algorithm", describe("Failed", AlgorithmStatusDetails=details)
    )
    algorithm = Algorithm("mine", {}, sagemaker_session=session)
    with pytest.raises(AlgorithmFailedError) as caught:
        algorithm.wait()
    assert caught.value.reasons == (
        "validation 'train': exit code 1",
        "scan of image 'sift': no reason given",
    )
    assert str(caught.value) == (
        "Algorithm 'mine' failed:\n  validation 'train': exit code 1\n"
        "  scan of image 'sift': no reason given"
    )


@pytest.mark.parametrize(
    ("status", "says"),
    [("Failed", "SageMaker gave no reason."), ("Deleting", "it is being deleted")],
)
def test_waiting_ends_when_it_can_never_be_ready(
    session: StubbedSession, status: str, says: str
) -> None:
    session.stub.add_response("describe_algorithm", describe(status))
    with pytest.raises(AlgorithmFailedError, match=says):
        Algorithm("mine", {}, sagemaker_session=session).wait()


def test_what_breaks_a_rule_is_never_sent(session: StubbedSession) -> None:
    specification = build_training_specification(IMAGE)
    specification["SupportedHyperParameters"][0]["DefaultValue"] = "2"
    with pytest.raises(InvalidRequestError, match="what has a default is not"):
        Algorithm("mine", specification).register(session)


def test_a_taken_name_and_a_denied_call_are_named(session: StubbedSession) -> None:
    session.stub.add_client_error("create_algorithm", "ConflictException", "already exists")
    with pytest.raises(ConflictError, match="algorithm 'mine': already exists"):
        Algorithm.from_contract(IMAGE, name="mine").register(session)
    session.stub.add_client_error("create_algorithm", "AccessDeniedException", "no")
    with pytest.raises(AccessDeniedError) as caught:
        Algorithm.from_contract(IMAGE, name="mine").register(session)
    assert caught.value.action == "sagemaker:CreateAlgorithm"


def test_what_is_found_is_what_was_registered(session: StubbedSession) -> None:
    found_as = describe(ProductId="product-1", AlgorithmDescription="d")
    session.stub.add_response("describe_algorithm", found_as, {"AlgorithmName": "mine"})
    found = Algorithm.find("mine", session)
    assert (found.name, found.arn, found.product_id) == ("mine", ARN, "product-1")
    assert found.description == "d"
    assert found.training_specification == build_training_specification(IMAGE)
    assert found.to_description() == found_as
    assert "AlgorithmArn" not in found.to_request()


def test_an_arn_of_another_region_is_refused_before_the_call(session: StubbedSession) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        Algorithm.find(ARN.replace(REGION, "us-east-2"), session)
    assert str(caught.value) == (
        "`algorithm_arn` is of region us-east-2, but the session is in eu-west-1. "
        "Use a session in us-east-2, or the algorithm of eu-west-1."
    )
    with pytest.raises(InvalidRequestError, match="the ARN of an algorithm looks like arn:aws"):
        Algorithm.find(ARN.replace(":algorithm/", ":model/"), session)
    session.stub.add_response("describe_algorithm", describe(), {"AlgorithmName": ARN})
    assert Algorithm.find(ARN, session).name == "mine"


def test_an_algorithm_that_is_not_there_is_named_with_the_region(session: StubbedSession) -> None:
    session.stub.add_client_error(
        "describe_algorithm", "ValidationException", f"Algorithm {ARN} does not exist."
    )
    with pytest.raises(NotFoundError) as caught:
        Algorithm.find("mine", session)
    assert str(caught.value).startswith("There is no algorithm 'mine' in eu-west-1: ")
    assert (caught.value.operation, caught.value.code) == (
        "DescribeAlgorithm",
        "ValidationException",
    )


def test_a_list_goes_on_to_the_last_page(session: StubbedSession) -> None:
    def summarize(name: str, status: str = "Completed") -> dict[str, Any]:
        arn = ARN.replace("mine", name)
        return {
            "AlgorithmName": name,
            "AlgorithmArn": arn,
            "CreationTime": NOW,
            "AlgorithmStatus": status,
        }

    def add_pages() -> None:
        query = {
            "SortBy": "CreationTime",
            "SortOrder": "Descending",
            "MaxResults": 100,
            "NameContains": "in",
        }
        session.stub.add_response(
            "list_algorithms",
            {"AlgorithmSummaryList": [summarize("mine"), summarize("in2")], "NextToken": "t"},
            query,
        )
        session.stub.add_response(
            "list_algorithms",
            {"AlgorithmSummaryList": [summarize("thin", "Failed")]},
            {**query, "NextToken": "t"},
        )

    add_pages()
    found = Algorithm.list(session, "in")
    assert [summary.name for summary in found] == ["mine", "in2", "thin"]
    assert found[0] == AlgorithmSummary("mine", ARN, "Completed", NOW)
    add_pages()
    assert [summary.name for summary in Algorithm.list(session, "in", status="Failed")] == ["thin"]


def test_deleting_is_by_name_and_a_conflict_is_named(session: StubbedSession) -> None:
    algorithm = Algorithm.from_description(describe(), session)
    session.stub.add_response("delete_algorithm", {}, {"AlgorithmName": "mine"})
    algorithm.delete()
    session.stub.add_client_error("delete_algorithm", "ConflictException", "in use")
    with pytest.raises(ConflictError, match="algorithm 'mine': in use"):
        algorithm.delete()


def test_without_a_session_it_says_so() -> None:
    for action in ("describe", "wait", "delete", "register"):
        with pytest.raises(TypeError, match="`sagemaker_session` is missing"):
            getattr(Algorithm.from_contract(IMAGE), action)()


def test_a_local_session_knows_the_bundled_algorithm_and_registers_others(tmp_path: Path) -> None:
    local = LocalSession(tmp_path)
    found = Algorithm.find(ALGORITHM_NAME, local)
    assert found.training_specification["SupportedTrainingInstanceTypes"] == list(INSTANCE_TYPES)
    assert found.to_description()["AlgorithmStatus"] == "Completed"
    with pytest.raises(NotFoundError, match="There is no algorithm 'other': "):
        Algorithm.find("other", local)
    with pytest.raises(BackendError, match="is taken by another algorithm") as caught:
        Algorithm.from_contract(IMAGE).register(local)
    assert caught.value.operation == "CreateAlgorithm"
    mine = Algorithm.from_contract(IMAGE, name="mine")
    mine.register(local)
    assert Algorithm.find(mine.arn, local).training_specification["TrainingImage"] == IMAGE
    assert [one.name for one in Algorithm.list(local)] == ["mine", ALGORITHM_NAME]
    mine.delete()
    with pytest.raises(NotFoundError, match="'mine'"):
        Algorithm.find("mine", local)


def test_a_description_without_its_two_main_parts_is_refused() -> None:
    with pytest.raises(InvalidRequestError) as caught:
        Algorithm.from_description({})
    assert [problem.path for problem in caught.value.problems] == [
        "AlgorithmName",
        "TrainingSpecification",
    ]


def test_what_is_given_is_copied_in_and_out() -> None:
    specification = build_training_specification(IMAGE)
    algorithm = Algorithm("mine", specification)
    specification["TrainingImage"] = "changed"
    algorithm.to_request()["TrainingSpecification"]["TrainingImage"] = "changed"
    algorithm.to_description()["TrainingSpecification"]["TrainingImage"] = "changed"
    assert algorithm.training_specification["TrainingImage"] == IMAGE
