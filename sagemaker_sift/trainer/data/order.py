"""Which images a batch takes: an order that depends on seed and epoch alone.

Batches are those of the whole job; each process takes its share of every one. So the number of
workers does not matter, nor on how many GPUs of a machine a batch is spread, and a resumed job
goes on as if it had never been interrupted.

Shape suffixes in this file: N = images of the channel, B = images in this process's batch,
M = chances of a sample.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import Sampler

from sagemaker_sift.trainer.data.dataset import Draws


class BatchShare(NamedTuple):
    """The part of every batch of the job that one process trains on.

    Attributes:
        start: First sample of the batch that is its own.
        stop: The one behind its last.
        job_size: Samples of a batch of the whole job.

    Example:
        >>> BatchShare.of(32, num_hosts=2, host_idx=1, num_local=3, local_rank=2)
        BatchShare(start=53, stop=64, job_size=64)
    """

    start: int
    stop: int
    job_size: int

    @classmethod
    def of(
        cls,
        mini_batch_size: int,
        *,
        num_hosts: int,
        host_idx: int,
        num_local: int,
        local_rank: int,
    ) -> BatchShare:
        """Return the share of a process.

        ``mini_batch_size`` is split over the processes of a machine (as evenly as it can be) and
        multiplied by the machines.

        Source: ``mini_batch_size`` in "Image classification hyperparameters", SageMaker
        developer guide.

        Args:
            mini_batch_size: The hyperparameter, in samples.
            num_hosts: Machines of the job.
            host_idx: Which of them this is, from 0.
            num_local: Processes on each machine, one a GPU.
            local_rank: Which of them this is, from 0.
        """
        first = host_idx * mini_batch_size
        return cls(
            first + local_rank * mini_batch_size // num_local,
            first + (local_rank + 1) * mini_batch_size // num_local,
            num_hosts * mini_batch_size,
        )

    @property
    def size(self) -> int:
        """Samples of a full batch that are this process's."""
        return self.stop - self.start


def build_generator(seed: int, stream: str, *numbers: int) -> torch.Generator:
    """Return a generator of its own for one purpose.

    Args:
        seed: The job's seed.
        stream: The purpose, such as ``"order"``.
        *numbers: What else tells it apart, such as the epoch.

    Example:
        >>> first, again = (build_generator(0, "order", 3).initial_seed() for _ in range(2))
        >>> first == again, first == build_generator(0, "order", 4).initial_seed()
        (True, False)
    """
    text = "/".join(map(str, (seed, stream, *numbers)))
    digest = hashlib.sha256(text.encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


class BatchOrder(Sampler[Draws]):
    """The batches of one channel.

    Attributes:
        first_batch: Where the next iteration begins, for a job that goes on within an epoch; each
            iteration sets it back to 0.
    """

    def __init__(self, num_batches: int, share: BatchShare) -> None:
        self.first_batch = 0
        self._num_batches = num_batches
        self._share = share
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Let the next iteration be that of ``epoch``, counted from 0."""
        self._epoch = epoch

    @property
    def epoch(self) -> int:
        """The epoch of the current or next iteration."""
        return self._epoch

    def __len__(self) -> int:
        return self._num_batches

    def _take_first_batch(self) -> int:
        first, self.first_batch = self.first_batch, 0
        return first


class ShuffledBatches(BatchOrder):
    """Full batches of distinct images, in a new order every epoch."""

    def __init__(
        self, *, num_images: int, num_batches: int, share: BatchShare, seed: int, num_chances: int
    ) -> None:
        super().__init__(num_batches, share)
        self._num_images = num_images
        self._seed = seed
        self._num_chances = num_chances

    def __iter__(self) -> Iterator[Draws]:
        first, share, epoch = self._take_first_batch(), self._share, self._epoch
        generator = build_generator(self._seed, "order", epoch)
        order_N = torch.randperm(self._num_images, generator=generator).numpy()
        for batch_idx in range(first, self._num_batches):
            begin = batch_idx * share.job_size
            yield Draws(
                order_N[begin + share.start : begin + share.stop],
                draw_chances(self._seed, epoch, batch_idx, share, self._num_chances),
            )


class SequentialBatches(BatchOrder):
    """Every image once, in the channel's order; the last batch may be smaller, or empty."""

    def __init__(self, *, num_images: int, share: BatchShare) -> None:
        super().__init__(-(-num_images // share.job_size), share)
        self._num_images = num_images

    def __iter__(self) -> Iterator[Draws]:
        for batch_idx in range(self._take_first_batch(), self._num_batches):
            begin = batch_idx * self._share.job_size
            start = min(begin + self._share.start, self._num_images)
            stop = min(begin + self._share.stop, self._num_images)
            yield Draws(np.arange(start, stop, dtype=np.int64), np.empty((stop - start, 0)))


def draw_chances(
    seed: int, epoch: int, batch_idx: int, share: BatchShare, num_chances: int
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Return the chances of augmentation of a process's share of a batch.

    Returns:
        Uniform in [0, 1), shape ``(B, M)``, float64.
    """
    chances_M = torch.rand(
        (share.job_size, num_chances),
        generator=build_generator(seed, "augmentation", epoch, batch_idx),
        dtype=torch.float64,
    )
    return chances_M.numpy()[share.start : share.stop]
