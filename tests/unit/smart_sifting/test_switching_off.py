"""Sifting that switches itself off where it was measured not to save time."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from smart_sifting import Loss, SiftingDataloader
from smart_sifting._core.cost_model import SiftingCosts
from smart_sifting._core.cost_watch import NUM_WARMUP, NUM_WATCHED, WORTHWHILE
from tests.conformance.loader_suite import (
    assert_accounts_for_every_sample,
    make_config,
    reload,
    sample_loss,
)
from tests.supports.sifting_loader import make_batches, make_loader, read_ids
from tests.supports.virtual_clock import Clock, TimedLoss
from tests.unit.smart_sifting.test_cost_watch import watch

NUM_CYCLES = NUM_WARMUP + NUM_WATCHED
MODULES = ("run", "batch_scoring", "pipeline")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    for module in MODULES:
        monkeypatch.setattr(f"smart_sifting._core.{module}.time", made)
    return made


def make_timed(clock: Clock, scoring_s: float, **arguments: Any) -> SiftingDataloader:
    """Return a loader whose scoring takes so many seconds a sample."""
    loss = TimedLoss(clock, scoring_s)
    arguments = {"config": make_config(beta=1.0), "stop_if_slower": True} | arguments
    return make_loader(arguments.pop("wrapped", make_batches(120)), loss, **arguments)


def train(loader: SiftingDataloader, clock: Clock) -> Iterator[Any]:
    """Train a second on each sample."""
    for batch in loader:
        yield batch
        clock.now += float(len(batch[0]))


@pytest.mark.parametrize(
    ("scoring_s", "is_off"), [(0.2, False), (0.46, False), (0.48, True), (0.9, True), (3.0, True)]
)
def test_it_ends_where_it_would_save_less_than_three_percent(
    scoring_s: float, is_off: bool, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    wrapped = make_batches(120)
    loader = make_timed(clock, scoring_s, wrapped=wrapped)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            for _ in train(loader, clock):
                pass
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == int(is_off)
    assert loader.status == (
        "switched off, as it would not save time" if is_off else "on, scored by: plain"
    )
    assert_accounts_for_every_sample(loader, loader.statistics.samples_yielded)
    epochs = loader.statistics.epochs
    if not is_off:
        assert epochs[2].samples_scored == 960
        return
    assert epochs[0].samples_scored < 960
    assert epochs[1].samples_scored == epochs[2].samples_scored == 0
    assert messages[0].startswith("Sifting is switched off: beta_value=1 ")
    assert f"scoring costs {100 * scoring_s:.0f} % of a step" in messages[0]
    assert "with stop_if_slower=False" in messages[0]
    assert ("From beta_value=" in messages[0]) == (scoring_s < WORTHWHILE)
    assert ("no beta_value saves any" in messages[0]) == (scoring_s > 1)


def test_nothing_is_lost_and_batches_are_the_very_objects_again(clock: Clock) -> None:
    wrapped = make_batches(120)
    loader = make_timed(clock, 2.0, wrapped=wrapped)
    yielded: list[int] = []
    num_passed = 0
    objects = {id(batch) for batch in wrapped}
    for batch in train(loader, clock):
        yielded += read_ids(batch)
        if id(batch) in objects:
            num_passed += 1
            assert torch.equal(loader.weights, torch.ones(8))
    counts = loader.statistics
    assert counts.samples_sifted_out == 960 - len(yielded)
    assert counts.samples_dropped_last == 0
    assert counts.samples_waiting == 0
    assert len(set(yielded)) == len(yielded)
    assert num_passed == 120 - counts.samples_scored // 8
    first_passed = counts.samples_scored
    assert set(range(first_passed, 960)) <= set(yielded)
    assert [id(batch) for batch in loader] == [id(batch) for batch in wrapped]


def test_a_wrapped_loader_that_drops_the_last_drops_the_leftovers(clock: Clock) -> None:
    class Dropping(list[Any]):
        drop_last = True

    loader = make_timed(clock, 2.0, wrapped=Dropping(make_batches(120)))
    num_yielded = sum(len(batch[0]) for batch in train(loader, clock))
    assert_accounts_for_every_sample(loader, num_yielded)
    assert loader.statistics.samples_waiting == 0
    assert loader.statistics.samples_dropped_last < 8


def test_it_is_decided_once(clock: Clock) -> None:
    loader = make_timed(clock, 0.1)
    for step, _ in enumerate(train(loader, clock)):
        if step == NUM_CYCLES + 1:
            break
    clock.slowdown = 100.0
    for _ in range(2):
        for _ in train(loader, clock):
            pass
    assert loader.status == "on, scored by: plain"


@pytest.mark.parametrize("scoring_s", [0.48, 0.9])
def test_by_default_it_only_warns_and_only_where_it_is_slower(
    scoring_s: float, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    loader = make_timed(clock, scoring_s, stop_if_slower=False)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            for _ in train(loader, clock):
                pass
    messages = [record.getMessage() for record in caplog.records]
    assert loader.statistics.samples_scored == 2 * 960
    assert len(messages) == (scoring_s > 0.5)
    assert all("Sifting makes this training slower" in message for message in messages)


def test_the_default_yields_what_a_loader_that_may_stop_and_does_not_yields(clock: Clock) -> None:
    both = [make_timed(clock, 0.1, stop_if_slower=stops) for stops in (False, True)]
    first, second = ([read_ids(batch) for batch in train(loader, clock)] for loader in both)
    assert first == second


def test_a_resumed_loader_stays_off_whenever_the_state_was_taken(clock: Clock) -> None:
    loader = make_timed(clock, 2.0)
    reference, states = [], []
    for batch in train(loader, clock):
        reference.append(read_ids(batch))
        states.append(reload(loader.state_dict()))
    verdicts = [state["verdict"] is not None for state in states]
    is_off = [state["schedule"]["is_switched_off"] for state in states]
    decided = verdicts.index(True)
    assert not is_off[decided]  # the batch after that is the first that passes
    for num_done in range(decided, len(states), 5):
        resumed = make_timed(clock, 2.0)
        resumed.load_state_dict(states[num_done])
        rest = [read_ids(batch) for batch in resumed]
        assert rest == reference[num_done + 1 :]
        assert resumed.status.startswith("switched off")
        scored = resumed.statistics.samples_scored
        assert scored <= loader.statistics.samples_scored


def test_what_is_switched_off_is_expected_to_yield_everything(clock: Clock) -> None:
    loader = make_timed(clock, 2.0)
    assert loader.expected_len(2) == pytest.approx(120, abs=2)
    for _ in train(loader, clock):
        pass
    assert loader.expected_len(2) == 240


@pytest.mark.parametrize("value", [1, None, "yes"])
def test_what_is_no_flag_is_told(value: Any) -> None:
    with pytest.raises(TypeError, match=r"`stop_if_slower` is .*, but must be True or False"):
        make_loader(make_batches(), stop_if_slower=value)


def test_a_loss_that_fails_while_it_is_watched_changes_nothing(clock: Clock) -> None:
    class Fails(Loss):
        num_calls = 0

        def loss(
            self, model: Any, transformed_batch: Any, original_batch: Any = None
        ) -> torch.Tensor:
            self.num_calls += 1
            if self.num_calls == 9:
                raise KeyError
            return sample_loss(original_batch[0])

    loader = make_loader(make_batches(60), Fails(), stop_if_slower=True)
    with pytest.raises(KeyError):
        list(loader)
    loader.load_state_dict(loader.state_dict())
    list(loader)
    assert_accounts_for_every_sample(loader, loader.statistics.samples_yielded)


class TestWhenItWouldPay:
    @pytest.mark.parametrize("scoring_s", [0.05, 0.3, 0.9])
    @pytest.mark.parametrize("loading_s", [0.0, 0.4])
    @pytest.mark.parametrize("pooling_s", [0.0, 0.1])
    def test_at_the_least_beta_the_time_is_the_one_asked_for(
        self, scoring_s: float, loading_s: float, pooling_s: float
    ) -> None:
        costs = SiftingCosts(
            loading_s=loading_s, scoring_s=scoring_s, training_s=1.0, pooling_s=pooling_s
        )
        beta = costs.least_beta(WORTHWHILE)
        assert beta is not None
        assert costs.relative_time(beta) == pytest.approx(WORTHWHILE)
        assert costs.relative_time(2 * beta) < WORTHWHILE

    def test_nothing_is_said_to_pay_that_cannot(self) -> None:
        costs = SiftingCosts(loading_s=100.0, scoring_s=0.5, training_s=1.0)
        assert costs.least_beta(WORTHWHILE) is None
        waste = watch(1.0, scoring_s=0.3, training_s=1.0, load=8 * 100.0).find_waste()
        assert waste is not None
        assert waste.endswith("No beta_value would save 3 % here.")

    def test_it_is_rounded_up(self) -> None:
        waste = watch(0.25, scoring_s=0.3, training_s=1.0).find_waste()
        assert waste is not None
        assert waste.endswith("From beta_value=0.5 on it would save 3 % or more.")
        assert watch(0.5, scoring_s=0.3, training_s=1.0).find_waste() is None
