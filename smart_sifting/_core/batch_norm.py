"""Running statistics of BatchNorm layers, taken anew from batches that were not sifted.

Source: that averages over selected batches are not those of the data, and that a pass over the
data mends them, from torch's ``torch.optim.swa_utils.update_bn``, made for averaged weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from smart_sifting._core.scoring import (
    evaluating,
    find_inner_model,
    find_modules,
    unchanged_random_state,
    without_autocast_cache,
    without_collectives,
)


def update_batch_norm(
    model: torch.nn.Module,
    batches: Iterable[Any],
    forward: Callable[[Any], object],
    *,
    loss_impl: object = None,
) -> int:
    """Average the statistics of batches, every batch alike.

    Layers that are in eval mode, or have no running statistics, stay as they are; so do all other
    modules, which run in eval mode. If a forward pass fails, the statistics are as they were.

    Args:
        model: The model.
        batches: Unsifted batches.
        forward: Runs the model on one.
        loss_impl: What ``forward`` uses besides: modules in it stay as they are, too.

    Returns:
        How many batches there were; 0 if there is no layer to update.
    """
    modules = find_modules(find_inner_model(model), None)
    layers = [
        module
        for module in modules
        if isinstance(module, _BatchNorm) and module.training and module.track_running_stats
    ]
    if not layers:
        return 0
    all_modules = find_modules(model, loss_impl)
    before = [{k: v.clone() for k, v in layer.state_dict().items()} for layer in layers]
    momenta = [layer.momentum for layer in layers]
    num_batches = 0
    try:
        with (
            evaluating(all_modules),
            without_collectives(all_modules),
            torch.no_grad(),
            unchanged_random_state(model),
            without_autocast_cache(),
        ):
            for layer in layers:
                layer.training = True
                layer.momentum = None  # the plain average of all batches
                layer.reset_running_stats()
            for batch in batches:
                forward(batch)
                num_batches += 1
    except BaseException:
        _restore(layers, before)
        raise
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
    if not num_batches:
        _restore(layers, before)
    return num_batches


def _restore(layers: list[_BatchNorm], states: list[dict[str, torch.Tensor]]) -> None:
    for layer, state in zip(layers, states, strict=True):
        layer.load_state_dict(state)
