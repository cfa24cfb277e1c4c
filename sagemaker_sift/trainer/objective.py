"""What training minimises, and what counts as right.

One class an image is cross entropy, several are binary cross entropy, as ``multi_label`` says.
Nothing here waits for the device.

Sources: "Image classification hyperparameters", SageMaker developer guide; apache/mxnet v1.9
``src/operator/softmax_output-inl.h`` and ``src/operator/regression_output-inl.h``, whose gradients
these losses have.

Shape suffixes in this file: B = images in the batch, K = classes.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch.nn import functional

from sagemaker_sift.contract.hyperparameters import Hyperparameters

_LOG = logging.getLogger(__name__)


class LabelCounts(NamedTuple):
    """How often each class occurs among the training images.

    Attributes:
        positives: Images that show the class, for each of the K classes.
        num_samples: Images in all.
    """

    positives: Sequence[int]
    num_samples: int


class Objective(ABC):
    """A loss for each image, and a count of right answers.

    Attributes:
        decisions_per_sample: How many right answers an image can have; accuracy is the share of
            all of them.
    """

    decisions_per_sample: int = 1

    @abstractmethod
    def losses(self, logits_BK: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the loss of each image in nats, shape ``(B,)``, float32.

        Args:
            logits_BK: Shape ``(B, K)``, any floating dtype; computed with as float32.
            labels: As the class says.
        """

    @abstractmethod
    def count_correct(self, logits_BK: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return how many answers are right, 0-dim int64, on the device."""

    @abstractmethod
    def count_near(self, logits_BK: torch.Tensor, labels: torch.Tensor, k: int) -> torch.Tensor:
        """Return for how many images the class is among the k likeliest, 0-dim int64."""

    @abstractmethod
    def probabilities(self, logits_BK: torch.Tensor) -> torch.Tensor:
        """Return the probability of each class, shape ``(B, K)``, float32."""


class CrossEntropy(Objective):
    """One class an image; labels are class indices, shape ``(B,)``, int64.

    Example:
        >>> logits, labels = torch.tensor([[0.0, 0.0], [0.0, 9.0]]), torch.tensor([0, 1])
        >>> CrossEntropy().losses(logits, labels)
        tensor([6.9315e-01, 1.2337e-04])
        >>> CrossEntropy().count_correct(logits, labels)
        tensor(2)
    """

    def losses(self, logits_BK: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return ``-log softmax(logits)[label]`` of each image."""
        return functional.cross_entropy(logits_BK.float(), labels, reduction="none")

    def count_correct(self, logits_BK: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return for how many images the class is the likeliest."""
        return (logits_BK.argmax(dim=1) == labels).sum()

    def count_near(self, logits_BK: torch.Tensor, labels: torch.Tensor, k: int) -> torch.Tensor:
        """Return for how many images the class is among the k likeliest, ``k <= K``."""
        return (logits_BK.topk(k, dim=1).indices == labels[:, None]).sum()

    def probabilities(self, logits_BK: torch.Tensor) -> torch.Tensor:
        """Return ``softmax(logits)``."""
        return logits_BK.float().softmax(dim=1)


class BinaryCrossEntropy(Objective):
    """Any number of classes an image; labels are 0 or 1, shape ``(B, K)``, any dtype.

    Each class of each image is a decision of its own: it is taken as present if its probability
    is above one half. The loss of an image is the mean over the classes, so that the gradient is
    that of MXNet's ``LogisticRegressionOutput``, which divides by their number.

    Args:
        num_classes: K.
        counts: Weight each decision by how rare its answer is, or ``None`` for equal weights. The
            loss where a class is present counts ``N / (2 P)`` times, elsewhere ``N / (2 (N - P))``
            times, with P of the N training images showing it: so present and absent weigh the
            same over an epoch, and both together as much as without weights. A P or N - P of 0
            counts as 1. The guide gives no formula; this one is ours.

    Raises:
        ValueError: If ``counts`` is not of K classes.

    Example:
        >>> objective = BinaryCrossEntropy(2, LabelCounts((1, 2), 4))
        >>> objective.losses(torch.zeros(1, 2), torch.tensor([[1, 0]]))
        tensor([1.0397])
        >>> objective.count_correct(torch.tensor([[3.0, 3.0]]), torch.tensor([[1, 0]]))
        tensor(1)
    """

    def __init__(self, num_classes: int, counts: LabelCounts | None = None) -> None:
        self.decisions_per_sample = num_classes
        if counts is not None and len(counts.positives) != num_classes:
            raise ValueError(
                f"`counts` is of {len(counts.positives)} classes, but `num_classes` is "
                f"{num_classes}."
            )
        self._weights_2K = None if counts is None else weigh_answers(counts)

    def losses(self, logits_BK: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the mean of each image's weighted losses over the classes."""
        labels_BK = labels.float()
        weights_BK = None
        if self._weights_2K is not None:
            absent_K, present_K = self._move_weights(self._weights_2K, logits_BK.device)
            weights_BK = torch.lerp(
                absent_K.expand_as(labels_BK), present_K.expand_as(labels_BK), labels_BK
            )
        return functional.binary_cross_entropy_with_logits(
            logits_BK.float(), labels_BK, weight=weights_BK, reduction="none"
        ).mean(dim=1)

    def count_correct(self, logits_BK: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return how many of the ``B * K`` decisions are right."""
        return ((logits_BK > 0) == (labels > 0.5)).sum()

    def count_near(self, logits_BK: torch.Tensor, labels: torch.Tensor, k: int) -> torch.Tensor:
        """Raise: the classes of an image have no rank among each other.

        Raises:
            ValueError: Always.
        """
        raise ValueError("`top_k` accuracy needs one class an image, but multi_label is 1.")

    def probabilities(self, logits_BK: torch.Tensor) -> torch.Tensor:
        """Return ``sigmoid(logits)``; the classes of an image need not add up to 1."""
        return logits_BK.float().sigmoid()

    def _move_weights(self, weights_2K: torch.Tensor, device: torch.device) -> torch.Tensor:
        if weights_2K.device != device:
            self._weights_2K = weights_2K = weights_2K.to(device)
        return weights_2K


def weigh_answers(counts: LabelCounts) -> torch.Tensor:
    """Return the weights of "absent" and "present" for each class, shape ``(2, K)``, float32.

    Example:
        >>> weigh_answers(LabelCounts((1, 2, 0), 4))
        tensor([[0.6667, 1.0000, 0.5000],
                [2.0000, 1.0000, 2.0000]])
    """
    present_K = torch.tensor(counts.positives, dtype=torch.float64)
    both_2K = torch.stack([counts.num_samples - present_K, present_K]).clamp(min=1)
    return (counts.num_samples / (2 * both_2K)).float()


def build_objective(
    hyperparameters: Hyperparameters, label_counts: LabelCounts | None
) -> Objective:
    """Return the objective of a job.

    Args:
        hyperparameters: Of the job; ``use_weighted_loss`` is read with ``multi_label`` only.
        label_counts: Of the training images; ``None`` if they pass by once and cannot be counted,
            where every decision weighs the same and the log says so.
    """
    hp = hyperparameters
    if not hp.multi_label:
        return CrossEntropy()
    if not hp.use_weighted_loss:
        return BinaryCrossEntropy(hp.num_classes)
    if label_counts is None:
        _LOG.warning(
            "use_weighted_loss is 1, but the labels of this training channel are not known before "
            "it is read, so every class weighs the same."
        )
    return BinaryCrossEntropy(hp.num_classes, label_counts)
