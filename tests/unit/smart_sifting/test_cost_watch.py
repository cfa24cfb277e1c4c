from __future__ import annotations

import logging
from typing import Any

import pytest
import torch

from smart_sifting import Loss
from smart_sifting._core.cost_watch import NUM_WARMUP, NUM_WATCHED, CostWatch
from smart_sifting._core.statistics import STAGES
from tests.conformance.loader_suite import make_config
from tests.supports.sifting_loader import make_batches, make_loader

NUM_CYCLES = NUM_WARMUP + NUM_WATCHED


def watch(
    beta: float,
    *,
    scoring_s: float,
    training_s: float,
    num_cycles: int = NUM_CYCLES,
    **others: Any,
) -> CostWatch:
    """Watch cycles of 8 scored and 8 trained samples that take so many seconds a sample."""
    watched = CostWatch(beta)
    seconds, now = dict.fromkeys(STAGES, 0.0), 0.0
    stages = {"calculate_relevance_values": 8 * scoring_s} | others
    for idx in range(num_cycles + 1):
        watched.see(now, seconds, num_scored=8 * idx, num_yielded=8)
        seconds = {stage: seconds[stage] + stages.get(stage, 0.0) for stage in seconds}
        now += 8 * training_s + sum(stages.values())
    return watched


@pytest.mark.parametrize(
    ("beta", "scoring_s", "is_slower"),
    [
        (0.5, 0.34, True),
        (0.5, 0.32, False),
        (1.0, 0.51, True),
        (1.0, 0.49, False),
        (9.0, 1.1, True),
    ],
)
def test_sifting_is_called_slower_where_scoring_and_training_exceed_training_alone(
    beta: float, scoring_s: float, is_slower: bool
) -> None:
    verdict = watch(beta, scoring_s=scoring_s, training_s=1.0).find_loss()
    assert (verdict is not None) == is_slower
    if verdict is not None:
        assert f"beta_value={beta:g} will not save time" in verdict


def test_loading_and_waiting_are_neither_scoring_nor_training() -> None:
    others = {"load": 100.0, "agree": 50.0}
    assert watch(0.5, scoring_s=0.34, training_s=1.0, **others).find_loss()
    assert not watch(0.5, scoring_s=0.32, training_s=1.0, **others).find_loss()


def test_selection_and_pooling_belong_to_sifting() -> None:
    assert not watch(0.5, scoring_s=0.3, training_s=1.0).find_loss()
    for stage in ("transform", "should_sift"):
        assert watch(0.5, scoring_s=0.3, training_s=1.0, **{stage: 8 * 0.05}).find_loss()
    for stage in ("sift", "accumulate", "reverse_transform"):  # per kept sample: two thirds
        assert not watch(0.5, scoring_s=0.3, training_s=1.0, **{stage: 8 * 0.049}).find_loss()
        assert watch(0.5, scoring_s=0.3, training_s=1.0, **{stage: 8 * 0.051}).find_loss()


def test_nothing_is_said_before_enough_was_seen_and_nothing_is_measured_after() -> None:
    early = watch(0.5, scoring_s=2.0, training_s=1.0, num_cycles=NUM_CYCLES - 1)
    assert early.is_watching
    assert early.find_loss() is None
    late = watch(0.5, scoring_s=2.0, training_s=1.0)
    assert not late.is_watching


def test_one_long_pause_does_not_hide_a_slow_scorer() -> None:
    watched = CostWatch(0.5)
    now, scored_s = 0.0, 0.0
    for idx in range(NUM_CYCLES + 1):
        seconds = dict.fromkeys(STAGES, 0.0) | {"calculate_relevance_values": scored_s}
        watched.see(now, seconds, num_scored=8 * idx, num_yielded=8)
        scored_s += 8 * 0.5
        now += 8 * 1.5 + (1000.0 if idx == NUM_WARMUP + 3 else 0.0)
    assert watched.find_loss()


def test_the_batch_after_an_interruption_ends_no_cycle() -> None:
    watched = CostWatch(0.5)
    for idx in range(3 * NUM_CYCLES):
        watched.interrupt()
        watched.see(float(idx), dict.fromkeys(STAGES, 0.0), num_scored=8 * idx, num_yielded=8)
    assert watched.is_watching


class Work:
    """Costs what it costs: a number of products of large matrices."""

    def __init__(self, num_products: int) -> None:
        self.num_products = num_products
        self.matrix = torch.ones(300, 300)

    def do(self) -> None:
        for _ in range(self.num_products):
            self.matrix @ self.matrix


class WorkingLoss(Loss):
    def __init__(self, work: Work) -> None:
        self.work = work

    def loss(self, model: Any, transformed_batch: Any, original_batch: Any = None) -> torch.Tensor:
        self.work.do()
        return original_batch[0].float() % 13


@pytest.mark.parametrize("is_slower", [True, False])
def test_a_real_loop_is_warned_of_once_if_sifting_makes_it_slower(
    is_slower: bool, caplog: pytest.LogCaptureFixture
) -> None:
    scoring, training = (Work(20), Work(0)) if is_slower else (Work(0), Work(20))
    loader = make_loader(
        make_batches(80, 8), loss=WorkingLoss(scoring), config=make_config(beta=1.0)
    )
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            for _ in loader:
                training.do()
    warnings = [record.getMessage() for record in caplog.records]
    assert len(warnings) == int(is_slower)
    if is_slower:
        assert "Sifting makes this training slower: beta_value=1 will not save time" in warnings[0]
