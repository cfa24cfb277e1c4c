"""Samples that keep a number of their own, by which their last loss is found again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch.utils.data import Dataset, IterableDataset, default_collate

__all__ = ["Identified", "IdentifiedCollate", "IdentifiedDataset"]


class Identified(NamedTuple):
    """A sample, or a batch, with its id or ids.

    Attributes:
        sample_id: Of a sample its index, ``>= 0``; of a batch the indices, int64, shape ``(B,)``.
        data: The sample or the batch itself.
    """

    sample_id: Any
    data: Any


class IdentifiedDataset(Dataset[Identified]):
    """A map-style dataset whose samples come with their index, which is their id.

    A ``SiftingDataloader`` takes the ids off again: the loop gets the batches as before. A
    ``collate_fn`` of your own goes into an :class:`IdentifiedCollate`.

    Args:
        dataset: The dataset, indexed from 0 to ``len(dataset) - 1``.

    Raises:
        TypeError: If it cannot be indexed, or has no length.

    Example:
        >>> from torch.utils.data import DataLoader
        >>> next(iter(DataLoader(IdentifiedDataset([2.5, 3.5]), batch_size=2))).sample_id
        tensor([0, 1])
    """

    def __init__(self, dataset: Any) -> None:
        is_indexed = hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__")
        if not is_indexed or isinstance(dataset, IterableDataset):
            raise TypeError(
                f"`dataset` is a {type(dataset).__name__}, but must be indexable and have a "
                "length: samples of an iterable dataset have no index. Give ids by "
                "SiftingDataloader(..., sample_ids=function) instead."
            )
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: Any) -> Identified:
        is_many = isinstance(index, list | tuple)  # of a DataLoader with ``batch_size=None``
        return Identified(list(index) if is_many else int(index), self.dataset[index])

    def __getitems__(self, indices: Sequence[int]) -> list[Identified]:
        """Return several samples, read at once where the dataset can do that."""
        read_many = getattr(self.dataset, "__getitems__", None)
        samples = read_many(indices) if read_many else [self.dataset[index] for index in indices]
        pairs = zip(indices, samples, strict=True)
        return [Identified(int(index), sample) for index, sample in pairs]


class IdentifiedCollate:
    """Makes a batch of samples with ids by a ``collate_fn`` for samples without.

    Args:
        collate_fn: Makes a batch of a list of samples; torch's own by default.

    Example:
        >>> IdentifiedCollate(sum)([Identified(3, 10), Identified(5, 20)])
        Identified(sample_id=tensor([3, 5]), data=30)
    """

    def __init__(self, collate_fn: Callable[[list[Any]], Any] = default_collate) -> None:
        self.collate_fn = collate_fn

    def __call__(self, samples: Sequence[Identified]) -> Identified:
        """Return the batch and the ids of its samples."""
        ids = torch.tensor([sample.sample_id for sample in samples], dtype=torch.int64)
        return Identified(ids, self.collate_fn([sample.data for sample in samples]))
