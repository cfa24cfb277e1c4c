"""Lines that show how far an epoch is."""

from __future__ import annotations

import logging
from collections.abc import Callable

from sagemaker_sift.contract.metrics import format_batch_line
from sagemaker_sift.trainer.data.loader import ImageLoader
from sagemaker_sift.trainer.loop import RunningMetrics

INTERVAL_S = 1.0
"""A line at most every so many seconds."""

_LOG = logging.getLogger(__name__)


class ProgressLog:
    """Logs batches and speed about once a second. Speed counts presented samples.

    Attributes:
        epoch: The epoch under way, counted from 0.
    """

    def __init__(self, loader: ImageLoader, clock: Callable[[], float]) -> None:
        self.epoch = 0
        self._loader = loader
        self._clock = clock
        self._since_s = 0.0
        self._num_seen = 0

    def start_epoch(self, epoch: int) -> None:
        """Begin counting the samples of an epoch."""
        self.epoch = epoch
        self._since_s = self._clock()
        self._num_seen = 0

    def after_step(self, metrics: RunningMetrics) -> None:
        """Log a line if the last one is long enough ago."""
        now_s = self._clock()
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
