"""Checks of what users pass in."""

from __future__ import annotations

from typing import Any

import torch


def check_model(model: object) -> torch.nn.Module:
    """Return the model.

    Raises:
        TypeError: If it is no module.

    Example:
        >>> check_model(None)
        Traceback (most recent call last):
        TypeError: `model` is None, but must be the torch.nn.Module that is being trained.
    """
    if not isinstance(model, torch.nn.Module):
        raise TypeError(
            f"`model` is {model!r}, but must be the torch.nn.Module that is being trained."
        )
    return model


def check_transforms(batch_transforms: Any) -> Any:
    """Return the batch transforms, or None.

    Raises:
        TypeError: If they lack a method, or are a class instead of an instance.

    Example:
        >>> check_transforms(None) is None
        True
    """
    for method in ("transform", "reverse_transform"):
        is_missing = not callable(getattr(batch_transforms, method, None))
        if batch_transforms is not None and (isinstance(batch_transforms, type) or is_missing):
            raise TypeError(
                f"`batch_transforms` is {batch_transforms!r}, but must be an instance with the "
                "methods `transform` and `reverse_transform`: see SiftingBatchTransform."
            )
    return batch_transforms
