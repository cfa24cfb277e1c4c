"""Kept samples, pooled until a batch is full."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, Protocol, Self, TypeVar


class PoolableBatch(Protocol):
    """A batch from which samples can be taken and that can be joined with others."""

    def __len__(self) -> int:
        """Return the number of samples."""

    def select(self, sample_idx: Sequence[int]) -> Self:
        """Return a batch of the samples at ``sample_idx``, in that order."""

    def concatenate(self, others: Sequence[Self]) -> Self:
        """Return a batch of this one's samples followed by those of the others."""


BatchT = TypeVar("BatchT", bound=PoolableBatch)


class Accumulator(Generic[BatchT]):
    """A first-in, first-out pool of samples.

    Example:
        >>> from smart_sifting.data_model.list_batch import ListBatch
        >>> pool = Accumulator()
        >>> pool.add(ListBatch([1, 2])); pool.add(ListBatch([3, 4]))
        >>> pool.take(3).inputs, pool.num_samples
        ([1, 2, 3], 1)
    """

    def __init__(self) -> None:
        self._chunks: list[BatchT] = []
        self.num_samples = 0

    @property
    def chunks(self) -> list[BatchT]:
        """The pooled batches, oldest first."""
        return list(self._chunks)

    def add(self, chunk: BatchT) -> None:
        """Pool a batch's samples after those already pooled.

        Args:
            chunk: A batch of at least one sample.
        """
        self._chunks.append(chunk)
        self.num_samples += len(chunk)

    def take(self, num_samples: int) -> BatchT:
        """Remove the oldest samples from the pool and return them as one batch.

        Args:
            num_samples: How many, from 1 to ``self.num_samples``.

        Returns:
            A batch of ``num_samples`` samples; the very object that was added, if it holds
            exactly these.
        """
        pooled, *others = self._chunks
        if others:
            pooled = pooled.concatenate(others)
        rest = self.num_samples - num_samples
        self.clear()
        if rest:
            self.add(pooled.select(range(num_samples, num_samples + rest)))
            pooled = pooled.select(range(num_samples))
        return pooled

    def clear(self) -> None:
        """Forget all pooled samples."""
        self._chunks = []
        self.num_samples = 0
