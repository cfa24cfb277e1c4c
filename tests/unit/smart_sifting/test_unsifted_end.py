"""The last epochs of a training pass unsifted."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from smart_sifting import SiftingBaseConfig, SiftingDataloader
from tests.conformance.loader_suite import (
    LossOfIds,
    assert_accounts_for_every_sample,
    make_config,
)
from tests.supports.sifted_training import (
    SiftedTraining,
    assert_resumed_equals_uninterrupted,
    change_config,
)
from tests.supports.sifting_loader import make_loader, read_ids


def end_unsifted(
    share: float, num_epochs: int, *, delay: int = 0, repeat: bool = False, beta: float = 1.0
) -> dict[str, Any]:
    base = {"unsifted_share": share, "num_epochs": num_epochs}
    return change_config(make_config(beta=beta, delay=delay, repeat=repeat), base=base)


def wrap(num_samples: int = 53, *, drop_last: bool = False) -> DataLoader[Any]:
    ids = torch.arange(num_samples)
    return DataLoader(TensorDataset(ids, ids * 2), 8, drop_last=drop_last)


@pytest.mark.parametrize(
    ("share", "num_epochs", "first"),
    [
        (0.0, 10, None),
        (0.1, 10, 9),
        (0.1, 19, 18),
        (0.1, 9, None),
        (0.125, 40, 35),
        (1 / 3, 3, 2),
        (2 / 3, 3, 1),
        (0.1, 30, 27),
        (0.7, 10, 3),
        (0.999, 10, 1),
        (0.29, 100, 71),
        (1e-12, 10, None),
        (0.999, 1, None),
    ],
)
def test_the_epochs_are_the_share_rounded_down(
    share: float, num_epochs: int, first: int | None
) -> None:
    config = SiftingBaseConfig(0, unsifted_share=share, num_epochs=num_epochs)
    assert config.first_unsifted_epoch == first


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize(("delay", "repeat"), [(0, False), (3, False), (3, True), (100, True)])
def test_nothing_is_scored_or_lost_in_the_last_epochs(
    delay: int, repeat: bool, drop_last: bool
) -> None:
    loss = LossOfIds(read_ids)
    wrapped = wrap(drop_last=drop_last)
    config = end_unsifted(0.5, 7, delay=delay, repeat=repeat, beta=0.3)
    loader = make_loader(wrapped, loss, config=config)
    expected, num_yielded = [read_ids(batch) for batch in wrapped], 0
    for epoch in range(9):
        loss.seen.clear()
        batches = [read_ids(batch) for batch in loader]
        num_yielded += sum(map(len, batches))
        assert_accounts_for_every_sample(loader, num_yielded)
        assert loader.statistics.samples_waiting == 0
        if epoch >= 4:  # half of 7 epochs are 3; a training that goes on stays unsifted
            assert batches == expected
            assert loss.seen == []
            assert loader.statistics.epoch.samples_scored == 0
            assert torch.equal(loader.weights, torch.ones(len(batches[-1])))
            assert loader.status == "over: the last epochs pass unsifted"
        elif delay < 100:
            assert loss.seen
            assert len(batches) < len(expected)


def test_batches_of_the_last_epochs_are_the_very_objects() -> None:
    wrapped = [[torch.arange(8) + 8 * i, torch.arange(8)] for i in range(5)]
    loader = make_loader(wrapped, config=end_unsifted(0.5, 2))
    sifted = list(loader)
    assert len(sifted) < 5
    assert [id(batch) for batch in loader] == [id(batch) for batch in wrapped]


def test_a_single_sample_that_is_carried_over_comes_no_later_than_it_can() -> None:
    model = torch.nn.BatchNorm1d(1)
    yielded: list[int] = []
    for num_samples in range(16, 30):
        loader = make_loader(wrap(num_samples), config=end_unsifted(0.5, 4), model=model)
        for _ in range(4):
            yielded = [i for batch in loader for i in read_ids(batch)]
        assert yielded[-num_samples:] == list(range(num_samples))
        assert loader.statistics.samples_waiting <= 1


def test_the_length_and_the_progress_know_of_it() -> None:
    loader: SiftingDataloader = make_loader(wrap(800), config=end_unsifted(0.5, 4, beta=3.0))
    assert loader.expected_len(4) == pytest.approx(2 * 25 + 2 * 100, abs=2)
    lengths = [sum(1 for _ in loader) for _ in range(4)]
    assert lengths[2:] == [100, 100]
    assert lengths[0] == pytest.approx(25, abs=7)
    assert loader.progress == 4.0
    assert loader.expected_len(1) == 100


def test_with_an_upper_cut_fewer_are_expected() -> None:
    config = make_config(history=400) | {"max_percentile": 0.5}
    loader = make_loader(wrap(1600), config=config)
    assert loader.expected_len(1) == pytest.approx(200 / 8, abs=1)
    assert sum(1 for _ in loader) == pytest.approx(200 / 8, abs=6)


def test_a_resumed_training_equals_an_uninterrupted_one() -> None:
    training = assert_resumed_equals_uninterrupted(
        lambda: SiftedTraining(end_unsifted(0.6, 4, delay=2), scoring="last_visit"), num_epochs=4
    )
    assert training.loader.status.startswith("over")
    assert training.loader.statistics.epochs[1].samples_sifted_out
