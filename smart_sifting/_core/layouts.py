"""Where the samples of a structured batch are, and how to take and join them.

A batch is made of tensors, lists, tuples, named tuples and mappings, nested as they come. Its
:class:`Layout` says for every part which dimension counts the samples.
"""

from __future__ import annotations

import array
import copy
from collections import UserDict
from collections.abc import Mapping, MutableMapping, MutableSequence, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Literal, Self

import torch

from smart_sifting._core.tensor_rows import as_list, concatenate_along, select_along
from smart_sifting.exceptions import UnsupportedDataFormatException

Kind = Literal["rows", "columns", "samples", "features", "shared"]

_LEAF_TYPES = frozenset(
    {torch.Tensor, int, float, complex, bool, str, bytes, bytearray, array.array, type(None)}
)

_DESCRIPTIONS: dict[Kind, str] = {
    "rows": "a tensor with samples along dimension 0",
    "columns": "a tensor with samples along dimension 1",
    "samples": "a sequence of samples",
    "features": "a container of features",
    "shared": "one value of the whole batch (None, a number, a string)",
}

_REFUSALS = (TypeError, ValueError, AttributeError, LookupError, RuntimeError)


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

    def select(self, sample_idx: Sequence[int] | torch.Tensor) -> Self:
        """Return a batch of the samples at ``sample_idx``, in that order.

        Args:
            sample_idx: Which ones; numbers, or a tensor of them, int64, shape ``(K,)``.
        """
        data = select_samples(self.data, self.layout, sample_idx)
        return type(self)(data, self.layout, len(sample_idx))

    def concatenate(self, others: Sequence[Self]) -> Self:
        """Return a batch of this one's samples followed by those of the others.

        Args:
            others: Batches with the same features.

        Returns:
            A batch of the types of the last one.

        Raises:
            UnsupportedDataFormatException: If their features or the shapes of samples differ.
        """
        check_alike([self.layout, *(other.layout for other in others)])
        data = concatenate_samples([self.data, *(other.data for other in others)], self.layout)
        return type(self)(data, self.layout, sum(map(len, others), len(self)))


def check_alike(layouts: Sequence[Layout]) -> None:
    """Raise if batches cannot be joined because they do not hold the same features.

    Args:
        layouts: The layouts of the batches, in order.

    Raises:
        UnsupportedDataFormatException: If they differ, other than in the order of the features.

    Example:
        >>> check_alike([Layout("rows"), Layout("rows")])
    """
    first = layouts[0]
    for other in layouts[1:]:
        if other is first or other == first:
            continue
        path, one, two = _find_difference(first, other, "batch")
        raise UnsupportedDataFormatException(
            f"`{path}` is {_describe(one)} in one batch and {_describe(two)} in another, so their "
            "samples cannot be pooled. Give every batch the same features, or pass "
            "`batch_transforms`."
        )


def _find_difference(
    one: Layout, other: Layout, path: str
) -> tuple[str, Layout | None, Layout | None]:
    """Return where two layouts differ, by its path, and what is there."""
    if one.kind == other.kind:
        for key in {**one.children, **other.children}:
            child, its = one.children.get(key), other.children.get(key)
            if child is None or its is None:
                return f"{path}[{key!r}]", child, its
            if child != its:
                return _find_difference(child, its, f"{path}[{key!r}]")
    return path, one, other


def _describe(layout: Layout | None) -> str:
    return _DESCRIPTIONS[layout.kind] if layout else "missing"


def select_samples(value: Any, layout: Layout, sample_idx: Sequence[int] | torch.Tensor) -> Any:
    """Return a structure like ``value`` with only some of the samples.

    Args:
        value: The batch, or a part of it.
        layout: Its layout.
        sample_idx: Which samples, in which order. A range gives views of tensors by row; a
            tensor, int64, shape ``(K,)``, on the CPU, costs nothing per sample.

    Returns:
        The same types, holding ``len(sample_idx)`` samples.

    Example:
        >>> select_samples(torch.tensor([5, 6, 7]), Layout("rows"), [0, 2])
        tensor([5, 7])
    """
    if layout.kind in ("rows", "columns"):
        return select_along(value, 0 if layout.kind == "rows" else 1, sample_idx)
    if layout.kind == "samples":
        return like_container(value, {i: value[idx] for i, idx in enumerate(as_list(sample_idx))})
    if layout.kind == "shared":
        return value
    parts = {
        key: select_samples(value[key], child, sample_idx)
        for key, child in layout.children.items()
    }
    return like_container(value, parts)


def concatenate_samples(values: Sequence[Any], layout: Layout) -> Any:
    """Return a structure with the samples of all ``values``, in order.

    Args:
        values: Batches, or the same part of each, with the same layout: see :func:`check_alike`.
        layout: Their layout.

    Returns:
        A structure of the types of the last value. Of shared values the last one counts.

    Raises:
        UnsupportedDataFormatException: If samples of different shape would have to be stacked.

    Example:
        >>> concatenate_samples([["a"], ["b", "c"]], Layout("samples"))
        ['a', 'b', 'c']
    """
    newest = values[-1]
    if layout.kind in ("rows", "columns"):
        return concatenate_along(values, 0 if layout.kind == "rows" else 1)
    if layout.kind == "samples":
        return like_container(newest, dict(enumerate(chain.from_iterable(values))))
    if layout.kind == "shared":
        return newest
    parts = {
        key: concatenate_samples([value[key] for value in values], child)
        for key, child in layout.children.items()
    }
    return like_container(newest, parts)


def copy_containers(value: Any) -> Any:
    """Return a copy of a batch's containers, nested as they are, that shares all that they hold.

    Who pops from the copy or assigns into it leaves the original as it was; who changes a tensor
    in place changes that of both. Tuples that hold no other containers, and containers that can
    neither be made of their items nor copied, are not copied.

    Args:
        value: A batch of any kind.

    Returns:
        A structure of the same types.

    Example:
        >>> batch = {"image": [torch.zeros(2)], "label": 3}
        >>> copied = copy_containers(batch)
        >>> copied["image"][0] is batch["image"][0], copied.pop("label"), batch["label"]
        (True, 3, 3)
    """
    kind = type(value)
    if kind in _LEAF_TYPES:
        return value
    if kind is dict:
        return {key: copy_containers(child) for key, child in value.items()}
    if kind is list:
        return [copy_containers(child) for child in value]
    if not isinstance(value, tuple | Mapping | MutableSequence):
        return value
    items = container_items(value)
    parts = {key: copy_containers(child) for key, child in items}
    if isinstance(value, tuple) and all(parts[key] is child for key, child in items):
        return value
    try:
        return like_container(value, parts)
    except UnsupportedDataFormatException:
        return value


def container_items(value: Any) -> list[tuple[Any, Any]]:
    """Return the keys, or positions, and values of a container.

    Example:
        >>> container_items(["a", "b"])
        [(0, 'a'), (1, 'b')]
    """
    return list(value.items() if isinstance(value, Mapping) else enumerate(value))


def like_container(like: Any, parts: dict[Any, Any]) -> Any:
    """Return a container of the type of another with other values, by the same keys.

    Dicts and UserDicts are copied with all that they have besides their items. Containers of other
    types are made of their items, ``type(like)(parts)``, or copied where they cannot be.

    Args:
        like: The other container, which stays as it is.
        parts: The values by key, or by position from 0 on.

    Returns:
        The new container.

    Raises:
        UnsupportedDataFormatException: If no such container can be made.

    Example:
        >>> like_container((1, 2), {0: "a", 1: "b"})
        ('a', 'b')
    """
    kind = type(like)
    if kind is dict:
        return parts
    if kind in (list, tuple):
        return kind(parts.values())
    if isinstance(like, dict | UserDict):
        with suppress(*_REFUSALS):
            return _copy_with(like, parts)
    content = parts if isinstance(like, Mapping) else list(parts.values())
    with suppress(*_REFUSALS):
        made = kind(*content) if is_named_tuple(like) else kind(content)
        if len(made) == len(parts) and (content is not parts or all(key in made for key in parts)):
            return made
    if isinstance(like, MutableMapping | MutableSequence) and _is_copied_apart(like):
        return _copy_with(like, parts)
    raise UnsupportedDataFormatException(
        f"A batch has a part of type {kind}, of which no other can be made: neither "
        f"{kind.__name__}({type(content).__name__}) nor copy.copy gives one of its own. Pass "
        "`batch_transforms`, or give a list, tuple or dict in its place."
    )


def _copy_with(like: Any, parts: dict[Any, Any]) -> Any:
    clone = copy.copy(like)
    for key, part in parts.items():
        clone[key] = part
    if getattr(like, "__dict__", None) is like:  # a dict whose keys are its attributes
        clone.__dict__ = clone
    return clone


def _is_copied_apart(like: Any) -> bool:
    """Return whether assigning into a copy of a container leaves the container as it was."""
    for key, original in container_items(like)[:1]:
        probe = object()
        try:
            clone = copy.copy(like)
            clone[key] = probe
            is_apart = like[key] is not probe
            clone[key] = original
        except _REFUSALS:
            return False
        return is_apart
    return False


def is_named_tuple(value: object) -> bool:
    """Return whether a value is a named tuple, whose items are features by their nature.

    Example:
        >>> is_named_tuple((1, 2))
        False
    """
    return isinstance(value, tuple) and hasattr(value, "_fields")
