"""Tags of what lies on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sagemaker_sift.backends.local.response import (
    build_error,
    build_validation_error,
    check_request,
)
from sagemaker_sift.backends.local.store import Record, RecordStore, RecordTable
from sagemaker_sift.requests.job_rules import find_tag_problems

_MAX_TAGS = 50


class Tags:
    """Adds, lists and deletes tags of training jobs, tuning jobs and algorithms.

    Args:
        store: Where these are recorded.
    """

    def __init__(self, store: RecordStore) -> None:
        tables = (store.training_jobs, store.tuning_jobs, store.algorithms)
        self._tables = {table.kind.noun: table for table in tables}

    def add(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Add tags, or change the values of those that are there; return all that were given."""
        operation = "AddTags"
        check_request(operation, request)
        problems = list(find_tag_problems(request["Tags"]))
        if problems:
            raise build_validation_error(operation, problems)
        table, name = self._find(operation, request["ResourceArn"])
        given = [dict(tag) for tag in request["Tags"]]

        def change(record: Record) -> None:
            tags = {tag["Key"]: tag for tag in (*record.get("Tags", []), *given)}
            if len(tags) > _MAX_TAGS:
                message = f"{name!r} would have {len(tags)} tags, but at most {_MAX_TAGS} may be."
                raise build_error(operation, "ValidationException", message)
            record["Tags"] = list(tags.values())

        table.update(name, change)
        return {"Tags": given}

    def list(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Return the ListTags response, all on one page."""
        operation = "ListTags"
        check_request(operation, request)
        table, name = self._find(operation, request["ResourceArn"])
        record = table.read(name) or {}
        return {"Tags": [dict(tag) for tag in record.get("Tags", [])]}

    def delete(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Delete tags by their keys; keys that are not there are passed over."""
        operation = "DeleteTags"
        check_request(operation, request)
        table, name = self._find(operation, request["ResourceArn"])
        keys = set(request["TagKeys"])

        def change(record: Record) -> None:
            record["Tags"] = [tag for tag in record.get("Tags", []) if tag["Key"] not in keys]

        table.update(name, change)
        return {}

    def _find(self, operation: str, arn: str) -> tuple[RecordTable, str]:
        noun, _, name = arn.rsplit(":", 1)[-1].partition("/")
        table = self._tables.get(noun)
        if table is None or table.read(name) is None:
            message = f"There is nothing with the ARN {arn!r} on this machine."
            raise build_error(operation, "ValidationException", message)
        return table, name
