"""One loss per sample, from a model that comes out exactly as it went in.

Shape suffixes in this file: B = samples in the batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch.nn.parallel import DistributedDataParallel


class LossImplementation(Protocol):
    """Anything that gives one loss per sample."""

    def loss(self, model: Any, transformed_batch: Any, original_batch: Any) -> torch.Tensor:
        """Return one loss per sample, shape ``(B, ...)``."""


def score_batch(
    loss_impl: LossImplementation,
    model: torch.nn.Module,
    transformed_batch: Any,
    original_batch: Any,
    *,
    stand_in: torch.nn.Module | None = None,
) -> torch.Tensor:
    """Return the loss of each sample, leaving no trace.

    The model is in eval mode meanwhile, and so are modules that are attributes of ``loss_impl``:
    dropout is off and BatchNorm statistics stay as they are; afterwards every module has its own
    training flag again. No gradient is recorded and torch's global random state, CPU and CUDA, is
    as before. Of a DDP model the inner one is used, and DDP inside the model broadcasts nothing:
    ranks that score differently often would wait for each other forever.

    Not undone is what a forward pass does whatever the mode: forward hooks run, and buffers that
    are changed in eval mode too, change.

    Args:
        loss_impl: Gives the losses.
        model: The model to score with, on any device.
        transformed_batch: The batch after the batch transforms.
        original_batch: The batch as loaded.
        stand_in: A module that ``loss_impl`` is given in place of the model, in eval mode too.

    Returns:
        Losses, shape ``(B,)``, float32, on the device where ``loss_impl`` left them. Further
        dimensions are averaged; a 0-d loss comes back as one loss.

    Raises:
        TypeError: If ``loss_impl.loss`` does not return a tensor.

    Example:
        >>> class Nearness:
        ...     def loss(self, model, transformed_batch, original_batch):
        ...         return model(transformed_batch)
        >>> score_batch(Nearness(), torch.nn.Dropout(), torch.tensor([[1.0, 3.0]]), None)
        tensor([2.])
    """
    inner_model = find_inner_model(model)
    modules = find_modules(model, loss_impl)
    called = inner_model if stand_in is None else stand_in  # an empty container is false
    if stand_in is not None:
        modules += stand_in.modules()
    with (
        evaluating(modules),
        without_collectives(modules),
        torch.no_grad(),
        unchanged_random_state(inner_model),
        without_autocast_cache(),
    ):
        loss = loss_impl.loss(called, transformed_batch, original_batch)
    if not isinstance(loss, torch.Tensor):
        raise TypeError(
            f"`loss_impl.loss` returned {type(loss).__name__}, but must return a tensor with one "
            "loss per sample: use reduction='none'."
        )
    return one_loss_per_sample(loss)


def one_loss_per_sample(loss: torch.Tensor) -> torch.Tensor:
    """Return losses of shape ``(B,)``, float32, detached; further dimensions are averaged.

    Args:
        loss: Shape ``(B, ...)``; a 0-d loss is that of one sample.

    Example:
        >>> one_loss_per_sample(torch.tensor([[1.0, 3.0], [0.0, 1.0]]))
        tensor([2.0000, 0.5000])
    """
    loss = loss.detach().float()
    if loss.dim() == 0:
        return loss.reshape(1)
    return loss.flatten(1).mean(1) if loss.dim() > 1 else loss


def find_inner_model(model: torch.nn.Module) -> torch.nn.Module:
    """Return the model inside DDP, also where ``torch.compile`` wraps DDP; else the model itself.

    Args:
        model: The model as the user holds it.

    Example:
        >>> find_inner_model(torch.nn.Identity())
        Identity()
    """
    compiled = getattr(model, "_orig_mod", None)
    if isinstance(compiled, DistributedDataParallel):
        model = compiled
    inner: torch.nn.Module = model.module if isinstance(model, DistributedDataParallel) else model
    return inner


def find_modules(model: torch.nn.Module, loss_impl: object) -> list[torch.nn.Module]:
    """Return every module that a scoring pass may use, each once.

    Args:
        model: The model.
        loss_impl: A loss that may be a module, or hold some as attributes.
    """
    attributes = getattr(loss_impl, "__dict__", {}).values()
    roots = [model, loss_impl, *attributes]
    found = [
        module for root in roots if isinstance(root, torch.nn.Module) for module in root.modules()
    ]
    return list(dict.fromkeys(found))


@contextmanager
def without_collectives(modules: Sequence[torch.nn.Module]) -> Iterator[None]:
    """Keep DDP from broadcasting its buffers in the forward pass.

    Args:
        modules: Modules, those of DDP among them.

    Yields:
        Nothing.
    """
    wrappers = [module for module in modules if isinstance(module, DistributedDataParallel)]
    synchronises = [wrapper.require_forward_param_sync for wrapper in wrappers]
    try:
        for wrapper in wrappers:
            wrapper.require_forward_param_sync = False
        yield
    finally:
        for wrapper, value in zip(wrappers, synchronises, strict=True):
            wrapper.require_forward_param_sync = value


@contextmanager
def evaluating(modules: Sequence[torch.nn.Module]) -> Iterator[None]:
    """Switch modules to eval mode, and each back to what it was.

    The flags are set directly: a model may override ``train()``, to freeze layers for example.

    Args:
        modules: The modules, children too.

    Yields:
        Nothing.
    """
    training_modules = [module for module in modules if module.training]
    try:
        for module in training_modules:
            module.training = False
        yield
    finally:
        for module in training_modules:
            module.training = True


@contextmanager
def without_autocast_cache() -> Iterator[None]:
    """Let autocast cast weights anew, and forget them.

    Weights that it casts without gradients and remembers would be used by the training step in
    the same autocast region: no gradient would reach them.

    Yields:
        Nothing.
    """
    was_enabled = torch.is_autocast_cache_enabled()
    torch.set_autocast_cache_enabled(False)
    try:
        yield
    finally:
        torch.set_autocast_cache_enabled(was_enabled)


@contextmanager
def unchanged_random_state(model: torch.nn.Module) -> Iterator[None]:
    """Put the global random state back, of the CPU and of the model's CUDA devices.

    Args:
        model: The model whose devices count.

    Yields:
        Nothing.
    """
    devices: set[int] = set()
    if torch.cuda.is_available() and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        devices = {p.device.index for p in model.parameters() if p.is_cuda}
        devices.add(torch.cuda.current_device())
    with torch.random.fork_rng(devices=sorted(devices)):
        yield
