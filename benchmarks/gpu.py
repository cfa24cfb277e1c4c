"""Presented images per second on a GPU with sifting active at every step, against plain training.

ResNet-18 and ResNet-50 on 224 x 224 pixels under autocast, images made once and kept on the GPU,
so that no loader is in the way. Every way to train takes a pass over them in turn; a pass is timed
by CUDA events. On a machine without a GPU it says so; ``--quick`` runs a tiny one on the CPU, only
to see that it runs.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from sagemaker_sift.trainer.model import build_model
from smart_sifting import Loss, SiftingDataloader

NUM_WARM_UP = 2
Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


class Images:
    """The same batches in every pass, on the device."""

    def __init__(self, num_batches: int, batch_size: int, side: int, device: torch.device) -> None:
        generator = torch.Generator().manual_seed(0)
        self.batch_size = batch_size
        self.batches: list[Batch] = []
        for idx in range(num_batches):
            shape = (batch_size, 3, side, side)
            images = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
            labels = torch.randint(0, 100, (batch_size,), generator=generator)
            ids = torch.arange(idx * batch_size, (idx + 1) * batch_size)
            images = images.to(device, memory_format=torch.channels_last)
            self.batches.append((images, labels.to(device), ids))

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Batch]:
        return iter(self.batches)


class Run(Loss):
    """One way to train: a network, its optimizer, and a loader that sifts or does not."""

    def __init__(
        self, depth: int, images: Images, side: int, device: torch.device, dtype: torch.dtype
    ) -> None:
        super().__init__()
        network = build_model(depth, (3, side, side), 100)
        self.network: Any = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = torch.optim.SGD(self.network.parameters(), lr=0.01, momentum=0.9)
        self.device, self.dtype = device, dtype
        self.loader: Any = images
        self.scaler = torch.amp.GradScaler(device.type, enabled=dtype == torch.float16)

    def sift(self, images: Images, beta: float, scoring: str) -> Run:
        """Put sifting before the network."""
        base = {"sift_config": {"sift_delay": len(images)}}
        self.loader = SiftingDataloader(
            {"beta_value": beta, "loss_history_length": 1024, "loss_based_sift_config": base},
            images,
            loss_impl=self,
            model=self.network,
            seed=0,
            scoring=scoring,  # type: ignore[arg-type]
            sample_ids=lambda batch: batch[2],
        )
        return self

    def loss(self, model: Any, transformed_batch: Any, original_batch: Any = None) -> torch.Tensor:
        """Return the losses of a batch."""
        images, labels, _ = original_batch
        with torch.autocast(self.device.type, dtype=self.dtype):
            logits = model(images.float())
        return functional.cross_entropy(logits.float(), labels, reduction="none")

    def train(self) -> None:
        """Train one pass."""
        for batch in self.loader:
            self.optimizer.zero_grad(set_to_none=True)
            losses = self.loss(self.network, None, batch)
            if isinstance(self.loader, SiftingDataloader):
                self.loader.record_losses(losses)
            self.scaler.scale(losses.mean()).backward()  # type: ignore[no-untyped-call]
            self.scaler.step(self.optimizer)
            self.scaler.update()


def time_of(train: Callable[[], None], device: torch.device) -> float:
    """Return the seconds that a pass takes, by the device's own clock."""
    if device.type != "cuda":
        started = time.perf_counter()
        train()
        return time.perf_counter() - started
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    begin.record()  # type: ignore[no-untyped-call]
    train()
    end.record()  # type: ignore[no-untyped-call]
    end.synchronize()
    return begin.elapsed_time(end) / 1000


def main() -> None:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--batches", type=int, default=40)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--dtype", choices=("float16", "bfloat16"), default="bfloat16")
    parser.add_argument("--depths", type=int, nargs="+", default=[18, 50])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    side, device = 224, torch.device("cuda")
    if options.quick:
        side, device = 32, torch.device("cpu")
        options.rounds, options.batches, options.batch_size, options.depths = 1, 2, 8, [18]
    elif not torch.cuda.is_available():
        raise SystemExit("This machine has no GPU that torch can use; --quick runs on the CPU.")
    dtype = getattr(torch, options.dtype)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    print(f"{name}, torch {torch.__version__}, {options.dtype}, batches of {options.batch_size}")
    print(
        "| network | way to train | scored by | presented images per second, ratio | quartiles |"
    )
    print("|---|---|---|---|---|")
    rows = []
    for depth in options.depths:
        images = Images(options.batches, options.batch_size, side, device)

        def run(depth: int = depth, images: Images = images) -> Run:
            return Run(depth, images, side, device, dtype)

        ways = {"plain": run()}
        for beta in (1, 2):
            for scoring in ("plain", "fresh", "last_visit"):
                ways[f"{scoring}, beta {beta}"] = run().sift(images, beta, scoring)
        seconds: dict[str, list[float]] = {way: [] for way in ways}
        for round_idx in range(NUM_WARM_UP + options.rounds):
            for way, trained in ways.items():
                taken = time_of(trained.train, device)
                if round_idx >= NUM_WARM_UP:
                    seconds[way].append(taken)
        for way, trained in ways.items():
            pairs = zip(seconds["plain"], seconds[way], strict=True)
            ratios = [plain / own for plain, own in pairs]
            quartiles = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
            low, middle, high = quartiles
            method = getattr(trained.loader, "scoring_method", "")
            spread = f"{low:.2f} to {high:.2f}"
            print(f"| ResNet-{depth} | {way} | {method} | {middle:.2f} | {spread} |")
            rows.append({"depth": depth, "way": way, "method": method, "ratios": ratios})
    if options.json:
        about = {"torch": torch.__version__, "device": name, "dtype": options.dtype}
        options.json.write_text(json.dumps(about | {"rows": rows}, indent=1))


if __name__ == "__main__":
    main()
