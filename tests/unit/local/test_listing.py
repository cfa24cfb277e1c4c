"""Filters, orders and pages of the List operations."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from sagemaker_sift.backends.local.listing import Listing, read_time

EPOCH = datetime(2026, 11, 21, tzinfo=UTC)


def build_listing(**options: str) -> Listing:
    return Listing("ListTrainingJobs", "TrainingJobName", "TrainingJobStatus", **options)


def build_row(name: str, minute: int = 0, status: str = "Completed") -> dict[str, Any]:
    at = EPOCH + timedelta(minutes=minute)
    return {
        "TrainingJobName": name,
        "TrainingJobStatus": status,
        "CreationTime": at,
        "LastModifiedTime": at + timedelta(minutes=100),
    }


ROWS = [build_row("b", 0), build_row("C", 1, "Failed"), build_row("a", 2)]


def select(**request: Any) -> list[str]:
    return [row["TrainingJobName"] for row in build_listing().select(request, ROWS)]


def test_rows_come_in_the_order_of_their_creation() -> None:
    assert select() == ["b", "C", "a"]
    assert select(SortOrder="Descending") == ["a", "C", "b"]


def test_the_order_of_creation_holds_when_the_clock_has_jumped_back() -> None:
    rows = [build_row("first", 9), build_row("second", 1)]
    found = build_listing().select({"SortBy": "CreationTime"}, rows)
    assert [row["TrainingJobName"] for row in found] == ["first", "second"]


def test_rows_are_sorted_by_name_or_status() -> None:
    assert select(SortBy="Name") == ["a", "b", "C"]
    assert select(SortBy="Status", SortOrder="Descending") == ["C", "a", "b"]


def test_defaults_are_the_operations_own() -> None:
    listing = build_listing(default_sort="Name", default_order="Descending")
    assert [row["TrainingJobName"] for row in listing.select({}, ROWS)] == ["C", "b", "a"]


@pytest.mark.parametrize(
    ("request_", "names"),
    [
        ({"StatusEquals": "Failed"}, ["C"]),
        ({"NameContains": "c"}, ["C"]),
        ({"CreationTimeAfter": EPOCH + timedelta(minutes=1)}, ["C", "a"]),
        ({"CreationTimeBefore": EPOCH + timedelta(minutes=1)}, ["b", "C"]),
        ({"LastModifiedTimeAfter": EPOCH + timedelta(minutes=102)}, ["a"]),
        ({"LastModifiedTimeBefore": (EPOCH + timedelta(minutes=100)).timestamp()}, ["b"]),
        ({"StatusEquals": "Failed", "NameContains": "b"}, []),
    ],
    ids=["status", "name", "after", "before", "modified-after", "modified-before", "both"],
)
def test_filters(request_: dict[str, Any], names: list[str]) -> None:
    assert select(**request_) == names


def test_times_are_read_as_botocore_reads_them() -> None:
    assert read_time(datetime(2026, 11, 21)) == EPOCH
    assert read_time("2026-11-21T00:00:00Z") == EPOCH
    assert read_time(EPOCH.timestamp()) == EPOCH


@given(number=st.integers(0, 25), size=st.integers(1, 7))
def test_pages_together_are_all_rows_once(number: int, size: int) -> None:
    listing = build_listing()
    rows = [build_row(f"job-{idx:02d}", idx) for idx in range(number)]
    request: dict[str, Any] = {"MaxResults": size}
    found = []
    while True:
        page, token = listing.cut(request, rows)
        assert len(page) <= size
        found += page
        if not token:
            break
        request["NextToken"] = token
    assert found == rows


def test_rows_that_come_meanwhile_neither_repeat_nor_hide_others() -> None:
    listing = build_listing()
    rows = [build_row(f"job-{idx}", idx) for idx in range(4)]
    newest_first = rows[::-1]
    page, token = listing.cut({"MaxResults": 2}, newest_first)
    later = [build_row("job-9", 9), *newest_first]
    rest, _ = listing.cut({"MaxResults": 9, "NextToken": token}, later)
    assert [row["TrainingJobName"] for row in page + rest] == ["job-3", "job-2", "job-1", "job-0"]


def test_a_row_that_was_deleted_meanwhile_does_not_end_the_pages() -> None:
    listing = build_listing()
    rows = [build_row(f"job-{idx}", idx) for idx in range(4)]
    _, token = listing.cut({"MaxResults": 2}, rows)
    rest, _ = listing.cut({"NextToken": token}, [rows[0], rows[2], rows[3]])
    assert [row["TrainingJobName"] for row in rest][-1] == "job-3"


def encode(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    "token",
    [
        *("x", "bm90IGpzb24=", "WzFd", "\ud800"),
        *map(encode, ('["a", 1e400]', '["a", NaN]', '["a", -5]', '["a", true]', '["a", "3"]')),
        *map(encode, ("[null, 1]", '{"a": 1, "b": 2}', '["a",1]', "[" * 6000)),
    ],
    ids=[
        *(
            "text",
            "no-json",
            "short",
            "surrogate",
            "infinite",
            "nan",
            "negative",
            "bool",
            "digits",
        ),
        *("nameless", "fields", "other-spaces", "deep"),
    ],
)
def test_a_token_of_somebody_else_is_refused(token: str) -> None:
    with pytest.raises(ClientError, match="NextToken is"):
        build_listing().cut({"NextToken": token}, ROWS)


def test_ten_rows_are_a_page_unless_told_otherwise() -> None:
    rows = [build_row(f"job-{idx:02d}", idx) for idx in range(11)]
    page, token = build_listing().cut({}, rows)
    assert len(page) == 10
    assert token


def test_unknown_arguments_are_refused_with_the_right_name() -> None:
    with pytest.raises(ClientError, match="StatusEquals"):
        build_listing().check({"StatusEqual": "Failed"})


@pytest.mark.parametrize(
    "value",
    ["", "now", "2020-13-45", float("nan"), 1e300, -1e18, 10**400, 10**5000, True, [], {}, b"x"],
    ids=[
        *("empty", "word", "month", "nan", "huge", "before-years", "int", "digits", "bool"),
        *("list", "map", "bytes"),
    ],
)
def test_what_is_no_time_is_refused(value: Any) -> None:
    with pytest.raises(ClientError, match=r"`CreationTimeAfter` is .*must be a datetime, .*ISO"):
        build_listing().check({"CreationTimeAfter": value})
    with pytest.raises(ValueError, match=r"."):
        read_time(value)


@pytest.mark.parametrize(
    "value",
    [datetime.min, datetime.max, 0, -1.5, "2026-11-21", "2026-11-21T00:00:00+02:00"],
    ids=["first", "last", "epoch", "before-epoch", "day", "zone"],
)
def test_every_time_that_is_accepted_can_be_compared(value: Any) -> None:
    build_listing().check({"CreationTimeAfter": value})
    assert len(select(CreationTimeAfter=value)) == (0 if value == datetime.max else 3)
