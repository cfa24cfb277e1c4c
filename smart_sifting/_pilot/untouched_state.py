"""Everything that training changes, put back as it was."""

from __future__ import annotations

import copy
import random
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch.nn.parameter import is_lazy

from smart_sifting._core.scoring import find_modules


@contextmanager
def leaving_no_trace(
    model: torch.nn.Module,
    *,
    loss_impl: object,
    optimizer: torch.optim.Optimizer | None,
    orig_dataloader: object,
) -> Iterator[None]:
    """Let a block train, and put everything back that PyTorch, numpy and Python know of.

    These are the parameters, buffers, gradients, ``requires_grad`` and training flags of the
    model and of modules that the loss holds, the state of the optimizer, the generators of the
    loader, and the global random states (torch on the CPU and on every CUDA device, numpy,
    ``random``). Parameters and buffers are kept in main memory meanwhile; optimizer state is
    copied where it is. Inside the block all gradients begin as None. What else a model, loss or
    dataset remembers is not known here.

    Args:
        model: The model, on any device.
        loss_impl: A loss that may be a module, or hold some as attributes.
        optimizer: Its state and options, or None.
        orig_dataloader: A loader that may hold generators.

    Yields:
        Nothing.

    Raises:
        ValueError: If a parameter or buffer has no value.

    Example:
        >>> model = torch.nn.Linear(1, 1)
        >>> before = model.weight.item()
        >>> with leaving_no_trace(model, loss_impl=None, optimizer=None, orig_dataloader=[]):
        ...     _ = model.weight.data.fill_(7)
        >>> model.weight.item() == before
        True
    """
    modules = find_modules(model, loss_impl)
    parameters = [p for module in modules for p in module.parameters(recurse=False)]
    for group in [] if optimizer is None else optimizer.param_groups:
        parameters += group["params"]
    buffers = [buffer for module in modules for buffer in module.buffers(recurse=False)]
    _refuse_valueless([*parameters, *buffers])
    with ExitStack() as stack:
        stack.enter_context(_unchanged_random_states())
        stack.enter_context(_unchanged_generators(orig_dataloader))
        stack.enter_context(_unchanged_values([*parameters, *buffers]))
        stack.enter_context(_unchanged_modules(modules))
        stack.enter_context(_unchanged_gradients(parameters))
        if optimizer is not None:
            stack.enter_context(_unchanged_optimizer(optimizer))
        yield


def find_generators(orig_dataloader: object) -> list[torch.Generator]:
    """Return the generators of a loader and of its samplers, each once."""
    batch_sampler = getattr(orig_dataloader, "batch_sampler", None)
    sources = (
        orig_dataloader,
        getattr(orig_dataloader, "sampler", None),
        batch_sampler,
        getattr(batch_sampler, "sampler", None),
    )
    found = [getattr(source, "generator", None) for source in sources]
    generators = [generator for generator in found if isinstance(generator, torch.Generator)]
    return list(dict.fromkeys(generators))


def _refuse_valueless(tensors: Iterable[torch.Tensor]) -> None:
    for tensor in tensors:
        if is_lazy(tensor):
            raise ValueError(
                "`model` has a parameter without a value, of a lazy module, but must have all. "
                "Call it once with a batch first."
            )
        if tensor.is_meta:
            raise ValueError(
                "`model` has a parameter or buffer on the meta device, where it has no data, but "
                "all must have values. Move it to a real device first: to_empty(device='cpu'), "
                "then load or initialise its weights."
            )


@contextmanager
def _unchanged_random_states() -> Iterator[None]:
    numpy: Any = sys.modules.get("numpy")
    numpy_state = None if numpy is None else numpy.random.get_state()
    python_state = random.getstate()
    cpu_state = torch.get_rng_state()
    cuda_states = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        if numpy is not None:
            numpy.random.set_state(numpy_state)
        random.setstate(python_state)
        torch.set_rng_state(cpu_state)
        if cuda_states:
            torch.cuda.set_rng_state_all(cuda_states)


@contextmanager
def _unchanged_generators(orig_dataloader: object) -> Iterator[None]:
    states = [(generator, generator.get_state()) for generator in find_generators(orig_dataloader)]
    try:
        yield
    finally:
        for generator, state in states:
            generator.set_state(state)


@contextmanager
def _unchanged_values(tensors: Iterable[torch.Tensor]) -> Iterator[None]:
    saved = {tensor: tensor.detach().to("cpu", copy=True) for tensor in tensors}
    try:
        yield
    finally:
        with torch.no_grad():
            for tensor, value in saved.items():
                tensor.copy_(value)


@contextmanager
def _unchanged_modules(modules: Iterable[torch.nn.Module]) -> Iterator[None]:
    """Put back which tensors are the parameters and buffers, and the training flags.

    The flags are set directly: a model may override ``train()``, to freeze layers for example.
    """
    saved = [
        (module, dict(module._parameters), dict(module._buffers), module.training)
        for module in modules
    ]
    try:
        yield
    finally:
        for module, parameters, buffers, is_training in saved:
            module._parameters.clear()
            module._parameters.update(parameters)
            module._buffers.clear()
            module._buffers.update(buffers)
            module.training = is_training


@contextmanager
def _unchanged_gradients(parameters: Iterable[torch.Tensor]) -> Iterator[None]:
    """Set gradients aside, so that none is added to, and put them back."""
    saved = [
        (parameter, parameter.grad, parameter.requires_grad)
        for parameter in dict.fromkeys(parameters)
    ]
    for parameter, _, _ in saved:
        parameter.grad = None
    try:
        yield
    finally:
        for parameter, gradient, requires_grad in saved:
            parameter.requires_grad_(requires_grad)
            parameter.grad = gradient


@contextmanager
def _unchanged_optimizer(optimizer: torch.optim.Optimizer) -> Iterator[None]:
    """Let the optimizer work on a copy of its state; a schedule's marks on it go too."""
    attributes = dict(vars(optimizer))
    state = optimizer.state
    groups = [(group, dict(group)) for group in optimizer.param_groups]
    optimizer.state = defaultdict(
        dict, {parameter: copy.deepcopy(values) for parameter, values in state.items()}
    )
    try:
        yield
    finally:
        vars(optimizer).clear()
        vars(optimizer).update(attributes)
        optimizer.state = state
        for group, options in groups:
            group.clear()
            group.update(options)
