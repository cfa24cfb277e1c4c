"""The metric lines of an epoch, in the built-in algorithm's order."""

from __future__ import annotations

import logging
import math

from sagemaker_sift.contract.metrics import (
    KEPT_FRACTION,
    SAMPLES_KEPT,
    SAMPLES_SEEN,
    TIME_COST,
    TRAIN_ACCURACY,
    TRAIN_LOSS,
    TRAIN_TOP_K_ACCURACY,
    Metric,
    format_line,
)
from sagemaker_sift.trainer.running_metrics import RunningMetrics

_LOG = logging.getLogger(__name__)


class EpochReport:
    """Logs the metrics of one epoch and remembers them.

    Attributes:
        values: What was logged so far by metric name, less what is not finite.
    """

    def __init__(self, epoch: int, *, top_k: int | None) -> None:
        self.values: dict[str, float] = {}
        self._epoch = epoch
        self._top_k = top_k

    def log_training(
        self, trained: RunningMetrics, *, sifted: tuple[int, int] | None, elapsed_s: float
    ) -> None:
        """Log what was measured while the weights moved.

        Args:
            trained: Of the samples trained.
            sifted: Samples seen and kept, if the job sifts.
            elapsed_s: Seconds that training took, validation not included.
        """
        self.log(TRAIN_ACCURACY, trained.accuracy)
        if trained.top_k_accuracy is not None:
            self.log(TRAIN_TOP_K_ACCURACY, trained.top_k_accuracy)
        self.log(TRAIN_LOSS, trained.loss)
        if sifted is not None:
            seen, kept = sifted
            self.log(SAMPLES_SEEN, seen)
            self.log(SAMPLES_KEPT, kept)
            self.log(KEPT_FRACTION, kept / seen if seen else math.nan)
        self.log(TIME_COST, elapsed_s)

    def log(self, metric: Metric, value: float) -> None:
        """Log one metric."""
        top_k = self._top_k if metric is TRAIN_TOP_K_ACCURACY else None
        _LOG.info("%s", format_line(metric, self._epoch, value, top_k=top_k))
        if math.isfinite(value):
            self.values[metric.name] = value
