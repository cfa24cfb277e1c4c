"""Loaders that sift by the losses of visits, and a loop that tells fixed losses."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, TensorDataset

from smart_sifting import IdentifiedDataset, SiftingBatchTransform, SiftingDataloader, TensorBatch
from tests.conformance.loader_suite import make_config, sample_loss
from tests.supports.sifting_loader import make_loader, read_ids

BATCH_SIZE = 96
NUM_SAMPLES = 3 * BATCH_SIZE


def make_numbered(num_samples: int = NUM_SAMPLES) -> Dataset[Any]:
    ids = torch.arange(num_samples)
    return TensorDataset(ids, ids * 2)


def wrap(dataset: Any = None, **arguments: Any) -> DataLoader[Any]:
    dataset = make_numbered() if dataset is None else dataset
    return DataLoader(IdentifiedDataset(dataset), **{"batch_size": BATCH_SIZE} | arguments)


def make_by_visit(wrapped: Any = None, *, delay: int = 3, **arguments: Any) -> SiftingDataloader:
    wrapped = wrap() if wrapped is None else wrapped
    arguments = {"config": make_config(delay=delay, history=200)} | arguments
    return make_loader(wrapped, scoring="last_visit", **arguments)


def train_epoch(loader: SiftingDataloader) -> list[list[int]]:
    """Go over an epoch, telling the fixed losses; return the ids of its batches."""
    batches = []
    for batch in loader:
        ids = read_ids(batch)
        loader.record_losses(sample_loss(torch.tensor(ids)))
        batches.append(ids)
    return batches


class PairTransform(SiftingBatchTransform):
    def transform(self, batch: Any) -> TensorBatch:
        return TensorBatch(batch[0] + 1000, batch[1])

    def reverse_transform(self, sifting_batch: Any) -> Any:
        inputs, labels = sifting_batch
        return [inputs - 1000, labels]
