"""Checks of what users pass in."""

from __future__ import annotations

import numbers
from typing import Any, get_args

import torch

from smart_sifting.sift_config.sift_configs import Scoring


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


def check_whole_number(name: str, value: object, *, minimum: int | None = None) -> int:
    """Return a whole number.

    Args:
        name: The argument's name.
        value: What was given.
        minimum: The least that it may be, or None.

    Raises:
        TypeError: If it is no whole number.
        ValueError: If it is too small.

    Example:
        >>> check_whole_number("seed", 1.5)
        Traceback (most recent call last):
        TypeError: `seed` is 1.5, but must be a whole number.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"`{name}` is {value!r}, but must be a whole number.")
    if minimum is not None and value < minimum:
        raise ValueError(f"`{name}` is {value!r}, but must be at least {minimum}.")
    return int(value)


def check_flag(name: str, value: object) -> None:
    """Raise unless a value is True or False.

    Args:
        name: The argument's name.
        value: What was given.

    Raises:
        TypeError: If it is neither.

    Example:
        >>> check_flag("stop_if_slower", 1)
        Traceback (most recent call last):
        TypeError: `stop_if_slower` is 1, but must be True or False.
    """
    if not isinstance(value, bool):
        raise TypeError(f"`{name}` is {value!r}, but must be True or False.")


def check_scoring(scoring: object) -> None:
    """Raise unless a value names a way of scoring.

    Raises:
        ValueError: If it does not.

    Example:
        >>> check_scoring("stale")
        Traceback (most recent call last):
        ValueError: `scoring` is 'stale', but must be one of 'plain', 'fresh', 'last_visit'.
    """
    known = get_args(Scoring)
    if scoring not in known:
        names = ", ".join(map(repr, known))
        raise ValueError(f"`scoring` is {scoring!r}, but must be one of {names}.")


def check_ranks(process_group: object, share_history: object) -> None:
    """Raise unless the arguments about ranks are of the right type.

    Raises:
        TypeError: If ``process_group`` is no process group, or ``share_history`` no bool.

    Example:
        >>> check_ranks(None, True)
    """
    if not isinstance(share_history, bool):
        raise TypeError(f"`share_history` is {share_history!r}, but must be True or False.")
    if isinstance(process_group, str | float | list | tuple | dict):
        raise TypeError(
            f"`process_group` is {process_group!r}, but must be what "
            "torch.distributed.new_group() returned, or None for the default group."
        )
