"""SGD with momentum as the built-in algorithm runs it.

Source: apache/mxnet v1.9 ``python/mxnet/optimizer/optimizer.py``.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


def build_optimizer(
    model: nn.Module, *, learning_rate: float, momentum: float, weight_decay: float
) -> torch.optim.SGD:
    """Return the optimizer of a network.

    A step is ``v = momentum * v + g + weight_decay * w``, ``w = w - learning_rate * v``. Weight
    decay acts on parameters named ``weight``, which includes the gammas of normalisations, and
    never on biases and betas. MXNet keeps the learning rate inside ``v``; the two differ for some
    ten steps after the rate drops.

    Args:
        model: Parameters without gradients are left out.
        learning_rate: ``>= 0``.
        momentum: In [0, 1].
        weight_decay: ``>= 0``.
    """
    trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    decayed = [p for name, p in trained if name.endswith("weight")]
    others = [p for name, p in trained if not name.endswith("weight")]
    return torch.optim.SGD(
        [
            {"params": decayed, "weight_decay": weight_decay},
            {"params": others, "weight_decay": 0.0},
        ],
        lr=learning_rate,
        momentum=momentum,
    )


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """Let the optimizer's next steps use ``learning_rate``."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate


def load_optimizer_state(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Continue from a saved state, with the hyperparameters of this job.

    Buffers take the memory layout of their parameter, so that the next step computes the very
    numbers that it would have computed without the interruption.

    Args:
        optimizer: Of the same network.
        state: What its ``state_dict`` returned.
    """
    own_groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state["state"], "param_groups": own_groups})
    for parameter, buffers in optimizer.state.items():
        for name, value in buffers.items():
            if isinstance(value, torch.Tensor) and value.shape == parameter.shape:
                buffers[name] = torch.empty_like(parameter).copy_(value)
