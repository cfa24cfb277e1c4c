"""Batches on the device.

Shape suffixes in this file: B = images in the batch, C = channels, H = height, W = width,
K = classes.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Protocol

import cv2
import torch
from torch.utils.data import DataLoader

from sagemaker_sift.trainer.data.dataset import ImageDataset, RawBatch, collate
from sagemaker_sift.trainer.data.ledger import UnreadableLedger, build_too_small_error
from sagemaker_sift.trainer.data.order import BatchOrder


class Batch(NamedTuple):
    """Images and their labels, on the device.

    Attributes:
        images: Pixel values 0 to 255, shape ``(B, C, H, W)``, uint8.
        labels: Class indices, int64, shape ``(B,)``; with ``multi_label`` uint8, ``(B, K)``.
    """

    images: torch.Tensor
    labels: torch.Tensor


class BatchLoader(Protocol):
    """The batches of a channel, an epoch at a time; of two kinds, by index and from a pipe.

    Attributes:
        batch_size: Images in a full batch of this process.
        drop_last: False: sifting may end an epoch with a smaller batch.
        ledger: What could not be read.
        num_seen: Images that the current or last iteration has handed out.
        num_batches_seen: Batches of the epoch that are behind it.
        sample_ids: Which images of the set the batch handed out last holds, int64, shape ``(B,)``,
            on the CPU; None where images have no number that is theirs in every epoch.
    """

    batch_size: int
    drop_last: bool
    ledger: UnreadableLedger
    num_seen: int
    num_batches_seen: int
    sample_ids: torch.Tensor | None

    @property
    def num_workers(self) -> int:
        """How many processes decode; 0 if the training process does it itself."""
        ...

    @property
    def has_sample_ids(self) -> bool:
        """Whether ``sample_ids`` is set with every batch."""
        ...

    def set_epoch(self, epoch: int) -> None:
        """Let the next iteration be that of ``epoch``, counted from 0."""
        ...

    def __len__(self) -> int:
        """Return the number of batches of an epoch; from a pipe at most so many come."""
        ...

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batches of one epoch.

        Raises:
            TrainingError: If an image is smaller than ``image_shape``, or too many are unreadable.
        """
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return how far the current iteration is."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Let the next iteration go on from there."""
        ...


class ImageLoader:
    """Batches of images that are read by index; see :class:`BatchLoader`.

    Unreadable images are left out of their batch and counted.

    Args:
        dataset: The samples.
        order: Which of them a batch takes.
        batch_size: Images in a full batch of this process.
        ledger: Counts what cannot be read.
        device: Where the batches go.
        num_workers: Processes that decode; 0 decodes here.
        yields_empty: Whether a batch none of whose images could be read is handed out all the
            same, for ranks that must take as many steps as the others.

    Attributes:
        dataset: The samples.
    """

    drop_last = False

    def __init__(
        self,
        dataset: ImageDataset,
        order: BatchOrder,
        *,
        batch_size: int,
        ledger: UnreadableLedger,
        device: torch.device,
        num_workers: int,
        yields_empty: bool = False,
    ) -> None:
        self.batch_size = batch_size
        self.dataset = dataset
        self.ledger = ledger
        self.num_seen = 0
        self.num_batches_seen = 0
        self.sample_ids: torch.Tensor | None = None
        self._order = order
        self._device = device
        self._yields_empty = yields_empty
        self._state_to_load: Mapping[str, Any] | None = None
        self._batches: DataLoader[RawBatch] = DataLoader(
            dataset,
            batch_sampler=order,  # type: ignore[arg-type]  # a batch is drawn as arrays
            collate_fn=collate,  # type: ignore[arg-type]  # the dataset makes whole batches
            num_workers=num_workers,
            persistent_workers=num_workers > 0,
            pin_memory=device.type == "cuda",
            worker_init_fn=_start_worker,
            generator=torch.Generator().manual_seed(0),
        )

    @property
    def has_sample_ids(self) -> bool:
        """True: an image is known by its place in the set."""
        return True

    @property
    def num_workers(self) -> int:
        """How many processes decode; 0 if the training process does it itself."""
        return self._batches.num_workers

    def set_epoch(self, epoch: int) -> None:
        """Let the next iteration be that of ``epoch``, counted from 0; nothing of it is read yet.

        Counting begins here, not with the iteration: a rank of several may take its first batches
        from what it carried over, and be asked for its state before it reads any.
        """
        self._order.set_epoch(epoch)
        self.num_seen = self.num_batches_seen = 0

    def __len__(self) -> int:
        return len(self._order)

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batches of one epoch, or of what is left of it; see :class:`BatchLoader`."""
        state, self._state_to_load = self._state_to_load, None
        self.num_seen = state["num_seen"] if state else 0
        self.num_batches_seen = state["num_batches"] if state else 0
        self._order.first_batch = self.num_batches_seen
        for raw in self._batches:
            self.ledger.record(raw.unreadable)
            for found in raw.too_small:
                raise build_too_small_error(
                    found, image_shape=self.dataset.image_shape, resize=self.dataset.resize
                )
            self.num_seen += len(raw.labels)
            self.num_batches_seen += 1
            self.sample_ids = raw.indices
            if len(raw.labels) or self._yields_empty:
                yield Batch(
                    raw.images.to(self._device, non_blocking=True),
                    raw.labels.to(self._device, non_blocking=True),
                )

    def state_dict(self) -> dict[str, Any]:
        """Return how far the current iteration is: plain numbers."""
        if self._state_to_load is not None:
            return dict(self._state_to_load)
        return {"num_batches": self.num_batches_seen, "num_seen": self.num_seen}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Let the next iteration go on from there; the epoch is set with :meth:`set_epoch`."""
        self._state_to_load = dict(state)


def _start_worker(_worker_idx: int) -> None:
    """Leave stopping to the main process, which ends its workers when it is done."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(0)
