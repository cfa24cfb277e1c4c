"""Batches on the device, of images that pass by once an epoch.

In:  an ``ImageStream``.  Out: batches as those of ``ImageLoader``.

A thread reads the pipe, threads decode, and the thread that trains takes finished batches.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Any

import torch

from sagemaker_sift.contract.container import STOP_GRACE_S
from sagemaker_sift.trainer.config import TrainingConfig
from sagemaker_sift.trainer.data.augmentation import NUM_CHANCES
from sagemaker_sift.trainer.data.batch_decoder import BatchDecoder
from sagemaker_sift.trainer.data.batch_feed import BatchFeed, Interruption
from sagemaker_sift.trainer.data.batch_plan import (
    BatchPlan,
    PlannedBatch,
    SequentialPlan,
    ShuffledPlan,
)
from sagemaker_sift.trainer.data.image import Unreadable
from sagemaker_sift.trainer.data.image_set import ImageStream
from sagemaker_sift.trainer.data.ledger import UnreadableLedger, build_too_small_error
from sagemaker_sift.trainer.data.loader import Batch
from sagemaker_sift.trainer.data.order import BatchShare
from sagemaker_sift.trainer.data.pipe import Patience
from sagemaker_sift.trainer.errors import TrainingError
from sagemaker_sift.trainer.inputs import open_image_stream

MAX_THREADS = 8
"""Threads that decode; each holds a batch."""

AGREEMENT_S = STOP_GRACE_S / 4
"""Seconds that a process of several goes on reading when it is asked to stop. They stop after the
same step, which takes them a batch or two, and waits for the slowest."""

_LOG = logging.getLogger(__name__)


class StreamLoader:
    """Batches of images that pass by; a ``BatchLoader``.

    **Pipes** are those of this process: SageMaker makes ``train_0`` first for a job that goes on,
    too. So the first pass reads pipe 0, whatever its epoch, and one of ``n`` epochs later pipe
    ``n``. A pass that goes on within an epoch reads the epoch's pipe again from its beginning, and
    drops what was trained on, encoded as it is.

    **Unreadable images** are left out of their batch and counted for each pass by itself, as a
    record has another name in every pipe. For training ``max_corrupt_fraction`` is that of
    ``num_training_samples``; in validation it is judged at the end of a pass.

    Args:
        stream: The images; looks at ``interruption`` while it waits.
        plan: Which of them a batch takes.
        decoder: Makes batches of them.
        share: This process's part of a batch of the job.
        num_images: ``num_training_samples``, or ``None`` for validation.
        max_corrupt_fraction: The hyperparameter.
        device: Where the batches go.
        num_threads: How many batches are decoded at once.
        interruption: Ends a pass early.
        yields_empty: Whether a batch none of whose images could be read is handed out all the
            same, for ranks that must take as many steps as the others.

    Attributes:
        classes: Class names; a label is an index into them.
    """

    drop_last = False

    def __init__(
        self,
        stream: ImageStream,
        plan: BatchPlan,
        decoder: BatchDecoder,
        *,
        share: BatchShare,
        num_images: int | None,
        max_corrupt_fraction: float,
        device: torch.device,
        num_threads: int,
        interruption: Interruption,
        yields_empty: bool = False,
    ) -> None:
        self.classes = stream.classes
        self.batch_size = share.size
        self.num_seen = 0
        self.sample_ids: torch.Tensor | None = None
        self.num_batches_seen = 0
        self._stream = stream
        self._plan = plan
        self._decoder = decoder
        self._share = share
        self._num_images = num_images
        self._max_corrupt_fraction = max_corrupt_fraction
        self._device = device
        self._num_threads = num_threads
        self._interruption = interruption
        self._yields_empty = yields_empty
        self._epoch = 0
        self._first_epoch: int | None = None
        self._num_pipes = 0
        self._has_warned = False
        self._state_to_load: Mapping[str, Any] | None = None
        self.ledger = self._new_ledger(num_images or 0)

    @property
    def has_sample_ids(self) -> bool:
        """False: what passes by has no number that is its own in every epoch."""
        return False

    @property
    def num_workers(self) -> int:
        """How many processes decode: none, threads do."""
        return 0

    def set_epoch(self, epoch: int) -> None:
        """Let the next iteration be that of ``epoch``, counted from 0; nothing is read yet."""
        self._epoch = epoch
        self.num_seen = self.num_batches_seen = 0

    def __len__(self) -> int:
        """Return the number of batches of an epoch; fewer come if the stream is shorter.

        Raises:
            TypeError: For validation, where it is not known.
        """
        num_batches = self._plan.num_batches
        if num_batches is None:
            raise TypeError("How many batches a pass over this stream has is not known before.")
        return num_batches

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batches of one epoch, or of what is left of it.

        All threads have ended when it has ended, or was closed.

        Raises:
            EpochInterrupted: If the job was asked to stop while it waited for data.
            TrainingError: If an image is smaller than ``image_shape``, too many are unreadable,
                there is no full batch, or the pipe is not what it should be.
        """
        state, self._state_to_load = self._state_to_load, None
        self.num_seen = state["num_seen"] if state else 0
        self.num_batches_seen = state["num_batches"] if state else 0
        unreadable: list[Unreadable] = []
        self.ledger = self._new_ledger(self._num_images or 0)
        with BatchFeed(
            self._read_pass(self.num_batches_seen),
            self._decoder.decode,
            num_threads=self._num_threads,
            interruption=self._interruption,
        ) as feed:
            for raw in feed:
                if self._num_images is None:
                    unreadable += raw.unreadable
                else:
                    self.ledger.record(raw.unreadable)
                for found in raw.too_small:
                    raise build_too_small_error(
                        found, image_shape=self._decoder.image_shape, resize=self._decoder.resize
                    )
                self.num_seen += len(raw.labels)
                self.num_batches_seen += 1
                if len(raw.labels) or self._yields_empty:
                    yield Batch(
                        raw.images.to(self._device, non_blocking=True),
                        raw.labels.to(self._device, non_blocking=True),
                    )
        if self._num_images is None:
            self.ledger = self._new_ledger(self._plan.num_records)
            self.ledger.record(unreadable)

    def state_dict(self) -> dict[str, Any]:
        """Return how far the current iteration is: plain numbers."""
        if self._state_to_load is not None:
            return dict(self._state_to_load)
        return {"num_batches": self.num_batches_seen, "num_seen": self.num_seen}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Let the next iteration go on from there; the epoch is set with :meth:`set_epoch`."""
        self._state_to_load = dict(state)

    def _new_ledger(self, num_images: int) -> UnreadableLedger:
        return UnreadableLedger(
            self._stream.channel, num_images=num_images, max_fraction=self._max_corrupt_fraction
        )

    def _read_pass(self, first_batch: int) -> Generator[PlannedBatch, None, None]:
        """Yield the batches of a pass, in the thread that reads."""
        records = self._stream.records(self._next_pipe())
        yield from self._plan.batches(records, epoch=self._epoch, first_batch=first_batch)
        if self._num_images is not None and self._plan.is_at_end:
            self._check_length(self._num_images, self._plan.num_records)

    def _next_pipe(self) -> int:
        """Return the number of the pipe to read.

        With sifting a rank may have waiting samples enough for all of a short epoch, and read
        nothing; the others did, and its pipe still stands in the way of the next.
        """
        if self._first_epoch is None:
            self._first_epoch = self._epoch
        number = max(self._num_pipes, self._epoch - self._first_epoch)
        for unread in range(self._num_pipes, number):
            records = self._stream.records(unread)
            next(records, None)
            if isinstance(records, Generator):
                records.close()
        self._num_pipes = number + 1
        return number

    def _check_length(self, num_expected: int, num_found: int) -> None:
        """Compare ``num_training_samples`` with what has come."""
        channel = self._stream.channel
        if num_found < num_expected and not self._has_warned:
            self._has_warned = True
            _LOG.warning(
                "num_training_samples is %d, but the pipe of channel %r gave %d images. An epoch "
                "takes full batches from so many.",
                num_expected,
                channel,
                num_found,
            )
        job_size = self._share.job_size
        if num_found < job_size:
            raise TrainingError(
                f"`mini_batch_size` makes batches of {job_size} images, but the pipe of channel "
                f"{channel!r} gave only {num_found}, so none would be full. Use a smaller "
                "mini_batch_size, or add images."
            )


def build_stream_loader(
    name: str,
    config: TrainingConfig,
    *,
    share: BatchShare,
    device: torch.device,
    is_stopping: Callable[[], bool],
    patience: Patience | None = None,
) -> StreamLoader:
    """Return the loader of a channel that is a pipe; nothing is opened yet.

    Args:
        name: ``train`` or ``validation``.
        config: The job; the channel's form is a stream.
        share: This process's part of a batch of the job.
        device: Where the batches go.
        is_stopping: Whether the job was asked to stop.
        patience: How long to wait for data.

    Raises:
        TrainingError: If ``num_training_samples`` is less than a batch.
    """
    hp = config.hyperparameters
    is_training = name == "train"
    is_one_of_many = config.placement.num_ranks > 1
    interruption = Interruption(AgreedStop(is_stopping) if is_one_of_many else is_stopping)
    stream = open_image_stream(
        name,
        config.job_input,
        num_classes=hp.num_classes,
        multi_label=hp.multi_label,
        is_stopping=interruption,
        patience=patience,
    )
    augmentation_type = hp.augmentation_type if is_training else None
    plan: BatchPlan
    if is_training:
        plan = ShuffledPlan(
            num_batches=_count_batches(hp.num_training_samples, share),
            share=share,
            seed=hp.seed,
            num_chances=NUM_CHANCES[augmentation_type],
            is_interrupted=interruption,
        )
    else:
        plan = SequentialPlan(share=share, is_interrupted=interruption)
    return StreamLoader(
        stream,
        plan,
        BatchDecoder(
            channel=name,
            classes=stream.classes,
            multi_label=hp.multi_label,
            image_shape=hp.image_shape,
            resize=hp.resize,
            augmentation_type=augmentation_type,
            is_pinned=device.type == "cuda",
        ),
        share=share,
        num_images=hp.num_training_samples if is_training else None,
        max_corrupt_fraction=hp.max_corrupt_fraction,
        device=device,
        num_threads=min(MAX_THREADS, config.num_cpus),
        interruption=interruption,
        yields_empty=is_one_of_many and not (is_training and hp.is_sifting),
    )


class AgreedStop:
    """A request to stop as one of several processes sees it: some time later.

    Args:
        is_stopping: Whether the job was asked to stop.
        delay_s: How much later.
        clock: Seconds of a clock that never goes back.

    Example:
        >>> times = iter([0.0, 0.0, 29.0, 30.0])
        >>> stop = AgreedStop(lambda: True, delay_s=30.0, clock=lambda: next(times))
        >>> [stop() for _ in range(3)]
        [False, False, True]
    """

    def __init__(
        self,
        is_stopping: Callable[[], bool],
        *,
        delay_s: float = AGREEMENT_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._is_stopping = is_stopping
        self._delay_s = delay_s
        self._clock = clock
        self._since_s: float | None = None

    def __call__(self) -> bool:
        """Return whether the job was asked to stop so long ago that nobody waits any more."""
        if not self._is_stopping():
            return False
        if self._since_s is None:
            self._since_s = self._clock()
        return self._clock() - self._since_s >= self._delay_s


def _count_batches(num_images: int, share: BatchShare) -> int:
    num_batches = num_images // share.job_size
    if num_batches == 0:
        raise TrainingError(
            f"`mini_batch_size` makes batches of {share.job_size} images, but "
            f"`num_training_samples` is {num_images}, so none would be full. Use a smaller "
            "mini_batch_size, or correct num_training_samples."
        )
    return num_batches
