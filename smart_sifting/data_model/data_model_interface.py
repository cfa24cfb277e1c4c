"""What a batch of samples is to the sifting loader, and how user batches become one.

Source: names from
https://docs.aws.amazon.com/sagemaker/latest/dg/train-smart-sifting-pysdk-reference.html
"""

from __future__ import annotations

import abc
import copy
from collections.abc import Sequence
from typing import Any, Self

import torch

from smart_sifting._core.formats import BY_FEATURE, BatchFormats
from smart_sifting._core.layouts import (
    FormattedBatch,
    Layout,
    check_alike,
    concatenate_samples,
    select_samples,
)
from smart_sifting.exceptions import UnsupportedDataFormatException

__all__ = ["SiftingBatch", "SiftingBatchTransform", "UnsupportedDataFormatException"]


class SiftingBatch:
    """A batch from which single samples can be taken.

    A subclass only needs attributes that hold one entry per sample: tensors (along dimension 0),
    lists, tuples or dicts of these; numbers, strings and None are shared by the whole batch.
    ``super().__init__()`` need not be called. Override the three methods for anything else.

    **Ownership**: the sifting loader never changes a batch; it makes new ones.

    Example:
        >>> class Pairs(SiftingBatch):
        ...     def __init__(self, left, right):
        ...         self.left, self.right = left, right
        >>> pairs = Pairs(torch.tensor([1, 2, 3]), ["a", "b", "c"])
        >>> len(pairs), pairs.select([0, 2]).right
        (3, ['a', 'c'])
    """

    def __len__(self) -> int:
        """Return the number of samples.

        Raises:
            UnsupportedDataFormatException: If the attributes do not agree on it.
        """
        values = vars(self)
        tensors = [v for v in values.values() if isinstance(v, torch.Tensor) and v.dim() >= 1]
        if tensors:
            return tensors[0].size(0)
        lists = [v for v in values.values() if isinstance(v, list | tuple)]
        if lists:
            return len(next(filter(None, lists), ()))
        formats = BatchFormats(BY_FEATURE)
        return formats.count_samples(values, loader_batch_size=None) if values else 0

    def select(self, sample_idx: Sequence[int]) -> Self:
        """Return a batch of some of the samples.

        Args:
            sample_idx: Which ones, in which order; each in ``0 .. len(self) - 1``.

        Returns:
            A new batch of ``len(sample_idx)`` samples.

        Raises:
            UnsupportedDataFormatException: If an attribute does not hold one entry per sample.
        """
        return self._take(sample_idx)

    def concatenate(self, others: Sequence[Self]) -> Self:
        """Return a batch of this one's samples followed by those of the others.

        Args:
            others: Batches of the same kind.

        Returns:
            A new batch.

        Raises:
            UnsupportedDataFormatException: If the batches do not hold the same features, or
                samples of different shape would have to be stacked.
        """
        parts = [self, *others]
        layouts = _find_layouts(parts)
        check_alike(layouts)
        return self._like(concatenate_samples([vars(part) for part in parts], layouts[0]))

    def _take(self, sample_idx: Sequence[int] | torch.Tensor) -> Self:
        """Do as :meth:`select`, which has no other work, with a tensor of indices too."""
        (layout,) = _find_layouts([self])
        return self._like(select_samples(vars(self), layout, sample_idx))

    def _like(self, values: dict[str, Any]) -> Self:
        clone = copy.copy(self)
        vars(clone).update(values)
        return clone


def take_samples(
    batch: FormattedBatch | SiftingBatch, idx_K: torch.Tensor
) -> FormattedBatch | SiftingBatch:
    """Return a batch of some of the samples, for indices in a tensor.

    Args:
        batch: A SiftingBatch that overrides ``select`` gets a list of numbers there.
        idx_K: Which ones, int64, shape ``(K,)``, on the CPU.

    Returns:
        What ``batch.select`` returns.
    """
    if isinstance(batch, FormattedBatch):
        return batch.select(idx_K)
    if type(batch).select is SiftingBatch.select:
        return batch._take(idx_K)
    return batch.select(idx_K.tolist())


def _find_layouts(parts: Sequence[SiftingBatch]) -> list[Layout]:
    formats = BatchFormats(BY_FEATURE, shares_sequences=False)
    return [
        formats.find_layout(vars(part), num_losses=len(part), loader_batch_size=None)
        for part in parts
    ]


class SiftingBatchTransform(abc.ABC):
    """Turns the wrapped loader's batches into a :class:`SiftingBatch` and back.

    **State**: a transform should have none; it is called for every scored batch, but not for
    batches that pass during the delay.

    Example:
        >>> class DropMasks(SiftingBatchTransform):
        ...     def transform(self, batch):
        ...         from smart_sifting import TensorBatch
        ...         return TensorBatch(batch[0], batch[2])
        ...     def reverse_transform(self, sifting_batch):
        ...         return [sifting_batch.inputs, sifting_batch.labels]
        >>> DropMasks().transform([torch.ones(2), torch.zeros(2), torch.ones(2)]).labels
        tensor([1., 1.])
    """

    @abc.abstractmethod
    def transform(self, batch: Any) -> SiftingBatch:
        """Return a batch of the wrapped loader as a :class:`SiftingBatch`.

        Args:
            batch: A batch as loaded, at least one sample.

        Returns:
            The same samples, in the same order.
        """

    @abc.abstractmethod
    def reverse_transform(self, sifting_batch: Any) -> Any:
        """Return what the training loop consumes.

        Args:
            sifting_batch: Kept samples of one or several transformed batches, at least one.

        Returns:
            A batch for the training loop.
        """
