"""Pooled samples as plain dicts of tensors and numbers, for ``state_dict``."""

from __future__ import annotations

import copy
from collections.abc import Mapping
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


def to_plain(batch: PoolableBatch) -> dict[str, Any]:
    """Return a snapshot of a pooled batch.

    Lists, tuples, dicts and tensors, bare or in a ListBatch or TensorBatch, give a dict that
    ``torch.load(weights_only=True)`` can read. Objects of other classes are copied as they are.

    Args:
        batch: A batch in the pool.

    Returns:
        The snapshot.

    Example:
        >>> to_plain(ListBatch([1], [2]))
        {'class': 'ListBatch', 'values': {'inputs': [1], 'labels': [2]}}
    """
    if isinstance(batch, FormattedBatch):
        return {
            "class": "FormattedBatch",
            "values": snapshot(batch.data),
            "layout": _layout_to_plain(batch.layout),
            "num_samples": batch.num_samples,
        }
    name = type(batch).__name__
    if PLAIN_CLASSES.get(name) is type(batch):
        return {"class": name, "values": snapshot(vars(batch))}
    return {"class": "", "values": copy.deepcopy(batch)}


def from_plain(state: Mapping[str, Any]) -> Any:
    """Return the batch of which :func:`to_plain` gave a snapshot.

    Args:
        state: The snapshot.

    Returns:
        A batch of the same class.

    Example:
        >>> from_plain(to_plain(ListBatch([1], [2]))).labels
        [2]
    """
    values = snapshot(state["values"])
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


def _layout_to_plain(layout: Layout) -> dict[str, Any]:
    children = {key: _layout_to_plain(child) for key, child in layout.children.items()}
    return {"kind": layout.kind, "children": children}


def _layout_from_plain(state: Mapping[str, Any]) -> Layout:
    children = {key: _layout_from_plain(child) for key, child in state["children"].items()}
    return Layout(state["kind"], children)
