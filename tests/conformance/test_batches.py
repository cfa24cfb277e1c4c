from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import pytest
import torch

from smart_sifting import ListBatch, SiftingBatch, TensorBatch, UnsupportedDataFormatException
from smart_sifting.data_model.data_model_interface import take_samples
from tests.conformance.batch_suite import BatchSuite


class TestListBatch(BatchSuite):
    def make(self, ids: list[int]) -> SiftingBatch:
        return ListBatch([(torch.tensor(i), str(i)) for i in ids], list(ids))

    def read_ids(self, batch: Any) -> list[int]:
        assert [int(inputs[0]) for inputs in batch.inputs] == batch.labels
        assert [int(inputs[1]) for inputs in batch.inputs] == batch.labels
        return list(batch.labels)


class TestListBatchWithoutLabels(BatchSuite):
    def make(self, ids: list[int]) -> SiftingBatch:
        return ListBatch(list(ids))

    def read_ids(self, batch: Any) -> list[int]:
        assert batch.labels is None
        return list(batch.inputs)


class TestListBatchOfTensorsAsLongAsTheBatch(BatchSuite):
    def make(self, ids: list[int]) -> SiftingBatch:
        return ListBatch([torch.full((len(ids),), i) for i in ids], [torch.tensor(i) for i in ids])

    def read_ids(self, batch: Any) -> list[int]:
        ids = [int(label) for label in batch.labels]
        assert [int(inputs[0]) for inputs in batch.inputs] == ids
        return ids


class TestTensorBatch(BatchSuite):
    def make(self, ids: list[int]) -> SiftingBatch:
        labels = torch.tensor(ids)
        return TensorBatch(labels[:, None].expand(-1, 4).float(), labels)

    def read_ids(self, batch: Any) -> list[int]:
        inputs, labels = batch
        assert torch.equal(inputs, labels[:, None].expand(-1, 4).float())
        ids: list[int] = labels.tolist()
        return ids


class TestSubclassThatNeverCallsSuperInit(BatchSuite):
    class Own(TensorBatch):
        def __init__(self, values: torch.Tensor) -> None:
            self.inputs = values
            self.labels = values * 2

    def make(self, ids: list[int]) -> SiftingBatch:
        return self.Own(torch.tensor(ids))

    def read_ids(self, batch: Any) -> list[int]:
        assert torch.equal(batch.labels, batch.inputs * 2)
        ids: list[int] = batch.inputs.tolist()
        return ids


class TestUsersOwnBatch(BatchSuite):
    class Own(SiftingBatch):
        def __init__(self, ids: list[int]) -> None:
            self.names = [str(i) for i in ids]
            self.features = {"square": torch.tensor(ids) ** 2, "raw": torch.tensor(ids)}
            self.source = "a string of the whole batch"
            self.extras: list[int] = []
            self.meta = {"name": "of the whole batch"}

    def make(self, ids: list[int]) -> SiftingBatch:
        return self.Own(ids)

    def read_ids(self, batch: Any) -> list[int]:
        ids: list[int] = batch.features["raw"].tolist()
        assert batch.features["square"].tolist() == [i**2 for i in ids]
        assert batch.names == [str(i) for i in ids]
        assert batch.source == "a string of the whole batch"
        assert batch.extras == []
        assert batch.meta == {"name": "of the whole batch"}
        return ids


class TestUsersOwnBatchOfTensorsOnly(BatchSuite):
    class Own(SiftingBatch):
        def __init__(self, ids: list[int]) -> None:
            self.ids = torch.tensor(ids)
            self.scale = torch.tensor(3.0)

    def make(self, ids: list[int]) -> SiftingBatch:
        return self.Own(ids)

    def read_ids(self, batch: Any) -> list[int]:
        assert batch.scale == 3.0
        ids: list[int] = batch.ids.tolist()
        return ids


@pytest.mark.parametrize("is_labelled_first", [True, False])
def test_batches_with_and_without_labels_are_not_joined(is_labelled_first: bool) -> None:
    ids = torch.arange(3)
    pairs: list[tuple[SiftingBatch, SiftingBatch]] = [
        (TensorBatch(ids, ids), TensorBatch(ids)),
        (ListBatch([1, 2], [1, 2]), ListBatch([1, 2])),
    ]
    for pair in pairs:
        one, other = pair if is_labelled_first else pair[::-1]
        with pytest.raises(UnsupportedDataFormatException, match=r"labels.* cannot be pooled"):
            one.concatenate([other])


def test_an_attribute_without_one_entry_per_sample_is_told() -> None:
    batch = TensorBatch(torch.arange(4))
    batch.shape = (3, 224, 224)  # type: ignore[attr-defined]
    with pytest.raises(UnsupportedDataFormatException, match=r"`batch\['shape'\]` does not hold"):
        batch.select([0])


def test_a_select_of_the_users_own_gets_a_list_of_numbers() -> None:
    given: list[Sequence[int]] = []

    class Own(ListBatch):
        def select(self, sample_idx: Sequence[int]) -> Self:
            given.append(sample_idx)
            return super().select(sample_idx)

    taken: Any = take_samples(Own(["a", "b", "c"]), torch.tensor([2, 0]))
    assert taken.inputs == ["c", "a"]
    assert given == [[2, 0]]
    assert [type(idx) for idx in given[0]] == [int, int]
