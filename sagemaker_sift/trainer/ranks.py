"""What the processes of a job do together: add up, agree, collect.

Everything here runs on the CPU and beside the gradients, so that a GPU is never waited for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import distributed

from sagemaker_sift.trainer.distributed import Placement


class Ranks:
    """The processes that train one model together; often only one.

    Attributes:
        rank: Which of them this one is, from 0.
        size: How many there are.
        group: The process group of the CPU, or ``None`` if there is one process only.
    """

    def __init__(self, rank: int = 0, size: int = 1, group: Any = None) -> None:
        self.rank = rank
        self.size = size
        self.group = group
        self._pending: tuple[Any, torch.Tensor] | None = None

    @property
    def is_first(self) -> bool:
        """Whether this process writes the job's files and metrics."""
        return self.rank == 0

    @property
    def are_many(self) -> bool:
        """Whether there is more than one process."""
        return self.size > 1

    def add_up(self, values: torch.Tensor) -> torch.Tensor:
        """Return the sum of all ranks' values, on the CPU, in the dtype given.

        Args:
            values: Of one shape on all ranks.
        """
        total = values.detach().to("cpu", copy=True)
        if self.are_many:
            distributed.all_reduce(total, group=self.group)
        return total

    def any_of(self, wishes: Sequence[bool]) -> list[bool]:
        """Return for each wish whether some rank has it; all ranks get the same answer."""
        return [bool(count) for count in self.add_up(torch.tensor(wishes, dtype=torch.int32))]

    def exchange(self, wishes: Sequence[bool]) -> list[bool]:
        """Ask for wishes after a step, and return what was asked for at the last call.

        With one process the answer is immediate. With several it is that of the step before, so
        that nobody waits: it has travelled while the step was computed.

        Args:
            wishes: As many at every call, on all ranks.

        Returns:
            For each wish whether some rank had it; the same on all ranks.
        """
        if not self.are_many:
            return list(wishes)
        answer = [False] * len(wishes)
        if self._pending is not None:
            handle, counts = self._pending
            handle.wait()
            answer = [bool(count) for count in counts]
        counts = torch.tensor(wishes, dtype=torch.int32)
        handle = distributed.all_reduce(counts, group=self.group, async_op=True)
        self._pending = (handle, counts)
        return answer

    def settle(self) -> None:
        """Let go of the exchange under way; all ranks do so after the same call."""
        if self._pending is not None:
            self._pending[0].wait()
            self._pending = None

    def gather(self, value: Any) -> list[Any]:
        """Return every rank's value, in their order, on the first rank; elsewhere nothing.

        Args:
            value: Anything that can be pickled; it never leaves the job's own processes.
        """
        if not self.are_many:
            return [value]
        values: list[Any] | None = [None] * self.size if self.is_first else None
        distributed.gather_object(value, values, dst=0, group=self.group)
        return values or []

    def share(self, value: Any) -> Any:
        """Return the first rank's value on every rank.

        Args:
            value: On the first rank, anything that can be pickled; elsewhere it is not read.
        """
        if not self.are_many:
            return value
        values = [value if self.is_first else None]
        distributed.broadcast_object_list(values, src=0, group=self.group)
        return values[0]

    def average_(self, values: Sequence[torch.Tensor]) -> None:
        """Replace floating tensors by their mean over the ranks, and others by the first rank's.

        Args:
            values: Of the same shapes on all ranks; changed in place.
        """
        if not self.are_many:
            return
        for value in values:
            on_cpu = value.detach().to("cpu", copy=True)
            if value.is_floating_point():
                distributed.all_reduce(on_cpu, group=self.group)
                on_cpu /= self.size
            else:
                distributed.broadcast(on_cpu, src=0, group=self.group)
            value.copy_(on_cpu)


@contextmanager
def joined(
    placement: Placement, *, backend: str, is_stopping: Callable[[], bool] = lambda: False
) -> Iterator[Ranks]:
    """Join the other processes of the job while the block runs.

    Args:
        placement: Which process this one is.
        backend: ``gloo`` or ``nccl``, for the gradients.
        is_stopping: Asked while the others are waited for.

    Raises:
        TrainingError: If the others do not come.
        JoinInterrupted: If the job is asked to stop meanwhile.
    """
    if placement.num_ranks == 1:
        yield Ranks()
        return
    placement.join(backend=backend, is_stopping=is_stopping)
    group = distributed.new_group(backend="gloo")
    ranks = Ranks(placement.rank, placement.num_ranks, group)
    try:
        yield ranks
        ranks.settle()
        distributed.barrier(group=group)
    finally:
        distributed.destroy_process_group()
