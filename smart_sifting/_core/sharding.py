"""Whether the ranks train on different data, and whether their models are whole."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch

_MAX_VALUES = 4096


def fingerprint(batch: Any) -> int | None:
    """Return a number by which to tell batches apart.

    Args:
        batch: A batch of tensors, numbers, strings, and lists, tuples and mappings of these. Of
            a tensor at most 4,096 evenly spaced values count; values of other types do not.

    Returns:
        A number ``>= 0``, the same for equal batches and almost surely another for others; None
        if nothing in the batch counts.

    Example:
        >>> fingerprint([torch.ones(2), "a"]) == fingerprint([torch.ones(2), "a"])
        True
        >>> fingerprint([torch.ones(2), "a"]) == fingerprint([torch.ones(2), "b"])
        False
    """
    parts = list(_parts(batch))
    return zlib.crc32(b"\0".join(parts)) if parts else None


def check_model_is_whole(model: torch.nn.Module) -> None:
    """Raise if every rank holds only a part of the model.

    The forward pass of such a model calls collectives, and ranks score differently often: they
    would wait for each other forever.

    Args:
        model: The model that is scored with.

    Raises:
        ValueError: If it is sharded by FSDP or made of distributed tensors.
    """
    names = {cls.__name__ for module in model.modules() for cls in type(module).__mro__}
    is_sharded = bool(names & {"FullyShardedDataParallel", "FSDPModule"})
    is_sharded |= any(type(parameter).__name__ == "DTensor" for parameter in model.parameters())
    if is_sharded:
        raise ValueError(
            "`model` is sharded over the ranks, but sifting needs a whole model on every rank: "
            "its scoring passes, of which each rank makes another number, must not communicate. "
            "Use DistributedDataParallel."
        )


def _parts(value: Any) -> Iterator[bytes]:
    if isinstance(value, torch.Tensor):
        if value.layout == torch.strided:
            yield _tensor_bytes(value)
    elif isinstance(value, bool | int | float | str | bytes):
        yield repr(value).encode()
    elif isinstance(value, Mapping):
        for key, child in value.items():
            yield from (repr(key).encode(), *_parts(child))
    elif isinstance(value, list | tuple):
        for child in value:
            yield from _parts(child)


def _tensor_bytes(tensor: torch.Tensor) -> bytes:
    flat = tensor.detach().flatten()
    step = max(1, flat.numel() // _MAX_VALUES)
    while math.gcd(step, flat.numel()) > 1:  # or it would visit the same columns in every row
        step += 1
    values = flat[::step].cpu()
    return f"{tuple(tensor.shape)} {tensor.dtype} {values.tolist()}".encode()
