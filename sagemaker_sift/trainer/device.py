"""The device that a job trains on: the first GPU, else the processor."""

from __future__ import annotations

import logging

import torch

_LOG = logging.getLogger(__name__)


def choose_device(num_threads: int | None) -> torch.device:
    """Return the device, set up for convolutions of one size, and log it.

    Args:
        num_threads: Threads of torch on the processor, or ``None`` for torch's own choice.
    """
    if num_threads is not None:
        torch.set_num_threads(num_threads)
    if not torch.cuda.is_available():
        _LOG.info("Device: CPU, %d threads", torch.get_num_threads())
        return torch.device("cpu")
    device = torch.device("cuda", 0)
    torch.backends.cudnn.benchmark = True
    _LOG.info("Device: %s", torch.cuda.get_device_name(device))
    if torch.cuda.device_count() > 1:
        _LOG.warning(
            "The machine has %d GPUs, but this version of the algorithm uses one of them. "
            "An instance type with one GPU costs less.",
            torch.cuda.device_count(),
        )
    return device
