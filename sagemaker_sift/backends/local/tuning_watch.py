"""Whether the coordinator of a tuning job still lives, as its training jobs see it."""

from __future__ import annotations

from pathlib import Path

from sagemaker_sift.backends.local.lock import is_locked
from sagemaker_sift.backends.local.timing import Timing

_LOOK_S = 1.0


class TuningWatch:
    """Looks at the lock of a tuning job, about once a second.

    Args:
        folder: Of the tuning job.
        timing: How long it may be without a coordinator: another one may be on its way.
    """

    def __init__(self, folder: Path, timing: Timing) -> None:
        self._lock = folder / "lock"
        self._timing = timing
        self._next_look = timing.timer()
        self._free_since: float | None = None

    def is_lost(self) -> bool:
        """Return whether there has been no coordinator for too long."""
        now = self._timing.timer()
        if now >= self._next_look:
            self._next_look = now + _LOOK_S
            if is_locked(self._lock):
                self._free_since = None
            elif self._free_since is None:
                self._free_since = now
        return (
            self._free_since is not None
            and now - self._free_since >= self._timing.coordinator_patience_s
        )
