"""Ranks that decide together: when sifting starts, whose losses are known, whether it ends."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

from smart_sifting import IdentifiedDataset, SiftingDataloader
from tests.conformance.loader_suite import LossOfIds, make_config, reload, sample_loss
from tests.supports.virtual_clock import Clock, TimedLoss


def make_numbered(num_samples: int) -> TensorDataset:
    ids = torch.arange(num_samples)
    return TensorDataset(ids, ids)


def decide_together(rank: int, size: int, options: dict[str, Any]) -> dict[str, Any]:
    """Start, score by visit, switch off, and go different ways, one after the other."""
    return {
        "one starts late": start_when_all_may(rank, {1: 48}),
        "one never starts": start_when_all_may(rank, {0: 1000}),
        "by visit": sift_by_visit(rank, size),
        "one is costly": switch_off_if_one_is_costly(rank),
        "different ways": go_different_ways_by_visit(rank),
    }


def start_when_all_may(rank: int, first_low: dict[int, int]) -> dict[str, Any]:
    """Tell losses that concentrate from a step on; return what happened at which step."""
    config = make_config(history=500)
    config["loss_based_sift_config"] = {"sift_config": {"sift_delay": "auto"}}
    loader = SiftingDataloader(
        config,
        DataLoader(make_numbered(64 * 110), 64, shuffle=True),
        loss_impl=LossOfIds(lambda batch: batch[0].tolist()),
        model=nn.Identity(),
        seed=1,
    )
    torch.manual_seed(rank)
    num_scored = []
    for step, batch in enumerate(loader):
        ids = batch[0]
        is_low = step >= first_low.get(rank, 0)
        loader.record_losses(ids % 16 == 0 if is_low else torch.linspace(0, 1, len(ids)))
        num_scored.append(loader.statistics.samples_scored)
    return {"num_batches": len(num_scored), "num_scored": num_scored, "status": loader.status}


def sift_by_visit(rank: int, size: int) -> dict[str, Any]:
    """Sift samples that change ranks in every epoch; interrupt and continue the third."""
    dataset = IdentifiedDataset(make_numbered(512))
    sampler: DistributedSampler[Any] = DistributedSampler(dataset, size, rank, seed=3)

    def make_loader() -> SiftingDataloader:
        return SiftingDataloader(
            make_config(beta=0.2, history=200),
            DataLoader(dataset, 64, sampler=sampler),
            loss_impl=LossOfIds(lambda batch: batch[0].tolist()),
            model=nn.Identity(),
            seed=1,
            scoring="last_visit",
        )

    def train_epoch(loader: SiftingDataloader, epoch: int) -> list[list[int]]:
        nonlocal state
        sampler.set_epoch(epoch)
        batches = []
        for batch in loader:
            loader.record_losses(sample_loss(batch[0]))
            batches.append(batch[0].tolist())
            if epoch == 2 and len(batches) == 2 and state is None:
                state = reload(loader.state_dict())
        return batches

    loader, state = make_loader(), None
    epochs = [train_epoch(loader, epoch) for epoch in range(5)]
    assert state is not None
    resumed = make_loader()
    resumed.load_state_dict(state)
    rests = [train_epoch(resumed, epoch) for epoch in range(2, 5)]
    return {
        "epochs": epochs,
        "rests": rests,
        "scored": [epoch.samples_scored for epoch in loader.statistics.epochs],
        "forwarded": [epoch.samples_forwarded for epoch in loader.statistics.epochs],
        "forwarded_later": [epoch.samples_forwarded for epoch in resumed.statistics.epochs],
    }


def switch_off_if_one_is_costly(rank: int) -> dict[str, Any]:
    """Sift with a costly scorer on rank 1 only; return at which step it ended."""
    from smart_sifting._core import batch_scoring, pipeline, run

    clock = Clock()
    modules: list[Any] = [batch_scoring, pipeline, run]
    own_time = run.time
    for module in modules:
        module.time = clock
    loader = SiftingDataloader(
        make_config(),
        DataLoader(make_numbered(8 * 120), 8),
        loss_impl=TimedLoss(clock, 2.0 if rank == 1 else 0.1),
        model=nn.Identity(),
        seed=1,
        stop_if_slower=True,
    )
    statuses, ids = [], []
    for _ in range(2):
        for batch in loader:
            statuses.append(loader.status)
            ids += batch[0].tolist()
            clock.now += 8.0
    for module in modules:
        module.time = own_time
    return {
        "statuses": statuses,
        "counts": loader.statistics.as_dict(),
        "num_waiting": loader.statistics.samples_waiting,
        "num_yielded": len(ids),
    }


def go_different_ways_by_visit(rank: int) -> list[str]:
    """Score otherwise on one rank; then leave an epoch early on one rank; return the errors."""
    errors = []
    for scorings in (["plain", "last_visit"], ["last_visit"] * 2):
        loader = SiftingDataloader(
            make_config(),
            DataLoader(IdentifiedDataset(make_numbered(80)), 8),
            loss_impl=LossOfIds(lambda batch: batch[0].tolist()),
            model=nn.Identity(),
            seed=1,
            scoring=scorings[rank],  # type: ignore[arg-type] # one of the three
        )
        try:
            for step, _ in enumerate(loader):
                if rank == 1 and step == 1:
                    break
            for _ in loader:
                pass
        except RuntimeError as error:
            errors.append(str(error))
    return errors
