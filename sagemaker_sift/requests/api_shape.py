"""Objects of other libraries, read into the API's own dictionaries.

The SageMaker SDK v2 gives its objects ``to_input_req()``; the SDK v3's are pydantic models whose
fields are the API's names in snake case. Neither library is imported.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from botocore import xform_name

from sagemaker_sift.requests.service_model import load_shape


def read_shape(value: Any, shape_name: str) -> dict[str, Any]:
    """Return ``value`` as the API's structure ``shape_name``.

    Args:
        value: A mapping in the API's own form; an object with ``to_input_req()``; or a pydantic
            model with the API's fields in snake case.
        shape_name: Name of the structure in the service model, such as ``Channel``.

    Raises:
        TypeError: If it is none of them.

    Example:
        >>> read_shape({"Seed": 3}, "ShuffleConfig")
        {'Seed': 3}
    """
    if isinstance(value, Mapping):
        return dict(value)
    if hasattr(value, "to_input_req"):
        return dict(value.to_input_req())
    if _is_model(value):
        converted: dict[str, Any] = _convert(value, load_shape(shape_name))
        return converted
    raise TypeError(f"{value!r} is no {shape_name}.")


def is_set(field: Any) -> bool:
    """Return whether a field of a model has a value: the SDK v3 marks those that have none."""
    return field is not None and type(field).__name__ != "Unassigned"


def _is_model(value: Any) -> bool:
    return hasattr(value, "model_dump") and not isinstance(value, type)


def _convert(value: Any, shape: Any) -> Any:
    """Return a value with the API's names, without the fields of models that were never set."""
    if _is_model(value):
        value = {name: getattr(value, name) for name in type(value).model_fields}
    if shape.type_name == "structure" and isinstance(value, Mapping):
        members = {xform_name(member): member for member in shape.members}
        converted = {}
        for name, field in value.items():
            member = members.get(name)
            if is_set(field):
                converted[member or name] = (
                    field if member is None else _convert(field, shape.members[member])
                )
        return converted
    if shape.type_name == "list" and isinstance(value, (list, tuple)):
        return [_convert(item, shape.member) for item in value]
    return value
