"""A sifted Lightning training on several ranks, and its continuation; run by torchrun.

Writes, as JSON into the first argument's folder, what each rank ended with.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

from smart_sifting import Loss, SiftingDataloader
from smart_sifting.metrics.lightning import TrainingMetricsRecorder
from tests.conformance.loader_suite import make_config

RANK, NUM_RANKS = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))


class ModuleLoss(Loss):
    def loss(self, model: Any, transformed_batch: Any, original_batch: Any = None) -> torch.Tensor:
        inputs, labels = original_batch
        return torch.nn.functional.cross_entropy(model(inputs), labels, reduction="none")


class Classifier(lightning.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        # No BatchNorm: between steps every rank has its own statistics, a checkpoint rank 0's.
        self.body = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.Tanh())
        self.head = torch.nn.Linear(6, 2)
        self.num_validations = 0

    def forward(self, inputs: torch.Tensor) -> Any:
        return self.head(self.body(inputs))

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        inputs, labels = batch
        return torch.nn.functional.cross_entropy(self(inputs), labels)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.num_validations += 1

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def train(folder: Path, ckpt_path: Path | None = None) -> dict[str, Any]:
    module = Classifier()
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(300, 4, generator=generator)
    dataset = TensorDataset(inputs, (inputs[:, 0] > 0).long())
    sampler: Any = DistributedSampler(dataset, num_replicas=NUM_RANKS, rank=RANK)
    wrapped = DataLoader(dataset, batch_size=8, sampler=sampler)
    loader = SiftingDataloader(
        make_config(history=60), wrapped, None, ModuleLoss(), module, seed=0
    )
    trainer = lightning.Trainer(
        max_epochs=3,
        accelerator="cpu",
        strategy="ddp",
        devices=NUM_RANKS,
        accumulate_grad_batches=2,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        default_root_dir=folder,
        callbacks=[
            TrainingMetricsRecorder(),
            ModelCheckpoint(folder, filename="{step}", save_top_k=-1, every_n_train_steps=1),
        ],
    )
    trainer.fit(
        module,
        loader,
        DataLoader(dataset, batch_size=300),
        ckpt_path=ckpt_path,
        weights_only=True if ckpt_path else None,
    )
    return {
        "weights": module.head.weight.tolist(),
        "global_step": trainer.global_step,
        "num_validations": module.num_validations,
        "epochs": [epoch.as_dict() | {"seconds": None} for epoch in loader.statistics.epochs],
    }


def main(folder: Path, steps: list[str]) -> None:
    """Train once, then again from each of the steps."""
    results = {"reference": train(folder / "reference")}
    for step in steps:
        results[step] = train(folder / f"from-{step}", folder / f"reference/step={step}.ckpt")
    (folder / f"results_{RANK}.json").write_text(json.dumps(results))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
