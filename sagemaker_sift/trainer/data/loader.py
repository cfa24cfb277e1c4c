"""Batches on the device, in an order that depends on seed and epoch alone.

Shape suffixes in this file: N = images of the channel, B = images in the batch, C = channels,
H = height, W = width.
"""

from __future__ import annotations

import hashlib
import signal
from collections.abc import Callable, Iterator
from typing import NamedTuple

import cv2
import torch
from torch.utils.data import DataLoader, Sampler

from sagemaker_sift.trainer.data.dataset import ImageDataset, RawBatch, collate
from sagemaker_sift.trainer.data.image import Draw
from sagemaker_sift.trainer.data.ledger import UnreadableLedger, build_too_small_error


class Batch(NamedTuple):
    """Images and their classes, on the device.

    Attributes:
        images: Pixel values 0 to 255, shape ``(B, C, H, W)``, uint8.
        labels: Class indices, shape ``(B,)``, int64.
    """

    images: torch.Tensor
    labels: torch.Tensor


def build_generator(seed: int, stream: str, epoch: int = 0) -> torch.Generator:
    """Return a generator of its own for one purpose in one epoch.

    Args:
        seed: The job's seed.
        stream: The purpose, such as ``"order"``.
        epoch: Counted from 0.

    Example:
        >>> first, again = (build_generator(0, "order", 3).initial_seed() for _ in range(2))
        >>> first == again, first == build_generator(0, "order", 4).initial_seed()
        (True, False)
    """
    digest = hashlib.sha256(f"{seed}/{stream}/{epoch}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


class ShuffledBatches(Sampler[list[Draw]]):
    """Full batches of distinct images, in a new order every epoch.

    Which images an epoch takes, in which order and with which crop, is a function of the seed,
    the epoch and the image's index: the number of workers does not matter, and a resumed job
    goes on as if it had never been interrupted.
    """

    def __init__(self, *, num_images: int, num_batches: int, batch_size: int, seed: int) -> None:
        self._num_images = num_images
        self._num_batches = num_batches
        self._batch_size = batch_size
        self._seed = seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Let the next iteration be that of ``epoch``, counted from 0."""
        self._epoch = epoch

    def __len__(self) -> int:
        return self._num_batches

    def __iter__(self) -> Iterator[list[Draw]]:
        order_N = torch.randperm(
            self._num_images, generator=build_generator(self._seed, "order", self._epoch)
        )
        chances_N3 = torch.rand(
            (self._num_images, 3),
            generator=build_generator(self._seed, "augmentation", self._epoch),
            dtype=torch.float64,
        )
        for batch_idx in range(self._num_batches):
            indices = order_N[batch_idx * self._batch_size : (batch_idx + 1) * self._batch_size]
            yield [
                Draw(idx, *chances)
                for idx, chances in zip(
                    indices.tolist(), chances_N3[indices].tolist(), strict=True
                )
            ]


class SequentialBatches(Sampler[list[Draw]]):
    """Every image once, in the folder's order; the last batch may be smaller."""

    def __init__(self, *, num_images: int, batch_size: int) -> None:
        self._num_images = num_images
        self._batch_size = batch_size

    def __len__(self) -> int:
        return -(-self._num_images // self._batch_size)

    def __iter__(self) -> Iterator[list[Draw]]:
        for start in range(0, self._num_images, self._batch_size):
            stop = min(start + self._batch_size, self._num_images)
            yield [Draw(idx) for idx in range(start, stop)]


class ImageLoader:
    """An iterable of :class:`Batch`, with the surface of a torch loader that sifting needs.

    Unreadable images are left out of their batch and counted. When the job is asked to stop, an
    iteration ends early.

    Attributes:
        batch_size: Images in a full batch.
        dataset: The samples.
        num_seen: Images that the current or last iteration has handed out.
        num_batches_seen: Batches that it has handed out.
    """

    drop_last = False

    def __init__(
        self,
        dataset: ImageDataset,
        sampler: ShuffledBatches | SequentialBatches,
        *,
        batch_size: int,
        ledger: UnreadableLedger,
        device: torch.device,
        num_workers: int,
        is_stopping: Callable[[], bool],
    ) -> None:
        self.batch_size = batch_size
        self.dataset = dataset
        self.num_seen = 0
        self.num_batches_seen = 0
        self._sampler = sampler
        self._ledger = ledger
        self._device = device
        self._is_stopping = is_stopping
        self._batches: DataLoader[RawBatch] = DataLoader(
            dataset,  # type: ignore[arg-type]  # items become a RawBatch in collate
            batch_sampler=sampler,
            collate_fn=collate,
            num_workers=num_workers,
            persistent_workers=num_workers > 0,
            pin_memory=device.type == "cuda",
            worker_init_fn=_start_worker,
            generator=torch.Generator().manual_seed(0),
        )

    @property
    def num_workers(self) -> int:
        """How many processes decode; 0 if the training process does it itself."""
        return self._batches.num_workers

    def set_epoch(self, epoch: int) -> None:
        """Let the next iteration be that of ``epoch``, counted from 0."""
        if isinstance(self._sampler, ShuffledBatches):
            self._sampler.set_epoch(epoch)

    def __len__(self) -> int:
        return len(self._sampler)

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batches of one epoch.

        Raises:
            TrainingError: If an image is smaller than ``image_shape``, or too many are unreadable.
        """
        self.num_seen = 0
        self.num_batches_seen = 0
        for raw in self._batches:
            if self._is_stopping():
                return
            self._ledger.record(raw.unreadable)
            for found in raw.too_small:
                raise build_too_small_error(
                    found, image_shape=self.dataset.image_shape, resize=self.dataset.resize
                )
            if len(raw.labels) == 0:
                continue
            self.num_seen += len(raw.labels)
            self.num_batches_seen += 1
            yield Batch(
                raw.images.to(self._device, non_blocking=True),
                raw.labels.to(self._device, non_blocking=True),
            )


def _start_worker(_worker_idx: int) -> None:
    """Leave stopping to the main process, which ends its workers when it is done."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(0)
