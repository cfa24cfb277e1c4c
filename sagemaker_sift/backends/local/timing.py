"""The clocks and the patience of a supervisor."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from sagemaker_sift.contract.container import STOP_GRACE_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How a supervisor tells and spends time.

    Attributes:
        clock: Epoch seconds, for what is recorded.
        timer: Seconds that only go forward, for what is waited for.
        sleep: Waits some seconds.
        stop_grace_s: From SIGTERM to SIGKILL when a job is stopped.
        failure_grace_s: The same for the other hosts when one has failed.
        record_patience_s: How long a record that cannot be written is tried again.
        coordinator_patience_s: How long a tuning job may be without its coordinator.
    """

    clock: Callable[[], float] = time.time
    timer: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    stop_grace_s: float = STOP_GRACE_S
    failure_grace_s: float = 10.0
    record_patience_s: float = 60.0
    coordinator_patience_s: float = 10.0
