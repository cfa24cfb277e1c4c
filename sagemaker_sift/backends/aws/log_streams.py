"""The log of a training job in CloudWatch Logs.

Every host of a job writes a stream ``{job}/{host}-{number}`` of the group
``/aws/sagemaker/TrainingJobs``. A stream is read page by page, with a token that says where the
next page begins.

Source: "Log groups and streams that Amazon SageMaker AI logs", SageMaker developer guide, and API
reference of GetLogEvents: a token is valid for 24 hours, and the end is reached when the same
token comes back.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

from botocore.exceptions import ClientError

from sagemaker_sift.backends.errors import read_code, translate_errors

LOG_GROUP = "/aws/sagemaker/TrainingJobs"
"""Where the logs of all training jobs of an account and region are."""

_EXPIRED = "InvalidParameterException"
_MISSING = "ResourceNotFoundException"


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of a job's log.

    Attributes:
        host: Such as ``algo-1``.
        text: Without the line's end.
        time_s: When it was written, epoch seconds.
    """

    host: str
    text: str
    time_s: float


@dataclass(frozen=True, slots=True)
class StreamPosition:
    """How far a stream has been read.

    Attributes:
        token: Where the next page begins; empty for the beginning.
        last_ms: Time of the newest event that was read, epoch milliseconds.
        num_at_last: How many events of that time were read.
    """

    token: str = ""
    last_ms: int = 0
    num_at_last: int = 0


LogPosition = Mapping[str, StreamPosition]
"""How far every stream of a job has been read."""


def read_streams(
    logs: Any, job_name: str, position: LogPosition | None
) -> tuple[list[LogLine], LogPosition]:
    """Return the lines of all hosts from a position on, by time, and the position after them.

    Args:
        logs: boto3's client of CloudWatch Logs.
        job_name: The training job.
        position: What an earlier call returned; ``None`` for the beginning.

    Raises:
        BackendError: If the log cannot be read; none yet is an empty one.
    """
    positions = dict(position or {})
    columns: list[list[tuple[int, LogLine]]] = []
    with translate_errors(f"the log of {job_name!r}"):
        for stream in _list_streams(logs, job_name):
            events, after = _read_new(logs, stream, positions.get(stream, StreamPosition()))
            positions[stream] = after
            columns.append(list(_split(events, _host_of(stream))))
    merged = heapq.merge(*columns, key=lambda item: item[0])
    return [line for _, line in merged], MappingProxyType(positions)


def format_lines(lines: list[LogLine], position: LogPosition) -> list[str]:
    """Return the lines as text, with their hosts before them if the job has several.

    Args:
        lines: Of :func:`read_streams`.
        position: The position after them, which knows all hosts.
    """
    if len({_host_of(stream) for stream in position}) < 2:
        return [line.text for line in lines]
    return [f"{line.host}: {line.text}" for line in lines]


def build_console_url(region: str, partition: str, job_name: str) -> str:
    """Return the page of the CloudWatch console with the log of a job.

    Example:
        >>> build_console_url("us-east-1", "aws", "my-job").partition("#")[0]
        'https://us-east-1.console.aws.amazon.com/cloudwatch/home?region=us-east-1'
    """
    return (
        f"{find_console(region, partition)}/cloudwatch/home?region={region}"
        f"#logsV2:log-groups/log-group/{_quote_twice(LOG_GROUP)}"
        f"$3FlogStreamNameFilter$3D{_quote_twice(f'{job_name}/')}"
    )


def find_console(region: str, partition: str) -> str:
    """Return the address of the AWS console of a region.

    Example:
        >>> find_console("cn-north-1", "aws-cn")
        'https://cn-north-1.console.amazonaws.cn'
    """
    domains = {"aws-cn": "amazonaws.cn", "aws-us-gov": "amazonaws-us-gov.com"}
    return f"https://{region}.console.{domains.get(partition, 'aws.amazon.com')}"


def _quote_twice(text: str) -> str:
    """Quote as the console does in what follows ``#``: twice, with ``$`` for ``%``."""
    return quote(quote(text, safe=""), safe="").replace("%", "$")


def _list_streams(logs: Any, job_name: str) -> list[str]:
    pages = logs.get_paginator("describe_log_streams").paginate(
        logGroupName=LOG_GROUP, logStreamNamePrefix=f"{job_name}/"
    )
    try:
        return sorted(stream["logStreamName"] for page in pages for stream in page["logStreams"])
    except ClientError as error:
        if read_code(error) == _MISSING:
            return []
        raise


def _read_new(
    logs: Any, stream: str, position: StreamPosition
) -> tuple[list[Mapping[str, Any]], StreamPosition]:
    """Return the events after a position, and the position after them."""
    try:
        events, token = _read_pages(logs, stream, nextToken=position.token or None)
    except ClientError as error:
        if read_code(error) == _MISSING:
            return [], position
        if read_code(error) != _EXPIRED or not position.token:
            raise
        events, token = _read_pages(logs, stream, startTime=position.last_ms)
        events = _drop_known(events, position)
    if not events:
        return [], replace(position, token=token)
    last_ms = max(event["timestamp"] for event in events)
    num_at_last = sum(event["timestamp"] == last_ms for event in events)
    if last_ms == position.last_ms:
        num_at_last += position.num_at_last
    return events, StreamPosition(token, last_ms, num_at_last)


def _read_pages(logs: Any, stream: str, **start: Any) -> tuple[list[Mapping[str, Any]], str]:
    arguments = {name: value for name, value in start.items() if value is not None}
    events: list[Mapping[str, Any]] = []
    token = arguments.get("nextToken", "")
    while True:
        page = logs.get_log_events(
            logGroupName=LOG_GROUP, logStreamName=stream, startFromHead=True, **arguments
        )
        events += page["events"]
        if page["nextForwardToken"] == token:
            return events, token
        token = page["nextForwardToken"]
        arguments["nextToken"] = token


def _drop_known(
    events: list[Mapping[str, Any]], position: StreamPosition
) -> list[Mapping[str, Any]]:
    """Leave out the events that were read before, among those from ``last_ms`` on."""
    at_last = [event for event in events if event["timestamp"] == position.last_ms]
    later = [event for event in events if event["timestamp"] > position.last_ms]
    return at_last[position.num_at_last :] + later


def _split(events: list[Mapping[str, Any]], host: str) -> Iterator[tuple[int, LogLine]]:
    """Yield the lines of events; the time never goes back within a stream."""
    newest_ms = 0
    for event in events:
        newest_ms = max(newest_ms, event["timestamp"])
        for text in event["message"].splitlines() or [""]:
            yield newest_ms, LogLine(host, text, event["timestamp"] / 1000)


def _host_of(stream: str) -> str:
    """Return the host of a stream.

    Example:
        >>> _host_of("my-job/algo-1-1732180000")
        'algo-1'
    """
    name = stream.rpartition("/")[2]
    return re.sub(r"-\d+$", "", name) if name.count("-") > 1 else name
