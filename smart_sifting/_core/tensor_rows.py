"""Samples of tensors: taken by their indices, and joined."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from smart_sifting.exceptions import UnsupportedDataFormatException


def as_list(sample_idx: Sequence[int] | torch.Tensor) -> Sequence[int]:
    """Return indices as Python numbers.

    Example:
        >>> as_list(torch.tensor([2, 0]))
        [2, 0]
    """
    if not isinstance(sample_idx, torch.Tensor):
        return sample_idx
    numbers: list[int] = sample_idx.tolist()
    return numbers


def select_along(
    values: torch.Tensor, dim: int, sample_idx: Sequence[int] | torch.Tensor
) -> torch.Tensor:
    """Return the slices of a tensor at ``sample_idx``; a view for a range of rows.

    Columns come contiguous, as a tensor from a loader is, so that ``.view`` works on them. Rows of
    images whose channels are last in memory stay so.

    Args:
        values: Tensor of any dtype, on any device.
        dim: The dimension that counts samples.
        sample_idx: Indices along it; numbers, or a tensor of them, int64, on the CPU.

    Returns:
        The slices, in the order of ``sample_idx``.

    Example:
        >>> select_along(torch.tensor([5, 6, 7]), 0, range(1, 3))
        tensor([6, 7])
    """
    if isinstance(sample_idx, range) and sample_idx.step == 1:
        part = values.narrow(dim, sample_idx.start, len(sample_idx))
        return part.contiguous() if dim else part
    if not isinstance(sample_idx, torch.Tensor):
        sample_idx = torch.tensor(sample_idx, dtype=torch.int64, device="cpu")
    idx = sample_idx.to(values.device, non_blocking=True)
    if dim == 0 and values.dim() > 3 and not values.is_contiguous():
        channels_last = values.movedim(1, -1)
        if channels_last.is_contiguous():  # index_select would put every byte elsewhere
            return channels_last.index_select(0, idx).movedim(-1, 1)
    return values.index_select(dim, idx)


def concatenate_along(tensors: Sequence[torch.Tensor], dim: int) -> torch.Tensor:
    """Return tensors joined along the dimension that counts samples.

    Args:
        tensors: At least one tensor.
        dim: The dimension that counts samples.

    Returns:
        One tensor.

    Raises:
        UnsupportedDataFormatException: If the samples differ in shape.

    Example:
        >>> concatenate_along([torch.tensor([1]), torch.tensor([2])], 0)
        tensor([1, 2])
    """
    try:
        return torch.cat(list(tensors), dim)
    except RuntimeError:
        shapes = {(*tensor.shape[:dim], *tensor.shape[dim + 1 :]) for tensor in tensors}
        if len(shapes) == 1:
            raise
        raise UnsupportedDataFormatException(
            f"Samples of shapes {sorted(shapes)} cannot be pooled into one batch. Pad them to one "
            "shape in the wrapped loader's `collate_fn`, or pass `batch_transforms`."
        ) from None
