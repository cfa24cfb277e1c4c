"""A batch of tensors, samples along dimension 0."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Self

import torch

from smart_sifting._core.tensor_rows import concatenate_along, select_along
from smart_sifting.data_model.data_model_interface import SiftingBatch

__all__ = ["TensorBatch"]


class TensorBatch(SiftingBatch):
    """A batch of tensors; iterating it gives the inputs, then the labels.

    Args:
        inputs: Inputs, shape ``(B, ...)``, any dtype and device.
        labels: Labels, shape ``(B, ...)``, or None.

    Raises:
        ValueError: If there are labels, but not as many as inputs.

    Example:
        >>> batch = TensorBatch(torch.tensor([[1.0], [2.0]]), torch.tensor([0, 1]))
        >>> [values.shape for values in batch.select([1])]
        [torch.Size([1, 1]), torch.Size([1])]
    """

    def __init__(self, inputs: torch.Tensor, labels: torch.Tensor | None = None) -> None:
        if labels is not None and len(labels) != len(inputs):
            raise ValueError(
                f"`inputs` holds {len(inputs)} samples and `labels` {len(labels)}, but both must "
                "hold the same number along dimension 0."
            )
        self.inputs = inputs
        self.labels = labels

    def __iter__(self) -> Iterator[Any]:
        yield self.inputs
        if self.labels is not None:
            yield self.labels

    def concatenate(self, others: Sequence[Self]) -> Self:
        """Return a batch of this one's samples followed by those of the others.

        Args:
            others: Batches with labels if this one has labels, and without if it has none.

        Returns:
            A new batch.

        Raises:
            UnsupportedDataFormatException: If only some of the batches have labels, or samples of
                different shape would have to be stacked.
        """
        parts = [self, *others]
        labels = [part.labels for part in parts if part.labels is not None]
        if len(labels) not in (0, len(parts)) or not all(part._is_plain for part in parts):
            return super().concatenate(others)
        return type(self)(
            concatenate_along([part.inputs for part in parts], 0),
            concatenate_along(labels, 0) if labels else None,
        )

    def _take(self, sample_idx: Sequence[int] | torch.Tensor) -> Self:
        if not self._is_plain:
            return super()._take(sample_idx)
        return type(self)(
            select_along(self.inputs, 0, sample_idx),
            None if self.labels is None else select_along(self.labels, 0, sample_idx),
        )

    @property
    def _is_plain(self) -> bool:
        """Whether there is nothing but inputs and labels, as they are meant to be."""
        if type(self) is not TensorBatch or len(vars(self)) != 2 or not _has_rows(self.inputs):
            return False
        labels = self.labels
        return labels is None or (_has_rows(labels) and labels.size(0) == self.inputs.size(0))


def _has_rows(values: object) -> bool:
    if not isinstance(values, torch.Tensor):
        return False
    return values.dim() > 0 and values.layout is torch.strided and not values.is_nested
