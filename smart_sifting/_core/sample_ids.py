"""Which number each sample of a batch has.

Shape suffixes in this file: B = samples in the batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from smart_sifting._core.visit_losses import MAX_SAMPLE_ID
from smart_sifting.dataloader.identified import Identified


class SampleIds:
    """Takes ids off a batch, or asks the user's function for them.

    Args:
        find: Returns the ids of a batch, or None for batches of an ``IdentifiedDataset``.
        is_needed: Whether a batch without ids is an error.

    Raises:
        TypeError: If ``find`` cannot be called.

    Example:
        >>> sample_ids = SampleIds(None, is_needed=True)
        >>> batch, ids = sample_ids.split(Identified([4, 2], "batch"))
        >>> batch, sample_ids.identify(batch, ids)
        ('batch', tensor([4, 2]))
    """

    def __init__(self, find: Callable[[Any], Any] | None, *, is_needed: bool) -> None:
        if find is not None and not callable(find):
            raise TypeError(
                f"`sample_ids` is {find!r}, but must be a function that returns the ids of a "
                "batch's samples."
            )
        self._find = find
        self._is_needed = is_needed

    def split(self, batch: Any) -> tuple[Any, Any]:
        """Return a batch as the loop gets it, and the ids that came with it, unread, or None.

        Args:
            batch: As loaded.
        """
        return (batch.data, batch.sample_id) if isinstance(batch, Identified) else (batch, None)

    def identify(self, batch: Any, ids: Any) -> torch.Tensor | None:
        """Return the ids of a batch, shape ``(B,)``, int64, on the CPU; None if none are needed.

        Args:
            batch: As the loop gets it.
            ids: What came with it, or None.

        Raises:
            TypeError: If the ids are no whole numbers.
            ValueError: If there are none though they are needed, or one is out of range.
        """
        if not self._is_needed:
            return None
        if self._find is not None:
            ids = self._find(batch)
        if ids is None:
            raise ValueError(
                "`scoring` is 'last_visit', but this batch has no sample ids. Wrap the dataset: "
                "DataLoader(IdentifiedDataset(dataset), ...); or pass `sample_ids`, a function "
                "that returns them."
            )
        return _read(ids)


def _read(ids: Any) -> torch.Tensor:
    try:
        id_B = torch.as_tensor(ids, device="cpu").flatten()
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(_explain(type(ids).__name__)) from error
    is_whole = id_B.dtype != torch.bool and not id_B.is_floating_point() and not id_B.is_complex()
    if id_B.numel() and not is_whole:
        raise TypeError(_explain(f"tensor of {id_B.dtype}"))
    id_B = id_B.long().clone()  # the loop may write into its own
    if id_B.numel():
        low, high = (int(value) for value in id_B.aminmax())
        if low < 0 or high > MAX_SAMPLE_ID:
            raise ValueError(
                f"A sample id is {low if low < 0 else high}, but must be in "
                f"0..{MAX_SAMPLE_ID}: samples are numbered from 0, such as by their index."
            )
    return id_B


def _explain(what: str) -> str:
    return (
        f"Sample ids came as a {what}, but must be whole numbers, one per sample: a tensor of "
        "int64, or a sequence of int."
    )
