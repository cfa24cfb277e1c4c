"""The device that a process trains on: its GPU, else the processor."""

from __future__ import annotations

import logging
import platform
from collections.abc import Sequence

import torch

from sagemaker_sift.trainer.errors import TrainingError

_LOG = logging.getLogger(__name__)

_FIRST_WITH_BFLOAT16 = 8
"""The major compute capability of Ampere."""


def choose_device(num_threads: int | None, *, local_rank: int = 0) -> torch.device:
    """Return the device, set up for convolutions of one size, and log it.

    Args:
        num_threads: Threads of torch on the processor, or ``None`` for torch's own choice.
        local_rank: Which process of its machine this one is, and so which GPU it has.

    Raises:
        TrainingError: If this build of torch has no kernels for the GPU.
    """
    if num_threads is not None:
        torch.set_num_threads(num_threads)
    if not torch.cuda.is_available():
        _LOG.info("Device: CPU, %d threads", torch.get_num_threads())
        return torch.device("cpu")
    device = torch.device("cuda", local_rank)
    name = torch.cuda.get_device_name(device)
    check_architecture(name, torch.cuda.get_device_capability(device), torch.cuda.get_arch_list())
    torch.cuda.set_device(device)
    torch.backends.cudnn.benchmark = True
    _LOG.info("Device: %s, CUDA %s", name, torch.version.cuda)
    return device


def has_bfloat16(device: torch.device) -> bool:
    """Return whether a device has instructions for bfloat16, so that it saves time.

    Args:
        device: A GPU, or the processor: AVX512-BF16, AMX or Arm's BF16. What emulates them is
            slower than float32.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device)[0] >= _FIRST_WITH_BFLOAT16
    if device.type != "cpu":
        return False
    if platform.machine() in ("arm64", "aarch64"):
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    # Elsewhere that answers yes to AVX512 alone. Older versions of torch lack the questions below.
    questions = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, name, bool)() for name in questions)


def check_architecture(name: str, capability: tuple[int, int], built_for: Sequence[str]) -> None:
    """Refuse a GPU that this build of torch cannot run on.

    A kernel of one architecture runs on later ones of the same major version; PTX
    (``compute_90``) is compiled for any later one.

    Source: "CUDA C++ Programming Guide", binary and PTX compatibility.

    Args:
        name: Of the GPU, for the message.
        capability: Its compute capability, such as ``(7, 0)``.
        built_for: What ``torch.cuda.get_arch_list`` returns.

    Raises:
        TrainingError: If none of them runs on it.

    Example:
        >>> check_architecture("NVIDIA L4", (8, 9), ["sm_80", "sm_90"])
        >>> check_architecture("Tesla V100", (7, 0), ["sm_75", "sm_80"])
        Traceback (most recent call last):
        sagemaker_sift.trainer.errors.TrainingError: The GPU Tesla V100 has compute capability ...
    """
    for architecture in built_for:
        kind, _, digits = architecture.rstrip("af").partition("_")
        if not digits.isdecimal():
            continue
        major, minor = int(digits[:-1]), int(digits[-1])
        if kind == "sm" and major == capability[0] and minor <= capability[1]:
            return
        if kind == "compute" and (major, minor) <= capability:
            return
    raise TrainingError(
        f"The GPU {name} has compute capability {capability[0]}.{capability[1]}, but this build "
        f"of torch {torch.__version__} has kernels only for {', '.join(built_for)}. Use another "
        "instance type, or an image whose torch is built for this GPU (CUDA 12.6 builds run on "
        "V100 to H100)."
    )
