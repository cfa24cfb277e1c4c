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
    if hasattr(value, "model_dump"):
        fields = _drop_unset(value.model_dump())
        converted: dict[str, Any] = _rename(fields, load_shape(shape_name))
        return converted
    raise TypeError(f"{value!r} is no {shape_name}.")


def _drop_unset(value: Any) -> Any:
    """Return the value without ``None`` and without the marks of fields that were never set."""
    if isinstance(value, Mapping):
        return {name: _drop_unset(field) for name, field in value.items() if _is_set(field)}
    if isinstance(value, (list, tuple)):
        return [_drop_unset(item) for item in value]
    return value


def _is_set(field: Any) -> bool:
    return field is not None and type(field).__name__ != "Unassigned"


def _rename(value: Any, shape: Any) -> Any:
    if shape.type_name == "structure" and isinstance(value, Mapping):
        members = {xform_name(member): member for member in shape.members}
        renamed = {}
        for name, field in value.items():
            member = members.get(name)
            target = name if member is None else member
            renamed[target] = field if member is None else _rename(field, shape.members[member])
        return renamed
    if shape.type_name == "list" and isinstance(value, list):
        return [_rename(item, shape.member) for item in value]
    return value
