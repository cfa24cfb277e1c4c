"""In which precision a network is trained, and how a step is taken in it."""

from __future__ import annotations

import logging
from typing import Any

import torch

_LOG = logging.getLogger(__name__)


class Precision:
    """float32, or on a GPU float16 with float32 weights and a scaled loss.

    Source: Micikevicius et al. 2018, "Mixed Precision Training",
    https://arxiv.org/abs/1710.03740. MXNet's multi-precision optimizers keep float32 weights too
    but scale no loss.

    Args:
        precision_dtype: The hyperparameter, ``float32`` or ``float16``.
        device: Where the network is. On the CPU ``float16`` is logged and not used.

    Attributes:
        is_half: Whether the forward pass computes in float16.
    """

    def __init__(self, precision_dtype: str, device: torch.device) -> None:
        self.is_half = precision_dtype == "float16" and device.type == "cuda"
        if precision_dtype == "float16" and not self.is_half:
            _LOG.warning(
                "precision_dtype is float16, but this job trains on the CPU, where float16 saves "
                "neither time nor memory: it trains in float32."
            )
        self._device = device
        self._scaler = torch.amp.GradScaler(device.type, enabled=self.is_half)

    def autocast(self) -> torch.autocast:
        """Return the context of a forward pass."""
        return torch.autocast(self._device.type, dtype=torch.float16, enabled=self.is_half)

    def step(self, loss: torch.Tensor, optimizer: torch.optim.Optimizer) -> None:
        """Compute the gradients of a scalar loss and let the optimizer take its step.

        In float16 a step whose gradients are not finite is left out, and the loss is scaled less.
        """
        optimizer.zero_grad(set_to_none=True)
        self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        self._scaler.step(optimizer)
        self._scaler.update()

    def state_dict(self) -> dict[str, Any]:
        """Return scale and growth of the loss scaler; empty in float32."""
        return dict(self._scaler.state_dict())

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with the scale of a saved state; an empty one changes nothing."""
        if state and self.is_half:
            self._scaler.load_state_dict(state)
