"""Filter, sort and divide into pages, as the List operations of the API do.

Source: API reference of ListTrainingJobs, ListHyperParameterTuningJobs,
ListTrainingJobsForHyperParameterTuningJob and ListAlgorithms.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sagemaker_sift.backends.local.response import build_error, check_request
from sagemaker_sift.requests.service_model import read_timestamp

DEFAULT_PAGE = 10
"""``MaxResults`` unless given."""

_LIMITS = (
    ("CreationTimeAfter", "CreationTime", 1),
    ("CreationTimeBefore", "CreationTime", -1),
    ("LastModifiedTimeAfter", "LastModifiedTime", 1),
    ("LastModifiedTimeBefore", "LastModifiedTime", -1),
)

Rows = list[dict[str, Any]]


class Listing:
    """One List operation.

    Args:
        operation: Of the API.
        name_field: What a row is called.
        status_field: What its status is called.
        default_sort: ``SortBy`` unless given.
        default_order: ``SortOrder`` unless given.
    """

    def __init__(
        self,
        operation: str,
        name_field: str,
        status_field: str,
        *,
        default_sort: str = "CreationTime",
        default_order: str = "Ascending",
    ) -> None:
        self.operation = operation
        self._name = name_field
        self._status = status_field
        self._default_sort = default_sort
        self._default_order = default_order

    def check(self, request: Mapping[str, Any]) -> None:
        """Check the parameters of the call.

        Raises:
            ClientError: ``ValidationException`` if one is wrong.
        """
        check_request(self.operation, request)

    def select(self, request: Mapping[str, Any], rows: Iterable[dict[str, Any]]) -> Rows:
        """Return the rows that the call asks for, in the order it asks for.

        Args:
            request: Checked parameters of the call.
            rows: All of them in the order of their creation, with times as ``datetime``.
        """
        kept = [row for row in rows if self._is_asked_for(request, row)]
        sort_by = request.get("SortBy", self._default_sort)
        if sort_by != "CreationTime":  # in whose order they are, also if the clock has jumped
            kept.sort(key=self._key(sort_by))
        if request.get("SortOrder", self._default_order) == "Descending":
            kept.reverse()
        return kept

    def cut(self, request: Mapping[str, Any], rows: Sequence[dict[str, Any]]) -> tuple[Rows, str]:
        """Return one page of rows, and the token of the next one or ``""``.

        A token names the last row that was handed out, so that rows which come or go meanwhile
        neither repeat nor hide others.

        Args:
            request: Checked parameters of the call.
            rows: What :meth:`select` returned.

        Raises:
            ClientError: ``ValidationException`` if the token was not made here.
        """
        start = self._find_start(request.get("NextToken"), rows)
        end = start + request.get("MaxResults", DEFAULT_PAGE)
        page = list(rows[start:end])
        token = _write_token(page[-1][self._name], end) if end < len(rows) else ""
        return page, token

    def _is_asked_for(self, request: Mapping[str, Any], row: Mapping[str, Any]) -> bool:
        if request.get("StatusEquals", row.get(self._status)) != row.get(self._status):
            return False
        if str(request.get("NameContains", "")).lower() not in row[self._name].lower():
            return False
        for argument, field, sign in _LIMITS:
            limit = request.get(argument)
            if limit is not None and sign * (row[field] - read_time(limit)).total_seconds() < 0:
                return False
        return True

    def _key(self, sort_by: str) -> Callable[[Mapping[str, Any]], Any]:
        field = self._name if sort_by == "Name" else self._status
        return lambda row: str(row[field]).lower()

    def _find_start(self, token: str | None, rows: Sequence[Mapping[str, Any]]) -> int:
        if token is None:
            return 0
        place = _read_token(token)
        if place is None:
            message = f"NextToken is {token!r}, which no call of {self.operation} has returned."
            raise build_error(self.operation, "ValidationException", message)
        name, position = place
        for idx, row in enumerate(rows):
            if row[self._name] == name:
                return idx + 1
        return position


def read_time(value: Any) -> datetime:
    """Return a time of a request: a ``datetime``, seconds since 1970, or ISO 8601 text.

    A time without a zone is of UTC, as botocore reads it.

    Raises:
        ValueError: If it is none of them; a checked request has no such time.
    """
    return read_timestamp(value)


def _read_token(token: str) -> tuple[str, int] | None:
    """Return what a token says, or ``None`` if it is not one that was made here."""
    try:
        name, position = json.loads(base64.urlsafe_b64decode(token.encode()))
    except (ValueError, TypeError, RecursionError):  # the last of brackets without an end
        return None
    if not isinstance(name, str) or type(position) is not int or position < 0:
        return None
    return (name, position) if _write_token(name, position) == token else None


def _write_token(name: str, position: int) -> str:
    return base64.urlsafe_b64encode(json.dumps([name, position]).encode()).decode()
