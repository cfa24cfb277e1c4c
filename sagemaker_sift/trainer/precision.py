"""In which precision a network is trained, and how a step is taken in it."""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from sagemaker_sift.trainer.device import has_bfloat16

_LOG = logging.getLogger(__name__)


class Precision:
    """float32; or a 16-bit forward pass with float32 weights, whose loss float16 scales.

    bfloat16 has the range of float32: no loss needs to be scaled, no step is left out.

    Source: Micikevicius et al. 2018, "Mixed Precision Training",
    https://arxiv.org/abs/1710.03740; for bfloat16 Kalamkar et al. 2019, "A Study of BFLOAT16 for
    Deep Learning Training", https://arxiv.org/abs/1905.12322. MXNet's multi-precision optimizers
    keep float32 weights too but scale no loss.

    Args:
        precision_dtype: The hyperparameter, ``float32``, ``float16`` or ``bfloat16``.
        device: Where the network is. On the CPU ``float16`` is logged and not used; nor is
            ``bfloat16`` on a device without instructions for it.

    Attributes:
        is_half: Whether the forward pass computes in float16.
    """

    def __init__(self, precision_dtype: str, device: torch.device) -> None:
        self.is_half = precision_dtype == "float16" and device.type == "cuda"
        is_bfloat16 = precision_dtype == "bfloat16" and has_bfloat16(device)
        if precision_dtype == "float16" and not self.is_half:
            _LOG.warning(
                "precision_dtype is float16, but this job trains on the CPU, where float16 saves "
                "neither time nor memory: it trains in float32."
            )
        if precision_dtype == "bfloat16" and not is_bfloat16:
            where = "CPU" if device.type == "cpu" else "GPU"
            _LOG.warning(
                "precision_dtype is bfloat16, but this job trains on a %s without instructions "
                "for it, where it would take longer: it trains in float32.",
                where,
            )
        self._device = device
        self._dtype = torch.bfloat16 if is_bfloat16 else torch.float16
        self._is_mixed = is_bfloat16 or self.is_half
        self._scaler = torch.amp.GradScaler(device.type, enabled=self.is_half)

    def autocast(self) -> AbstractContextManager[Any]:
        """Return the context of a forward pass; in float32 it leaves one around it in force."""
        if not self._is_mixed:
            return nullcontext()
        return torch.autocast(self._device.type, dtype=self._dtype)

    def step(self, loss: torch.Tensor, optimizer: torch.optim.Optimizer) -> None:
        """Compute the gradients of a scalar loss and let the optimizer take its step.

        In float16 a step whose gradients are not finite is left out, and the loss is scaled less.
        """
        optimizer.zero_grad(set_to_none=True)
        self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        self._scaler.step(optimizer)
        self._scaler.update()

    def state_dict(self) -> dict[str, Any]:
        """Return scale and growth of the loss scaler; empty without one."""
        return dict(self._scaler.state_dict())

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with the scale of a saved state; an empty one changes nothing."""
        if state and self.is_half:
            self._scaler.load_state_dict(state)
