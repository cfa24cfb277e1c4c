from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from smart_sifting._core.sharding import fingerprint
from smart_sifting._core.wrapped_loader import END, WrappedLoader
from tests.conformance.loader_suite import make_config, reload
from tests.supports.sifting_loader import make_batches, make_loader, read_ids


class Stateful:
    """A loader that continues by a state of its own, as torchdata's StatefulDataLoader."""

    def __init__(self) -> None:
        self.position = 0
        self.num_read = 0

    def __iter__(self) -> Iterator[Any]:
        batches = make_batches(12, 8)
        while self.position < len(batches):
            self.position += 1
            self.num_read += 1
            yield batches[self.position - 1]
        self.position = 0

    def state_dict(self) -> dict[str, Any]:
        return {"position": self.position}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.position = state["position"]


class StatefulAtIter(Stateful):
    """Takes a loaded state up only when it is iterated."""

    def __init__(self) -> None:
        super().__init__()
        self.to_load: dict[str, Any] = {}

    def __iter__(self) -> Iterator[Any]:
        self.position = self.to_load.get("position", 0)
        self.to_load = {}
        return super().__iter__()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.to_load = state


def test_a_state_that_was_loaded_can_be_saved_again_at_once() -> None:
    whole = [read_ids(batch) for batch in make_loader(StatefulAtIter())]
    loader = make_loader(StatefulAtIter())
    next(iter(loader))
    again = make_loader(StatefulAtIter())
    again.load_state_dict(reload(loader.state_dict()))
    resumed = make_loader(StatefulAtIter())
    resumed.load_state_dict(reload(again.state_dict()))
    assert [read_ids(batch) for batch in resumed] == whole[1:]


class Forwarding(Stateful):
    """Has the methods, but nothing that they could be forwarded to."""

    def state_dict(self) -> dict[str, Any]:
        raise AttributeError("the wrapped loader has no state")

    def __iter__(self) -> Iterator[Any]:
        yield from make_batches(12, 8)


@pytest.mark.parametrize("loader_class", [Stateful, Forwarding])
def test_a_loader_with_a_state_of_its_own_is_continued_by_it(loader_class: Any) -> None:
    whole = [read_ids(batch) for batch in make_loader(loader_class(), config=make_config(delay=2))]
    assert len(whole) > 4
    for num_done in range(1, len(whole)):
        loader = make_loader(loader_class(), config=make_config(delay=2))
        batches = iter(loader)
        for _ in range(num_done):
            next(batches)
        state = reload(loader.state_dict())
        wrapped = loader_class()
        resumed = make_loader(wrapped, config=make_config(delay=2))
        resumed.load_state_dict(state)
        assert [read_ids(batch) for batch in resumed] == whole[num_done:]
        if loader_class is Stateful:
            assert wrapped.num_read == 12 - state["wrapped"]["num_loaded"]


def make_shuffled(generator: torch.Generator | None) -> DataLoader[Any]:
    dataset = TensorDataset(torch.arange(80), torch.arange(80) * 2)
    return DataLoader(dataset, batch_size=8, shuffle=True, generator=generator)


@pytest.mark.parametrize("has_generator", [True, False])
@pytest.mark.parametrize("is_mid_epoch", [True, False])
def test_an_order_that_cannot_be_repeated_is_said_when_a_state_is_loaded(
    has_generator: bool, is_mid_epoch: bool, caplog: pytest.LogCaptureFixture
) -> None:
    generator = torch.Generator().manual_seed(3) if has_generator else None
    loader = make_loader(make_shuffled(generator))
    batches = iter(loader)
    next(batches)
    if not is_mid_epoch:
        list(batches)
    with caplog.at_level(logging.WARNING):
        make_loader(make_shuffled(generator)).load_state_dict(loader.state_dict())
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == int(is_mid_epoch and not has_generator)
    assert all("a `generator` of its own" in text for text in said)


def test_a_generator_of_a_nested_sampler_is_part_of_the_state() -> None:
    generator = torch.Generator().manual_seed(3)
    sampler = torch.utils.data.RandomSampler(range(80), generator=generator)  # type: ignore[arg-type] # any Sized does
    batches = torch.utils.data.BatchSampler(sampler, batch_size=8, drop_last=False)
    wrapped = WrappedLoader(DataLoader(TensorDataset(torch.arange(80)), batch_sampler=batches))
    state = wrapped.state_dict(is_in_epoch=False)
    assert [value.tolist() for value in state["generators"]] == [generator.get_state().tolist()]


def test_a_sampler_whose_order_is_that_of_an_epochs_number_needs_no_state(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class OfEpoch(torch.utils.data.RandomSampler):
        def set_epoch(self, epoch: int) -> None:
            self.generator = torch.Generator().manual_seed(epoch)

    def build() -> WrappedLoader:
        dataset = TensorDataset(torch.arange(80))
        return WrappedLoader(DataLoader(dataset, batch_size=8, sampler=OfEpoch(dataset)))

    wrapped = build()
    wrapped.loader.sampler.set_epoch(3)
    wrapped.begin()
    wrapped.read()
    state = wrapped.state_dict(is_in_epoch=True)
    resumed = build()
    resumed.load_state_dict(state, is_in_epoch=True)
    assert caplog.records == []
    resumed.loader.sampler.set_epoch(3)
    resumed.resume()
    assert resumed.read()[0].tolist() == wrapped.read()[0].tolist()


def test_what_is_left_to_read_is_known_by_the_length() -> None:
    wrapped = WrappedLoader(make_batches(3, 8))
    wrapped.begin()
    wrapped.read()
    assert wrapped.num_unread == 2
    wrapped.end()
    assert wrapped.read() is END
    endless = WrappedLoader(Stateful())
    endless.begin()
    assert endless.num_unread == 0


def test_fingerprints_tell_batches_apart() -> None:
    first, second = torch.arange(8.0), torch.arange(8.0)
    second[5] = 7.5
    batches: list[Any] = [
        first,
        second,
        first.double(),
        first.reshape(2, 4),
        [first, first],
        {"a": first},
        {"b": first},
        ["text"],
        [b"text"],
        (1, 2),
        (1, 2.0),
    ]
    numbers = [fingerprint(batch) for batch in batches]
    assert len(set(numbers)) == len(batches)
    assert all(number is not None and number >= 0 for number in numbers)
    assert numbers == [fingerprint(batch) for batch in batches]
    rows = torch.zeros(64, 1, 28, 28)
    rows[:, :, :, 0] = 1.0
    others = rows.clone()
    others[..., 14] = 0.5
    assert fingerprint(rows) != fingerprint(others)
    tokens, other_tokens = torch.zeros(2, 256, 512, dtype=torch.int64)
    tokens[:, 0] = other_tokens[:, 0] = 101
    other_tokens[:, 1:40] = 7
    assert fingerprint(tokens) != fingerprint(other_tokens)
    assert fingerprint([torch.eye(3).to_sparse(), 1]) == fingerprint([1])
    assert fingerprint([object()]) is None
    assert fingerprint([]) is None
