"""Channels that need one another, or a hyperparameter that needs one.

The trainer says the same when it starts; a client says it before anything is sent.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from sagemaker_sift.contract.channels import (
    MODEL,
    PRETRAINED,
    VALIDATION,
    VALIDATION_LIST,
)
from sagemaker_sift.contract.hyperparameters import read_values
from sagemaker_sift.contract.problem import Problem


def find_channel_conflicts(
    hyperparameters: Mapping[str, str], channels: Collection[str]
) -> Iterator[Problem]:
    """Yield which channels are missing beside others.

    Args:
        hyperparameters: Of the job, as text.
        channels: Names of its channels.

    Example:
        >>> print(*find_channel_conflicts({"use_pretrained_model": "1"}, ["train"]))
        `use_pretrained_model` is 1, but the job has no channel 'pretrained'. Add it, or leave
        use_pretrained_model out.
    """
    values, _ = read_values(
        {name: text for name, text in hyperparameters.items() if name == "use_pretrained_model"}
    )
    if values.get("use_pretrained_model") and not {PRETRAINED.name, MODEL.name} & set(channels):
        yield Problem(
            "use_pretrained_model",
            f"is 1, but the job has no channel {PRETRAINED.name!r}. Add it, or leave "
            "use_pretrained_model out.",
        )
    if VALIDATION_LIST.name in channels and VALIDATION.name not in channels:
        yield Problem(
            "InputDataConfig",
            f"has the channel {VALIDATION_LIST.name!r}, but not {VALIDATION.name!r} with its "
            "images. Add it.",
        )
