"""Datasets and collate functions that keep the samples' ids."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    SequentialSampler,
    Subset,
    TensorDataset,
    default_collate,
)

from smart_sifting import Identified, IdentifiedCollate, IdentifiedDataset, SiftingDataloader
from tests.conformance.loader_suite import LossOfIds, make_config, sample_loss
from tests.supports.sifting_loader import make_loader, read_ids

Point = namedtuple("Point", ["place", "value"])
NUM_SAMPLES = 40


def read_strings(batch: Any) -> list[int]:
    return [int(text) for text in batch[1]]


class Samples(Dataset[Any]):
    """Samples of one of several forms; counts how they are read."""

    def __init__(self, form: str) -> None:
        self.form = form
        self.num_single = 0

    def __len__(self) -> int:
        return NUM_SAMPLES

    def __getitem__(self, index: int) -> Any:
        self.num_single += 1
        place = torch.tensor(index)
        forms: dict[str, Any] = {
            "tensor": place,
            "pair": (place, float(index)),
            "dict": {"place": place, "deep": {"value": torch.full((3,), index)}},
            "strings": (place, str(index)),
            "named": Point(place, torch.full((2, 2), index)),
        }
        return forms[self.form]


FORMS: dict[str, Any] = {
    "tensor": torch.Tensor.tolist,
    "pair": read_ids,
    "dict": lambda batch: batch["place"].tolist(),
    "strings": read_strings,
    "named": lambda batch: batch.place.tolist(),
}


def gather(loader: SiftingDataloader, read: Any) -> list[str]:
    """Return what three epochs yield, word for word, telling the fixed losses."""
    yielded = []
    for _ in range(3):
        for batch in loader:
            loader.record_losses(sample_loss(torch.tensor(read(batch))))
            yielded.append(f"{type(batch)} {batch!r}")
    return yielded


@pytest.mark.parametrize("scoring", ["plain", "last_visit"])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("delay", [0, 5])
def test_the_loop_gets_batches_as_without_ids(form: str, scoring: Any, delay: int) -> None:
    read = FORMS[form]
    config = make_config(beta=0.5, delay=delay)
    options: dict[str, Any] = {"batch_size": 8, "drop_last": True}
    loss = LossOfIds(read)
    with_ids = make_loader(
        DataLoader(IdentifiedDataset(Samples(form)), **options),
        loss,
        config=config,
        scoring=scoring,
    )
    without = make_loader(DataLoader(Samples(form), **options), LossOfIds(read), config=config)
    assert gather(with_ids, read) == gather(without, read)
    if scoring == "last_visit":
        assert len(loss.seen) == (0 if delay else NUM_SAMPLES)


@pytest.mark.parametrize("collate", [list, default_collate])
def test_a_collate_function_of_ones_own_gets_the_samples_alone(collate: Any) -> None:
    def read(batch: Any) -> list[int]:
        return [int(place) for place, _ in batch] if collate is list else read_ids(batch)

    config, loss = make_config(beta=0.5, delay=5), LossOfIds(read)
    wrapped = DataLoader(
        IdentifiedDataset(Samples("pair")), batch_size=8, collate_fn=IdentifiedCollate(collate)
    )
    loader = make_loader(wrapped, loss, config=config, scoring="last_visit")
    plain = DataLoader(Samples("pair"), batch_size=8, collate_fn=collate)
    assert gather(loader, read) == gather(make_loader(plain, LossOfIds(read), config=config), read)
    assert loss.seen == []


def test_a_worker_process_keeps_the_ids() -> None:
    wrapped = DataLoader(
        IdentifiedDataset(Samples("pair")), batch_size=8, num_workers=1, persistent_workers=True
    )
    loss = LossOfIds(read_ids)
    loader = make_loader(wrapped, loss, config=make_config(delay=5), scoring="last_visit")
    for batch in loader:
        loader.record_losses(sample_loss(batch[0]))
    next(iter(loader))
    assert loss.seen == []


def test_samples_are_read_at_once_where_the_dataset_can_do_that() -> None:
    asked = []

    class Batched(Samples):
        def __getitems__(self, indices: list[int]) -> list[Any]:
            asked.append(list(indices))
            return [self[index] for index in indices]

    batches = list(DataLoader(IdentifiedDataset(Batched("pair")), batch_size=16))
    assert asked == [list(range(16)), list(range(16, 32)), list(range(32, 40))]
    assert [read_ids(batch.data) for batch in batches] == asked
    assert [batch.sample_id.tolist() for batch in batches] == asked


def test_too_few_samples_read_at_once_are_told() -> None:
    class Short(Samples):
        def __getitems__(self, indices: list[int]) -> list[Any]:
            return [self[index] for index in indices[1:]]

    with pytest.raises(ValueError, match="zip"):
        next(iter(DataLoader(IdentifiedDataset(Short("pair")), batch_size=16)))


def test_a_subset_is_numbered_by_its_own_places_or_keeps_those_of_the_whole() -> None:
    whole = TensorDataset(torch.arange(10) * 10)
    inside = next(iter(DataLoader(Subset(IdentifiedDataset(whole), [7, 3]), batch_size=2)))
    assert inside.sample_id.tolist() == [7, 3]
    outside = next(iter(DataLoader(IdentifiedDataset(Subset(whole, [7, 3])), batch_size=2)))
    assert outside.sample_id.tolist() == [0, 1]
    assert inside.data[0].tolist() == outside.data[0].tolist() == [70, 30]


def test_a_sampler_of_whole_batches_keeps_the_ids() -> None:
    ids = torch.arange(40)
    dataset = IdentifiedDataset(TensorDataset(ids, ids * 2))
    sampler = BatchSampler(SequentialSampler(dataset), batch_size=8, drop_last=False)
    loss = LossOfIds(read_ids)
    loader = make_loader(
        DataLoader(dataset, sampler=sampler, batch_size=None),
        loss,
        config=make_config(delay=5),
        scoring="last_visit",
    )
    for batch in loader:
        loader.record_losses(sample_loss(batch[0]))
    yielded = [i for batch in loader for i in read_ids(batch)]
    assert loss.seen == []
    assert yielded == sorted(yielded)


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Iterator[int]:
        return iter(range(3))


class SizedStream(Stream):
    def __len__(self) -> int:
        return 3


@pytest.mark.parametrize("dataset", [Stream(), SizedStream(), iter([1]), 3, None])
def test_what_has_no_index_or_no_length_is_told(dataset: Any) -> None:
    name = type(dataset).__name__
    with pytest.raises(TypeError, match=f"`dataset` is a {name}, but must be .*sample_ids=funct"):
        IdentifiedDataset(dataset)


def test_a_dataset_is_as_long_as_before_and_its_items_know_their_index() -> None:
    dataset = IdentifiedDataset([2.5, 3.5])
    assert len(dataset) == 2
    assert dataset[1] == Identified(1, 3.5)
    assert dataset[torch.tensor(1)] == Identified(1, 3.5)
