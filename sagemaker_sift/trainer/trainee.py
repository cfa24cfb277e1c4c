"""What a job trains: the network, its objective, its optimizer, on a device, with others."""

from __future__ import annotations

import inspect
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from sagemaker_sift.contract.hyperparameters import Hyperparameters
from sagemaker_sift.trainer.data.order import build_generator
from sagemaker_sift.trainer.model import build_model
from sagemaker_sift.trainer.objective import LabelCounts, Objective, build_objective
from sagemaker_sift.trainer.optimizer import build_optimizer
from sagemaker_sift.trainer.precision import Precision
from sagemaker_sift.trainer.ranks import Ranks

_SYNC_BUFFERS = (
    "forward_sync_buffers"
    if "forward_sync_buffers" in inspect.signature(DistributedDataParallel).parameters
    else "broadcast_buffers"
)
"""What this version of torch calls sending the first rank's statistics to the others each step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trainee:
    """What is trained, and how.

    Attributes:
        network: On its device, not wrapped.
        model: The same; with several ranks in ``DistributedDataParallel``.
        objective: What is minimised and what counts as right.
        optimizer: Of the network.
        precision: Of the forward pass.
        device: Where it runs.
        ranks: Who trains along.
        batch_size: Samples of a full batch, over all ranks.
    """

    network: nn.Module
    model: nn.Module
    objective: Objective
    optimizer: torch.optim.Optimizer
    precision: Precision
    device: torch.device
    ranks: Ranks
    batch_size: int

    @property
    def statistics(self) -> list[torch.Tensor]:
        """The running statistics of the network's normalisations, which each rank has its own."""
        return list(self.network.buffers())


def build_trainee(
    hyperparameters: Hyperparameters,
    *,
    device: torch.device,
    ranks: Ranks,
    num_hosts: int = 1,
    label_counts: LabelCounts | None = None,
    initial_weights: dict[str, torch.Tensor] | None = None,
) -> Trainee:
    """Return a job's network, with its first weights, and what trains it.

    Args:
        hyperparameters: Of the job.
        device: Where the network goes.
        ranks: Who trains along.
        num_hosts: Machines of the job; each has batches of ``mini_batch_size``.
        label_counts: How often each class occurs, for weighted loss.
        initial_weights: Weights to begin with, under the network's names; the others are drawn.
    """
    hp = hyperparameters
    generator = build_generator(hp.seed, "weights")
    network: nn.Module = build_model(
        hp.num_layers, hp.image_shape, hp.num_classes, generator=generator
    )
    if initial_weights:
        network.load_state_dict(network.state_dict() | initial_weights)
    network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    model = network
    if ranks.are_many:
        # Each rank normalises by its own batch, as in MXNet; statistics meet once an epoch.
        model = DistributedDataParallel(
            network,
            device_ids=[device] if device.type == "cuda" else None,
            **{_SYNC_BUFFERS: False},  # type: ignore[arg-type]
        )
        _settle_buckets(model, torch.zeros((1, *hp.image_shape), device=device))
    return Trainee(
        network=network,
        model=model,
        objective=build_objective(hp, label_counts),
        optimizer=build_optimizer(network, hp),
        precision=Precision(hp.precision_dtype, device),
        device=device,
        ranks=ranks,
        batch_size=hp.mini_batch_size * num_hosts,
    )


def _settle_buckets(model: nn.Module, image_BCHW: torch.Tensor) -> None:
    """Let the gradients be added up in the order that they will be from the second step on.

    ``DistributedDataParallel`` groups gradients anew after the first backward pass; three ranks or
    more then add in another order. A job that goes on from a checkpoint would differ from an
    uninterrupted one by that first step. In eval mode no statistics move.
    """
    model.eval()
    model(image_BCHW).sum().backward()
    model.zero_grad(set_to_none=True)
    model.train()
