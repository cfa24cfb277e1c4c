"""The latest losses, first in, first out, on the CPU.

Shape suffixes in this file: B = samples in the batch, H = places in the history, N = losses that
come into the history or leave it.
"""

from __future__ import annotations

import math

import torch

LARGEST_SORTED_ANEW = 4096
"""Up to this many places it is faster to sort a history anew than to keep one sorted."""

_LARGEST_MERGED_SHARE = 0.25


class LossHistory:
    """A ring buffer of the latest finite losses.

    It lies on the CPU whatever the model's device: who ranks a batch needs the ranks there, so
    that its losses may as well come over before as after.

    Args:
        capacity: How many losses are remembered, ``>= 1``.

    Example:
        >>> history = LossHistory(capacity=2)
        >>> history.push(torch.tensor([1.0, float("nan"), 2.0, 3.0]))
        tensor([1., 2., 3.])
        >>> history.losses()
        tensor([2., 3.])
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._places = torch.full((capacity,), torch.inf, dtype=torch.float32, device="cpu")
        self._head = 0
        self._count = 0
        self._order: torch.Tensor | None = None
        self._sorted: torch.Tensor | None = None

    def push(self, loss_B: torch.Tensor) -> torch.Tensor:
        """Add a batch's finite losses, oldest first, forgetting the oldest beyond the capacity.

        Args:
            loss_B: Per-sample losses, shape ``(B,)``, float32, any device.

        Returns:
            The finite losses, in order, on the CPU; the very tensor ``loss_B`` if it is there and
            all of it is finite.
        """
        finite = keep_finite(loss_B.cpu())
        newest_N = finite[-self.capacity :] if finite.numel() > self.capacity else finite
        num_new = newest_N.numel()
        end = self._head + num_new
        if end <= self.capacity:
            place = self._places[self._head : end]
            self._update_sorted(place, newest_N)
            place.copy_(newest_N)
        else:
            num_first = self.capacity - self._head
            first, second = self._places[self._head :], self._places[: end - self.capacity]
            self._update_sorted(torch.cat([first, second]), newest_N)
            first.copy_(newest_N[:num_first])
            second.copy_(newest_N[num_first:])
        self._head = end % self.capacity
        self._count = min(self._count + num_new, self.capacity)
        return finite

    def reference(self, finite: torch.Tensor, *, batch_size: int) -> tuple[torch.Tensor, int]:
        """Return the losses to rank a batch among, after the batch was pushed.

        These are the remembered losses; for a batch of more losses than the history remembers,
        they are the batch's own, so that every loss is ranked among losses that include it.

        Args:
            finite: The batch's finite losses, as :meth:`push` returned them.
            batch_size: How many losses the batch has, finite or not.

        Returns:
            Losses, ascending, shape ``(H,)`` or ``(N,)``, +inf in unused places; and how many are
            used, at least 1. They are this object's own: do not change them.
        """
        if batch_size > self.capacity:
            return finite.sort().values, max(1, finite.numel())
        if self.capacity <= LARGEST_SORTED_ANEW:
            sorted_H = self._sort_anew()
        else:
            if self._sorted is None:
                self._sorted = self._places.sort().values
            sorted_H = self._sorted
        return sorted_H, max(1, self._count)

    def losses(self) -> torch.Tensor:
        """Return the remembered losses, oldest first, shape ``(num_losses,)``, on the CPU."""
        return self._places.roll(-self._head)[self.capacity - self._count :]

    def load(self, losses: torch.Tensor) -> None:
        """Forget everything and remember ``losses``, oldest first.

        Args:
            losses: Finite losses, shape ``(N,)``; of more than the capacity the newest stay.
        """
        self._places.fill_(torch.inf)
        self._head = self._count = 0
        self._sorted = None
        self.push(losses.detach().to("cpu", torch.float32))

    def _sort_anew(self) -> torch.Tensor:
        """Return the places' losses, ascending.

        Taken in the order that the sorting before found, they are sorted but for the new ones;
        that halves the time of a merge sort, whose branches are predicted then.
        """
        if self._order is None:
            self._order = torch.arange(self.capacity, device="cpu")
        sorted_H, order_H = self._places.index_select(0, self._order).sort(stable=True)
        self._order = self._order.index_select(0, order_H)
        return sorted_H

    def _update_sorted(self, old_N: torch.Tensor, new_N: torch.Tensor) -> None:
        """Put new losses in the place of old ones, if a sorted history is kept."""
        if self._sorted is None:
            return
        if new_N.numel() > _LARGEST_MERGED_SHARE * self.capacity:
            self._sorted = None
        elif new_N.numel():
            self._sorted = replace_in_sorted(self._sorted, old_N, new_N)


def keep_finite(losses: torch.Tensor) -> torch.Tensor:
    """Return the finite ones of losses; the very tensor if that is all.

    Args:
        losses: Shape ``(N,)``, float32, on the CPU.

    Example:
        >>> keep_finite(torch.tensor([1.0, float("inf"), 2.0]))
        tensor([1., 2.])
    """
    if math.isfinite(float(losses.sum())):  # one NaN or infinity, and no sum is finite
        return losses
    is_finite = losses.isfinite()
    return losses if bool(is_finite.all()) else losses[is_finite]


def replace_in_sorted(
    sorted_H: torch.Tensor, old_N: torch.Tensor, new_N: torch.Tensor
) -> torch.Tensor:
    """Return a sorted tensor with some of its values replaced, in time linear in its length.

    Args:
        sorted_H: Ascending values, shape ``(H,)``, float32, on the CPU; no NaN.
        old_N: Values that are in it, each as often as it is to go, shape ``(N,)``, any order.
        new_N: The values to put in their place, shape ``(N,)``, any order.

    Returns:
        A new tensor, ascending, shape ``(H,)``.

    Example:
        >>> values = torch.tensor([1.0, 2.0, 2.0, 5.0])
        >>> replace_in_sorted(values, torch.tensor([5.0, 2.0]), torch.tensor([0.0, 3.0]))
        tensor([0., 1., 2., 3.])
    """
    old_N, new_N = old_N.sort().values, new_N.sort().values
    order_N = torch.arange(old_N.numel(), device="cpu")
    # Equal values leave from the first of their places on.
    leaves_at_N = torch.searchsorted(sorted_H, old_N) - torch.searchsorted(old_N, old_N)
    leaves_at_N += order_N
    # A new value stands behind all that stay and are not above it, and behind the new ones below.
    num_stay_below_N = torch.searchsorted(sorted_H, new_N, right=True)
    num_stay_below_N -= torch.searchsorted(old_N, new_N, right=True)
    comes_at_N = num_stay_below_N + order_N
    # The place in the old tensor from which each place of the new one comes: one further from
    # place to place, but not behind a new value, and one more for every old value passed over.
    first_behind_N = leaves_at_N - order_N
    first_behind_N += torch.searchsorted(num_stay_below_N, first_behind_N, right=True)
    step_H = torch.ones(sorted_H.numel() + 1, dtype=torch.int64, device="cpu")
    step_H[0] = 0
    step_H[comes_at_N + 1] = 0
    step_H.index_add_(0, first_behind_N, torch.ones_like(order_N))
    from_H = step_H[:-1].cumsum(0).clamp_(max=sorted_H.numel() - 1)
    replaced_H = sorted_H.index_select(0, from_H)
    replaced_H[comes_at_N] = new_N
    return replaced_H
