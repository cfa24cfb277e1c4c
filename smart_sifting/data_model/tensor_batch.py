"""A batch of tensors, samples along dimension 0."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

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
