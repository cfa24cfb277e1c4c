"""What every sifting loader promises, whatever batches it wraps; subclass ``LoaderSuite``.

The samples are numbered; sample ``i`` has the loss ``sample_loss(i)``.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import torch

from smart_sifting import Loss, SiftingDataloader

NUM_EPOCHS = 3


def sample_loss(sample_id: torch.Tensor) -> torch.Tensor:
    """Return a fixed loss for each sample, different for most of them."""
    return ((sample_id * 7919) % 101).float()


def make_config(
    *, beta: float = 1.0, history: int = 32, delay: int = 0, repeat: bool = False
) -> dict[str, Any]:
    """Return a sift configuration as a dict."""
    base = {"sift_delay": delay, "repeat_delay_per_epoch": repeat}
    return {
        "beta_value": beta,
        "loss_history_length": history,
        "loss_based_sift_config": {"sift_config": base},
    }


class LossOfIds(Loss):
    """Gives the fixed losses of the samples that ``read_ids`` finds in a batch."""

    def __init__(self, read_ids: Callable[[Any], list[int]]) -> None:
        self.read_ids = read_ids
        self.seen: list[int] = []

    def loss(self, model: Any, transformed_batch: Any, original_batch: Any = None) -> torch.Tensor:
        ids = self.read_ids(original_batch)
        self.seen += ids
        return sample_loss(torch.tensor(ids))


def reload(state: dict[str, Any]) -> dict[str, Any]:
    """Return a state after it went through a file and ``torch.load(weights_only=True)``."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    loaded: dict[str, Any] = torch.load(file, weights_only=True)
    return loaded


def assert_accounts_for_every_sample(loader: SiftingDataloader, num_yielded: int) -> None:
    """Check the counters' invariant after an epoch's end."""
    counts = loader.statistics
    assert counts.samples_yielded == num_yielded
    accounted = num_yielded + counts.samples_sifted_out + counts.samples_dropped_last
    assert counts.samples_seen == accounted
    assert counts.samples_kept == counts.samples_seen - counts.samples_sifted_out
    for name, total in counts.as_dict().items():
        if name != "seconds":
            assert total == sum(getattr(epoch, name) for epoch in counts.epochs), name


class LoaderSuite:
    """Run on many kinds of wrapped loaders."""

    num_samples = 53
    batch_size = 8
    is_shuffled = False
    drops_last = False

    def make_loader(self) -> SiftingDataloader:
        """Return a new loader over samples 0 .. num_samples - 1, always made alike."""
        raise NotImplementedError

    def read_ids(self, batch: Any) -> list[int]:
        """Return the ids in a yielded batch, checked to agree in all of its fields."""
        raise NotImplementedError

    def test_yields_full_batches_in_order_and_counts_the_rest(self) -> None:
        loader = self.make_loader()
        num_yielded = 0
        for epoch_idx in range(NUM_EPOCHS):
            batches = [self.read_ids(batch) for batch in loader]
            ids = [i for batch in batches for i in batch]
            num_yielded += len(ids)
            assert len(set(ids)) == len(ids)
            assert set(ids) <= set(range(self.num_samples))
            if not self.is_shuffled:
                assert ids == sorted(ids)
            assert [len(batch) for batch in batches[:-1]] == [self.batch_size] * (len(batches) - 1)
            assert loader.statistics.epoch.index == epoch_idx
            assert loader.statistics.epoch.num_batches == len(batches)
            assert_accounts_for_every_sample(loader, num_yielded)
        assert 0 < loader.statistics.samples_sifted_out < loader.statistics.samples_seen
        assert (loader.statistics.samples_dropped_last > 0) == self.drops_last

    def test_resumed_at_any_batch_equals_uninterrupted(self) -> None:
        loader = self.make_loader()
        reference: list[list[int]] = []
        moments: list[tuple[int, int, dict[str, Any]]] = [(0, 0, reload(loader.state_dict()))]
        for epoch_idx in range(NUM_EPOCHS):
            for batch in loader:
                reference.append(self.read_ids(batch))
                moments.append((epoch_idx, len(reference), reload(loader.state_dict())))
            moments.append((epoch_idx + 1, len(reference), reload(loader.state_dict())))
        expected = [epoch.as_dict() | {"seconds": None} for epoch in loader.statistics.epochs]
        for num_epochs_done, num_batches_done, state in moments:
            resumed = self.make_loader()
            resumed.load_state_dict(state)
            rest = [
                self.read_ids(batch)
                for _ in range(num_epochs_done, NUM_EPOCHS)
                for batch in resumed
            ]
            assert rest == reference[num_batches_done:]
            counts = [epoch.as_dict() | {"seconds": None} for epoch in resumed.statistics.epochs]
            assert counts == expected

    def test_a_state_is_a_snapshot(self) -> None:
        loader = self.make_loader()
        batches = iter(loader)
        next(batches)
        state = loader.state_dict()
        before = reload(state)
        list(batches)
        list(loader)
        assert repr(reload(state)) == repr(before)

    def test_leaving_an_epoch_early_loses_no_count(self) -> None:
        loader = self.make_loader()
        num_yielded = len(self.read_ids(next(iter(loader))))
        ids = [i for batch in loader for i in self.read_ids(batch)]
        assert len(set(ids)) == len(ids)
        num_yielded += len(ids)
        assert len(loader.statistics.epochs) == 2
        for epoch in loader.statistics.epochs:
            accounted = epoch.samples_yielded + epoch.samples_sifted_out
            assert epoch.samples_seen == accounted + epoch.samples_dropped_last
        assert_accounts_for_every_sample(loader, num_yielded)
