"""Every rank plans as many batches, whatever the stream's length."""

from collections.abc import Iterator

import numpy as np
import pytest

from sagemaker_sift.trainer.data.batch_plan import (
    PlannedBatch,
    SequentialPlan,
    ShuffledPlan,
)
from sagemaker_sift.trainer.data.image_set import Record
from sagemaker_sift.trainer.data.order import BatchShare
from tests.supports.stream_loader import never


@pytest.mark.parametrize("buffer_size", [1, 2, 3, 5, 100])
@pytest.mark.parametrize("num_local", [1, 2, 3])
def test_every_rank_plans_as_many_batches_at_any_length_and_buffer(
    buffer_size: int, num_local: int
) -> None:
    for num_records in range(40):
        found = []
        for rank in range(num_local):
            share = BatchShare.of(7, num_hosts=1, host_idx=0, num_local=num_local, local_rank=rank)
            plan = ShuffledPlan(
                num_batches=4,
                share=share,
                seed=0,
                num_chances=3,
                is_interrupted=never,
                buffer_size=buffer_size,
            )
            batches = list(plan.batches(numbers(num_records), epoch=0, first_batch=0))
            assert all(len(batch.records) == len(batch.chances) == share.size for batch in batches)
            found.append(batches)
        assert {len(batches) for batches in found} == {min(4, num_records // 7)}
        names = [r.name for batches in found for batch in batches for r in batch.records]
        assert len(set(names)) == len(names)


@pytest.mark.parametrize("num_local", [1, 2, 3])
def test_validation_plans_use_every_record_once_in_equally_many_batches(num_local: int) -> None:
    for num_records in range(30):
        found = []
        for rank in range(num_local):
            share = BatchShare.of(7, num_hosts=1, host_idx=0, num_local=num_local, local_rank=rank)
            plan = SequentialPlan(share=share, is_interrupted=never)
            found.append(list(plan.batches(numbers(num_records), epoch=0, first_batch=0)))
            first = list(plan.batches(numbers(num_records), epoch=0, first_batch=2))
            assert names_of(first) == names_of(found[-1][2:])
        assert {len(batches) for batches in found} == {-(-num_records // 7)}
        names = [
            record.name
            for batches in zip(*found, strict=True)
            for batch in batches
            for record in batch.records
        ]
        assert names == [str(idx) for idx in range(num_records)]


def names_of(batches: list[PlannedBatch]) -> list[list[str]]:
    return [[record.name for record in batch.records] for batch in batches]


def numbers(num_records: int) -> Iterator[Record]:
    return (Record(str(idx), np.zeros(9, np.uint8), 0) for idx in range(num_records))
