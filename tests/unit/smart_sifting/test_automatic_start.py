"""Sifting that starts when the losses say that there is something to spare."""

from __future__ import annotations

import logging
import math
import re
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from smart_sifting import Loss, SiftingDataloader
from smart_sifting._core.selection import Selector
from smart_sifting._core.spare_watch import (
    MIN_WINDOW_BATCHES,
    MIN_WINDOW_LOSSES,
    PROBE_EVERY,
    SPARE_SHARE,
    SpareWatch,
    expected_dropped_share,
)
from tests.conformance.loader_suite import make_config, reload
from tests.supports.sifted_training import (
    SiftedTraining,
    assert_resumed_equals_uninterrupted,
    change_config,
)
from tests.supports.sifting_loader import make_loader, read_ids

BATCH_SIZE = MIN_WINDOW_LOSSES // MIN_WINDOW_BATCHES
AUTO = change_config(make_config(history=500), base={"sift_delay": "auto"})


def spread_evenly(num_losses: int = BATCH_SIZE) -> torch.Tensor:
    return torch.linspace(0, 1, num_losses)


def concentrate(num_losses: int = BATCH_SIZE) -> torch.Tensor:
    """Return losses of which one in sixteen is large."""
    return torch.where(torch.arange(num_losses) % 16 == 0, 2.0, 1e-4)


class TestTheShareThatWouldBeDropped:
    @pytest.mark.parametrize(
        ("beta", "losses", "expected"),
        [
            (1.0, torch.linspace(0, 1, 10001), 1 / 3),
            (1.0, -torch.log1p(-(torch.arange(20000) + 0.5) / 20000), 1 / 4),
            (1.0, torch.ones(1000), 1 / 2),
            (3.0, torch.linspace(0, 1, 10001), 1 - 2 / 5),
            (3.0, torch.ones(1000), 3 / 4),
            (0.5, torch.linspace(0, 1, 10001), 1 - 2 / 2.5),
        ],
    )
    def test_of_known_distributions(
        self, beta: float, losses: torch.Tensor, expected: float
    ) -> None:
        shuffled = losses[torch.randperm(len(losses), generator=torch.Generator().manual_seed(0))]
        assert expected_dropped_share(shuffled, beta) == pytest.approx(expected, abs=2e-3)
        assert expected_dropped_share(1e-6 * shuffled, beta) == pytest.approx(expected, abs=2e-3)

    @pytest.mark.parametrize("beta", [0.5, 1.0, 3.0])
    @pytest.mark.parametrize("power", [1, 3, 8])
    def test_equals_what_the_selector_drops(self, beta: float, power: int) -> None:
        losses = torch.rand(2000, generator=torch.Generator().manual_seed(power)) ** power
        dropped = 0.0
        for seed in range(40):
            selection = Selector(beta=beta, history_length=2000, seed=seed).select(losses)
            dropped += float(losses[~selection.is_kept].sum() / losses.sum()) / 40
        assert expected_dropped_share(losses, beta) == pytest.approx(dropped, rel=0.1)

    def test_of_nothing_but_zeros_is_all(self) -> None:
        assert expected_dropped_share(torch.zeros(10), 1.0) == 1.0

    def test_strange_losses_count_as_zeros(self) -> None:
        strange = torch.tensor([math.nan, math.inf, -math.inf, -3.0])
        losses = torch.cat([strange, spread_evenly()])
        zeroed = torch.cat([torch.zeros(4), spread_evenly()])
        assert expected_dropped_share(losses, 1.0) == expected_dropped_share(zeroed, 1.0)
        assert expected_dropped_share(strange, 1.0) == 1.0


class TestTheWatch:
    def test_needs_two_low_looks_in_a_row(self) -> None:
        watch = SpareWatch(1.0)
        for look, losses in enumerate([concentrate(), spread_evenly(), concentrate()]):
            for _ in range(MIN_WINDOW_BATCHES):
                assert watch.num_looks == look
                watch.see(losses)
            assert not watch.may_start
        for _ in range(MIN_WINDOW_BATCHES - 1):
            watch.see(concentrate())
            assert not watch.may_start
        watch.see(concentrate())
        assert watch.may_start
        assert watch.share <= SPARE_SHARE
        for _ in range(3 * MIN_WINDOW_BATCHES):
            watch.see(spread_evenly())
        assert watch.may_start
        assert watch.num_looks == 4

    @pytest.mark.parametrize("size", [1, 8, BATCH_SIZE, 1000])
    def test_looks_at_enough_batches_and_losses(self, size: int) -> None:
        watch = SpareWatch(1.0)
        num_batches = max(MIN_WINDOW_BATCHES, math.ceil(MIN_WINDOW_LOSSES / size))
        for _ in range(num_batches - 1):
            watch.see(spread_evenly(size))
        assert watch.num_looks == 0
        watch.see(torch.empty(0))
        assert watch.num_looks == 0
        watch.see(spread_evenly(size))
        assert watch.num_looks == 1

    def test_what_the_loop_does_to_its_losses_afterwards_does_not_matter(self) -> None:
        watch = SpareWatch(1.0)
        for _ in range(2 * MIN_WINDOW_BATCHES):
            losses = concentrate()
            watch.see(losses)
            losses.fill_(1.0)
        assert watch.may_start


class FixedLoss(Loss):
    def __init__(self, losses: torch.Tensor) -> None:
        self.losses = losses
        self.seen: list[list[int]] = []

    def loss(self, model: Any, transformed_batch: Any, original_batch: Any = None) -> torch.Tensor:
        self.seen.append(read_ids(original_batch))
        return self.losses[original_batch[0]]


def make_auto(losses: torch.Tensor, **arguments: Any) -> tuple[SiftingDataloader, FixedLoss]:
    """Return a loader over as many samples as there are losses, sifted once they concentrate."""
    ids = torch.arange(len(losses))
    loss = FixedLoss(losses)
    wrapped = DataLoader(TensorDataset(ids, ids * 2), BATCH_SIZE)
    return make_loader(wrapped, loss, **{"config": AUTO} | arguments), loss


NUM_BATCHES = 40
CONCENTRATED = concentrate(NUM_BATCHES * BATCH_SIZE)
EVEN = spread_evenly(NUM_BATCHES * BATCH_SIZE)[
    torch.randperm(NUM_BATCHES * BATCH_SIZE, generator=torch.Generator().manual_seed(0))
]


class TestALoader:
    def test_starts_by_the_losses_that_it_is_told_and_scores_nothing_before(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        loader, loss = make_auto(CONCENTRATED)
        assert loader.status == "waiting for the first losses"
        with caplog.at_level(logging.INFO):
            for step, batch in enumerate(loader):
                is_waiting = step <= 2 * MIN_WINDOW_BATCHES  # the batch that was ready passes
                assert bool(loss.seen) != is_waiting
                if is_waiting:
                    loader.record_losses(CONCENTRATED[batch[0]])
                if step == MIN_WINDOW_BATCHES:
                    assert loader.status.startswith(
                        "waiting, as the samples that would be dropped"
                    )
        lines = [r.getMessage() for r in caplog.records if "Sifting starts" in r.getMessage()]
        (line,) = lines
        assert line.startswith("Sifting starts after 33 batches: the samples")
        assert loader.status == "on, scored by: plain"
        counts = loader.statistics
        num_sifted = NUM_BATCHES - 2 * MIN_WINDOW_BATCHES - 1
        assert counts.samples_scored == num_sifted * BATCH_SIZE
        assert counts.samples_sifted_out > 0

    def test_probes_every_32nd_batch_of_a_loop_that_tells_nothing(self) -> None:
        loader, loss = make_auto(CONCENTRATED)
        num_before = 2 * MIN_WINDOW_BATCHES * PROBE_EVERY
        num_passed = 0
        while loader.status != "on, scored by: plain":
            for batch in loader:
                if loader.statistics.samples_scored:
                    break
                num_passed += 1
                is_probed = num_passed % PROBE_EVERY == 0
                assert len(loss.seen) == num_passed // PROBE_EVERY
                assert not is_probed or loss.seen[-1] == read_ids(batch)
                assert num_passed <= num_before + 1
        assert num_passed == num_before + 1

    def test_never_starts_while_losses_are_spread_evenly(self) -> None:
        loader, loss = make_auto(EVEN)
        for _ in range(6):
            for batch in loader:
                loader.record_losses(EVEN[batch[0]])
        assert loss.seen == []
        assert loader.statistics.samples_yielded == 6 * len(EVEN)
        assert re.search(r"carry 3[2-5] % of the loss; it starts at 10 %", loader.status)

    @pytest.mark.parametrize("value", [math.nan, math.inf, 0.0, -1.0])
    def test_never_starts_on_losses_that_mean_nothing(self, value: float) -> None:
        loader, _ = make_auto(EVEN)
        for _ in range(2):
            for batch in loader:
                loader.record_losses(torch.full((len(batch[0]),), value))
        assert loader.statistics.samples_scored == 0

    def test_what_does_not_start_is_expected_to_yield_everything(self) -> None:
        loader, _ = make_auto(CONCENTRATED)
        assert loader.expected_len(3) == 3 * NUM_BATCHES
        for batch in loader:
            loader.record_losses(CONCENTRATED[batch[0]])
        assert loader.expected_len(4) == pytest.approx(2 * NUM_BATCHES, abs=2)

    def test_progress_is_in_presented_data(self) -> None:
        loader, _ = make_auto(CONCENTRATED)
        assert loader.progress == 0.0
        seen = []
        for _ in range(2):
            for batch in loader:
                loader.record_losses(CONCENTRATED[batch[0]])
                seen.append(loader.progress)
                epoch = loader.statistics.epoch
                expected = epoch.index + epoch.num_batches_loaded / NUM_BATCHES
                assert loader.progress == expected
            assert loader.progress == loader.statistics.epoch.index + 1
        assert seen == sorted(seen)
        assert seen[:2] == [1 / NUM_BATCHES, 2 / NUM_BATCHES]
        next(iter(loader))
        loader.end_epoch()
        assert loader.progress == 3.0

    def test_progress_of_a_loader_without_length_is_told(self) -> None:
        loader = make_loader(Unsized())
        with pytest.raises(TypeError):
            assert loader.progress

    @pytest.mark.parametrize("tells_losses", [True, False])
    def test_a_training_that_never_starts_equals_a_plain_one_to_the_bit(
        self, tells_losses: bool
    ) -> None:
        sifted, plain = (SiftedTraining(AUTO, tells_losses=tells_losses) for _ in range(2))
        for _ in range(4):
            for batch in sifted.loader:
                sifted.step(batch)
        for _ in range(4):
            for batch in plain.loader._orig_dataloader:
                losses = torch.nn.functional.cross_entropy(
                    plain.model(batch.data[0]), batch.data[1], reduction="none"
                )
                plain.optimizer.zero_grad()
                losses.mean().backward()
                plain.optimizer.step()
        assert torch.equal(sifted.parameters(), plain.parameters())
        assert sifted.loader.statistics.samples_scored == 0
        if not tells_losses:
            assert sifted.loss.num_passes > 0


def test_a_resumed_loader_knows_that_it_is_told_losses() -> None:
    loader, resumed = (make_auto(EVEN)[0] for _ in range(2))
    for step, batch in enumerate(loader):
        loader.record_losses(EVEN[batch[0]])
        if step == PROBE_EVERY - 2:
            break
    resumed.load_state_dict(reload(loader.state_dict()))
    next(iter(resumed))
    assert resumed.statistics.num_batches == PROBE_EVERY
    assert resumed.statistics.seconds["calculate_relevance_values"] == 0.0


class Unsized:
    def __iter__(self) -> Any:
        return iter(())


@pytest.mark.parametrize("tells_losses", [True, False])
def test_a_resumed_training_equals_an_uninterrupted_one(
    tells_losses: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("smart_sifting._core.sifting_schedule.PROBE_EVERY", 2)
    monkeypatch.setattr("smart_sifting._core.spare_watch.MIN_WINDOW_LOSSES", 64)
    monkeypatch.setattr("smart_sifting._core.spare_watch.MIN_WINDOW_BATCHES", 4)
    monkeypatch.setattr("smart_sifting._core.spare_watch.SPARE_SHARE", 0.2)
    training = assert_resumed_equals_uninterrupted(
        lambda: SiftedTraining(
            change_config(AUTO, weighting="inverse"),
            tells_losses=tells_losses,
            batch_size=16,
            num_samples=150,
        ),
        num_epochs=4,
        every=6,
    )
    counts = training.loader.statistics
    assert 0 < counts.samples_scored < counts.samples_seen
