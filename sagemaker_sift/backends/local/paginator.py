"""botocore's own paginators over the local client."""

from __future__ import annotations

import functools
from typing import Any

import botocore.session
from botocore.exceptions import OperationNotPageableError
from botocore.paginate import Paginator, PaginatorModel


@functools.cache
def _load_model() -> PaginatorModel:
    session = botocore.session.get_session()
    config = session.get_component("data_loader").load_service_model("sagemaker", "paginators-1")
    return PaginatorModel(config)


def _to_operation(method_name: str) -> str:
    return "".join(word.capitalize() for word in method_name.split("_"))


def is_paginated(method_name: str) -> bool:
    """Return whether a method of the SageMaker client has pages.

    Example:
        >>> is_paginated("list_training_jobs"), is_paginated("describe_training_job")
        (True, False)
    """
    try:
        _load_model().get_paginator(_to_operation(method_name))
    except ValueError:
        return False
    return True


def build_paginator(client: Any, method_name: str) -> Any:
    """Return the paginator of a method.

    Args:
        client: Has the method.
        method_name: Such as ``list_training_jobs``.

    Raises:
        OperationNotPageableError: If the method has no pages, or the client does not have it.
    """
    if not hasattr(client, method_name) or not is_paginated(method_name):
        raise OperationNotPageableError(operation_name=method_name)
    operation = _to_operation(method_name)
    service = botocore.session.get_session().get_service_model("sagemaker")
    model = service.operation_model(operation)
    return Paginator(getattr(client, method_name), _load_model().get_paginator(operation), model)
