"""Where the samples of a structured batch are, and how to take and join them.

A batch is made of tensors, lists, tuples, named tuples and mappings, nested as they come. Its
:class:`Layout` says for every part which dimension counts the samples.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Literal, Self

import torch

from smart_sifting.exceptions import UnsupportedDataFormatException

Kind = Literal["rows", "columns", "samples", "features", "shared"]


@dataclass(frozen=True, slots=True)
class Layout:
    """How one part of a batch holds samples.

    Attributes:
        kind: ``rows`` / ``columns``: a tensor with samples along dimension 0 / 1. ``samples``: a
            sequence of samples. ``features``: a sequence or mapping whose children hold one
            feature of every sample. ``shared``: one value for the whole batch.
        children: The layouts of a ``features`` part, by key or position.
    """

    kind: Kind
    children: Mapping[Any, Layout] = field(default_factory=dict)


class FormattedBatch:
    """A batch in a default format together with where its samples are.

    Args:
        data: The batch as loaded.
        layout: Where its samples are.
        num_samples: How many there are.

    Example:
        >>> pairs = Layout("features", {0: Layout("rows"), 1: Layout("samples")})
        >>> batch = FormattedBatch([torch.tensor([1, 2, 3]), ["a", "b", "c"]], pairs, 3)
        >>> batch.select([0, 2]).data
        [tensor([1, 3]), ['a', 'c']]
    """

    def __init__(self, data: Any, layout: Layout, num_samples: int) -> None:
        self.data = data
        self.layout = layout
        self.num_samples = num_samples

    def __len__(self) -> int:
        return self.num_samples

    def select(self, sample_idx: Sequence[int]) -> Self:
        """Return a batch of the samples at ``sample_idx``, in that order."""
        data = select_samples(self.data, self.layout, sample_idx)
        return type(self)(data, self.layout, len(sample_idx))

    def concatenate(self, others: Sequence[Self]) -> Self:
        """Return a batch of this one's samples followed by those of the others."""
        data = concatenate_samples([self.data, *(other.data for other in others)], self.layout)
        return type(self)(data, self.layout, sum(map(len, others), len(self)))


def select_samples(value: Any, layout: Layout, sample_idx: Sequence[int]) -> Any:
    """Return a structure like ``value`` with only some of the samples.

    Args:
        value: The batch, or a part of it.
        layout: Its layout.
        sample_idx: Which samples, in which order. A range gives views of the tensors.

    Returns:
        The same types, holding ``len(sample_idx)`` samples.

    Example:
        >>> select_samples(torch.tensor([5, 6, 7]), Layout("rows"), [0, 2])
        tensor([5, 7])
    """
    if layout.kind in ("rows", "columns"):
        return select_along(value, 0 if layout.kind == "rows" else 1, sample_idx)
    if layout.kind == "samples":
        return _like_sequence(value, [value[idx] for idx in sample_idx])
    if layout.kind == "shared":
        return value
    parts = {
        key: select_samples(value[key], child, sample_idx)
        for key, child in layout.children.items()
    }
    return _like_container(value, parts)


def concatenate_samples(values: Sequence[Any], layout: Layout) -> Any:
    """Return a structure with the samples of all ``values``, in order.

    Args:
        values: Batches, or the same part of each, with the same layout.
        layout: Their layout.

    Returns:
        A structure of the types of the last value. Of shared values the last one counts.

    Raises:
        UnsupportedDataFormatException: If samples of different shape would have to be stacked, or
            the batches do not have the same features.

    Example:
        >>> concatenate_samples([["a"], ["b", "c"]], Layout("samples"))
        ['a', 'b', 'c']
    """
    newest = values[-1]
    if layout.kind in ("rows", "columns"):
        return concatenate_along(values, 0 if layout.kind == "rows" else 1)
    if layout.kind == "samples":
        return _like_sequence(newest, list(chain.from_iterable(values)))
    if layout.kind == "shared":
        return newest
    for value in values:
        if len(value) != len(layout.children):
            raise UnsupportedDataFormatException(
                f"Batches of {len(value)} and {len(layout.children)} features cannot be pooled. "
                "Give every batch the same features, or pass `batch_transforms`."
            )
    parts = {
        key: concatenate_samples([value[key] for value in values], child)
        for key, child in layout.children.items()
    }
    return _like_container(newest, parts)


def select_along(values: torch.Tensor, dim: int, sample_idx: Sequence[int]) -> torch.Tensor:
    """Return the slices of a tensor at ``sample_idx``; a view for a range.

    Args:
        values: Tensor of any dtype, on any device.
        dim: The dimension that counts samples.
        sample_idx: Indices along it.

    Returns:
        The slices, in the order of ``sample_idx``.

    Example:
        >>> select_along(torch.tensor([5, 6, 7]), 0, range(1, 3))
        tensor([6, 7])
    """
    if isinstance(sample_idx, range) and sample_idx.step == 1:
        return values.narrow(dim, sample_idx.start, len(sample_idx))
    idx = torch.tensor(sample_idx, dtype=torch.int64).to(values.device, non_blocking=True)
    return values.index_select(dim, idx)


def concatenate_along(tensors: Sequence[torch.Tensor], dim: int) -> torch.Tensor:
    """Return tensors joined along the dimension that counts samples.

    Args:
        tensors: At least one tensor.
        dim: The dimension that counts samples.

    Returns:
        One tensor.

    Raises:
        UnsupportedDataFormatException: If the samples differ in shape.

    Example:
        >>> concatenate_along([torch.tensor([1]), torch.tensor([2])], 0)
        tensor([1, 2])
    """
    sample_shapes = {(*tensor.shape[:dim], *tensor.shape[dim + 1 :]) for tensor in tensors}
    if len(sample_shapes) > 1:
        raise UnsupportedDataFormatException(
            f"Samples of shapes {sorted(sample_shapes)} cannot be pooled into one batch. Pad them "
            "to one shape in the wrapped loader's `collate_fn`, or pass `batch_transforms`."
        )
    return torch.cat(list(tensors), dim)


def _like_container(like: Any, parts: dict[Any, Any]) -> Any:
    if not isinstance(like, Mapping):
        return _like_sequence(like, list(parts.values()))
    if type(like) is dict:
        return parts
    if isinstance(like, MutableMapping):
        clone = copy.copy(like)
        clone.update(parts)
        return clone
    return type(like)(parts)  # type: ignore[call-arg] # as mappings are made by convention


def _like_sequence(like: Any, items: list[Any]) -> Any:
    if is_named_tuple(like):
        return type(like)(*items)
    return items if type(like) is list else type(like)(items)


def is_named_tuple(value: object) -> bool:
    """Return whether a value is a named tuple, whose items are features by their nature.

    Example:
        >>> is_named_tuple((1, 2))
        False
    """
    return isinstance(value, tuple) and hasattr(value, "_fields")
