"""The processes that train one model together, and how they agree on every next batch.

Each rank keeps another number of samples, yet DDP needs as many steps of one as of the others.
Before a batch is yielded the ranks therefore ask each other whether all have one: a single
all-reduce of a few integers, on the CPU, outside of scoring.

Source: what happens without, "Distributed Training with Uneven Inputs",
https://docs.pytorch.org/tutorials/advanced/generic_join.html
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import distributed

_GLOO_GROUPS: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class Agreement:
    """What the ranks found out from each other.

    Attributes:
        is_ready: Whether every rank has a batch to yield.
        is_first_batch_shared: Whether all ranks got the same first batch.
        others_losses: What the other ranks scored since the agreement before, in the order of
            the ranks, shape ``(N,)``, float32, on the CPU; empty unless the history is shared.
        may_start: Whether every rank's losses say that sifting may start.
        is_costly: Whether any rank found that sifting does not pay.
    """

    is_ready: bool
    is_first_batch_shared: bool
    others_losses: torch.Tensor
    may_start: bool = True
    is_costly: bool = False


class Ranks:
    """The members of a process group; one member where no group was initialised.

    Args:
        process_group: The group; the default group if None. It is looked up when it is needed,
            since a script may build its loader first.
        shares_losses: Whether the ranks tell each other the losses that they scored.
        settings: Numbers that must be the same on all ranks, by the user's names for them.

    Example:
        >>> ranks = Ranks(None, shares_losses=False)
        >>> ranks.size, ranks.rank
        (1, 0)
        >>> ranks.agree(is_ready=True, epoch=0, step=0, losses=None, fingerprint=None).is_ready
        True
    """

    def __init__(
        self,
        process_group: Any,
        *,
        shares_losses: bool,
        settings: Mapping[str, float] | None = None,
    ) -> None:
        self._process_group = process_group
        self._settings = dict(settings or {})
        self.shares_losses = shares_losses

    @property
    def size(self) -> int:
        """How many ranks there are, ``>= 1``.

        Raises:
            ValueError: If this process is no member of the group.
        """
        size = distributed.get_world_size(self._process_group) if _is_initialized() else 1
        if size < 1:
            raise ValueError(
                "`process_group` does not contain this process. Give every process the group of "
                "the ranks that train the same model as it does."
            )
        return size

    @property
    def rank(self) -> int:
        """Which of them this process is, from 0."""
        return distributed.get_rank(self._process_group) if _is_initialized() else 0

    def agree(
        self,
        *,
        is_ready: bool,
        epoch: int,
        step: int,
        losses: torch.Tensor | None,
        fingerprint: int | None,
        may_start: bool = True,
        is_costly: bool = False,
    ) -> Agreement:
        """Find out whether every rank has a batch; all ranks must ask, each once per batch.

        Args:
            is_ready: Whether this rank has one.
            epoch: Which epoch it is in, ``>= 0``.
            step: How many batches it has yielded, ``>= 0``.
            losses: The losses that it scored since it asked before, shape ``(N,)``, float32, on
                the CPU; None is none.
            fingerprint: A number that tells first batches apart, ``>= 0``; None if there is
                none, or it was told before.
            may_start: Whether this rank's losses say that sifting may start.
            is_costly: Whether this rank found that sifting does not pay.

        Returns:
            The same on all ranks, but for the losses.

        Raises:
            RuntimeError: If another rank has ended, does not answer within the process group's
                timeout, or iterates over another epoch or with other settings.
        """
        nothing = torch.empty(0, dtype=torch.float32, device="cpu")
        losses = nothing if losses is None else losses
        if self.size == 1:
            return Agreement(
                is_ready,
                is_first_batch_shared=False,
                others_losses=nothing,
                may_start=may_start,
                is_costly=is_costly,
            )
        told: dict[str, float] = self._settings | {
            "share_history": self.shares_losses,
            "epoch": epoch,
            "step": step,
            "fingerprint": -1 if fingerprint is None else fingerprint,
            "num_losses": losses.numel(),
            "may_start": may_start,
            "is_costly": is_costly,
        }
        numbers = [value for number in told.values() for value in (number, -number)]
        vector = torch.tensor([is_ready, *numbers], dtype=torch.float64, device="cpu")
        self._reduce_to_minimum(vector, step)
        minimums = dict(zip(told, vector[1::2].tolist(), strict=True))
        maximums = dict(zip(told, (-vector[2::2]).tolist(), strict=True))
        for name in (*self._settings, "share_history", "epoch", "step"):
            if minimums[name] != maximums[name]:
                self._raise_out_of_step(name, told[name], minimums[name], maximums[name])
        has_fingerprint = minimums["fingerprint"] >= 0
        return Agreement(
            is_ready=bool(vector[0]),
            is_first_batch_shared=has_fingerprint
            and minimums["fingerprint"] == maximums["fingerprint"],
            others_losses=self._exchange(losses, int(maximums["num_losses"]), step),
            may_start=bool(minimums["may_start"]),
            is_costly=bool(maximums["is_costly"]),
        )

    def gather(self, values: torch.Tensor, *, step: int) -> list[torch.Tensor]:
        """Return the values of every rank, in the order of the ranks; all ranks must ask.

        Args:
            values: Shape ``(N,)``, any N on each rank, the same dtype on all, on the CPU.
            step: How many batches this rank has yielded, for messages.

        Raises:
            RuntimeError: If another rank has ended, or does not answer in time.
        """
        if self.size == 1:
            return [values]
        own_size = torch.tensor([values.numel()], device="cpu")
        sizes = [torch.empty_like(own_size) for _ in range(self.size)]
        try:
            group = _cpu_group(self._process_group)
            distributed.all_gather(sizes, own_size, group=group)
            padded = values.new_zeros(max(int(size) for size in sizes))
            padded[: values.numel()] = values
            gathered = [torch.empty_like(padded) for _ in sizes]
            distributed.all_gather(gathered, padded, group=group)
        except RuntimeError as error:
            raise self._lost(step, error) from error
        return [part[: int(size)] for part, size in zip(gathered, sizes, strict=True)]

    def _reduce_to_minimum(self, vector: torch.Tensor, step: int) -> None:
        try:
            group = _cpu_group(self._process_group)
            distributed.all_reduce(vector, op=distributed.ReduceOp.MIN, group=group)
        except RuntimeError as error:
            raise self._lost(step, error) from error

    def _exchange(self, losses: torch.Tensor, max_losses: int, step: int) -> torch.Tensor:
        if not self.shares_losses or not max_losses:
            return losses[:0]
        padded = torch.full((max_losses,), torch.nan, dtype=torch.float32, device="cpu")
        padded[: losses.numel()] = losses
        gathered = [torch.empty_like(padded) for _ in range(self.size)]
        try:
            distributed.all_gather(gathered, padded, group=_cpu_group(self._process_group))
        except RuntimeError as error:
            raise self._lost(step, error) from error
        others = torch.cat([part for rank, part in enumerate(gathered) if rank != self.rank])
        return others[others.isfinite()]

    def _lost(self, step: int, error: Exception) -> RuntimeError:
        reason = " ".join(str(error).split())
        return RuntimeError(
            f"Rank {self.rank} of {self.size} asked the other ranks for batch {step} and got no "
            "answer: one of them has ended, or did not ask for its next batch within the process "
            "group's timeout. Look into the log of the rank that ended first; if none has, "
            "`loss_impl` or the loop may call a collective on some ranks only, such as the "
            f"forward pass of a DDP model that is not `model`. ({reason})"
        )

    def _raise_out_of_step(self, name: str, own: float, minimum: float, maximum: float) -> None:
        raise RuntimeError(
            f"Rank {self.rank} of {self.size} has {name}={own:g}, but over all ranks it goes from "
            f"{minimum:g} to {maximum:g}. Build the SiftingDataloader with the same arguments on "
            "every rank, iterate over it on every rank, and leave an epoch early on all ranks "
            "after the same batch; give the group of the ranks that do so as `process_group`."
        )


def _is_initialized() -> bool:
    return distributed.is_available() and distributed.is_initialized()


def _cpu_group(process_group: Any) -> Any:
    """Return a group of the same ranks that reduces CPU tensors: the group itself if it can.

    A group of NCCL alone cannot; then a gloo group is made once, with the same timeout.
    """
    parent = distributed.group.WORLD if process_group is None else process_group
    if "cpu:" in distributed.get_backend_config(parent):
        return parent
    if parent not in _GLOO_GROUPS:
        _GLOO_GROUPS[parent] = distributed.new_group(
            ranks=distributed.get_process_group_ranks(parent),
            timeout=_timeout(parent),
            backend="gloo",
            use_local_synchronization=process_group is not None,
        )
    return _GLOO_GROUPS[parent]


def _timeout(process_group: Any) -> Any:
    """Return the group's timeout as far as it tells, else None for the default."""
    device = torch.device(distributed.get_backend_config(process_group).partition(":")[0])
    backend = process_group._get_backend(device)
    return getattr(getattr(backend, "options", None), "_timeout", None)
