"""Ids of samples, from a function of the user's; and errors in that and other user code."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from smart_sifting import TensorBatch
from tests.conformance.loader_suite import LossOfIds, make_config, sample_loss
from tests.supports.sifting_loader import make_batches, make_loader, read_ids
from tests.supports.visited_loader import (
    BATCH_SIZE,
    PairTransform,
    make_by_visit,
    make_numbered,
    train_epoch,
)


class TestIds:
    @pytest.mark.parametrize(
        "convert",
        [
            torch.Tensor.tolist,
            lambda ids: tuple(ids.tolist()),
            torch.Tensor.int,
            torch.Tensor.numpy,
            lambda ids: ids.numpy().astype(np.uint16),
            lambda ids: ids[:, None],
            lambda ids: list(ids),
            lambda ids: list(ids.numpy()),
        ],
    )
    def test_may_come_in_many_forms(self, convert: Any) -> None:
        loader = make_by_visit(DataLoader(make_numbered(), BATCH_SIZE))
        with pytest.raises(ValueError, match="this batch has no sample ids"):
            train_epoch(loader)
        function = make_by_visit(
            DataLoader(make_numbered(), BATCH_SIZE), sample_ids=lambda batch: convert(batch[0])
        )
        dataset = make_by_visit()
        for _ in range(3):
            assert train_epoch(function) == train_epoch(dataset)
        assert function.statistics.samples_forwarded == 0

    @pytest.mark.parametrize("delay", [0, 3])
    @pytest.mark.parametrize(
        ("ids", "error", "message"),
        [
            (
                None,
                ValueError,
                "'last_visit', but this batch has no sample ids.*IdentifiedDataset",
            ),
            (torch.ones(96), TypeError, "tensor of torch.float32, but must be whole numbers"),
            (torch.ones(96) > 0, TypeError, "tensor of torch.bool, but must be whole numbers"),
            (torch.ones(96) * 1j, TypeError, "tensor of torch.complex64, but must be whole"),
            (["a"] * 96, TypeError, "a list, but must be whole numbers, one per sample"),
            ([None] * 96, TypeError, "a list, but must be whole numbers, one per sample"),
            ({"a": 1}, TypeError, "a dict, but must be whole numbers, one per sample"),
            (iter(range(96)), TypeError, "range_iterator, but must be whole numbers"),
            ([2**70] * 96, TypeError, "a list, but must be whole numbers"),
            (torch.arange(96) - 3, ValueError, r"A sample id is -3, but must be in 0\.\."),
            (torch.arange(96) + 2**31, ValueError, "A sample id is 2147483743, but must be in"),
        ],
    )
    def test_of_a_wrong_kind_are_told(
        self, ids: Any, error: type[Exception], message: str, delay: int
    ) -> None:
        wrapped = DataLoader(make_numbered(), BATCH_SIZE)
        loader = make_by_visit(wrapped, sample_ids=lambda batch: ids, delay=delay)
        with pytest.raises(error, match=message):
            next(iter(loader))

    @pytest.mark.parametrize("num_ids", [0, 1, 95, 97])
    @pytest.mark.parametrize("is_transformed", [False, True])
    def test_too_few_or_too_many_are_told(self, num_ids: int, is_transformed: bool) -> None:
        loader = make_by_visit(
            DataLoader(make_numbered(), BATCH_SIZE),
            delay=0,
            sample_ids=lambda batch: list(range(num_ids)),
            batch_transforms=PairTransform() if is_transformed else None,
        )
        with pytest.raises(
            ValueError, match=rf"are {num_ids} sample ids for a batch of 96 .*Give"
        ):
            next(iter(loader))

    def test_that_are_no_function_are_told(self) -> None:
        with pytest.raises(TypeError, match="`sample_ids` is 3, but must be a function"):
            make_by_visit(sample_ids=3)

    def test_are_not_asked_for_by_other_scoring(self) -> None:
        def fail(batch: Any) -> Any:
            raise AssertionError

        assert list(make_loader(make_batches(), sample_ids=fail))

    def test_may_occur_twice_in_a_batch(self) -> None:
        wrapped = DataLoader(make_numbered(), BATCH_SIZE)
        loader = make_by_visit(wrapped, sample_ids=lambda batch: batch[0] // 2)
        for _ in range(3):
            train_epoch(loader)
        assert loader.statistics.samples_forwarded == 0


class FailsOnce:
    """Raises at the n-th call of one piece of user code."""

    def __init__(self, piece: str, call: int) -> None:
        self.piece = piece
        self.num_calls_left = call

    def reach(self, piece: str) -> None:
        if piece == self.piece:
            self.num_calls_left -= 1
            if self.num_calls_left == 0:
                raise KeyError(piece)


@pytest.mark.parametrize("delay", [0, 7])
@pytest.mark.parametrize("call", [1, 2, 5])
@pytest.mark.parametrize("piece", ["transform", "reverse_transform", "loss", "sample_ids"])
def test_an_error_in_user_code_loses_nothing(piece: str, call: int, delay: int) -> None:
    def train(piece: str) -> tuple[list[list[int]], int]:
        fails = FailsOnce(piece, call)

        class Transform(PairTransform):
            def transform(self, batch: Any) -> TensorBatch:
                fails.reach("transform")
                return super().transform(batch)

            def reverse_transform(self, sifting_batch: Any) -> Any:
                fails.reach("reverse_transform")
                return super().reverse_transform(sifting_batch)

        class Failing(LossOfIds):
            def loss(self, *arguments: Any, **others: Any) -> torch.Tensor:
                fails.reach("loss")
                return super().loss(*arguments, **others)

        def find_ids(batch: Any) -> Any:
            fails.reach("sample_ids")
            return batch[0]

        loader = make_by_visit(
            DataLoader(make_numbered(60), 8),
            loss=Failing(read_ids),
            batch_transforms=Transform(),
            sample_ids=find_ids,
            config=make_config(beta=0.5, delay=delay) | {"weighting": "inverse"},
            max_score_age=1,
        )
        batches, num_errors, num_epochs = [], 0, 0
        while num_epochs < 3:
            try:
                for batch in loader:
                    pipeline = loader._parts.pipeline
                    assert pipeline.marks.ids is not None
                    assert pipeline.marks.ids.tolist() == read_ids(batch)
                    assert pipeline.pool.num_samples == pipeline._marks_pool.num_samples
                    loader.record_losses(sample_loss(batch[0]))
                    batches.append(read_ids(batch))
                num_epochs += 1
            except KeyError:
                num_errors += 1
                loader.load_state_dict(loader.state_dict())
        return batches, num_errors

    expected, _ = train("nothing")
    batches, num_errors = train(piece)
    assert num_errors == 1
    assert batches == expected
