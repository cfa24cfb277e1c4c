"""What is measured on the samples of an epoch while the weights move.

Shape suffixes in this file: B = images in the batch, K = classes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch

from sagemaker_sift.trainer.objective import Objective
from sagemaker_sift.trainer.ranks import Ranks


class RunningMetrics:
    """Sums over the samples trained so far in an epoch, kept on the device.

    Args:
        objective: Says what counts as right.
        device: Where the logits are.
        top_k: The k of top-k accuracy, or ``None``.

    Attributes:
        num_samples: Samples trained.
        num_steps: Optimizer steps taken.
    """

    def __init__(self, objective: Objective, *, device: torch.device, top_k: int | None) -> None:
        self.num_samples = 0
        self.num_steps = 0
        self._objective = objective
        self._top_k = top_k
        self._sums = torch.zeros(3, dtype=torch.float64, device=device)
        self._num_correct, self._num_near, self._loss_sum = self._sums.unbind()  # views

    def add(self, logits_BK: torch.Tensor, labels: torch.Tensor, loss_sum: torch.Tensor) -> None:
        """Count one batch.

        Args:
            logits_BK: Shape ``(B, K)``, detached.
            labels: As the objective takes them.
            loss_sum: Sum of the losses of the batch, scalar, detached.
        """
        self._num_correct += self._objective.count_correct(logits_BK, labels)
        if self._top_k is not None:
            self._num_near += self._objective.count_near(logits_BK, labels, self._top_k)
        self._loss_sum += loss_sum
        self.num_samples += len(labels)
        self.num_steps += 1

    @property
    def accuracy(self) -> float:
        """Share of decisions that were right, NaN if there were none."""
        return self._mean(0) / self._objective.decisions_per_sample

    @property
    def top_k_accuracy(self) -> float | None:
        """Share of samples whose class was among the k most likely, ``None`` without a k."""
        return None if self._top_k is None else self._mean(1)

    @property
    def loss(self) -> float:
        """Mean loss in nats, NaN if there were no samples."""
        return self._mean(2)

    def over(self, ranks: Ranks) -> RunningMetrics:
        """Return the sums over all ranks."""
        total = RunningMetrics(self._objective, device=torch.device("cpu"), top_k=self._top_k)
        own = torch.cat([self._sums.cpu(), torch.tensor([float(self.num_samples)]).double()])
        sums = ranks.add_up(own)
        total._sums.copy_(sums[:3])
        total.num_samples = int(sums[3])
        total.num_steps = self.num_steps
        return total

    def state_dict(self) -> dict[str, Any]:
        """Return sums and counts."""
        counts = {"num_samples": self.num_samples, "num_steps": self.num_steps}
        return {"sums": self._sums.cpu().clone(), **counts}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state."""
        self._sums.copy_(state["sums"])
        self.num_samples = int(state["num_samples"])
        self.num_steps = int(state["num_steps"])

    def _mean(self, position: int) -> float:
        total = float(self._sums[position])
        return total / self.num_samples if self.num_samples else math.nan
