"""What every SiftingBatch promises; subclass ``BatchSuite`` and say how one is made and read."""

from __future__ import annotations

from typing import Any

import torch

from smart_sifting import SiftingBatch
from smart_sifting.data_model.data_model_interface import take_samples


class BatchSuite:
    """Run on ListBatch, TensorBatch and a user's own class."""

    def make(self, ids: list[int]) -> SiftingBatch:
        """Return a batch whose samples can be told by these ids."""
        raise NotImplementedError

    def read_ids(self, batch: Any) -> list[int]:
        """Return the ids of a batch's samples, checked to agree in all of its fields."""
        raise NotImplementedError

    def test_its_length_is_its_number_of_samples(self) -> None:
        assert [len(self.make(list(range(n)))) for n in (1, 2, 7)] == [1, 2, 7]

    def test_selecting_takes_those_samples_in_that_order(self) -> None:
        selected = self.make([10, 11, 12, 13]).select([3, 0, 2])
        assert self.read_ids(selected) == [13, 10, 12]
        assert len(selected) == 3

    def test_a_tensor_of_indices_takes_the_same_samples(self) -> None:
        batch = self.make([10, 11, 12, 13])
        taken = take_samples(batch, torch.tensor([3, 0, 2]))
        assert self.read_ids(taken) == [13, 10, 12]
        assert type(taken) is type(batch)
        assert len(taken) == 3

    def test_selecting_a_range_takes_neighbours(self) -> None:
        assert self.read_ids(self.make([10, 11, 12, 13]).select(range(1, 3))) == [11, 12]

    def test_selecting_one_sample_keeps_a_batch_of_one(self) -> None:
        selected = self.make([10, 11, 12]).select([1])
        assert self.read_ids(selected) == [11]
        assert len(selected) == 1

    def test_concatenating_keeps_the_order(self) -> None:
        first, *others = self.make([5]), self.make([3, 4]), self.make([9])
        joined = first.concatenate(others)
        assert self.read_ids(joined) == [5, 3, 4, 9]
        assert len(joined) == 4

    def test_results_are_of_the_same_class(self) -> None:
        batch = self.make([1, 2])
        assert type(batch.select([0])) is type(batch)
        assert type(batch.concatenate([self.make([3])])) is type(batch)

    def test_the_batch_itself_never_changes(self) -> None:
        batch = self.make([1, 2, 3])
        batch.select([0])
        batch.concatenate([self.make([4])])
        assert self.read_ids(batch) == [1, 2, 3]

    def test_what_was_taken_apart_can_be_joined_again(self) -> None:
        batch = self.make([1, 2, 3, 4, 5])
        joined = batch.select([0, 1]).concatenate([batch.select([2]), batch.select(range(3, 5))])
        assert self.read_ids(joined) == [1, 2, 3, 4, 5]
