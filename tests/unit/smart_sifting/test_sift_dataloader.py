from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, DistributedSampler, IterableDataset, TensorDataset

from smart_sifting import (
    ListBatch,
    Loss,
    SiftingBatchTransform,
)
from tests.conformance.loader_suite import LossOfIds, make_config
from tests.supports.sifting_loader import make_batches, make_loader, read_ids


class FirstColumn(Loss):
    """The losses are the batch's first part."""

    def loss(self, model: Any, transformed_batch: Any, original_batch: Any = None) -> torch.Tensor:
        loss: torch.Tensor = original_batch[0].float()
        return loss


def test_delayed_batches_are_the_very_same_objects_and_are_not_scored() -> None:
    batches, loss = make_batches(), LossOfIds(read_ids)

    class Never(SiftingBatchTransform):
        def transform(self, batch: Any) -> Any:
            raise AssertionError("a delayed batch was transformed")

        def reverse_transform(self, sifting_batch: Any) -> Any:
            raise AssertionError("a delayed batch was transformed")

    loader = make_loader(batches, loss, config=make_config(delay=6), batch_transforms=Never())
    yielded = list(loader)
    assert all(one is other for one, other in zip(yielded, batches, strict=True))
    assert loss.seen == []
    assert loader.statistics.epoch.samples_seen == loader.statistics.epoch.samples_kept == 48
    assert loader.statistics.samples_scored == 0


def test_the_delay_counts_over_all_epochs() -> None:
    loss = LossOfIds(read_ids)
    loader = make_loader(make_batches(), loss, config=make_config(delay=8))
    list(loader)
    assert loss.seen == []
    list(loader)
    assert loss.seen == list(range(16, 48))


def test_a_repeated_delay_counts_in_every_epoch() -> None:
    loss = LossOfIds(read_ids)
    config = make_config(delay=4, repeat=True)
    loader = make_loader(make_batches(), loss, config=config)
    for epoch_idx in (1, 2):
        list(loader)
        assert loss.seen == [*range(32, 48)] * epoch_idx
        assert loader.statistics.epoch.samples_scored == 16


def test_the_documented_default_delay_is_a_thousand_steps() -> None:
    config = make_config()
    config["loss_based_sift_config"] = {"sift_config": {}}
    loss = LossOfIds(read_ids)
    list(make_loader(make_batches(1002, 1), loss, config=config, batch_format_index=1))
    assert loss.seen == [1000, 1001]


def test_a_batch_that_is_kept_whole_is_not_copied() -> None:
    batches = make_batches()
    loader = make_loader(batches, config=make_config(beta=1e-9))
    assert all(one is other for one, other in zip(loader, batches, strict=True))


def test_reverse_transform_never_gets_an_empty_batch() -> None:
    sizes: list[int] = []

    class Transform(SiftingBatchTransform):
        def transform(self, batch: Any) -> ListBatch:
            return ListBatch(batch[0].tolist())

        def reverse_transform(self, sifting_batch: Any) -> Any:
            sizes.append(len(sifting_batch))
            return torch.tensor(sifting_batch.inputs)

    wrapped = make_batches(20, 2)
    config = make_config(beta=1e9)
    loader = make_loader(
        wrapped, config=config, batch_transforms=Transform(), batch_format_index=1
    )
    assert list(loader) == []
    assert sizes == []
    assert loader.statistics.samples_sifted_out == 40
    loader = make_loader(wrapped, config=make_config(beta=10), batch_transforms=Transform())
    list(loader)
    assert sizes
    assert min(sizes) > 0


def test_statistics_of_scored_samples_leave_the_delay_out() -> None:
    loader = make_loader(make_batches(100, 8), config=make_config(delay=50))
    num_yielded = sum(len(batch[0]) for batch in loader)
    epoch = loader.statistics.epoch
    assert (epoch.samples_seen, epoch.samples_scored) == (800, 400)
    assert epoch.samples_scored_kept == num_yielded - 400
    assert epoch.samples_kept == num_yielded == epoch.samples_yielded
    assert epoch.scored_kept_fraction == pytest.approx(0.5, abs=0.1)
    assert epoch.kept_fraction == num_yielded / 800
    assert epoch.num_batches_loaded == 100
    assert epoch.num_batches == 50 + math.ceil((num_yielded - 400) / 8)
    assert all((seconds > 0) == (stage != "agree") for stage, seconds in epoch.seconds.items())
    assert epoch.seconds.keys() == loader.statistics.seconds.keys()


def test_pooled_samples_are_counted_while_they_wait() -> None:
    loader = make_loader(make_batches())
    counts = loader.statistics
    for _ in loader:
        waiting = counts.samples_seen - counts.samples_yielded - counts.samples_sifted_out
        assert 0 <= waiting < 8


def test_samples_without_finite_loss_are_kept_counted_and_warned_of_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    losses = torch.zeros(40)
    losses[[1, 17, 18]] = torch.tensor([math.nan, math.inf, -math.inf])
    batches = [[part] for part in losses.split(8)]
    loader = make_loader(
        batches, FirstColumn(), config=make_config(beta=1e9), batch_format_index=1
    )
    kept = torch.cat([batch[0] for batch in loader])
    list(loader)
    assert kept.isfinite().sum() == 0
    assert len(kept) == 3
    assert loader.statistics.epochs[0].samples_nonfinite == 3
    assert loader.statistics.samples_nonfinite == 6
    assert loader.state_dict()["pipeline"]["history"].isfinite().all()
    warnings = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert "1 sample(s) of a batch have a NaN or infinite loss" in warnings[0]


def test_a_loader_of_nothing_but_nan_keeps_all() -> None:
    batches = [[part] for part in torch.full((20,), math.nan).split(5)]
    loader = make_loader(batches, FirstColumn(), batch_format_index=1)
    assert [len(batch[0]) for batch in loader] == [5, 5, 5, 5]


def test_the_length_is_the_wrapped_loaders_and_an_upper_bound() -> None:
    loader = make_loader(DataLoader(TensorDataset(torch.arange(50), torch.arange(50)), 8))
    assert len(loader) == 7
    assert len(list(loader)) < 7


def test_a_wrapped_loader_without_length_gives_none() -> None:
    class Stream(IterableDataset[Any]):
        def __iter__(self) -> Iterator[torch.Tensor]:
            return iter(torch.arange(9))

    loader = make_loader(DataLoader(Stream(), batch_size=4))
    with pytest.raises(TypeError):
        len(loader)
    with pytest.raises(TypeError):
        loader.expected_len()


@pytest.mark.parametrize(
    ("beta", "delay", "repeat", "num_epochs", "expected"),
    [
        (1, 0, False, 1, 50),
        (3, 0, False, 1, 25),
        (3, 0, False, 2, 50),
        (1, 20, False, 1, 60),
        (1, 20, False, 2, 110),
        (1, 20, True, 2, 120),
        (1, 1000, False, 3, 300),
        (2, 0, False, 1, 34),
    ],
)
def test_the_expected_length(
    beta: float, delay: int, repeat: bool, num_epochs: int, expected: int
) -> None:
    config = make_config(beta=beta, history=200, delay=delay, repeat=repeat)
    loader = make_loader(make_batches(100, 8), config=config)
    assert loader.expected_len(num_epochs) == expected
    num_batches = sum(1 for _ in range(num_epochs) for _ in loader)
    assert num_batches == pytest.approx(expected, abs=8)


def test_the_expected_length_goes_on_from_the_delay_already_over() -> None:
    loader = make_loader(make_batches(100, 8), config=make_config(delay=120))
    list(loader)
    assert loader.expected_len() == 20 + 40


def test_other_attributes_are_the_wrapped_loaders() -> None:
    dataset = TensorDataset(torch.arange(20), torch.arange(20))
    sampler: DistributedSampler[Any] = DistributedSampler(dataset, num_replicas=1, rank=0)
    wrapped = DataLoader(dataset, batch_size=4, sampler=sampler)
    loader = make_loader(wrapped)
    assert loader.dataset is dataset
    assert loader.sampler is sampler
    assert loader.batch_sampler is wrapped.batch_sampler
    assert loader.batch_size == 4
    loader.sampler.set_epoch(3)
    assert sampler.epoch == 3
    assert not hasattr(loader, "set_epoch")
    assert not hasattr(loader, "_iterator")


def test_set_epoch_reaches_a_wrapped_loader_that_has_it() -> None:
    class WithEpoch(list[Any]):
        def set_epoch(self, epoch: int) -> None:
            self.epoch = epoch

    wrapped = WithEpoch(make_batches())
    make_loader(wrapped).set_epoch(5)
    assert wrapped.epoch == 5


def test_asking_for_an_iterator_alone_changes_nothing() -> None:
    loader = make_loader(make_batches())
    iter(loader)
    assert loader.statistics.epochs == []
    assert not loader.state_dict()["is_in_epoch"]


def test_a_second_iteration_ends_the_first() -> None:
    loader = make_loader(make_batches())
    first = iter(loader)
    next(first)
    next(iter(loader))
    with pytest.raises(RuntimeError, match="Another iteration"):
        next(first)


def test_two_loaders_with_one_seed_sift_alike_and_the_global_seed_is_the_default() -> None:
    def run(seed: int | None) -> list[list[int]]:
        return [read_ids(batch) for batch in make_loader(make_batches(), seed=seed)]

    assert run(4) == run(4) != run(5)
    torch.manual_seed(4)
    assert run(None) == run(4)


def test_a_batch_sampler_gives_the_batch_size() -> None:
    dataset = TensorDataset(torch.arange(50), torch.arange(50))
    batches = torch.utils.data.BatchSampler(range(50), 8, drop_last=True)
    loader = make_loader(DataLoader(dataset, batch_sampler=batches))
    assert {len(batch[0]) for batch in loader} == {8}
    assert loader.statistics.samples_dropped_last > 0


def test_the_model_may_be_in_training_and_stays_so() -> None:
    model = torch.nn.Sequential(torch.nn.BatchNorm1d(1), torch.nn.Dropout()).train()

    class ModelLoss(Loss):
        def loss(
            self, model: Any, transformed_batch: Any, original_batch: Any = None
        ) -> torch.Tensor:
            assert not model.training
            output: torch.Tensor = model(original_batch[0].float()[:, None])
            return output

    for _ in make_loader(make_batches(), ModelLoss(), model=model):
        assert model.training
        assert torch.is_grad_enabled()
        assert model[0].num_batches_tracked == 0


def test_a_resumed_loader_still_knows_how_its_batches_are_indexed() -> None:
    # Three features: the last batch, of three samples, could be indexed either way.
    dataset = TensorDataset(*(torch.arange(19) for _ in range(3)))
    config = make_config(beta=1e-9)
    loader = make_loader(DataLoader(dataset, batch_size=8), config=config)
    batches = iter(loader)
    next(batches), next(batches)
    resumed = make_loader(DataLoader(dataset, batch_size=8), config=config)
    resumed.load_state_dict(loader.state_dict())
    assert [read_ids(batch) for batch in resumed] == [[16, 17, 18]]
