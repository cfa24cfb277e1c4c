"""Check an answer against botocore's model of what an operation returns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import botocore.session

_TYPES: dict[str, tuple[type, ...]] = {
    "structure": (dict,),
    "map": (dict,),
    "list": (list,),
    "string": (str,),
    "integer": (int,),
    "long": (int,),
    "float": (float,),
    "double": (float,),
    "boolean": (bool,),
    "timestamp": (datetime,),
}


def find_deviations(operation: str, answer: Mapping[str, Any]) -> list[str]:
    """Return where an answer is not as the model says: types, members, enumerations."""
    model = botocore.session.get_session().get_service_model("sagemaker")
    shape = model.operation_model(operation).output_shape
    content = {name: value for name, value in answer.items() if name != "ResponseMetadata"}
    return [] if shape is None and not content else list(_walk(content, shape, operation))


def _walk(value: Any, shape: Any, path: str) -> Iterator[str]:
    is_bool = isinstance(value, bool) and shape.type_name != "boolean"
    if not isinstance(value, _TYPES[shape.type_name]) or is_bool:
        yield f"{path} is {value!r}, not a {shape.type_name}"
    elif shape.type_name == "structure":
        yield from (f"{path}.{name} is missing" for name in set(shape.required_members) - {*value})
        for name, member in value.items():
            if name in shape.members:
                yield from _walk(member, shape.members[name], f"{path}.{name}")
            else:
                yield f"{path}.{name} is unknown"
    elif shape.type_name == "list":
        for idx, item in enumerate(value):
            yield from _walk(item, shape.member, f"{path}[{idx}]")
    elif shape.type_name == "map":
        for key, item in value.items():
            yield from _walk(key, shape.key, f"{path} key")
            yield from _walk(item, shape.value, f"{path}[{key!r}]")
    elif shape.type_name == "string" and shape.enum and value not in shape.enum:
        yield f"{path} is {value!r}, which is not in the enumeration"
    elif shape.type_name == "timestamp" and value.tzinfo is None:
        yield f"{path} has no time zone"
