"""Sifting by the loss that a sample had in training when it was visited last."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import torch

from smart_sifting import SiftingDataloader, TensorBatch
from smart_sifting._core.scorer import PAD_TO, score_unknown
from smart_sifting._core.visit_losses import VisitLosses
from tests.conformance.loader_suite import LossOfIds, make_config, reload, sample_loss
from tests.supports.sifted_training import (
    SiftedTraining,
    assert_resumed_equals_uninterrupted,
    change_config,
)
from tests.supports.sifting_loader import make_batches, make_loader, read_ids
from tests.supports.visited_loader import (
    BATCH_SIZE,
    NUM_SAMPLES,
    PairTransform,
    make_by_visit,
    make_numbered,
    train_epoch,
    wrap,
)


def count_forwarded(num_unknown: int, batch_size: int) -> int:
    """Return how many samples are scored if so many losses of a batch are unknown."""
    num_padded = -(-num_unknown // PAD_TO) * PAD_TO
    return batch_size if num_padded >= batch_size else num_unknown


class TestWhichLossesAreScored:
    def test_none_is_scored_where_all_are_known_and_they_decide_as_scored_ones_would(self) -> None:
        loss = LossOfIds(read_ids)
        loader = make_by_visit(loss=loss)
        plain = make_loader(wrap(), config=make_config(delay=3, history=200))
        batches = [train_epoch(loader) for _ in range(3)]
        assert loss.seen == []
        assert batches == [[read_ids(batch) for batch in plain] for _ in range(3)]
        assert loader.statistics.samples_forwarded == 0
        assert 0 < loader.statistics.samples_sifted_out < loader.statistics.samples_scored

    @pytest.mark.parametrize("max_age", [1, 2])
    def test_exactly_those_are_scored_that_were_not_visited_for_too_long(
        self, max_age: int
    ) -> None:
        loss = LossOfIds(read_ids)
        loader = make_by_visit(
            loss=loss, max_score_age=max_age, config=make_config(beta=0.2, delay=3, history=200)
        )
        last_visit = {i: 0 for batch in train_epoch(loader) for i in batch}
        were_scored = []
        for epoch in range(1, 7):
            loss.seen.clear()
            old = {i for i, visited in last_visit.items() if visited < epoch - max_age}
            kept = train_epoch(loader)
            num_expected = 0
            expected: set[int] = set()
            for first in range(0, NUM_SAMPLES, BATCH_SIZE):
                batch = set(range(first, first + BATCH_SIZE))
                unknown = batch & old
                num_forwarded = count_forwarded(len(unknown), BATCH_SIZE)
                num_expected += num_forwarded
                expected |= batch if num_forwarded == BATCH_SIZE else unknown
            assert set(loss.seen) == expected
            assert len(loss.seen) % PAD_TO == 0
            assert loader.statistics.epoch.samples_forwarded == num_expected
            last_visit |= dict.fromkeys(expected, epoch)
            last_visit |= {i: epoch for batch in kept for i in batch}
            were_scored.append(len(expected))
        assert were_scored[: max_age - 1] == [0] * (max_age - 1)
        assert any(0 < number < NUM_SAMPLES for number in were_scored)

    def test_every_sample_is_scored_where_none_is_known(self) -> None:
        loss = LossOfIds(read_ids)
        loader = make_by_visit(loss=loss, delay=0)
        train_epoch(loader)
        assert loss.seen == list(range(NUM_SAMPLES))
        assert loader.statistics.samples_forwarded == NUM_SAMPLES
        train_epoch(loader)
        assert len(loss.seen) == NUM_SAMPLES

    def test_a_loss_for_ever_is_never_scored_again(self) -> None:
        loss = LossOfIds(read_ids)
        loader = make_by_visit(loss=loss, delay=0, max_score_age=2**63)
        for _ in range(3):
            train_epoch(loader)
        assert loss.seen == list(range(NUM_SAMPLES))

    @pytest.mark.parametrize("num_unknown", [0, 1, 5, 15, 16, 17, 80, 81, 95, 96])
    def test_part_of_a_batch_is_padded_and_only_itself_counts(self, num_unknown: int) -> None:
        generator = torch.Generator().manual_seed(num_unknown)
        id_B = torch.randperm(500, generator=generator)[:96]
        unknown = torch.randperm(96, generator=generator)[:num_unknown].sort().values
        is_known = torch.ones(96, dtype=torch.bool)
        is_known[unknown] = False
        visits = VisitLosses(1)
        visits.record(id_B[is_known], -id_B[is_known].float(), epoch=0)
        asked: list[list[int] | None] = []

        def score(sample_idx: list[int] | None) -> torch.Tensor:
            asked.append(sample_idx)
            return id_B[slice(None) if sample_idx is None else sample_idx].float()

        loss_B, num_forwarded = score_unknown(visits, id_B, epoch=1, score=score)
        is_whole = num_unknown > 96 - PAD_TO
        assert num_forwarded == (96 if is_whole else num_unknown)
        is_scored = torch.ones_like(is_known) if is_whole else ~is_known
        assert torch.equal(loss_B, torch.where(is_scored, id_B, -id_B).float())
        if not num_unknown:
            assert asked == []
        elif is_whole:
            assert asked == [None]
        else:
            (idx,) = asked
            assert idx is not None
            assert len(idx) == -(-num_unknown // PAD_TO) * PAD_TO
            assert idx[:num_unknown] == unknown.tolist()
            assert set(idx) == set(unknown.tolist())
        assert visits.is_known(id_B, epoch=1).all()
        assert int(visits.is_known(torch.arange(500), epoch=1).sum()) == 96

    @pytest.mark.parametrize("num_losses", [5, 15, 17])
    def test_a_wrong_number_of_losses_for_a_part_is_told(self, num_losses: int) -> None:
        visits = VisitLosses(1)
        visits.record(torch.arange(5, 96), torch.ones(91), epoch=0)
        with pytest.raises(
            ValueError, match=rf"{num_losses} loss\(es\) for 16 .*reduction='none'"
        ):
            score_unknown(
                visits, torch.arange(96), epoch=0, score=lambda _: torch.ones(num_losses)
            )
        assert not visits.is_known(torch.arange(5), epoch=0).any()


class TestWhatIsRecorded:
    def test_a_nan_is_kept(self) -> None:
        loader = make_by_visit(config=make_config(beta=100.0, delay=3, history=200))
        is_nan = torch.arange(NUM_SAMPLES) % 9 == 0
        for batch in loader:
            losses = sample_loss(batch[0])
            loader.record_losses(losses.masked_fill(is_nan[batch[0]], torch.nan))
        kept = {i for batch in loader for i in read_ids(batch)}
        assert set(is_nan.nonzero().flatten().tolist()) <= kept
        assert loader.statistics.samples_nonfinite == int(is_nan.sum())

    def test_the_losses_told_last_count(self) -> None:
        loader = make_by_visit()
        for batch in loader:
            loader.record_losses(torch.full((len(batch[0]),), torch.nan))
            loader.record_losses(batch[0] * 0.5)
        for _ in loader:
            pass
        assert loader.statistics.samples_nonfinite == 0
        table = loader.state_dict()["pipeline"]["scoring"]["visits"]["losses"][:NUM_SAMPLES]
        assert torch.equal(table, torch.arange(NUM_SAMPLES) * 0.5)

    def test_further_dimensions_are_averaged_and_half_precision_is_taken(self) -> None:
        loader = make_by_visit()
        for batch in loader:
            losses = sample_loss(batch[0])
            loader.record_losses(torch.stack([losses, losses + 2], 1).bfloat16().requires_grad_())
        table = loader.state_dict()["pipeline"]["scoring"]["visits"]["losses"][:NUM_SAMPLES]
        expected = sample_loss(torch.arange(NUM_SAMPLES)) + 1
        assert torch.allclose(table, expected, atol=0.5)
        assert table.dtype == torch.float32

    def test_what_the_loop_does_to_its_losses_and_ids_afterwards_does_not_matter(self) -> None:
        loader = make_by_visit(wrap(), sample_ids=lambda batch: batch[0])
        for batch in loader:
            losses = sample_loss(batch[0])
            batch[0].zero_()
            loader.record_losses(losses)
            losses.zero_()
        table = loader.state_dict()["pipeline"]["scoring"]["visits"]["losses"][:NUM_SAMPLES]
        assert torch.equal(table, sample_loss(torch.arange(NUM_SAMPLES)))

    @pytest.mark.parametrize("delay", [0, 3])
    @pytest.mark.parametrize("shape", [(95,), (97,), (1,), (), (1, 96), (0,)])
    def test_a_wrong_number_is_told(self, shape: tuple[int, ...], delay: int) -> None:
        loader = make_by_visit(delay=delay)
        size = len(next(iter(loader))[0])
        assert size == 96
        with pytest.raises(ValueError, match=r"`losses` holds .* has 96 .*reduction='none'"):
            loader.record_losses(torch.ones(shape))
        visits = loader.state_dict()["pipeline"]["scoring"]["visits"]
        assert (delay == 0) or not len(visits["epochs"])

    def test_losses_before_the_first_batch_are_told(self) -> None:
        with pytest.raises(ValueError, match=r"`losses` holds 4 .* has 0 sample"):
            make_by_visit().record_losses(torch.ones(4))

    @pytest.mark.parametrize("scoring", ["plain", "last_visit"])
    def test_what_is_no_tensor_is_told(self, scoring: Any) -> None:
        loader = make_loader(wrap(), scoring=scoring)
        next(iter(loader))
        with pytest.raises(TypeError, match=r"`losses` is \[1.0\], but must be a tensor"):
            loader.record_losses([1.0])  # type: ignore[arg-type]

    def test_a_mean_is_told_where_losses_are_only_looked_at(self) -> None:
        config = change_config(make_config(), base={"sift_delay": "auto"})
        loader = make_loader(make_batches(), config=config)
        next(iter(loader))
        with pytest.raises(ValueError, match=r"`losses` holds 1 loss.* has 8 .*reduction='none'"):
            loader.record_losses(torch.tensor(0.5))
        loader.record_losses(torch.ones(8))

    @pytest.mark.parametrize("tells_at", [None, 0, 31])
    def test_a_loop_that_never_tells_is_warned_once(
        self, tells_at: int | None, caplog: pytest.LogCaptureFixture
    ) -> None:
        loss = LossOfIds(read_ids)
        wrapped = wrap(make_numbered(40), batch_size=8)
        config = make_config(beta=1e-9)
        loader = make_by_visit(wrapped, loss=loss, config=config, max_score_age=2)
        num_scored, num_steps = [], 0
        with caplog.at_level(logging.WARNING):
            for _ in range(16):
                for batch in loader:
                    if num_steps == tells_at:
                        loader.record_losses(sample_loss(batch[0]))
                    num_steps += 1
                num_scored.append(len(loss.seen))
                loss.seen.clear()
        warnings = [r.getMessage() for r in caplog.records if "record_losses()" in r.getMessage()]
        assert len(warnings) == (0 if tells_at == 0 else 1)
        if tells_at is None:
            assert num_scored == [40, 0, 0] * 5 + [40]


def test_of_transformed_batches_both_forms_of_the_unknown_samples_are_scored() -> None:
    sizes = set()

    class Checked(LossOfIds):
        def loss(self, model: Any, transformed_batch: Any, original_batch: Any = None) -> Any:
            inputs, labels = transformed_batch
            assert torch.equal(inputs, original_batch[0] + 1000)
            assert torch.equal(labels, original_batch[0] * 2)
            assert isinstance(transformed_batch, TensorBatch)
            assert isinstance(original_batch, list)
            sizes.add(len(labels))
            return super().loss(model, transformed_batch, original_batch)

    loss = Checked(read_ids)
    config = make_config(beta=0.2, delay=3, history=200)
    both = [
        make_by_visit(config=config, max_score_age=1, loss=loss, batch_transforms=PairTransform()),
        make_by_visit(config=config, max_score_age=1),
    ]
    for _ in range(6):
        transformed, plain = (train_epoch(loader) for loader in both)
        assert transformed == plain
    assert sizes & {PAD_TO, 2 * PAD_TO}
    assert both[0].statistics.samples_forwarded == both[1].statistics.samples_forwarded


def test_a_resumed_training_equals_an_uninterrupted_one() -> None:
    training = assert_resumed_equals_uninterrupted(
        lambda: SiftedTraining(scoring="last_visit", max_score_age=1), num_epochs=4
    )
    counts = training.loader.statistics
    assert 0 < counts.samples_forwarded < counts.samples_scored


@pytest.mark.parametrize("delay", [0, 3])
def test_a_state_taken_before_the_losses_were_told_knows_whose_they_are(delay: int) -> None:
    loader, resumed = make_by_visit(delay=delay), make_by_visit(delay=delay)
    batch = next(iter(loader))
    resumed.load_state_dict(reload(loader.state_dict()))
    for told in (loader, resumed):
        told.record_losses(batch[0] * 0.25)
    first, second = (
        part.state_dict()["pipeline"]["scoring"]["visits"]["losses"] for part in (loader, resumed)
    )
    assert torch.equal(first[batch[0]], batch[0] * 0.25)
    assert torch.equal(first[batch[0]], second[batch[0]])


def test_a_resumed_training_with_fresh_scores_equals_an_uninterrupted_one() -> None:
    training = assert_resumed_equals_uninterrupted(
        lambda: SiftedTraining(
            scoring="fresh", tells_losses=False, batch_size=32, num_samples=250
        ),
        every=3,
    )
    assert training.loader.statistics.samples_sifted_out
    assert training.loader.scoring_method not in ("undecided", "")


@pytest.mark.parametrize("arguments", [{"scoring": "last_visit"}, {"weighting": "inverse"}])
def test_a_state_whose_pooled_samples_have_no_marks_is_refused(arguments: dict[str, Any]) -> None:
    def make(**arguments: Any) -> SiftingDataloader:
        weighting = {"weighting": arguments.pop("weighting", "none")}
        config = make_config(beta=0.5) | weighting
        return make_loader(wrap(make_numbered(60), batch_size=8), config=config, **arguments)

    plain = make()
    batches = iter(plain)
    next(batches)
    between = make().state_dict()
    while not plain.state_dict()["pipeline"]["pool"]:
        next(batches)
    with pytest.raises(ValueError, match=r"pooled samples without ids or weights.*Build"):
        make(**arguments).load_state_dict(plain.state_dict())
    make(**arguments).load_state_dict(between)


@pytest.mark.parametrize("version", [1, 2, 4])
def test_a_state_of_another_version_is_refused(version: int) -> None:
    loader = make_by_visit()
    state = loader.state_dict() | {"version": version}
    with pytest.raises(ValueError, match=f"has version {version}, but must have version 3"):
        loader.load_state_dict(state)


@pytest.mark.parametrize("key", ["schedule", "held_ids", "pipeline", "verdict"])
def test_a_state_with_a_part_missing_is_refused(key: str) -> None:
    loader = make_by_visit()
    state = loader.state_dict()
    del state[key]
    with pytest.raises(ValueError, match=f"`state_dict` misses {key}"):
        loader.load_state_dict(state)
