from __future__ import annotations

import copy
from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader, TensorDataset

from smart_sifting import Loss, SiftingDataloader
from tests.conformance.loader_suite import (
    LossOfIds,
    assert_accounts_for_every_sample,
    make_config,
)


def read_ids(batch: Any) -> list[int]:
    ids: list[int] = batch[0].tolist()
    return ids


@settings(max_examples=120, deadline=None, derandomize=True, database=None)
@given(
    num_samples=st.integers(1, 70),
    batch_size=st.integers(1, 17),
    num_epochs=st.integers(1, 3),
    beta=st.sampled_from([1e-9, 0.1, 0.5, 1.0, 3.0, 100.0]),
    history=st.integers(1, 40),
    delay=st.integers(0, 12),
    repeat=st.booleans(),
    drop_last=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_every_sample_is_yielded_or_counted(
    num_samples: int,
    batch_size: int,
    num_epochs: int,
    beta: float,
    history: int,
    delay: int,
    repeat: bool,
    drop_last: bool,
    seed: int,
) -> None:
    config = make_config(beta=beta, history=history, delay=delay, repeat=repeat)
    ids = torch.arange(num_samples)
    wrapped = DataLoader(TensorDataset(ids, ids * 2), batch_size=batch_size, drop_last=drop_last)
    loss = LossOfIds(read_ids)
    # By feature, two features: batches of two samples would be ambiguous.
    loader = SiftingDataloader(
        config, wrapped, None, loss, torch.nn.Identity(), batch_format_index=1, seed=seed
    )
    num_loaded = num_samples - num_samples % batch_size if drop_last else num_samples
    num_yielded = 0
    for _ in range(num_epochs):
        batches = [read_ids(batch) for batch in loader]
        sizes = [len(batch) for batch in batches]
        yielded = [i for batch in batches for i in batch]
        num_yielded += len(yielded)
        assert yielded == sorted(set(yielded))
        assert set(yielded) <= set(range(num_loaded))
        assert all(size == batch_size for size in sizes[:-1])
        assert all(0 < size <= batch_size for size in sizes)
        assert len(batches) <= len(loader)
        epoch = loader.statistics.epoch
        assert epoch.samples_seen == num_loaded
        assert epoch.samples_scored_kept == epoch.samples_scored - epoch.samples_sifted_out
        if beta == 1e-9:
            assert yielded == list(range(num_loaded))
    assert_accounts_for_every_sample(loader, num_yielded)
    assert len(loss.seen) == loader.statistics.samples_scored


class CrossEntropy(Loss):
    def loss(self, model: Any, transformed_batch: Any, original_batch: Any = None) -> torch.Tensor:
        inputs, labels = original_batch
        return torch.nn.functional.cross_entropy(model(inputs), labels, reduction="none")


def make_model() -> torch.nn.Module:
    torch.manual_seed(1)
    return torch.nn.Sequential(
        torch.nn.Linear(6, 12),
        torch.nn.BatchNorm1d(12),
        torch.nn.ReLU(),
        torch.nn.Dropout(0.3),
        torch.nn.Linear(12, 3),
    )


def train(model: torch.nn.Module, loader: Any) -> dict[str, Any]:
    torch.manual_seed(2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for _ in range(3):
        for inputs, labels in loader:
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(inputs), labels).backward()
            optimizer.step()
    return copy.deepcopy(model.state_dict()) | {"random state": torch.get_rng_state()}


def test_with_nothing_sifted_out_training_equals_the_plain_loop_bit_for_bit() -> None:
    torch.manual_seed(0)
    dataset = TensorDataset(torch.randn(90, 6), torch.randint(3, (90,)))
    # Shuffled by the global random state, which scoring must leave alone, as dropout's.
    plain = train(make_model(), DataLoader(dataset, batch_size=8, shuffle=True))
    model = make_model()
    wrapped = DataLoader(dataset, batch_size=8, shuffle=True)
    loader = SiftingDataloader(
        make_config(beta=1e-9, delay=5), wrapped, None, CrossEntropy(), model
    )
    sifted = train(model, loader)
    assert loader.statistics.samples_sifted_out == 0
    assert loader.statistics.samples_scored > 200
    assert plain.keys() == sifted.keys()
    assert all(torch.equal(plain[name], sifted[name]) for name in plain)


def test_sifting_changes_training() -> None:
    torch.manual_seed(0)
    dataset = TensorDataset(torch.randn(90, 6), torch.randint(3, (90,)))
    plain = train(make_model(), DataLoader(dataset, batch_size=8, shuffle=True))
    model = make_model()
    wrapped = DataLoader(dataset, batch_size=8, shuffle=True)
    sifted = train(
        model, SiftingDataloader(make_config(beta=1.0), wrapped, None, CrossEntropy(), model)
    )
    assert not torch.equal(plain["4.weight"], sifted["4.weight"])
