"""Small loaders whose samples carry their own losses, for tests of the sifting loader."""

from __future__ import annotations

from typing import Any

import torch

from smart_sifting import SiftingDataloader
from tests.conformance.loader_suite import LossOfIds, make_config


def read_ids(batch: Any) -> list[int]:
    ids: list[int] = batch[0].tolist()
    return ids


def make_batches(num_batches: int = 6, batch_size: int = 8) -> list[list[torch.Tensor]]:
    ids = torch.arange(num_batches * batch_size)
    return [[part, part * 2] for part in ids.split(batch_size)]


def make_loader(wrapped: Any, loss: Any = None, **arguments: Any) -> SiftingDataloader:
    config = arguments.pop("config", make_config())
    loss = LossOfIds(read_ids) if loss is None else loss
    arguments = {"seed": 0, "model": torch.nn.Identity()} | arguments
    return SiftingDataloader(config, wrapped, loss_impl=loss, **arguments)
