"""The trainer's own loop beside a plain PyTorch loop: images per second, nothing sifted.

Both train ResNet-20 on 128 images of 3 x 28 x 28 a step, channels last, with SGD, momentum 0.9 and
weight decay. The trainer does what a job does: it crops and mirrors images of 32 x 32 that are in
memory, sums accuracy and loss, watches for losses that are not finite, logs its progress and looks
whether it was asked to stop. The plain loop does none of that: a ``DataLoader`` without workers
that takes whole batches of float32 images out of one tensor, forward, backward, step. Both are
timed in float32 and, where the processor has it, in bfloat16 by autocast.

They take turns in one process, a few steps each, in an order that is drawn anew every round. What
counts is the ratio within a round: processor time of the plain loop's turn by that of the
trainer's. ``--rounds`` is how many, ``--steps`` how many steps a turn has, ``--threads`` of how
many threads; ``--quick`` makes everything small, ``--json FILE`` writes all figures to a file.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional
from torch.utils.data import BatchSampler, DataLoader, Dataset, RandomSampler

from sagemaker_sift.contract.hyperparameters import Hyperparameters
from sagemaker_sift.trainer.data.augmentation import NUM_CHANCES
from sagemaker_sift.trainer.data.dataset import ImageDataset
from sagemaker_sift.trainer.data.image_set import Encoded, ImageSet
from sagemaker_sift.trainer.data.ledger import UnreadableLedger
from sagemaker_sift.trainer.data.loader import ImageLoader
from sagemaker_sift.trainer.data.order import BatchShare, ShuffledBatches
from sagemaker_sift.trainer.device import has_bfloat16
from sagemaker_sift.trainer.loop import train_epoch
from sagemaker_sift.trainer.model import build_model
from sagemaker_sift.trainer.progress import ProgressLog
from sagemaker_sift.trainer.ranks import Ranks
from sagemaker_sift.trainer.running_metrics import RunningMetrics
from sagemaker_sift.trainer.stop import StopRequest
from sagemaker_sift.trainer.trainee import build_trainee

CPU = torch.device("cpu")
BATCH_SIZE, NUM_CLASSES, SIDE, CROP = 128, 10, 32, 28
RATE, MOMENTUM, WEIGHT_DECAY = 0.01, 0.9, 1e-4
CLOCKS = {"processor": time.process_time, "wall": time.perf_counter}
Row = dict[str, Any]


class NoFiles:
    """Stands for the files of images that are in memory already."""

    def __init__(self, num_images: int) -> None:
        self._num_images = num_images

    def __len__(self) -> int:
        return self._num_images

    def read(self, idx: int) -> Encoded:
        """Raise: nothing is read."""
        raise AssertionError(f"image {idx} was read from its file")

    def name(self, idx: int) -> str:
        """Return the number of an image."""
        return str(idx)


class TrainerLoop:
    """The trainer's loop, as a job runs it."""

    def __init__(self, precision_dtype: str, num_steps: int, batch_size: int) -> None:
        num_images = num_steps * batch_size
        rng = np.random.default_rng(0)
        decoded = rng.integers(0, 256, (num_images, SIDE, SIDE, 3), dtype=np.uint8)
        labels = np.arange(num_images) % NUM_CLASSES
        hp = Hyperparameters(
            num_classes=NUM_CLASSES,
            num_training_samples=num_images,
            num_layers=20,
            image_shape=(3, CROP, CROP),
            mini_batch_size=batch_size,
            augmentation_type="crop",
            learning_rate=RATE,
            momentum=MOMENTUM,
            weight_decay=WEIGHT_DECAY,
            precision_dtype=precision_dtype,
        )
        classes = tuple(map(str, range(NUM_CLASSES)))
        self._loader = ImageLoader(
            ImageDataset(
                source=ImageSet(
                    channel="train", classes=classes, reader=NoFiles(num_images), labels=labels
                ),
                image_shape=(3, CROP, CROP),
                resize=None,
                augmentation_type="crop",
                decoded=decoded,
            ),
            ShuffledBatches(
                num_images=num_images,
                num_batches=num_steps,
                share=BatchShare(0, batch_size, batch_size),
                seed=0,
                num_chances=NUM_CHANCES["crop"],
            ),
            batch_size=batch_size,
            ledger=UnreadableLedger("train", num_images=num_images, max_fraction=0.0),
            device=CPU,
            num_workers=0,
        )
        self._ranks = Ranks()
        self._trainee = build_trainee(hp, device=CPU, ranks=self._ranks)
        self._progress = ProgressLog(self._loader, time.monotonic)
        self._stop = StopRequest()
        self._saved_s = time.monotonic()
        self._epoch = 0

    def run(self) -> None:
        """Train an epoch."""
        self._loader.set_epoch(self._epoch)
        self._progress.start_epoch(self._epoch)
        metrics = RunningMetrics(self._trainee.objective, device=CPU, top_k=None)
        train_epoch(
            self._trainee,
            self._loader,
            metrics,
            epoch=self._epoch,
            after_step=self._after_step,
        )
        assert metrics.accuracy >= 0
        self._epoch += 1

    def _after_step(self, metrics: RunningMetrics) -> bool:
        self._progress.after_step(metrics)
        is_due = time.monotonic() - self._saved_s >= 1e9
        is_stopped, _ = self._ranks.exchange([self._stop.is_set(), is_due])
        return is_stopped


class TensorImages(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Images and labels in two tensors, taken a batch at a time."""

    def __init__(self, images_NCHW: torch.Tensor, labels_N: torch.Tensor) -> None:
        self._images_NCHW = images_NCHW
        self._labels_N = labels_N

    def __len__(self) -> int:
        return len(self._labels_N)

    def __getitem__(self, idx: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        return self._images_NCHW[idx], self._labels_N[idx]


class PlainLoop:
    """A plain loop over tensors."""

    def __init__(self, precision_dtype: str, num_steps: int, batch_size: int) -> None:
        generator = torch.Generator().manual_seed(0)
        num_images = num_steps * batch_size
        images_NCHW = torch.randn(num_images, 3, CROP, CROP, generator=generator)
        dataset = TensorImages(
            images_NCHW.contiguous(memory_format=torch.channels_last),
            torch.arange(num_images) % NUM_CLASSES,
        )
        batches = BatchSampler(
            RandomSampler(dataset, generator=generator), batch_size, drop_last=True
        )
        self._loader: DataLoader[Any] = DataLoader(dataset, sampler=batches, batch_size=None)
        self._is_bfloat16 = precision_dtype == "bfloat16"
        self._model = build_model(20, (3, CROP, CROP), NUM_CLASSES).to(
            memory_format=torch.channels_last  # type: ignore[call-overload]
        )
        self._optimizer = torch.optim.SGD(
            self._model.parameters(), lr=RATE, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY
        )

    def run(self) -> None:
        """Train an epoch."""
        self._model.train()
        for images_BCHW, labels_B in self._loader:
            images_BCHW = images_BCHW.contiguous(memory_format=torch.channels_last)
            self._optimizer.zero_grad()
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self._is_bfloat16):
                logits_BK = self._model(images_BCHW)
            functional.cross_entropy(logits_BK.float(), labels_B).backward()
            self._optimizer.step()


def measure(precisions: list[str], num_rounds: int, num_steps: int, batch_size: int) -> list[Row]:
    """Return a row per precision and clock: both speeds and their ratio."""
    loops: dict[tuple[str, str], Callable[[], None]] = {}
    for precision in precisions:
        loops["trainer", precision] = TrainerLoop(precision, num_steps, batch_size).run
        loops["plain", precision] = PlainLoop(precision, num_steps, batch_size).run
    seconds: dict[tuple[str, str, str], list[float]] = {}
    shuffle = random.Random(0).shuffle
    for round_idx in range(num_rounds + 1):
        turns = list(loops.items())
        shuffle(turns)
        for (name, precision), run in turns:
            began = {clock: read() for clock, read in CLOCKS.items()}
            run()
            if round_idx:  # the first round warms up
                for clock, read in CLOCKS.items():
                    seconds.setdefault((name, precision, clock), []).append(read() - began[clock])
    rows = []
    for precision in precisions:
        for clock in CLOCKS:
            own, other = (seconds[name, precision, clock] for name in ("trainer", "plain"))
            ratios = [theirs / ours for ours, theirs in zip(own, other, strict=True)]
            lower, middle, upper = statistics.quantiles(ratios, n=4, method="inclusive")
            num_images = num_steps * batch_size
            rows.append(
                {
                    "precision": precision,
                    "clock": clock,
                    "trainer_images_per_s": num_images / statistics.median(own),
                    "plain_images_per_s": num_images / statistics.median(other),
                    "ratio": middle,
                    "ratio_quartiles": [lower, upper],
                    "n": len(ratios),
                }
            )
    return rows


def show(rows: list[Row], say: Callable[[str], object]) -> None:
    """Say a table in Markdown."""
    say("| precision | clock | trainer images/s | plain images/s | trainer / plain | quartiles |")
    say("|---|---|---|---|---|---|")
    for row in rows:
        lower, upper = row["ratio_quartiles"]
        say(
            f"| {row['precision']} | {row['clock']} | {row['trainer_images_per_s']:.0f} | "
            f"{row['plain_images_per_s']:.0f} | {row['ratio']:.3f} | {lower:.3f} to {upper:.3f} |"
        )


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    num_rounds, batch_size = (2, 16) if options.quick else (options.rounds, BATCH_SIZE)
    precisions = ["float32", *(["bfloat16"] if has_bfloat16(CPU) else [])]
    rows = measure(precisions, num_rounds, options.steps, batch_size)
    print(
        f"torch {torch.__version__}, Python {platform.python_version()}, batch {batch_size}, "
        f"{options.threads} thread(s), {num_rounds} rounds of {options.steps} steps"
    )
    show(rows, print)
    if options.json is not None:
        options.json.write_text(json.dumps({"rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
