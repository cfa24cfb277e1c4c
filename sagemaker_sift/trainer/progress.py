"""Lines that show how far an epoch is."""

from __future__ import annotations

import logging
from collections.abc import Callable

from sagemaker_sift.contract.metrics import format_batch_line
from sagemaker_sift.trainer.data.loader import BatchLoader
from sagemaker_sift.trainer.running_metrics import RunningMetrics

INTERVAL_S = 1.0
"""A line at most every so many seconds."""

_LOG = logging.getLogger(__name__)


class ProgressLog:
    """Logs batches and speed about once a second. Speed counts presented samples.

    Attributes:
        epoch: The epoch under way, counted from 0.
    """

    def __init__(self, loader: BatchLoader, clock: Callable[[], float]) -> None:
        self.epoch = 0
        self._loader = loader
        self._clock = clock
        self._since_s = 0.0
        self._num_seen: int | None = 0

    def start_epoch(self, epoch: int, *, is_resumed: bool = False) -> None:
        """Begin counting the samples of an epoch; those before an interruption do not count."""
        self.epoch = epoch
        self._since_s = self._clock()
        self._num_seen = None if is_resumed else 0

    def after_step(self, metrics: RunningMetrics) -> None:
        """Log a line if the last one is long enough ago."""
        now_s = self._clock()
        if self._num_seen is None:
            self._since_s, self._num_seen = now_s, self._loader.num_seen
        elapsed_s = now_s - self._since_s
        if elapsed_s < INTERVAL_S:
            return
        speed = (self._loader.num_seen - self._num_seen) / elapsed_s
        _LOG.info(
            "%s",
            format_batch_line(self.epoch, self._loader.num_batches_seen, speed, metrics.accuracy),
        )
        self._since_s = now_s
        self._num_seen = self._loader.num_seen
