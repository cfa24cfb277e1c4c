"""Which records of a stream make which batch of this process.

Every process sees all of the stream and counts its records into batches of the job, one after the
other; of each it takes the share that is its own, as it does of images that are read by index. So
all processes have equally many batches without a word between them, given equal streams.

Shape suffixes in this file: B = records of the batch, M = chances of a sample.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from sagemaker_sift.trainer.data.image_set import Record
from sagemaker_sift.trainer.data.order import BatchShare, build_generator, draw_chances
from sagemaker_sift.trainer.data.record_order import shuffle_records
from sagemaker_sift.trainer.stop import EpochInterrupted

SHUFFLE_RECORDS = 4096
"""Records of the stream that wait to be drawn from, those of all processes together: 32 batches of
128. At 50 kB each they are 200 MB, which a pipe fills in a second or two before an epoch's first
batch."""


class PlannedBatch(NamedTuple):
    """What a batch is made of.

    Attributes:
        records: Still encoded; fewer than the batch size, or none, only at the end of a pass.
        chances: Of their augmentation, uniform in [0, 1), shape ``(B, M)``, float64.
    """

    records: list[Record]
    chances: NDArray[np.float64]


class BatchPlan(Protocol):
    """How a pass over a stream becomes batches.

    Attributes:
        num_records: Records of the whole stream that the current or last pass has met.
        is_at_end: Whether it has met the last one.
    """

    num_records: int
    is_at_end: bool

    @property
    def num_batches(self) -> int | None:
        """Batches of a pass at most; ``None`` if that is not known before."""
        ...

    def batches(
        self, records: Iterator[Record], *, epoch: int, first_batch: int
    ) -> Generator[PlannedBatch, None, None]:
        """Yield the batches of a pass.

        Args:
            records: Of the stream, all of them; closed with this iterator.
            epoch: Counted from 0.
            first_batch: Those before it are left out.

        Raises:
            EpochInterrupted: If the records end because reading was interrupted.
        """
        ...


class _Deal:
    """One pass over a stream, its records counted."""

    def __init__(self, share: BatchShare, is_interrupted: Callable[[], bool]) -> None:
        self.num_records = 0
        self.is_at_end = False
        self._share = share
        self._is_interrupted = is_interrupted

    def _count(self, records: Iterator[Record]) -> Generator[tuple[int, Record], None, None]:
        """Yield each record with its place in its batch of the job."""
        self.num_records = 0
        self.is_at_end = False
        try:
            for record in records:
                place = self.num_records % self._share.job_size
                self.num_records += 1
                yield place, record
        finally:
            if isinstance(records, Generator):
                records.close()
        if self._is_interrupted():
            raise EpochInterrupted
        self.is_at_end = True

    def _is_own(self, place: int) -> bool:
        return self._share.start <= place < self._share.stop


class ShuffledPlan(_Deal):
    """Full batches for training, in another order every epoch, drawn from a bounded buffer.

    The records of an incomplete last batch of the job take part in the draw, so that other images
    are left over in other epochs; but they make no batch more. Order and chances depend on seed,
    epoch and the order of the stream alone. A stream that is sorted by class is not mixed well:
    the buffer holds ``SHUFFLE_RECORDS``.

    Args:
        num_batches: Batches of an epoch, if the stream has as many.
        share: This process's part of a batch of the job.
        seed: The job's.
        num_chances: Chances of an image.
        is_interrupted: Asked at the end of the stream.
        buffer_size: Records of the stream in the buffers of all processes together.
    """

    def __init__(
        self,
        *,
        num_batches: int,
        share: BatchShare,
        seed: int,
        num_chances: int,
        is_interrupted: Callable[[], bool],
        buffer_size: int = SHUFFLE_RECORDS,
    ) -> None:
        super().__init__(share, is_interrupted)
        self._num_batches = num_batches
        self._seed = seed
        self._num_chances = num_chances
        self._buffer_size = max(share.size, buffer_size * share.size // share.job_size)

    @property
    def num_batches(self) -> int | None:
        """Batches of an epoch, if the stream has as many."""
        return self._num_batches

    def batches(
        self, records: Iterator[Record], *, epoch: int, first_batch: int
    ) -> Generator[PlannedBatch, None, None]:
        """Yield the batches of an epoch; see :class:`BatchPlan`."""
        share = self._share
        generator = build_generator(self._seed, "order", epoch, share.start)
        with closing(self._count(records)) as counted:
            own = (record for place, record in counted if self._is_own(place))
            shuffled = shuffle_records(own, self._buffer_size, generator)
            for batch_idx in range(self._num_batches):
                batch = list(itertools.islice(shuffled, share.size))
                # The last record of a batch is drawn when the next batch of the job has begun, or
                # at the end of the stream, where it is known whether the batch is whole.
                if len(batch) < share.size or (
                    self.is_at_end and batch_idx >= self.num_records // share.job_size
                ):
                    return
                if batch_idx >= first_batch:
                    yield PlannedBatch(
                        batch,
                        draw_chances(self._seed, epoch, batch_idx, share, self._num_chances),
                    )


class SequentialPlan(_Deal):
    """Every record once, in the order of the stream; the last batch may be smaller, or empty.

    Args:
        share: This process's part of a batch of the job.
        is_interrupted: Asked at the end of the stream.
    """

    def __init__(self, *, share: BatchShare, is_interrupted: Callable[[], bool]) -> None:
        super().__init__(share, is_interrupted)

    @property
    def num_batches(self) -> int | None:
        """Not known before the stream has passed."""
        return None

    def batches(
        self, records: Iterator[Record], *, epoch: int, first_batch: int
    ) -> Generator[PlannedBatch, None, None]:
        """Yield the batches of a pass; see :class:`BatchPlan`."""
        job_size = self._share.job_size
        num_skipped = first_batch * job_size
        batch: list[Record] = []
        with closing(self._count(records)) as counted:
            for place, record in counted:
                if self._is_own(place):
                    batch.append(record)
                if place == job_size - 1:
                    if self.num_records > num_skipped:
                        yield _without_chances(batch)
                    batch = []
            if self.num_records % job_size and self.num_records > num_skipped:
                yield _without_chances(batch)


def _without_chances(batch: list[Record]) -> PlannedBatch:
    return PlannedBatch(batch, np.empty((len(batch), 0)))
