"""The latest losses, first in, first out, on the losses' device.

Shape suffixes in this file: B = samples in the batch, H = places in the history.
"""

from __future__ import annotations

import torch


class LossHistory:
    """A ring buffer of the latest finite losses.

    Nothing here waits for the device: head, count and the choice of finite losses are tensors.

    Args:
        capacity: How many losses are remembered, ``>= 1``.

    Example:
        >>> history = LossHistory(capacity=2)
        >>> history.push(torch.tensor([1.0, float("nan"), 2.0, 3.0]))
        >>> history.losses()
        tensor([2., 3.])
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        # One place more than the capacity: what is not remembered is written there.
        self._places = torch.full((capacity + 1,), torch.inf, dtype=torch.float32, device="cpu")
        self._head = torch.zeros((), dtype=torch.int64, device="cpu")
        self._count = torch.zeros((), dtype=torch.int64, device="cpu")

    def push(self, loss_B: torch.Tensor) -> None:
        """Add a batch's finite losses, oldest first, forgetting the oldest beyond the capacity.

        Args:
            loss_B: Per-sample losses, shape ``(B,)`` with ``B >= 1``, float32. The history moves
                to their device.
        """
        self._move_to(loss_B.device)
        is_finite_B = loss_B.isfinite()
        order_B = is_finite_B.cumsum(0)
        num_finite = order_B[-1]
        is_stored_B = is_finite_B & (order_B > num_finite - self.capacity)
        place_B = torch.where(
            is_stored_B, (self._head + order_B - 1) % self.capacity, self.capacity
        )
        self._places[place_B] = loss_B
        self._head = (self._head + num_finite) % self.capacity
        self._count = (self._count + num_finite).clamp(max=self.capacity)

    def reference(self, loss_B: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the losses to rank a batch among, after the batch was pushed.

        These are the remembered losses; for a batch of more losses than the history remembers,
        they are the batch's own, so that every loss is ranked among losses that include it.

        Args:
            loss_B: The batch's losses, as pushed.

        Returns:
            Losses, shape ``(H,)`` or ``(B,)``, +inf in unused places, and how many are used, a
            0-d int64 tensor, at least 1.
        """
        if loss_B.numel() <= self.capacity:
            return self._places[: self.capacity], self._count.clamp(min=1)
        is_finite_B = loss_B.isfinite()
        own_B = torch.where(is_finite_B, loss_B, torch.inf)
        return own_B, is_finite_B.sum().clamp(min=1)

    def losses(self) -> torch.Tensor:
        """Return the remembered losses, oldest first, shape ``(num_losses,)``, on the CPU."""
        count = int(self._count)
        oldest = (int(self._head) - count) % self.capacity
        order = (torch.arange(count, device="cpu") + oldest) % self.capacity
        return self._places.cpu()[order]

    def load(self, losses: torch.Tensor) -> None:
        """Forget everything and remember ``losses``, oldest first.

        Args:
            losses: Finite losses, shape ``(N,)``; of more than the capacity the newest stay.
        """
        newest = losses.detach().to("cpu", torch.float32)[-self.capacity :]
        self._places.fill_(torch.inf)
        self._head.zero_()
        self._count.zero_()
        if newest.numel():
            self.push(newest)

    def _move_to(self, device: torch.device) -> None:
        if self._places.device != device:
            self._places = self._places.to(device)
            self._head = self._head.to(device)
            self._count = self._count.to(device)
