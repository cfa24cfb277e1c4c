"""Loaders over pipes, for tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from sagemaker_sift.contract.container import ContainerPaths
from sagemaker_sift.trainer.config import TrainingConfig, read_config
from sagemaker_sift.trainer.data import stream_loader
from sagemaker_sift.trainer.data.pipe import Patience
from sagemaker_sift.trainer.data.preparation import share_of
from sagemaker_sift.trainer.data.stream_loader import StreamLoader
from tests.supports.pipes import (
    PIPE,
    Labelled,
    describe_channels,
    label_images,
    pack_records,
    write_passes,
)
from tests.supports.trainer_data import configure

IMAGES = label_images(36)
CPU = torch.device("cpu")


def never() -> bool:
    return False


def make_pipe_root(
    root: Path,
    images: list[Labelled] = IMAGES,
    *,
    num_passes: int = 4,
    channel: str = "train",
    **hyperparameters: str,
) -> Path:
    configure(root, **({"num_training_samples": "36"} | hyperparameters))
    describe_channels(root, {"train": PIPE, channel: PIPE})
    write_passes(root, channel, pack_records(images), num_passes=num_passes)
    return root


def open_loader(
    root: Path,
    channel: str = "train",
    *,
    rank: int = 0,
    num_local: int = 1,
    is_stopping: Callable[[], bool] = never,
) -> StreamLoader:
    environ = {"SIFT_LOCAL_RANK": str(rank), "SIFT_PROCESSES_PER_HOST": str(num_local)}
    config: TrainingConfig = read_config(ContainerPaths(root), environ)
    return stream_loader.build_stream_loader(
        channel,
        config,
        share=share_of(config),
        device=CPU,
        is_stopping=is_stopping,
        patience=Patience(limit_s=60, poll_s=0.002),
    )
