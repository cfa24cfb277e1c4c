"""What goes along with each sample through the pool: its id, and its weight.

Shape suffixes in this file: B = samples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch


@dataclass(frozen=True, slots=True)
class SampleMarks:
    """Marks of some samples, in the order of the samples.

    Attributes:
        weights: Weights, shape ``(B,)``, float32, on the CPU.
        ids: Sample ids, shape ``(B,)``, int64, on the CPU; None if samples have none.

    Example:
        >>> marks = SampleMarks(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([7, 8, 9]))
        >>> marks.select([0, 2]).ids
        tensor([7, 9])
    """

    weights: torch.Tensor
    ids: torch.Tensor | None = None

    @classmethod
    def of_unsifted(cls, num_samples: int, id_B: torch.Tensor | None) -> Self:
        """Return the marks of samples that all pass: weights of 1."""
        return cls(torch.ones(num_samples, device="cpu"), id_B)

    def __len__(self) -> int:
        return self.weights.numel()

    def select(self, sample_idx: Sequence[int]) -> Self:
        """Return the marks of the samples at ``sample_idx``, in that order."""
        idx = torch.as_tensor(sample_idx, dtype=torch.int64, device="cpu")
        return type(self)(self.weights[idx], None if self.ids is None else self.ids[idx])

    def concatenate(self, others: Sequence[Self]) -> Self:
        """Return these marks followed by others."""
        everyone = [self, *others]
        ids = [marks.ids for marks in everyone if marks.ids is not None]
        return type(self)(
            torch.cat([marks.weights for marks in everyone]),
            torch.cat(ids) if len(ids) == len(everyone) else None,
        )

    def state_dict(self) -> dict[str, Any]:
        """Return the tensors."""
        return {"weights": self.weights, "ids": self.ids}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """Return the marks of which :meth:`state_dict` gave the tensors."""
        ids = state["ids"]
        return cls(state["weights"].cpu(), None if ids is None else ids.cpu())
