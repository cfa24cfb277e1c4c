"""What it costs that ranks agree on every batch, with and without a shared loss history.

Every rank sifts the same number of equal samples, so that none waits for another: what is timed is
the agreement itself. Beside it stands a training step of ResNet-20 under DDP, by the same
processes in the same run. ``--rounds`` is how often everything is repeated.
"""

from __future__ import annotations

import argparse
import logging
import platform
import statistics
import tempfile
import time
from typing import Any

import torch
from torch import distributed, multiprocessing
from torch.nn.parallel import DistributedDataParallel

from sagemaker_sift.trainer.model import build_model
from smart_sifting import Loss, SiftingDataloader

NUM_BATCHES, BATCH_SIZE = 200, 128
NUM_TRAINING_STEPS = 5
VARIANTS = {"own history": False, "shared history": True}


class LossOfValues(Loss):
    """The value of a sample is its loss."""

    def loss(self, model: Any, transformed_batch: Any, original_batch: Any = None) -> torch.Tensor:
        """Return the values."""
        return original_batch


def measure_agreement(batches: list[torch.Tensor], shares: bool) -> list[float]:
    """Return the milliseconds of each agreement, the first few left out."""
    base = {"sift_config": {"sift_delay": 0}}
    config = {"beta_value": 1, "loss_history_length": 500, "loss_based_sift_config": base}
    loader = SiftingDataloader(
        config,
        batches,
        loss_impl=LossOfValues(),
        model=torch.nn.Identity(),
        seed=0,
        share_history=shares,
    )
    durations, before = [], 0.0
    for _ in loader:
        now = loader.statistics.seconds["agree"]
        durations.append(1000 * (now - before))
        before = now
    return durations[5:]


def measure_training() -> list[float]:
    """Return the milliseconds of each training step, the first one left out."""
    model = DistributedDataParallel(build_model(20, (3, 28, 28), 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    images, labels = torch.randn(BATCH_SIZE, 3, 28, 28), torch.randint(0, 10, (BATCH_SIZE,))
    durations = []
    for _ in range(NUM_TRAINING_STEPS + 1):
        started = time.perf_counter()
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
        durations.append(1000 * (time.perf_counter() - started))
    return durations[1:]


def run_rank(rank: int, size: int, num_rounds: int, folder: str) -> None:
    """Measure all variants in turn; rank 0 prints median and spread."""
    torch.set_num_threads(1)
    logging.getLogger("smart_sifting").setLevel(logging.ERROR)  # that nothing is saved here
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=size
    )
    generator = torch.Generator().manual_seed(rank)
    batches = [torch.rand(BATCH_SIZE, generator=generator) for _ in range(NUM_BATCHES)]
    results: dict[str, list[float]] = {}
    for _ in range(num_rounds):
        for name, shares in VARIANTS.items():
            results.setdefault(name, []).extend(measure_agreement(batches, shares))
        results.setdefault("training step", []).extend(measure_training())
    if rank == 0:
        step_ms = statistics.median(results["training step"])
        for name, durations in results.items():
            lower, middle, upper = statistics.quantiles(durations, n=4)
            print(
                f"| {size} | {name} | {middle:.3f} | {lower:.3f} to {upper:.3f} | "
                f"{middle / step_ms:.5f} | {len(durations)} |"
            )
    distributed.barrier()
    distributed.destroy_process_group()


def main() -> None:
    """Run 2 and 4 ranks and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print(f"torch {torch.__version__}, Python {platform.python_version()}, batch {BATCH_SIZE}")
    print("| ranks | what | median ms | quartiles ms | of a training step | n |")
    print("|---|---|---|---|---|---|", flush=True)
    for size in (2, 4):
        with tempfile.TemporaryDirectory() as folder:
            multiprocessing.spawn(run_rank, (size, options.rounds, folder), nprocs=size)


if __name__ == "__main__":
    main()
