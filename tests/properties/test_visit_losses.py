from __future__ import annotations

from itertools import chain
from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader, TensorDataset

from smart_sifting import IdentifiedDataset, SiftingDataloader
from smart_sifting._core.visit_losses import VisitLosses
from tests.conformance.loader_suite import LossOfIds, make_config, sample_loss

visits_of_ids = st.lists(
    st.tuples(st.integers(0, 3000), st.integers(0, 50)), min_size=1, max_size=8
)


@settings(max_examples=40, deadline=None, derandomize=True, database=None)
@given(steps=st.lists(visits_of_ids, max_size=8), max_age=st.integers(1, 4))
def test_a_table_is_like_a_dict(steps: list[list[tuple[int, int]]], max_age: int) -> None:
    visits, known = VisitLosses(max_age), dict[int, tuple[float, int]]()
    for epoch, step in enumerate(steps):
        losses = dict(step)  # ids differ
        id_B = torch.tensor(list(losses))
        visits.record(id_B, torch.tensor(list(losses.values())).float(), epoch=epoch)
        known |= {i: (float(loss), epoch) for i, loss in losses.items()}
        restored = VisitLosses(max_age)
        restored.load_state_dict(visits.state_dict())
        asked = torch.tensor([*known, 3001, 10**7, 2**31 - 1])
        for table in (visits, restored):
            are_known = [known[i][1] >= epoch + 1 - max_age for i in known] + [False] * 3
            assert table.is_known(asked, epoch=epoch + 1).tolist() == are_known
            looked_up = table.look_up(asked[: len(known)])
            assert looked_up.tolist() == [loss for loss, _ in known.values()]


@settings(max_examples=40, deadline=None, derandomize=True, database=None)
@given(first=st.lists(visits_of_ids, max_size=5), second=st.lists(visits_of_ids, max_size=5))
def test_merged_tables_hold_the_latest_visits(
    first: list[list[tuple[int, int]]], second: list[list[tuple[int, int]]]
) -> None:
    tables, known = [VisitLosses(100), VisitLosses(100)], dict[int, tuple[int, float]]()
    for table, steps in zip(tables, (first, second), strict=True):
        for epoch, step in enumerate(steps):
            losses = dict(step)
            loss_B = torch.tensor(list(losses.values())).float()
            table.record(torch.tensor(list(losses)), loss_B, epoch=epoch)
            for i, loss in losses.items():
                if epoch > known.get(i, (-1, 0.0))[0] or table is tables[0]:
                    known[i] = (epoch, float(loss))
    other = tables[1].state_dict()
    tables[0].merge(other["losses"], other["epochs"])
    if known:
        id_B = torch.tensor(list(known))
        assert tables[0].is_known(id_B, epoch=6).all()
        assert tables[0].look_up(id_B).tolist() == [loss for _, loss in known.values()]
    assert not tables[0].is_known(torch.tensor([3001]), epoch=6).any()


def read_ids(batch: Any) -> list[int]:
    ids: list[int] = batch[0].tolist()
    return ids


@settings(max_examples=40, deadline=None, derandomize=True, database=None)
@given(
    num_samples=st.integers(1, 150),
    batch_size=st.integers(3, 70),
    beta=st.sampled_from([1e-9, 0.2, 1.0, 5.0]),
    delay=st.integers(0, 6),
    repeat=st.booleans(),
    drop_last=st.booleans(),
    is_weighted=st.booleans(),
    max_age=st.integers(1, 3),
    tells_every=st.integers(1, 3),
)
def test_ids_and_weights_stay_with_their_samples(
    num_samples: int,
    batch_size: int,
    beta: float,
    delay: int,
    repeat: bool,
    drop_last: bool,
    is_weighted: bool,
    max_age: int,
    tells_every: int,
) -> None:
    config = make_config(beta=beta, delay=delay, repeat=repeat, history=50)
    config |= {"weighting": "inverse" if is_weighted else "none"}
    ids = torch.arange(num_samples)
    dataset = IdentifiedDataset(TensorDataset(ids, ids * 2))
    generator = torch.Generator().manual_seed(num_samples)
    loss = LossOfIds(read_ids)
    loader = SiftingDataloader(
        config,
        DataLoader(dataset, batch_size, shuffle=True, drop_last=drop_last, generator=generator),
        None,
        loss,
        torch.nn.BatchNorm1d(3),  # so that a single sample left over is carried to the next epoch
        batch_format_index=1,
        seed=0,
        scoring="last_visit",
        max_score_age=max_age,
    )
    pipeline = loader._run._pipeline
    for step in range(4):
        for batch in loader:
            assert pipeline.marks.ids is not None
            assert pipeline.marks.ids.tolist() == read_ids(batch)
            assert loader.weights.shape == batch[0].shape
            assert is_weighted or torch.equal(loader.weights, torch.ones(len(batch[0])))
            if step % tells_every == 0:
                loader.record_losses(sample_loss(batch[0]))
            pooled = [read_ids(chunk.data) for chunk in pipeline.pool.chunks]
            marked = [marks.ids.tolist() for marks in pipeline._marks_pool.chunks]  # type: ignore[union-attr] # all have ids
            assert list(chain(*pooled)) == list(chain(*marked))
        state = loader.state_dict()["pipeline"]["scoring"]["visits"]
        were_visited = (state["epochs"] >= 0).nonzero().flatten()
        assert torch.equal(state["losses"][were_visited], sample_loss(were_visited))
        assert were_visited.numel() <= num_samples
    counts = loader.statistics
    assert counts.samples_forwarded <= counts.samples_scored
    assert counts.samples_forwarded <= len(loss.seen)
