"""The training loop: one epoch of steps, and one pass over the validation images.

Shape suffixes in this file: B = images in the batch, C = channels, H = height, W = width,
K = classes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Protocol

import torch

from sagemaker_sift.trainer.data.loader import Batch
from sagemaker_sift.trainer.errors import TrainingError
from sagemaker_sift.trainer.running_metrics import RunningMetrics
from sagemaker_sift.trainer.stop import EpochInterrupted
from sagemaker_sift.trainer.trainee import Trainee


class Feedback(Protocol):
    """Who wants to know what a batch lost, and how much each of its samples counts."""

    @property
    def weights(self) -> torch.Tensor | None:
        """Weights of the samples of the batch at hand, shape ``(B,)``, float32; None is 1."""

    def record_losses(self, losses_B: torch.Tensor) -> None:
        """Take the losses of the batch at hand, shape ``(B,)``, float32, on its device."""


CHECK_EVERY_ON_GPU = 50
"""Steps between two looks at the loss on a GPU, where each look waits for the device."""


def train_epoch(
    trainee: Trainee,
    batches: Iterable[Batch],
    metrics: RunningMetrics,
    *,
    epoch: int,
    after_step: Callable[[RunningMetrics], bool],
    feedback: Feedback | None = None,
) -> bool:
    """Train one epoch, or what is left of it.

    A step's gradient is the sum over the job's batch divided by ``batch_size``, as in MXNet, so
    the smaller batch that ends a sifted epoch moves the weights in proportion to its size. A
    single left-over sample is passed over: normalisation has no statistics of one sample.

    Args:
        trainee: Trained in place, with the epoch's learning rate.
        batches: On the device; with several ranks as many on each, some of them maybe empty.
        metrics: What is measured on the trained samples, with the weights as they move.
        epoch: Counted from 0, for messages.
        after_step: Told after every step; training ends when it returns True.
        feedback: Told the losses of every batch; says what its samples weigh.

    Returns:
        Whether the epoch came to its end.

    Raises:
        TrainingError: If the loss is no longer finite.
    """
    watch = LossWatch(trainee, epoch)
    model, objective = trainee.model, trainee.objective
    gradient_scale = trainee.ranks.size / trainee.batch_size
    smallest = min(2, trainee.batch_size // trainee.ranks.size)
    model.train()
    for images_BCHW, labels in batches:
        if len(labels) < max(1, smallest):
            if trainee.ranks.are_many:
                _step_along(trainee, images_BCHW)
                if after_step(metrics):
                    return False
            continue
        with trainee.precision.autocast():
            logits_BK = model(to_input(images_BCHW))
        losses_B = objective.losses(logits_BK, labels)
        loss_sum = losses_B.sum()
        weighted_sum = loss_sum
        if feedback is not None:
            feedback.record_losses(losses_B.detach())
            weights_B = feedback.weights
            if weights_B is not None:
                weights_B = weights_B.to(losses_B.device, non_blocking=True)
                weighted_sum = (losses_B * weights_B).sum()
        trainee.precision.step(weighted_sum * gradient_scale, trainee.optimizer)
        metrics.add(logits_BK.detach(), labels, _countable(loss_sum.detach(), trainee))
        watch.add(loss_sum.detach(), metrics.num_steps)
        if after_step(metrics):
            watch.check()
            return False
    watch.close()
    return True


def evaluate(
    trainee: Trainee,
    batches: Iterable[Batch],
    *,
    is_stopping: Callable[[], bool],
) -> float | None:
    """Return the accuracy over all batches of all ranks, every image counted once, in [0, 1].

    Args:
        trainee: What is trained; the network's mode is restored afterwards.
        batches: On the device; with several ranks as many on each, some of them maybe empty.
        is_stopping: Asked after every batch, on all ranks with the same answer.

    Returns:
        NaN if there are no images, ``None`` if the job was asked to stop meanwhile.
    """
    correct = torch.zeros((), dtype=torch.int64, device=trainee.device)
    num_decisions = 0
    network = trainee.network
    was_training = network.training
    network.eval()
    try:
        with torch.inference_mode():
            for images_BCHW, labels in batches:
                if len(labels):
                    with trainee.precision.autocast():
                        logits_BK = network(to_input(images_BCHW))
                    correct += trainee.objective.count_correct(logits_BK, labels)
                    num_decisions += len(labels) * trainee.objective.decisions_per_sample
                if is_stopping():
                    return None
    except EpochInterrupted:
        return None
    finally:
        network.train(was_training)
    counts = torch.tensor([int(correct), num_decisions])
    num_correct, num_decisions = trainee.ranks.add_up(counts).tolist()
    return num_correct / num_decisions if num_decisions else math.nan


def to_input(images_BCHW: torch.Tensor) -> torch.Tensor:
    """Return the network's input: the same pixel values as float32, channels last in memory.

    Example:
        >>> to_input(torch.full((1, 3, 2, 2), 255, dtype=torch.uint8)).max()
        tensor(255.)
    """
    return images_BCHW.to(dtype=torch.float32, memory_format=torch.channels_last)


def _countable(loss_sum: torch.Tensor, trainee: Trainee) -> torch.Tensor:
    """Return the loss as it enters the mean: steps that float16 leaves out count as 0."""
    if not trainee.precision.is_half:
        return loss_sum
    return loss_sum.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)


def check_weights(trainee: Trainee, epoch: int) -> None:
    """Refuse weights that are not finite, before they are measured or saved.

    Args:
        trainee: What is trained.
        epoch: Counted from 0, for the message.

    Raises:
        TrainingError: If a weight is not finite.
    """
    weights = [weight.detach() for weight in trainee.network.parameters()]
    if not all(bool(torch.isfinite(weight).all()) for weight in weights):
        rate = float(trainee.optimizer.param_groups[0]["lr"])
        raise TrainingError(
            f"The weights are no longer finite in epoch {epoch}, at learning rate {rate:g}. Use a "
            "smaller learning_rate, or a larger mini_batch_size."
        )


def _step_along(trainee: Trainee, images_BCHW: torch.Tensor) -> None:
    """Take the step of the other ranks without adding to it, and without moving any statistics."""
    trainee.model.eval()
    with trainee.precision.autocast():
        logits_BK = trainee.model(to_input(images_BCHW.new_zeros((1, *images_BCHW.shape[1:]))))
    trainee.precision.step(logits_BK.float().sum() * 0.0, trainee.optimizer)
    trainee.model.train()


class LossWatch:
    """Ends the job when the loss is no longer finite.

    On the CPU every loss is looked at, on a GPU every 50th step, where each look waits for the
    device. In float16 the scaler leaves out steps that overflow; the job ends only when so many
    in a row do, or all of an epoch.
    """

    def __init__(self, trainee: Trainee, epoch: int) -> None:
        self._trainee = trainee
        self._epoch = epoch
        is_on_cpu = trainee.device.type == "cpu"
        self._check_every = 1 if is_on_cpu else CHECK_EVERY_ON_GPU
        self._losses: list[torch.Tensor] = []
        self._num_steps = 0
        self._num_finite = 0
        self._first_bad: tuple[int, float] | None = None

    def add(self, loss: torch.Tensor, num_steps: int) -> None:
        """Take the loss of a step, and look at those that wait if they are many.

        Args:
            loss: Scalar, detached.
            num_steps: Steps of the epoch so far, this one included.
        """
        self._losses.append(loss)
        self._num_steps = num_steps
        if len(self._losses) >= self._check_every:
            self.check()

    def check(self) -> None:
        """Look at the losses that wait.

        Raises:
            TrainingError: With the first step whose loss is not finite.
        """
        self._look(is_end=False)

    def close(self) -> None:
        """Look at what waits at the end of an epoch.

        Raises:
            TrainingError: As :meth:`check`.
        """
        self._look(is_end=True)

    def _look(self, *, is_end: bool) -> None:
        losses, self._losses = self._losses, []
        values = torch.stack(losses).tolist() if losses else []
        is_finite = [math.isfinite(value) for value in values]
        self._num_finite += sum(is_finite)
        if not all(is_finite) and self._first_bad is None:
            first = is_finite.index(False)
            self._first_bad = self._num_steps - len(losses) + first, values[first]
        if self._first_bad is None:
            return
        is_hopeless = not any(is_finite) and len(losses) >= CHECK_EVERY_ON_GPU
        is_hopeless = is_hopeless or (is_end and not self._num_finite)
        if self._trainee.precision.is_half and not is_hopeless:
            return
        step, loss = self._first_bad
        rate = float(self._trainee.optimizer.param_groups[0]["lr"])
        half = ", or precision_dtype float32" if self._trainee.precision.is_half else ""
        raise TrainingError(
            f"The training loss is {loss} in epoch {self._epoch}, batch {step}, at learning rate "
            f"{rate:g}. Use a smaller learning_rate, or a larger mini_batch_size{half}."
        )
