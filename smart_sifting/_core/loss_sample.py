"""A few of many losses, evenly spaced, of which percentiles are asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from smart_sifting._core.loss_history import keep_finite

DEFAULT_PERCENTS = (5.0, 25.0, 50.0, 75.0, 95.0)


_MAX_WAITING = 16


class LossSample:
    """Every n-th finite loss, where n doubles whenever there are too many.

    Adding only takes note of a tensor; one look at several of them at once is cheaper than one at
    each. The memory is bounded however long training lasts.

    Args:
        capacity: How many losses are held at most, ``>= 2``.

    Example:
        >>> losses = LossSample(capacity=4)
        >>> for first in range(0, 100, 10):
        ...     losses.add(torch.arange(first, first + 10.0))
        >>> losses.values().tolist()
        [0.0, 32.0, 64.0, 96.0]
        >>> losses.percentiles([0.0, 50.0])
        [0.0, 48.0]
    """

    def __init__(self, capacity: int = 1024) -> None:
        self._capacity = capacity
        self._waiting: list[torch.Tensor] = []
        self._parts: list[torch.Tensor] = []
        self._num_held = 0
        self._stride = 1
        self._num_seen = 0

    def add(self, losses: torch.Tensor) -> None:
        """Add losses in the order in which they came.

        Args:
            losses: Shape ``(N,)``, float32, on the CPU; NaN and infinite ones are left out. The
                tensor is looked at later: do not change it.
        """
        self._waiting.append(losses)
        if len(self._waiting) >= _MAX_WAITING:
            self._sample_waiting()

    def values(self) -> torch.Tensor:
        """Return the losses held, oldest first, shape ``(M,)`` with ``M <= capacity``."""
        self._sample_waiting()
        return self._join_parts()

    def percentiles(self, percents: Sequence[float] = DEFAULT_PERCENTS) -> list[float]:
        """Return percentiles of the losses held, interpolated linearly.

        Args:
            percents: Each in 0..100.

        Returns:
            One loss per percent; NaN where there is none yet.

        Raises:
            ValueError: If a percent is out of range.
        """
        for percent in percents:
            if not 0 <= percent <= 100:
                raise ValueError(f"percent {percent!r} was asked for, but must be in 0..100.")
        held = self.values()
        if not held.numel():
            return [float("nan")] * len(percents)
        shares = torch.tensor(percents, dtype=torch.float64, device="cpu") / 100
        found: list[float] = held.double().quantile(shares).tolist()
        return found

    def state_dict(self) -> dict[str, Any]:
        """Return everything as a tensor and numbers."""
        return {"values": self.values(), "stride": self._stride, "num_seen": self._num_seen}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what :meth:`state_dict` returned."""
        self._stride = state["stride"]
        self._num_seen = state["num_seen"]
        self._waiting = []
        self._set(state["values"].cpu())

    def _sample_waiting(self) -> None:
        if not self._waiting:
            return
        finite = keep_finite(torch.cat(self._waiting))
        self._waiting = []
        part = finite[-self._num_seen % self._stride :: self._stride].clone()
        self._num_seen += finite.numel()
        if part.numel():
            self._parts.append(part)
            self._num_held += part.numel()
        while self._num_held > self._capacity:
            self._stride *= 2
            self._set(self._join_parts()[::2])

    def _join_parts(self) -> torch.Tensor:
        return torch.cat(self._parts) if self._parts else torch.empty(0, device="cpu")

    def _set(self, values: torch.Tensor) -> None:
        self._parts = [values.clone()]
        self._num_held = values.numel()
