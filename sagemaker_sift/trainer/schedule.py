"""When the learning rate drops, and when training stops early.

Source: "Image classification hyperparameters", SageMaker developer guide; the schedule is that
of apache/mxnet v1.9 ``python/mxnet/lr_scheduler.py`` (MultiFactorScheduler).
"""

from __future__ import annotations

from dataclasses import dataclass


def learning_rate_at(
    epoch: int, *, initial: float, factor: float, steps: tuple[int, ...]
) -> float:
    """Return the learning rate of an epoch.

    Args:
        epoch: Counted from 0.
        initial: The ``learning_rate`` hyperparameter.
        factor: The ``lr_scheduler_factor``.
        steps: The ``lr_scheduler_step``: after so many epochs the rate is multiplied once more.

    Example:
        >>> [learning_rate_at(e, initial=1.0, factor=0.5, steps=(1, 3)) for e in range(4)]
        [1.0, 0.5, 0.5, 0.25]
    """
    return initial * factor ** sum(epoch >= step for step in steps)


@dataclass(slots=True, kw_only=True)
class EarlyStopping:
    """Decides after each epoch whether validation accuracy still improves.

    An epoch improves if its accuracy is above the best so far and the gain, divided by that best,
    is at least ``tolerance``. The best so far grows with every higher accuracy, however small
    the gain.

    Attributes:
        min_epochs: Epochs that are always trained.
        patience: Epochs without improvement that are waited for.
        tolerance: Smallest relative gain that counts, in [0, 1].
        best: Highest accuracy so far, or ``None`` before the first epoch.
        num_bad_epochs: Epochs since the last improvement.

    Example:
        >>> stopping = EarlyStopping(min_epochs=1, patience=2, tolerance=0.0)
        >>> [stopping.should_stop(epoch, 0.5) for epoch in range(3)]
        [False, False, True]
    """

    min_epochs: int
    patience: int
    tolerance: float
    best: float | None = None
    num_bad_epochs: int = 0

    def should_stop(self, epoch: int, accuracy: float) -> bool:
        """Record an epoch's accuracy and return whether training should end with it.

        Args:
            epoch: Counted from 0.
            accuracy: Validation accuracy, in [0, 1].
        """
        if self.best is None or (
            accuracy > self.best and accuracy - self.best >= self.tolerance * self.best
        ):
            self.num_bad_epochs = 0
        else:
            self.num_bad_epochs += 1
        self.best = accuracy if self.best is None else max(self.best, accuracy)
        return epoch + 1 >= self.min_epochs and self.num_bad_epochs >= self.patience
