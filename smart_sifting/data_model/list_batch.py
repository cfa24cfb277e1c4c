"""A batch of Python lists, one entry per sample."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any, Self

import torch

from smart_sifting._core.tensor_rows import as_list, concatenate_along, select_along
from smart_sifting.data_model.data_model_interface import SiftingBatch
from smart_sifting.exceptions import UnsupportedDataFormatException

__all__ = ["ListBatch"]


class ListBatch(SiftingBatch):
    """A batch of lists.

    Args:
        inputs: One entry of any kind per sample.
        labels: One entry per sample, or None.

    Raises:
        ValueError: If there are labels, but not as many as inputs.

    Example:
        >>> ListBatch([(1, 2), (3, 4)], [0, 1]).select([1]).inputs
        [(3, 4)]
    """

    def __init__(self, inputs: list[Any], labels: list[Any] | None = None) -> None:
        if labels is not None and len(labels) != len(inputs):
            raise ValueError(
                f"`labels` has {len(labels)} entries and `inputs` has {len(inputs)}, but both "
                "must have one per sample."
            )
        self.inputs = inputs
        self.labels = labels

    def __len__(self) -> int:
        return len(self.inputs)

    def concatenate(self, others: Sequence[Self]) -> Self:
        """Return a batch of this one's samples followed by those of the others.

        Args:
            others: Batches with labels if this one has labels, and without if it has none.

        Returns:
            A new batch.

        Raises:
            UnsupportedDataFormatException: If only some of the batches have labels.
        """
        parts = [self, *others]
        labels = [part.labels for part in parts if part.labels is not None]
        if len(labels) not in (0, len(parts)):
            raise UnsupportedDataFormatException(
                f"`labels` is None in {len(parts) - len(labels)} of {len(parts)} batches, so they "
                "cannot be pooled. Give all batches labels, or none."
            )
        return self._like(
            {
                "inputs": _concatenate([part.inputs for part in parts]),
                "labels": _concatenate(labels) if labels else None,
            }
        )

    def _take(self, sample_idx: Sequence[int] | torch.Tensor) -> Self:
        labels = None if self.labels is None else _select(self.labels, sample_idx)
        return self._like({"inputs": _select(self.inputs, sample_idx), "labels": labels})


def _select(values: Any, sample_idx: Sequence[int] | torch.Tensor) -> Any:
    if isinstance(values, torch.Tensor):
        return select_along(values, 0, sample_idx)
    return [values[idx] for idx in as_list(sample_idx)]


def _concatenate(parts: list[Any]) -> Any:
    if isinstance(parts[0], torch.Tensor):
        return concatenate_along(parts, 0)
    return list(chain.from_iterable(parts))
