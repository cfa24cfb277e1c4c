"""The loss of every sample as it was last known, and how long ago that was.

Shape suffixes in this file: B = samples in the batch, N = samples of the data set.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

MAX_SAMPLE_ID = 2**31 - 1
"""The table has a place for every id up to the largest, eight bytes each."""

_NEVER = torch.iinfo(torch.int32).min
_FOREVER = 2**30  # epochs are counted in 32 bits


class VisitLosses:
    """A table by sample id: the loss, on the device where losses are made, and its epoch.

    A loss is known if its sample was visited, by a training step or a scoring pass, at most
    ``max_age`` epochs ago. What decides that stays on the CPU, so that nothing waits for the
    device; losses are read and written there.

    Args:
        max_age: In epochs, ``>= 1``: with 1 a loss of the epoch before still counts.

    Example:
        >>> visits = VisitLosses(max_age=1)
        >>> visits.record(torch.tensor([0, 2]), torch.tensor([0.5, 0.25]), epoch=0)
        >>> visits.is_known(torch.tensor([0, 1, 2]), epoch=1)
        tensor([ True, False,  True])
        >>> visits.look_up(torch.tensor([2]))
        tensor([0.2500])
    """

    def __init__(self, max_age: int) -> None:
        self.max_age = min(max_age, _FOREVER)
        self._losses_N = torch.empty(0, device="cpu")
        self._epochs_N = torch.empty(0, dtype=torch.int32, device="cpu")

    def record(self, ids_B: torch.Tensor, loss_B: torch.Tensor, *, epoch: int) -> None:
        """Enter losses.

        Args:
            ids_B: Sample ids, shape ``(B,)``, int64, on the CPU, in ``[0, MAX_SAMPLE_ID]``.
            loss_B: Their losses, shape ``(B,)``, float32, any device.
            epoch: The epoch under way, counted from 0.
        """
        if not ids_B.numel():
            return
        self._make_room(int(ids_B.max()) + 1, loss_B.device)
        self._losses_N[ids_B.to(loss_B.device, non_blocking=True)] = loss_B
        self._epochs_N[ids_B] = epoch

    def is_known(self, ids_B: torch.Tensor, *, epoch: int) -> torch.Tensor:
        """Return which losses are known and recent enough, shape ``(B,)``, bool, on the CPU.

        Args:
            ids_B: Sample ids, shape ``(B,)``, int64, on the CPU.
            epoch: The epoch under way, counted from 0.
        """
        num_places = self._epochs_N.numel()
        if not num_places:
            return torch.zeros(ids_B.shape, dtype=torch.bool, device="cpu")
        epochs_B = self._epochs_N[ids_B.clamp(max=num_places - 1)]
        return (epochs_B >= epoch - self.max_age) & (ids_B < num_places)

    def look_up(self, ids_B: torch.Tensor) -> torch.Tensor:
        """Return the losses of samples that are known, shape ``(B,)``, float32, on their device.

        Args:
            ids_B: Sample ids, shape ``(B,)``, int64, on the CPU.
        """
        return self._losses_N[ids_B.to(self._losses_N.device, non_blocking=True)]

    def merge(self, losses_N: torch.Tensor, epochs_N: torch.Tensor) -> None:
        """Take the visits of another table that are later than those in this one.

        Args:
            losses_N: As :meth:`state_dict` gives them, shape ``(N,)``.
            epochs_N: The same.
        """
        num_others = epochs_N.numel()
        if not num_others:
            return
        self._make_room(num_others, self._losses_N.device)
        later_idx = (epochs_N > self._epochs_N[:num_others]).nonzero().flatten()
        device = self._losses_N.device
        self._losses_N[later_idx.to(device)] = losses_N[later_idx].to(device)
        self._epochs_N[later_idx] = epochs_N[later_idx]

    def state_dict(self) -> dict[str, Any]:
        """Return the table, on the CPU."""
        return {"losses": self._losses_N.cpu().clone(), "epochs": self._epochs_N.clone()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what :meth:`state_dict` returned; losses move at the next visit."""
        self._losses_N = state["losses"].cpu().clone()
        self._epochs_N = state["epochs"].cpu().clone()

    def _make_room(self, num_ids: int, device: torch.device) -> None:
        if self._losses_N.device != device:
            self._losses_N = self._losses_N.to(device)
        num_places = self._epochs_N.numel()
        if num_ids <= num_places:
            return
        num_new = max(num_ids, 2 * num_places, 1024) - num_places
        nothing = torch.full((num_new,), torch.nan, device=device)
        never = torch.full((num_new,), _NEVER, dtype=torch.int32, device="cpu")
        self._losses_N = torch.cat([self._losses_N, nothing])
        self._epochs_N = torch.cat([self._epochs_N, never])
