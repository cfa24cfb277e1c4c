"""Pooled samples as plain dicts, lists, tuples, tensors and numbers, for ``state_dict``.

Containers of other classes are stored by their items and the name of their class. A state is data
from a file, so a name in it never imports anything and never makes an object of any class but a
container: see :func:`_find_class`.
"""

from __future__ import annotations

import copy
import sys
from collections import UserDict, defaultdict
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import torch

from smart_sifting._core.accumulator import PoolableBatch
from smart_sifting._core.layouts import FormattedBatch, Layout
from smart_sifting.data_model.list_batch import ListBatch
from smart_sifting.data_model.tensor_batch import TensorBatch

PLAIN_CLASSES: dict[str, type[ListBatch | TensorBatch]] = {
    "ListBatch": ListBatch,
    "TensorBatch": TensorBatch,
}

_NUMPY = "numpy"
_REFUSALS = (TypeError, ValueError, AttributeError, LookupError, RuntimeError)

Path = tuple[Any, ...]


def to_plain(batch: PoolableBatch) -> dict[str, Any]:
    """Return a snapshot of a pooled batch.

    Batches in a default format and those in a ListBatch or TensorBatch give a dict that
    ``torch.load(weights_only=True)`` can read, provided that what they hold in the end are
    tensors, NumPy arrays, numbers, strings, bytes and None. Objects of other classes are copied
    as they are. Of a container only its items and its class are kept.

    Args:
        batch: A batch in the pool.

    Returns:
        The snapshot.

    Example:
        >>> to_plain(ListBatch([1], [2]))
        {'class': 'ListBatch', 'values': {'inputs': [1], 'labels': [2]}, 'containers': []}
    """
    name = type(batch).__name__
    if isinstance(batch, FormattedBatch):
        layout = {"layout": _layout_to_plain(batch.layout), "num_samples": batch.num_samples}
        return {"class": "FormattedBatch"} | _encode_all(batch.data) | layout
    if PLAIN_CLASSES.get(name) is type(batch):
        return {"class": name} | _encode_all(vars(batch))
    return {"class": "", "values": copy.deepcopy(batch)}


def from_plain(state: Mapping[str, Any]) -> Any:
    """Return the batch of which :func:`to_plain` gave a snapshot.

    Tuples, lists, dicts, UserDicts and their subclasses are of their own classes again, if these
    are imported already, at the top of a module or in a class. So are other mappings that
    ``torch.serialization.add_safe_globals`` was given; all others come as dicts.

    Args:
        state: The snapshot.

    Returns:
        A batch of the same class.

    Example:
        >>> from_plain(to_plain(ListBatch([1], [2]))).labels
        [2]
    """
    names = {tuple(path): name for path, name in state.get("containers", [])}
    values = _decode(state["values"], (), names)
    if state["class"] == "FormattedBatch":
        return FormattedBatch(values, _layout_from_plain(state["layout"]), state["num_samples"])
    if state["class"] in PLAIN_CLASSES:
        return PLAIN_CLASSES[state["class"]](**values)
    return values


def snapshot(value: Any) -> Any:
    """Return a copy that shares no memory, of plain containers and tensors without slack.

    Args:
        value: Anything.

    Returns:
        The copy.

    Example:
        >>> snapshot([torch.arange(100)[:2]])[0].untyped_storage().nbytes()
        16
    """
    if isinstance(value, torch.Tensor):
        return value.detach().clone()
    if type(value) is dict:
        return {key: snapshot(child) for key, child in value.items()}
    if type(value) in (list, tuple):
        return type(value)(snapshot(child) for child in value)
    return copy.deepcopy(value)


def _encode_all(value: Any) -> dict[str, Any]:
    names: list[tuple[list[Any], str]] = []
    return {"values": _encode(value, (), names), "containers": names}


def _encode(value: Any, path: Path, names: list[tuple[list[Any], str]]) -> Any:
    """Return a plain copy of a value; note the classes that it is plain of, by their paths."""
    kind = type(value)
    plain: Any
    if isinstance(value, Mapping):
        plain = {key: _encode(child, (*path, key), names) for key, child in value.items()}
    elif isinstance(value, list | tuple):
        items = [_encode(child, (*path, idx), names) for idx, child in enumerate(value)]
        plain = tuple(items) if isinstance(value, tuple) else items
    elif kind.__module__ == "numpy":
        try:
            plain = torch.as_tensor(value.copy(), device="cpu")
        except (TypeError, ValueError, AttributeError):  # of strings or objects
            return copy.deepcopy(value)
        names.append((list(path), _NUMPY))
        return plain
    else:
        return snapshot(value)
    if kind not in (dict, list, tuple):
        names.append((list(path), f"{kind.__module__}:{kind.__qualname__}"))
    return plain


def _decode(value: Any, path: Path, names: Mapping[Path, str]) -> Any:
    kind = type(value)
    if kind is dict:
        value = {key: _decode(child, (*path, key), names) for key, child in value.items()}
    elif kind in (list, tuple):
        value = kind(_decode(child, (*path, idx), names) for idx, child in enumerate(value))
    else:
        value = snapshot(value)
    name = names.get(path)
    return value if name is None else _restore(value, name)


def _restore(value: Any, name: str) -> Any:
    """Return a plain value as one of the class of that name, or as it is if it cannot be."""
    if isinstance(value, torch.Tensor):
        return value.cpu().numpy()[()] if name == _NUMPY else value
    found = _find_class(name)
    if found is None:
        return value
    with suppress(*_REFUSALS):
        if issubclass(found, tuple) and type(value) is tuple:
            if found is torch.Size:
                return torch.Size(value)
            if len(getattr(found, "_fields", value)) == len(value):
                return tuple.__new__(found, value)
        elif issubclass(found, list) and type(value) is list:
            made_list: list[Any] = list.__new__(found)
            list.extend(made_list, value)
            return made_list
        elif issubclass(found, Mapping) and type(value) is dict:
            make: Callable[..., Any] = found
            made = make(None, value) if issubclass(found, defaultdict) else make(value)
            return made if list(made) == list(value) else value
    return value


def _find_class(name: str) -> type | None:
    """Return the container class of a name, if it is imported already and takes nothing but items.

    That the name may come from a file of someone else is why attributes are not asked for with
    ``getattr``, by which modules import others; and why other mappings, and those of the standard
    library outside ``collections``, are made only where the user calls them safe: some of these
    unpickle, import or evaluate what they hold.
    """
    module_name, _, qualname = name.partition(":")
    package = module_name.partition(".")[0]
    found: Any = sys.modules.get(module_name)
    for part in qualname.split("."):
        found = getattr(found, "__dict__", {}).get(part)
    if not isinstance(found, type) or not issubclass(found, tuple | list | Mapping):
        return None
    if any(found is safe for safe in torch.serialization.get_safe_globals()):
        return found
    if package in sys.stdlib_module_names and package != "collections":
        return None
    return found if issubclass(found, tuple | list | dict | UserDict) else None


def _layout_to_plain(layout: Layout) -> dict[str, Any]:
    children = {key: _layout_to_plain(child) for key, child in layout.children.items()}
    return {"kind": layout.kind, "children": children}


def _layout_from_plain(state: Mapping[str, Any]) -> Layout:
    children = {key: _layout_from_plain(child) for key, child in state["children"].items()}
    return Layout(state["kind"], children)
