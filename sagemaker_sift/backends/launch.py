"""Create a job once, even if the answer to the first call was lost."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from botocore.exceptions import ClientError

from sagemaker_sift.backends.errors import read_code


def launch(
    create: Callable[..., Any],
    describe: Callable[[], Mapping[str, Any]],
    request: Mapping[str, Any],
    fields: Sequence[str],
) -> None:
    """Call ``create``; a name that is taken by this very call is no error.

    When the answer of the service is lost, botocore sends the request again, and the service
    answers that the name is in use: by the job that the first call has created.

    Args:
        create: Method of the client.
        describe: Returns the job of the request's name.
        request: Parameters of ``create``.
        fields: Parts of the request that the description repeats; if they agree, the job is ours.

    Raises:
        ClientError: As ``create`` raises it.
    """
    try:
        create(**request)
    except ClientError as error:
        repeats = error.response.get("ResponseMetadata", {}).get("RetryAttempts", 0)
        if read_code(error) != "ResourceInUse" or not repeats:
            raise
        found = describe()
        if any(found.get(name) != request.get(name) for name in fields):
            raise
