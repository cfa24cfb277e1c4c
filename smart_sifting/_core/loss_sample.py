"""A few of many losses, evenly spaced, of which percentiles are asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

DEFAULT_PERCENTS = (5.0, 25.0, 50.0, 75.0, 95.0)


class LossSample:
    """Every n-th finite loss, where n doubles whenever there are too many.

    Adding costs a slice of a CPU tensor; the memory is bounded however long training lasts.

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
        self._parts: list[torch.Tensor] = []
        self._num_held = 0
        self._stride = 1
        self._num_seen = 0

    def add(self, losses: torch.Tensor) -> None:
        """Add losses in the order in which they came.

        Args:
            losses: Shape ``(N,)``, float32, on the CPU; NaN and infinite ones are left out.
        """
        finite = losses[losses.isfinite()]
        part = finite[-self._num_seen % self._stride :: self._stride]
        self._num_seen += finite.numel()
        if part.numel():
            self._parts.append(part.clone())
            self._num_held += part.numel()
        while self._num_held > self._capacity:
            self._stride *= 2
            self._set(self.values()[::2])

    def values(self) -> torch.Tensor:
        """Return the losses held, oldest first, shape ``(M,)`` with ``M <= capacity``."""
        return torch.cat(self._parts) if self._parts else torch.empty(0, device="cpu")

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
        if not self._num_held:
            return [float("nan")] * len(percents)
        shares = torch.tensor(percents, dtype=torch.float64, device="cpu") / 100
        found: list[float] = self.values().double().quantile(shares).tolist()
        return found

    def state_dict(self) -> dict[str, Any]:
        """Return everything as a tensor and numbers."""
        return {"values": self.values(), "stride": self._stride, "num_seen": self._num_seen}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what :meth:`state_dict` returned."""
        self._stride = state["stride"]
        self._num_seen = state["num_seen"]
        self._set(state["values"].cpu())

    def _set(self, values: torch.Tensor) -> None:
        self._parts = [values.clone()]
        self._num_held = values.numel()
