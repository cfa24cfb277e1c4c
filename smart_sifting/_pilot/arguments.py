"""Checks of what a pilot alone is given."""

from __future__ import annotations

import inspect
import math
import numbers
from collections.abc import Iterable

import torch

from smart_sifting.sift_config.sift_configs import Scoring


def check_optimizer(optimizer: object) -> None:
    """Refuse what is no optimizer, and one of which the step needs arguments.

    Args:
        optimizer: What the user passed, or None.

    Raises:
        TypeError: If the pilot cannot take its step.

    Example:
        >>> check_optimizer("adam")
        Traceback (most recent call last):
        TypeError: `optimizer` is 'adam', but must be a torch.optim.Optimizer of the model, or ...
    """
    if optimizer is None:
        return
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise TypeError(
            f"`optimizer` is {optimizer!r}, but must be a torch.optim.Optimizer of the model, or "
            "None to measure training without its step."
        )
    try:
        inspect.signature(type(optimizer).step).bind(optimizer)  # a schedule wraps the other
    except TypeError as error:
        raise TypeError(
            f"`optimizer` is {type(optimizer).__name__}, of which the step needs a closure, but "
            "must be one whose step() needs no argument: the pilot times forward, backward and "
            "step apart. Pass optimizer=None to measure training without the step."
        ) from error


def read_betas(betas: Iterable[object], beta_value: object) -> tuple[float, ...]:
    """Return the selectivities to look at, ascending, each once.

    Args:
        betas: Positive and finite numbers.
        beta_value: One more, or None.

    Raises:
        TypeError: If ``betas`` is not iterable, or a selectivity is no number.
        ValueError: If there is none, or one is not positive and finite.

    Example:
        >>> read_betas([3, 1], 0.5)
        (0.5, 1.0, 3.0)
    """
    if isinstance(betas, str | bytes) or not _is_iterable(betas):
        raise TypeError(
            f"`betas` is {betas!r}, but must be a list of numbers, such as [0.5, 1]. Pass a "
            "single one as beta_value."
        )
    asked = [] if beta_value is None else [_read_beta("`beta_value` is", beta_value)]
    found = {*asked, *(_read_beta("`betas` holds", value) for value in betas)}
    if not found:
        raise ValueError("`betas` is empty, but must hold one selectivity or more, such as 1.")
    return tuple(sorted(found))


def read_count(name: str, value: object, *, minimum: int) -> int:
    """Return a whole number that was passed in.

    Args:
        name: The argument's.
        value: What the user passed.
        minimum: The least that it may be.

    Raises:
        TypeError: If it is no whole number.
        ValueError: If it is less than ``minimum``.

    Example:
        >>> read_count("num_batches", 0, minimum=1)
        Traceback (most recent call last):
        ValueError: `num_batches` is 0, but must be at least 1.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"`{name}` is {value!r}, but must be a whole number.")
    if value < minimum:
        raise ValueError(f"`{name}` is {value!r}, but must be at least {minimum}.")
    return int(value)


def read_scoring(scoring: object) -> Scoring:
    """Return how a pilot is to score.

    Raises:
        ValueError: If it is neither ``plain`` nor ``fresh``.

    Example:
        >>> read_scoring("last_visit")
        Traceback (most recent call last):
        ValueError: `scoring` is 'last_visit', but must be 'plain' or 'fresh'. Losses of the ...
    """
    if scoring == "plain":
        return "plain"
    if scoring == "fresh":
        return "fresh"
    remedy = ""
    if scoring == "last_visit":
        remedy = (
            " Losses of the last visit take no scoring pass, so that there is nothing to measure; "
            "samples whose loss is not known are scored as with 'fresh'."
        )
    raise ValueError(f"`scoring` is {scoring!r}, but must be 'plain' or 'fresh'.{remedy}")


def _is_iterable(value: Iterable[object]) -> bool:
    try:
        iter(value)
    except TypeError:
        return False
    return True


def _read_beta(subject: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{subject} {value!r}, but a selectivity must be a number, such as 1.0.")
    beta = float(value)
    if not (math.isfinite(beta) and beta > 0):
        raise ValueError(
            f"{subject} {value!r}, but a selectivity must be positive and finite. The expected "
            "kept fraction is 1 / (1 + beta_value): 1 keeps half, 3 a quarter."
        )
    return beta
