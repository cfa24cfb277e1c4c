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
        self._source_sizes: list[int] = []
        self.num_samples = 0

    @property
    def chunks(self) -> list[BatchT]:
        """The pooled batches, oldest first."""
        return list(self._chunks)

    @property
    def source_sizes(self) -> list[int]:
        """How large the batch was that each chunk was selected from, oldest first."""
        return list(self._source_sizes)

    def add(self, chunk: BatchT, *, source_size: int | None = None) -> None:
        """Pool a batch's samples after those already pooled.

        Args:
            chunk: A batch of at least one sample.
            source_size: How large the batch was that they were selected from; as large as the
                chunk by default.
        """
        self._chunks.append(chunk)
        self._source_sizes.append(len(chunk) if source_size is None else source_size)
        self.num_samples += len(chunk)

    def take(self, num_samples: int) -> BatchT:
        """Remove the oldest samples from the pool and return them as one batch.

        Args:
            num_samples: How many, from 1 to ``self.num_samples``.

        Returns:
            A batch of ``num_samples`` samples; the very object that was added, if it holds
            exactly these.

        Raises:
            UnsupportedDataFormatException: If the chunks cannot be joined; the pool is then as it
                was.
        """
        pooled, *others = self._chunks
        if others:
            pooled = pooled.concatenate(others)
        rest = self.num_samples - num_samples
        last_size = self._source_sizes[-1]
        remaining = pooled.select(range(num_samples, num_samples + rest)) if rest else None
        taken = pooled.select(range(num_samples)) if rest else pooled
        self.clear()
        if remaining is not None:
            self.add(remaining, source_size=last_size)
        return taken

    def put_back(self, taken: BatchT) -> None:
        """Pool samples that were taken, before those that are pooled.

        Args:
            taken: What :meth:`take` returned last.
        """
        chunks, sizes = self._chunks, self._source_sizes
        self.clear()
        self.add(taken)
        for chunk, size in zip(chunks, sizes, strict=True):
            self.add(chunk, source_size=size)

    def clear(self) -> None:
        """Forget all pooled samples."""
        self._chunks = []
        self._source_sizes = []
        self.num_samples = 0
