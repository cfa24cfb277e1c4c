"""Timings of a Lightning training loop as the log lines that SageMaker metrics read.

Needs ``lightning`` or ``pytorch_lightning``, whichever the training script uses.

Source: names and form of the lines from the metric definitions of the published example notebooks
(amazon-sagemaker-examples, ``smart_sifting``).
"""

from __future__ import annotations

import logging
import time
from typing import Any

from smart_sifting.integrations.lightning import SiftingCallback

__all__ = ["TrainingMetricsRecorder"]

_LOGGER = logging.getLogger(__name__)


class TrainingMetricsRecorder(SiftingCallback):
    """Logs, for every training step, its number and what its parts took, in seconds.

    At INFO level, by the logger ``smart_sifting.metrics.lightning``: ``train step count``,
    ``train forward pass latency``, ``train backprop latency``, ``train optimizer step latency``
    (only where gradients are applied) and ``train total step latency``. Nothing shows without a
    logging configuration. The host's clock is read; on a GPU, work that is still queued counts
    where the host waits for it.

    Published scripts have no other callback, so this one does what :class:`SiftingCallback` does,
    too: sifted epochs end where they end, and checkpoints hold the sifting state.

    No example: it needs a Lightning trainer (``Trainer(callbacks=[TrainingMetricsRecorder()])``).
    """

    def __init__(self) -> None:
        super().__init__()
        self._num_steps = 0
        self._moments: dict[str, float] = {}

    def on_train_batch_start(self, *args: Any, **kwargs: Any) -> None:
        """Note the begin of the step and of its forward pass."""
        super().on_train_batch_start(*args, **kwargs)
        self._moments = {"start": time.perf_counter()}

    def on_before_backward(self, *args: Any, **kwargs: Any) -> None:
        """Note the end of the forward pass."""
        self._moments["forward"] = time.perf_counter()

    def on_after_backward(self, *args: Any, **kwargs: Any) -> None:
        """Note the end of the backward pass."""
        self._moments["backward"] = time.perf_counter()

    def on_before_optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Note the begin of the optimizer step."""
        self._moments["optimizer"] = time.perf_counter()

    def on_train_batch_end(self, *args: Any, **kwargs: Any) -> None:
        """Log the step."""
        self._moments["end"] = time.perf_counter()
        self._num_steps += 1
        _LOGGER.info("train step count: %d", self._num_steps)
        self._log("train forward pass latency", "start", "forward")
        self._log("train backprop latency", "forward", "backward")
        self._log("train optimizer step latency", "optimizer", "end")
        self._log("train total step latency", "start", "end")

    def _log(self, name: str, begin: str, end: str) -> None:
        if begin in self._moments and end in self._moments:
            _LOGGER.info("%s: %.6e", name, self._moments[end] - self._moments[begin])
