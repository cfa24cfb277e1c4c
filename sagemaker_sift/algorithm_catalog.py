"""The algorithms that SageMaker knows: found, described and listed.

Source: API reference of DescribeAlgorithm and ListAlgorithms.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sagemaker_sift.backends.errors import translate_errors
from sagemaker_sift.contract.problem import Problem
from sagemaker_sift.exceptions import BackendError, InvalidRequestError, NotFoundError

_ARN = re.compile(r"arn:aws[a-z-]*:sagemaker:([a-z0-9-]*):(\d{12}):algorithm/(\S+)")


@dataclass(frozen=True, slots=True)
class AlgorithmSummary:
    """One entry of a list of algorithms.

    Attributes:
        name: The API's ``AlgorithmName``.
        arn: The API's ``AlgorithmArn``.
        status: ``Pending``, ``InProgress``, ``Completed``, ``Failed`` or ``Deleting``.
        created: When it was created.
        description: The API's ``AlgorithmDescription``; may be empty.
    """

    name: str
    arn: str
    status: str
    created: datetime
    description: str = ""


def find_client(session: Any, method: str) -> Any:
    """Return the client of a session, if it has a method.

    Raises:
        BackendError: If it has not, as a client of the user's own making.
    """
    client = session.sagemaker_client
    if not hasattr(client, method):
        operation = "".join(part.title() for part in method.split("_"))
        text = f"The client of {session!r} has no method {method}. Use another session."
        raise BackendError(text, operation=operation, code="Unsupported")
    return client


def list_algorithms(
    session: Any, name_contains: str | None, status: str | None
) -> tuple[AlgorithmSummary, ...]:
    """Return the algorithms of the account in the session's region, newest first.

    Args:
        session: Anything with a ``sagemaker_client``.
        name_contains: Only those whose name contains it.
        status: Only those in this state.

    Raises:
        BackendError: If SageMaker refuses the call.
    """
    client = find_client(session, "list_algorithms")
    query = {"NameContains": name_contains} if name_contains else {}
    with translate_errors():
        entries = [
            AlgorithmSummary(
                entry["AlgorithmName"],
                entry["AlgorithmArn"],
                entry["AlgorithmStatus"],
                entry["CreationTime"],
                entry.get("AlgorithmDescription", ""),
            )
            for page in _list_pages(client, query)
            for entry in page["AlgorithmSummaryList"]
        ]
    return tuple(entry for entry in entries if status in {None, entry.status})


def _list_pages(client: Any, query: Mapping[str, str]) -> Iterator[Mapping[str, Any]]:
    request = {"SortBy": "CreationTime", "SortOrder": "Descending", "MaxResults": 100, **query}
    while True:
        page = client.list_algorithms(**request)
        yield page
        token = page.get("NextToken")
        if not token:
            return
        request["NextToken"] = token


def describe_algorithm(name_or_arn: str, session: Any) -> dict[str, Any]:
    """Return the DescribeAlgorithm response.

    Raises:
        InvalidRequestError: If the ARN is none, or of another region than the session.
        NotFoundError: If there is no such algorithm; the message names the region.
    """
    client = session.sagemaker_client
    region = getattr(getattr(client, "meta", None), "region_name", None)
    _check_arn(name_or_arn, region)
    try:
        with translate_errors(f"algorithm {name_or_arn!r}"):
            description: dict[str, Any] = client.describe_algorithm(AlgorithmName=name_or_arn)
    except NotFoundError as error:
        where = f" in {region}" if region else ""
        text = f"There is no algorithm {name_or_arn!r}{where}: {error}"
        raise NotFoundError(text, operation=error.operation, code=error.code) from error
    return description


def _check_arn(name_or_arn: str, region: str | None) -> None:
    if not name_or_arn:
        message = "is empty. Give the name or ARN of an Algorithm resource."
        raise InvalidRequestError([Problem("algorithm_arn", message)])
    if not name_or_arn.startswith("arn:"):
        return
    match = _ARN.fullmatch(name_or_arn)
    if match is None:
        example = "arn:aws:sagemaker:us-east-2:111122223333:algorithm/my-algorithm"
        message = f"is {name_or_arn!r}, but the ARN of an algorithm looks like {example}."
        raise InvalidRequestError([Problem("algorithm_arn", message)])
    if region is not None and match.group(1) != region:
        message = (
            f"is of region {match.group(1)}, but the session is in {region}. Use a session in "
            f"{match.group(1)}, or the algorithm of {region}."
        )
        raise InvalidRequestError([Problem("algorithm_arn", message)])


def find_reasons(description: Mapping[str, Any]) -> list[str]:
    """Return what failed, and why, of a DescribeAlgorithm response."""
    details = description.get("AlgorithmStatusDetails", {})
    kinds = {"ValidationStatuses": "validation", "ImageScanStatuses": "scan of image"}
    return [
        f"{kind} {entry['Name']!r}: {entry.get('FailureReason') or 'no reason given'}"
        for field, kind in kinds.items()
        for entry in details.get(field, [])
        if entry.get("Status") == "Failed"
    ]
