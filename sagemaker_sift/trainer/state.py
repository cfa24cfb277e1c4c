"""Nested state as tensors plus JSON, so that no pickle is ever written or read."""

from __future__ import annotations

from typing import Any

import torch

_TENSOR = "__tensor__"
_TUPLE = "__tuple__"
_PAIRS = "__pairs__"


def pack_state(state: Any) -> tuple[dict[str, torch.Tensor], Any]:
    """Split nested state into tensors and a JSON value that refers to them.

    Args:
        state: Dicts, lists and tuples, at any depth, of tensors, numbers, strings, booleans and
            ``None``.

    Returns:
        Contiguous copies of the tensors on the CPU by name, and the rest.

    Raises:
        TypeError: If there is anything else in it.

    Example:
        >>> tensors, rest = pack_state({"epoch": 3, "losses": torch.zeros(2)})
        >>> rest
        {'epoch': 3, 'losses': {'__tensor__': 'losses'}}
    """
    tensors: dict[str, torch.Tensor] = {}

    def pack(value: Any, name: str) -> Any:
        if isinstance(value, torch.Tensor):
            tensors[name] = value.detach().to("cpu", copy=True).contiguous()
            return {_TENSOR: name}
        if value is None or type(value) in {bool, int, float, str}:
            return value
        if isinstance(value, list):
            return [pack(item, f"{name}.{idx}") for idx, item in enumerate(value)]
        if isinstance(value, tuple):
            return {_TUPLE: [pack(item, f"{name}.{idx}") for idx, item in enumerate(value)]}
        if isinstance(value, dict):
            prefix = f"{name}." if name else ""
            if all(type(key) is str and not key.startswith("__") for key in value):
                return {key: pack(item, prefix + key) for key, item in value.items()}
            return {_PAIRS: [[key, pack(item, f"{prefix}{key}")] for key, item in value.items()]}
        raise TypeError(f"State at {name!r} is a {type(value).__name__}, which has no JSON form.")

    return tensors, pack(state, "")


def unpack_state(tensors: dict[str, torch.Tensor], packed: Any) -> Any:
    """Return the state that :func:`pack_state` was given, with its tensors on the CPU.

    Raises:
        KeyError: If a tensor is missing.

    Example:
        >>> unpack_state(*pack_state({0: (1, None), "x": [torch.ones(1)]}))
        {0: (1, None), 'x': [tensor([1.])]}
    """
    if isinstance(packed, list):
        return [unpack_state(tensors, item) for item in packed]
    if not isinstance(packed, dict):
        return packed
    if _TENSOR in packed:
        return tensors[packed[_TENSOR]]
    if _TUPLE in packed:
        return tuple(unpack_state(tensors, item) for item in packed[_TUPLE])
    if _PAIRS in packed:
        return {key: unpack_state(tensors, item) for key, item in packed[_PAIRS]}
    return {key: unpack_state(tensors, item) for key, item in packed.items()}
