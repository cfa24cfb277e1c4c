"""What a pilot measures, by a clock that only the measured parts move."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from smart_sifting import (
    Loss,
    PilotReport,
    SiftingBatchTransform,
    SiftingDataloader,
    TensorBatch,
    pilot,
)
from smart_sifting._core import fresh_scorer
from smart_sifting._pilot.measurement import run_pilot
from smart_sifting._pilot.report import summarise_pooling
from smart_sifting._pilot.stopwatch import BatchTimes

LOAD, TRANSFORM, SCORE, REVERSE, FORWARD, BACKWARD, STEP = 3.0, 1.0, 5.0, 2.0, 7.0, 11.0, 13.0
SCORE_OF_A_COPY = 2.0


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class TimedLoss(Loss):
    """Takes ``SCORE`` without gradients, else ``FORWARD``, and ``BACKWARD`` in backward.

    A copy of the model takes less.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def loss(self, model: Any, transformed_batch: Any, original_batch: Any = None) -> Any:
        output = model(original_batch).squeeze(1)
        if not output.requires_grad:
            assert not model.training
            is_copy = not isinstance(model, torch.nn.Linear)
            self.clock.now += SCORE_OF_A_COPY if is_copy else SCORE
            return output
        assert model.training
        self.clock.now += FORWARD
        output.register_hook(lambda _: setattr(self.clock, "now", self.clock.now + BACKWARD))
        return output


class TimedLoader:
    """Counts batches from 1; the first ``num_slow`` take ten times as long."""

    def __init__(self, clock: Clock, sizes: list[int], *, num_slow: int = 0) -> None:
        self.clock, self.sizes, self.num_slow = clock, sizes, num_slow
        self.batch_size = max(sizes, default=4)
        self.num_workers = 0
        self.num_loaded = 0

    def __iter__(self) -> Iterator[torch.Tensor]:
        for position, size in enumerate(self.sizes):
            self.clock.now += LOAD * (10 if position < self.num_slow else 1)
            self.num_loaded += 1
            yield torch.rand(size, 1)


class TimedStep(torch.optim.SGD):
    clock: Clock

    def step(self, closure: Any = None) -> Any:
        self.clock.now += STEP
        return super().step(closure)


class TimedTransform(SiftingBatchTransform):
    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.reverse_s = REVERSE

    def transform(self, batch: Any) -> TensorBatch:
        self.clock.now += TRANSFORM
        return TensorBatch(batch)

    def reverse_transform(self, sifting_batch: Any) -> Any:
        self.clock.now += self.reverse_s
        return sifting_batch.inputs


def measure(
    sizes: list[int],
    *,
    num_batches: int = 4,
    num_warmup: int = 0,
    num_slow: int = 0,
    num_workers: int = 0,
    has_transforms: bool = False,
    has_optimizer: bool = False,
) -> tuple[PilotReport, TimedLoader]:
    clock = Clock()
    model = torch.nn.Linear(1, 1)
    loader = TimedLoader(clock, sizes, num_slow=num_slow)
    loader.num_workers = num_workers
    optimizer = None
    if has_optimizer:
        optimizer = TimedStep(model.parameters(), lr=0.1)
        optimizer.clock = clock
    report = run_pilot(
        model,
        TimedLoss(clock),
        loader,
        batch_transforms=TimedTransform(clock) if has_transforms else None,
        optimizer=optimizer,
        betas=(0.5, 1.0, 3.0),
        beta_value=None,
        num_batches=num_batches,
        num_warmup=num_warmup,
        batch_format_index=0,
        scoring="plain",
        clock=clock,
    )
    return report, loader


def medians(report: PilotReport) -> dict[str, float]:
    return {seconds.stage: seconds.median_s for seconds in report.stages}


def test_every_stage_is_measured_per_sample() -> None:
    report, _ = measure([4] * 9, has_optimizer=True)
    assert medians(report) == {
        "load": LOAD / 4,
        "transform": 0.0,
        "score": SCORE / 4,
        "select": 0.0,
        "scoring": SCORE / 4,
        "pool": 0.0,
        "forward": FORWARD / 4,
        "backward": BACKWARD / 4,
        "step": STEP / 4,
        "training": (FORWARD + BACKWARD + STEP) / 4,
    }
    costs = report.costs
    assert (costs.loading_s, costs.scoring_s) == (LOAD / 4, SCORE / 4)
    assert costs.training_s == (FORWARD + BACKWARD + STEP) / 4
    assert not costs.is_loading_overlapped


def test_without_an_optimizer_there_is_no_step() -> None:
    report, _ = measure([4] * 9)
    assert report.costs.training_s == (FORWARD + BACKWARD) / 4
    assert "step" not in medians(report)
    assert "No optimizer was given" in str(report)


def test_the_transform_counts_per_sample_and_its_reverse_per_kept_sample() -> None:
    report, _ = measure([4] * 200, has_transforms=True, num_batches=200)
    found = medians(report)
    assert found["transform"] == TRANSFORM / 4
    assert report.costs.scoring_s == (TRANSFORM + SCORE) / 4
    assert report.costs.pooling_s == found["pool"] == pytest.approx(REVERSE / 4, rel=0.05)
    assert "pooling, per kept sample" in str(report)


@pytest.mark.parametrize("beta", [1.0, 9.0])
def test_the_forecast_is_what_a_sifted_epoch_takes(beta: float) -> None:
    """With a way back from the transform that takes more than training, of kept samples only."""
    clock, model = Clock(), torch.nn.Linear(1, 1)
    loss, transforms = TimedLoss(clock), TimedTransform(clock)
    transforms.reverse_s = 30.0
    report = run_pilot(
        model,
        loss,
        TimedLoader(clock, [4] * 203),
        batch_transforms=transforms,
        optimizer=None,
        betas=(beta,),
        beta_value=None,
        num_batches=200,
        num_warmup=3,
        batch_format_index=None,
        scoring="plain",
        clock=clock,
    )
    config = {
        "beta_value": beta,
        "loss_history_length": 500,
        "loss_based_sift_config": {"sift_config": {"sift_delay": 0}},
    }
    loader = TimedLoader(clock, [4] * 500)
    sifted = SiftingDataloader(config, loader, transforms, loss, model, seed=0)
    began = clock.now
    for batch in sifted:
        loss.loss(model, None, batch).mean().backward()
    without_sifting = 500 * (LOAD + FORWARD + BACKWARD)
    taken = (clock.now - began) / without_sifting
    assert report.rows[0].relative_time == pytest.approx(taken, rel=0.1)


def measure_fresh(*, weight: float, num_there: int) -> PilotReport:
    clock, model = Clock(), torch.nn.Linear(1, 1)
    with torch.no_grad():
        model.weight.fill_(weight)
        model.bias.fill_(1.0)
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return run_pilot(
        model,
        TimedLoss(clock),
        torch.rand(4 * num_there, 1, generator=generator).split(4),
        batch_transforms=None,
        optimizer=optimizer,
        betas=(1.0,),
        beta_value=None,
        num_batches=num_there,
        num_warmup=0,
        batch_format_index=0,
        scoring="fresh",
        clock=clock,
    )


def test_the_cheapest_method_is_found_before_anything_is_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fresh_scorer, "find_fast_dtype", lambda device: torch.bfloat16)
    report = measure_fresh(weight=5.0, num_there=3)
    score = next(seconds for seconds in report.stages if seconds.stage == "score")
    assert (score.lower_s, score.median_s, score.upper_s) == (SCORE_OF_A_COPY / 4,) * 3
    assert report.num_batches == 3
    assert report.scoring_method == report.as_dict()["scoring_method"] == "bfloat16 copy"
    assert "Scored by this method: bfloat16 copy." in str(report)


def test_batches_scored_by_an_earlier_method_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """All losses are equal at first, so that no method can be judged."""
    monkeypatch.setattr(fresh_scorer, "find_fast_dtype", lambda device: torch.bfloat16)
    report = measure_fresh(weight=0.0, num_there=20)
    assert report.scoring_method == "bfloat16 copy"
    assert report.stages[2].upper_s == SCORE_OF_A_COPY / 4
    assert 0 < report.num_batches < 20


def test_a_pilot_that_finds_no_cheaper_method_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fresh_scorer, "find_fast_dtype", lambda device: None)
    report = measure_fresh(weight=5.0, num_there=3)
    assert report.scoring_method == "plain"
    assert "no cheaper method than plain was found here" in str(report)


def test_a_pilot_scores_by_the_model_itself_unless_told_otherwise() -> None:
    report, _ = measure([4] * 9)
    assert report.scoring_method == "plain"
    assert "Scored by this method: plain." in str(report)


def test_of_no_kept_sample_there_is_no_price() -> None:
    assert summarise_pooling([BatchTimes(4, {"pool": 3.0}, 0)]).median_s == 0.0


def test_the_quartiles_of_pooling_are_those_of_batches_that_kept_samples() -> None:
    kept = [BatchTimes(8, {"pool": 4.0 * size}, size) for size in (1, 2, 3)]
    pooling = summarise_pooling([*kept, BatchTimes(8, {"pool": 6.0}, 0)])
    assert (pooling.lower_s, pooling.median_s, pooling.upper_s) == (4.0, 5.0, 4.0)


def test_warm_up_is_not_measured() -> None:
    cold, _ = measure([4] * 9, num_batches=3, num_slow=2)
    warm, loader = measure([4] * 9, num_batches=3, num_slow=2, num_warmup=2)
    assert cold.costs.loading_s == 10 * LOAD / 4
    assert warm.costs.loading_s == LOAD / 4
    assert (warm.num_batches, warm.num_warmup, loader.num_loaded) == (3, 2, 5)


@pytest.mark.parametrize(("num_there", "num_warmup", "num_measured"), [(1, 0, 1), (3, 2, 1)])
def test_in_a_short_loader_the_warm_up_leaves_one_batch(
    num_there: int, num_warmup: int, num_measured: int
) -> None:
    report, _ = measure([4] * num_there, num_batches=5, num_warmup=3)
    assert (report.num_warmup, report.num_batches) == (num_warmup, num_measured)


def test_a_smaller_last_batch_does_not_count() -> None:
    report, _ = measure([4, 4, 2], num_batches=9)
    assert (report.num_batches, report.batch_size) == (2, 4)


def test_a_left_over_sample_is_not_trained_on() -> None:
    report, _ = measure([4, 1, 4, 4], num_batches=9)
    assert report.num_batches == 3
    single, _ = measure([1, 1, 1], num_batches=9)
    assert (single.num_batches, single.batch_size) == (3, 1)


def test_medians_and_quartiles_are_those_of_the_batches() -> None:
    report, _ = measure([2, 4, 8, 8, 16], num_batches=5)
    loading = report.stages[0]
    assert (loading.lower_s, loading.median_s, loading.upper_s) == (LOAD / 8, LOAD / 8, LOAD / 4)
    assert report.batch_size == 8


def test_overlapped_loading_is_drained_with_nothing_computed_between() -> None:
    report, loader = measure([4] * 50, num_batches=6, num_slow=2, num_workers=2)
    assert report.costs.is_loading_overlapped
    assert report.costs.loading_s == LOAD / 4
    assert loader.num_loaded == 6 + 2 + 6
    assert report.num_workers == 2
    assert "loading (2 workers)" in str(report)


def test_of_a_loader_shorter_than_its_workers_what_is_there_counts() -> None:
    report, _ = measure([4] * 3, num_batches=6, num_workers=8)
    assert report.costs.loading_s == LOAD / 4
    report, _ = measure([4] * 4, num_batches=6, num_workers=3, num_slow=3)
    assert report.costs.loading_s == LOAD / 4


def test_an_endless_loader_is_left_when_enough_is_known() -> None:
    class Endless:
        def __iter__(self) -> Iterator[torch.Tensor]:
            while True:
                yield torch.rand(4, 1)

    report = pilot(torch.nn.Linear(1, 1), TimedLoss(Clock()), Endless(), num_batches=2)
    assert (report.num_batches, report.num_warmup, report.batch_size) == (2, 3, 4)


def test_a_loss_of_thirty_forwards_makes_every_selectivity_lose() -> None:
    """On the real clock: so dear a score cannot be taken for a cheap one."""

    class Dear(Loss):
        def loss(self, model: Any, transformed_batch: Any, original_batch: Any = None) -> Any:
            if not torch.is_grad_enabled():
                for _ in range(30):
                    model(original_batch)
            return model(original_batch).mean(1)

    model = torch.nn.Sequential(torch.nn.Linear(64, 256), torch.nn.Linear(256, 64))
    report = pilot(model, Dear(), list(torch.rand(8 * 64, 64).split(64)), beta_value=3)
    assert report.costs.scoring_share > 1
    assert report.break_even_beta is None
    assert report.verdict(3).startswith("beta_value=3 will not save time")
    assert "No beta_value saves time here." in str(report)


def test_the_report_shows_figures_rows_and_verdicts() -> None:
    report, _ = measure([4] * 9, has_optimizer=True)
    assert [row.beta for row in report.rows] == [0.5, 1.0, 3.0]
    assert report.rows[2].kept_fraction == 0.25
    assert report.rows[2].relative_time == report.costs.relative_time(3)
    text = str(report)
    assert "Pilot: 4 batches of 4 samples after 0 to warm up, on CPU" in text
    assert "scoring pass 1250.0000 1250.0000 to 1250.0000" in " ".join(text.split())
    assert "         3       25.0 %" in text
    assert "From beta_value=0.2 on sifting saves time." in text
    assert all(report.verdict(beta) in text for beta in report.betas)
    assert "accuracy is not measured" in text
    assert "quartiles are far apart" not in text


def test_of_many_selectivities_the_telling_ones_get_a_verdict_the_asked_one_first() -> None:
    model, batches = torch.nn.Linear(1, 1), [torch.rand(4, 1)]
    report = pilot(model, TimedLoss(Clock()), batches, beta_value=7, betas=(0.01, 0.02, 50, 60))
    assert report.betas == (0.01, 0.02, 7.0, 50.0, 60.0)
    told = [line for line in str(report).splitlines() if line.startswith("beta_value=")]
    assert told[0] == report.verdict(7)
    assert len(told) <= 3


def test_scattered_figures_are_said_to_be() -> None:
    report, _ = measure([2, 4, 8, 16, 32], num_batches=5)
    assert "quartiles are far apart" in str(report)


def test_the_report_is_ready_for_json() -> None:
    report, _ = measure([4] * 9)
    plain = json.loads(json.dumps(report.as_dict()))
    assert plain["costs"]["scoring_s"] == report.costs.scoring_s
    assert plain["break_even_beta"] == report.break_even_beta
    assert plain["stages"]["backward"]["median_s"] == BACKWARD / 4
    assert plain["rows"][1] == {
        "beta": 1.0,
        "kept_fraction": 0.5,
        "relative_time": report.costs.relative_time(1),
        "verdict": report.verdict(1),
    }
    assert plain["torch_version"] == torch.__version__
