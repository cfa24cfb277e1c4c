"""The four optimizers, as the built-in algorithm's engine computes them.

With gradient ``g``, weight ``w``, learning rate ``lr`` and weight decay ``wd``, step ``t`` is::

    sgd      u = lr (g + wd w),  v = momentum v - u,    w = w + v
    nag      u = lr (g + wd w),  v = momentum v - u,    w = w + momentum v - u
    adam     m = b1 m + (1 - b1) g,  n = b2 n + (1 - b2) g^2,
                                                        w = w - r m / (sqrt(n) + eps)
             r = lr sqrt(1 - b2^t) / (1 - b1^t)
    rmsprop  n = gamma n + (1 - gamma) g^2,             w = w - lr g / sqrt(n + eps)

Source: apache/mxnet v1.9 ``python/mxnet/optimizer/optimizer.py`` and
``src/operator/optimizer_op-inl.h``. PyTorch's own adam scales ``eps`` by ``sqrt(1 - b2^t)`` and
its rmsprop adds it behind the root; hence the two of this file.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, overload

import torch
from torch import nn

from sagemaker_sift.contract.hyperparameters import Hyperparameters
from sagemaker_sift.trainer.errors import TrainingError

SMALLEST_RATE = 1e-30
"""Carries out a learning rate of 0 where weights still have momentum to lose."""

SMALLEST_EPS = 2e-19
"""Carries out an ``eps`` of 0, behind adam's root; inside that of rmsprop it is its square. About
the root of the smallest normal float32: a weight without gradient stays where it is instead of
becoming 0 / 0."""


_ELEMENTS_AT_ONCE = 2**18
"""What a processor core keeps at hand of weights, gradients and averages: a megabyte of each."""


class _Rule(torch.optim.Optimizer):
    """An optimizer that changes many weights of a group at once.

    Each keeps as ``step`` how often a weight was changed, and tensors shaped like the weight,
    named by ``averages``.
    """

    averages: tuple[str, ...]

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Change the weights that have a gradient.

        Args:
            closure: Computes the loss and the gradients anew, if given.

        Returns:
            What the closure returned.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            with_gradient = [weight for weight in group["params"] if weight.grad is not None]
            for weights in split_for_cache(with_gradient):
                states = [self._count_step(weight) for weight in weights]
                gradients = [weight.grad for weight in weights if weight.grad is not None]
                self._change(group, weights, gradients, states)
        return loss

    def _count_step(self, weight: torch.Tensor) -> dict[str, Any]:
        state: dict[str, Any] = self.state[weight]
        if not state:
            state["step"] = 0
            state.update({name: torch.zeros_like(weight) for name in self.averages})
        state["step"] += 1
        return state

    def _change(
        self,
        group: dict[str, Any],
        weights: list[torch.Tensor],
        gradients: list[torch.Tensor],
        states: list[dict[str, Any]],
    ) -> None:
        raise NotImplementedError


class Adam(_Rule):
    """Adam (Kingma and Ba 2015, https://arxiv.org/abs/1412.6980, end of section 2).

    Args:
        params: Of the model.
        lr: ``>= 0``.
        betas: Decay of the mean and of the mean square of the gradients, each in [0, 1). A beta
            of 1 would divide by 0 or never move a weight; the contract refuses it.
        eps: ``>= 0``.
    """

    averages = ("mean", "square_mean")

    def __init__(
        self,
        params: Iterable[torch.Tensor],
        *,
        lr: float,
        betas: tuple[float, float],
        eps: float,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps})

    def _change(
        self,
        group: dict[str, Any],
        weights: list[torch.Tensor],
        gradients: list[torch.Tensor],
        states: list[dict[str, Any]],
    ) -> None:
        beta_1, beta_2 = group["betas"]
        means, square_means = ([state[name] for state in states] for name in self.averages)
        torch._foreach_lerp_(means, gradients, 1 - beta_1)
        torch._foreach_mul_(square_means, beta_2)
        torch._foreach_addcmul_(square_means, gradients, gradients, 1 - beta_2)
        divisors = torch._foreach_sqrt(square_means)
        torch._foreach_add_(divisors, max(group["eps"], SMALLEST_EPS))
        steps = [state["step"] for state in states]
        rates = {
            step: -group["lr"] * math.sqrt(1 - beta_2**step) / (1 - beta_1**step)
            for step in set(steps)
        }
        torch._foreach_addcdiv_(weights, means, divisors, [rates[step] for step in steps])


class RMSProp(_Rule):
    """RMSProp without centring and momentum (Tieleman and Hinton 2012, lecture 6.5).

    Args:
        params: Of the model.
        lr: ``>= 0``.
        gamma: Decay of the mean square of the gradients, in [0, 1]. At 1 that mean stays 0, and
            weights move by ``lr g / sqrt(eps)``.
        eps: ``>= 0``, inside the root.
    """

    averages = ("square_mean",)

    def __init__(
        self, params: Iterable[torch.Tensor], *, lr: float, gamma: float, eps: float
    ) -> None:
        super().__init__(params, {"lr": lr, "gamma": gamma, "eps": eps})

    def _change(
        self,
        group: dict[str, Any],
        weights: list[torch.Tensor],
        gradients: list[torch.Tensor],
        states: list[dict[str, Any]],
    ) -> None:
        square_means = [state["square_mean"] for state in states]
        torch._foreach_mul_(square_means, group["gamma"])
        torch._foreach_addcmul_(square_means, gradients, gradients, 1 - group["gamma"])
        divisors = torch._foreach_add(square_means, max(group["eps"], SMALLEST_EPS**2))
        torch._foreach_sqrt_(divisors)
        torch._foreach_addcdiv_(weights, gradients, divisors, -group["lr"])


def split_for_cache(weights: Sequence[torch.Tensor]) -> Iterator[list[torch.Tensor]]:
    """Yield weights to be changed at once: all of a GPU's, of a processor's as many as stay near.

    A rule takes several passes over what it changes. The values are the same either way.

    Args:
        weights: In any number, on one device.

    Yields:
        Some of them, in order; at least one.

    Example:
        >>> sizes = (100, 200_000, 100_000, 300_000, 1)
        >>> [len(some) for some in split_for_cache([torch.empty(size) for size in sizes])]
        [2, 1, 1, 1]
    """
    chunk: list[torch.Tensor] = []
    num_elements = 0
    for weight in weights:
        is_full = num_elements + weight.numel() > _ELEMENTS_AT_ONCE
        if chunk and is_full and weight.device.type == "cpu":
            yield chunk
            chunk, num_elements = [], 0
        chunk.append(weight)
        num_elements += weight.numel()
    if chunk:
        yield chunk


def build_optimizer(model: nn.Module, hyperparameters: Hyperparameters) -> torch.optim.Optimizer:
    """Return the optimizer of a network.

    Weight decay is for sgd and nag. It acts on parameters named ``weight``, which includes the
    gammas of normalisations, and never on biases and betas.

    sgd and nag are PyTorch's, whose buffer is ``-v / lr``; :func:`set_learning_rate` sees to it
    that ``v`` keeps its value when the rate changes.

    Args:
        model: Parameters without gradients are left out.
        hyperparameters: ``optimizer``, ``learning_rate``, and those of that optimizer.
    """
    hp = hyperparameters
    trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    weights = [p for name, p in trained if name.endswith("weight")]
    others = [p for name, p in trained if not name.endswith("weight")]
    if hp.optimizer == "adam":
        betas = (hp.beta_1, hp.beta_2)
        return Adam([*weights, *others], lr=hp.learning_rate, betas=betas, eps=hp.eps)
    if hp.optimizer == "rmsprop":
        return RMSProp([*weights, *others], lr=hp.learning_rate, gamma=hp.gamma, eps=hp.eps)
    return torch.optim.SGD(
        [
            {"params": weights, "weight_decay": hp.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ],
        lr=hp.learning_rate,
        momentum=hp.momentum,
        nesterov=hp.optimizer == "nag" and hp.momentum > 0,  # without momentum they are the same
    )


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """Let the optimizer's next steps use ``learning_rate``; momentum keeps its speed.

    The engine keeps the learning rate inside the momentum, so that weights coast on at the speed
    that they had. At a rate of 0 too they lose it step by step.

    Args:
        optimizer: As :func:`build_optimizer` returned it.
        learning_rate: ``>= 0``.
    """
    for group in optimizer.param_groups:
        buffers = [
            buffer
            for parameter in group["params"]
            if (buffer := optimizer.state.get(parameter, {}).get("momentum_buffer")) is not None
        ]
        rate = learning_rate
        if buffers and group["lr"] != rate:
            rate = max(rate, SMALLEST_RATE)
            torch._foreach_mul_(buffers, group["lr"] / rate)
        group["lr"] = rate


def load_optimizer_state(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Continue from a saved state, with the hyperparameters of this job.

    The learning rate stays the one that the momentum was saved at, until
    :func:`set_learning_rate` is told that of the next epoch. Buffers take the memory layout of
    their parameter, so that the next step computes the very numbers that it would have computed
    without the interruption.

    Args:
        optimizer: Of the same network.
        state: What its ``state_dict`` returned.

    Raises:
        TrainingError: If it is the state of another kind of optimizer; sgd and nag are one kind.
    """
    own_groups = optimizer.state_dict()["param_groups"]
    saved_groups = state["param_groups"]
    kept = {"step", *optimizer.averages} if isinstance(optimizer, _Rule) else {"momentum_buffer"}
    found = {name for buffers in state["state"].values() for name in buffers}
    if len(own_groups) != len(saved_groups) or (found and found != kept):
        raise TrainingError(
            "The checkpoint was made with another `optimizer` than this job has. Continue with "
            "the same one, or give the job another checkpoint location."
        )
    for own, saved in zip(own_groups, saved_groups, strict=True):
        own["lr"] = saved["lr"]
    optimizer.load_state_dict({"state": state["state"], "param_groups": own_groups})
    for parameter, buffers in optimizer.state.items():
        for name, value in buffers.items():
            if isinstance(value, torch.Tensor) and value.shape == parameter.shape:
                buffers[name] = torch.empty_like(parameter).copy_(value)
