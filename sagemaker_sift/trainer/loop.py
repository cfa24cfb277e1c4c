"""The training loop: one epoch of steps, and one pass over the validation images.

Shape suffixes in this file: B = images in the batch, C = channels, H = height, W = width,
K = classes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import torch
from torch import nn
from torch.nn import functional

from sagemaker_sift.trainer.data.loader import Batch
from sagemaker_sift.trainer.errors import TrainingError

CHECK_EVERY_ON_GPU = 50
"""Steps between two looks at the loss on a GPU, where each look waits for the device."""


@dataclass(slots=True, kw_only=True)
class RunningMetrics:
    """Sums over the samples trained so far in an epoch, kept on the device.

    Attributes:
        top_k: The k of top-k accuracy, or ``None``.
        num_samples: Samples trained.
        num_steps: Optimizer steps taken.
    """

    device: torch.device
    top_k: int | None
    num_samples: int = 0
    num_steps: int = 0
    _sums: torch.Tensor = field(init=False)

    def __post_init__(self) -> None:
        self._sums = torch.zeros(3, dtype=torch.float64, device=self.device)

    def add(self, logits_BK: torch.Tensor, labels_B: torch.Tensor, loss_sum: torch.Tensor) -> None:
        """Count one batch.

        Args:
            logits_BK: Shape ``(B, K)``, detached.
            labels_B: Class indices, shape ``(B,)``, int64.
            loss_sum: Sum of the losses of the batch, scalar, detached.
        """
        correct = (logits_BK.argmax(dim=1) == labels_B).sum()
        near = correct
        if self.top_k is not None:
            near = (logits_BK.topk(self.top_k, dim=1).indices == labels_B[:, None]).sum()
        self._sums += torch.stack([correct, near, loss_sum]).to(self._sums.dtype)
        self.num_samples += len(labels_B)
        self.num_steps += 1

    @property
    def accuracy(self) -> float:
        """Share of trained samples that were classified right, NaN if there were none."""
        return self._mean(0)

    @property
    def top_k_accuracy(self) -> float | None:
        """Share of samples whose class was among the k most likely, ``None`` without a k."""
        return None if self.top_k is None else self._mean(1)

    @property
    def loss(self) -> float:
        """Mean cross entropy in nats, NaN if there were no samples."""
        return self._mean(2)

    def _mean(self, position: int) -> float:
        total = float(self._sums[position])
        return total / self.num_samples if self.num_samples else math.nan


def train_epoch(
    model: nn.Module,
    batches: Iterable[Batch],
    optimizer: torch.optim.Optimizer,
    *,
    epoch: int,
    batch_size: int,
    device: torch.device,
    top_k: int | None,
    is_stopping: Callable[[], bool],
    after_step: Callable[[RunningMetrics], None],
) -> RunningMetrics:
    """Train one epoch; end after the current step if the job is asked to stop.

    A step's gradient is the sum over the batch divided by ``batch_size``, as in MXNet, so the
    smaller batch that ends a sifted epoch moves the weights in proportion to its size. A single
    left-over sample is passed over: normalisation has no statistics of one sample.

    Args:
        model: On ``device``; trained in place.
        batches: On ``device``.
        optimizer: Of the model, with the epoch's learning rate.
        epoch: Counted from 0, for messages.
        batch_size: Samples of a full batch.
        device: Where it runs.
        top_k: Also count top-k accuracy.
        is_stopping: Asked after every step.
        after_step: Told after every step, for progress.

    Returns:
        What was measured on the trained samples, with the weights as they moved.

    Raises:
        TrainingError: If the loss is no longer finite.
    """
    metrics = RunningMetrics(device=device, top_k=top_k)
    check_every = 1 if device.type == "cpu" else CHECK_EVERY_ON_GPU
    unchecked: list[torch.Tensor] = []
    model.train()
    for images_BCHW, labels_B in batches:
        if len(labels_B) < min(2, batch_size):
            continue
        logits_BK = model(to_input(images_BCHW))
        loss_sum = functional.cross_entropy(logits_BK, labels_B, reduction="sum")
        optimizer.zero_grad(set_to_none=True)
        (loss_sum / batch_size).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        metrics.add(logits_BK.detach(), labels_B, loss_sum.detach())
        unchecked.append(loss_sum.detach())
        if len(unchecked) >= check_every:
            _check_losses(unchecked, metrics, epoch, optimizer)
        after_step(metrics)
        if is_stopping():
            break
    _check_losses(unchecked, metrics, epoch, optimizer)
    return metrics


def evaluate(model: nn.Module, batches: Iterable[Batch], *, device: torch.device) -> float:
    """Return the accuracy over all batches, every image counted once, in [0, 1].

    Args:
        model: On ``device``; its mode is restored afterwards.
        batches: On ``device``.
        device: Where it runs.

    Returns:
        NaN if there are no images.
    """
    correct = torch.zeros((), dtype=torch.int64, device=device)
    num_images = 0
    was_training = model.training
    model.eval()
    with torch.inference_mode():
        for images_BCHW, labels_B in batches:
            correct += (model(to_input(images_BCHW)).argmax(dim=1) == labels_B).sum()
            num_images += len(labels_B)
    model.train(was_training)
    return int(correct) / num_images if num_images else math.nan


def to_input(images_BCHW: torch.Tensor) -> torch.Tensor:
    """Return the network's input: the same pixel values as float32, channels last in memory.

    Example:
        >>> to_input(torch.full((1, 3, 2, 2), 255, dtype=torch.uint8)).max()
        tensor(255.)
    """
    return images_BCHW.to(dtype=torch.float32, memory_format=torch.channels_last)


def _check_losses(
    losses: list[torch.Tensor],
    metrics: RunningMetrics,
    epoch: int,
    optimizer: torch.optim.Optimizer,
) -> None:
    """Forget the losses if they are finite, and name the first step whose loss is not."""
    if not losses:
        return
    is_finite = torch.isfinite(torch.stack(losses)).tolist()
    if not all(is_finite):
        step = metrics.num_steps - len(losses) + is_finite.index(False)
        value = float(losses[is_finite.index(False)])
        raise TrainingError(
            f"The training loss is {value} in epoch {epoch}, batch {step}, at learning rate "
            f"{optimizer.param_groups[0]['lr']:g}. Use a smaller learning_rate, or a larger "
            "mini_batch_size."
        )
    losses.clear()
