"""What a batch costs between its losses and the training step: who is kept, and where it goes.

Stages: ``decide`` ranks a batch's losses in the history and draws who is kept, ``gather`` takes
the kept samples out of the batch, ``pool`` puts them to those that wait and takes a full batch
when there is one, ``count`` is the statistics. Batches are uint8 images of 3 x 28 x 28 with int64
labels, in a TensorBatch or in a plain list, on one thread; beta is 1.

Beside it stands the same in Python, sample by sample: a deque of losses, each loss ranked by a
count over the deque as a NumPy array, kept samples as single tensors that are stacked. It is
written for this comparison, after the description in Jiang et al. 2019
(https://arxiv.org/abs/1910.00762), and is nobody's product.

All variants take turns in one process, some batches each. Medians and quartiles are over batches;
the pool gives a batch only every other time, so that its median is not what it costs on average:
the mean over all batches stands beside the sum. ``--batches`` is how many, ``--quick`` makes that
few, ``--json FILE`` writes all figures to a file.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from smart_sifting import SiftingStatistics, TensorBatch
from smart_sifting._core.accumulator import Accumulator
from smart_sifting._core.formats import BatchFormats
from smart_sifting._core.layouts import FormattedBatch
from smart_sifting._core.selection import Selector
from smart_sifting.data_model.data_model_interface import take_samples

STAGES = ("decide", "gather", "pool", "count")
ALL = "in all"
CASES = ((1024, 128), (500, 128), (100_000, 128), (1024, 32), (500, 32), (100_000, 32))
IMAGE_SHAPE = (3, 28, 28)
BETA = 1.0
BATCHES_PER_TURN = 20
Row = dict[str, Any]


class Stopwatch:
    """Collects microseconds by stage and clock."""

    def __init__(self) -> None:
        self.times_us: dict[tuple[str, str], list[float]] = {}
        self._readings: list[tuple[float, float]] = []

    def lap(self) -> None:
        """Say that a batch begins, or one of its stages has ended."""
        self._readings.append((time.perf_counter(), time.thread_time()))

    def stop(self) -> None:
        """Say that the batch has ended."""
        readings, self._readings = self._readings, []
        for stage, before, after in zip(STAGES, readings, readings[1:], strict=False):
            self._record(stage, before, after)
        self._record(ALL, readings[0], readings[-1])

    def _record(self, stage: str, since: tuple[float, float], now: tuple[float, float]) -> None:
        for clock, before, after in zip(("wall", "thread"), since, now, strict=True):
            self.times_us.setdefault((stage, clock), []).append(1e6 * (after - before))


class TensorBookkeeping:
    """What the sifting loader does, without its loader and its scoring."""

    def __init__(self, history_length: int, batch_size: int, *, is_list: bool) -> None:
        self.watch = Stopwatch()
        self._batch_size = batch_size
        self._is_list = is_list
        self._selector = Selector(beta=BETA, history_length=history_length, seed=0)
        self._pool: Accumulator[Any] = Accumulator()
        self._statistics = SiftingStatistics()
        self._statistics.begin_epoch()
        self._formats = BatchFormats()

    def fill(self, losses: torch.Tensor) -> None:
        """Fill the history."""
        self._selector.history.push(losses)

    def run(self, images: torch.Tensor, labels: torch.Tensor, losses: torch.Tensor) -> None:
        """Sift a batch."""
        size, watch = self._batch_size, self.watch
        batch = self._wrap(images, labels)
        watch.lap()
        selection = self._selector.select(losses)
        watch.lap()
        kept = take_samples(batch, selection.kept_positions) if selection.num_kept else None
        watch.lap()
        if kept is not None:
            self._pool.add(kept, source_size=size)
        if self._pool.num_samples >= size:
            self._pool.take(size)
        watch.lap()
        self._statistics.record(
            samples_seen=size,
            samples_kept=selection.num_kept,
            samples_sifted_out=size - selection.num_kept,
            samples_scored=size,
            samples_scored_kept=selection.num_kept,
            samples_nonfinite=selection.num_nonfinite,
        )
        self._statistics.record_losses(selection.losses)
        watch.lap()
        watch.stop()

    def _wrap(self, images: torch.Tensor, labels: torch.Tensor) -> Any:
        if not self._is_list:
            return TensorBatch(images, labels)
        layout = self._formats.find_layout(
            [images, labels], num_losses=len(images), loader_batch_size=self._batch_size
        )
        return FormattedBatch([images, labels], layout, len(images))


class PythonBookkeeping:
    """The same, sample by sample."""

    def __init__(self, history_length: int, batch_size: int) -> None:
        self.watch = Stopwatch()
        self._batch_size = batch_size
        self._history: deque[float] = deque(maxlen=history_length)
        self._rng = np.random.default_rng(0)
        self._pool: list[tuple[torch.Tensor, torch.Tensor]] = []
        self._counts = dict.fromkeys(("seen", "kept", "sifted_out"), 0)

    def fill(self, losses: torch.Tensor) -> None:
        """Fill the history."""
        self._history.extend(losses.tolist())

    def run(self, images: torch.Tensor, labels: torch.Tensor, losses: torch.Tensor) -> None:
        """Sift a batch."""
        size, watch = self._batch_size, self.watch
        watch.lap()
        values = losses.tolist()
        self._history.extend(values)
        history = np.array(self._history, dtype=np.float32)
        kept_idx = []
        for idx, loss in enumerate(values):
            percentile = np.count_nonzero(history <= loss) / len(history)
            if self._rng.random() < percentile**BETA:
                kept_idx.append(idx)
        watch.lap()
        kept = [(images[idx], labels[idx]) for idx in kept_idx]
        watch.lap()
        self._pool.extend(kept)
        if len(self._pool) >= size:
            taken, self._pool = self._pool[:size], self._pool[size:]
            torch.stack([image for image, _ in taken])
            torch.stack([label for _, label in taken])
        watch.lap()
        self._counts["seen"] += size
        self._counts["kept"] += len(kept_idx)
        self._counts["sifted_out"] += size - len(kept_idx)
        watch.lap()
        watch.stop()


def measure_case(history_length: int, batch_size: int, num_batches: int) -> list[Row]:
    """Return a row per variant, stage and clock."""
    generator = torch.Generator().manual_seed(0)
    variants: dict[str, TensorBookkeeping | PythonBookkeeping] = {
        "TensorBatch": TensorBookkeeping(history_length, batch_size, is_list=False),
        "list": TensorBookkeeping(history_length, batch_size, is_list=True),
        "Python, by sample": PythonBookkeeping(history_length, batch_size),
    }
    for variant in variants.values():
        variant.fill(torch.rand(history_length, generator=generator))
    shape = (batch_size, *IMAGE_SHAPE)
    images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    labels = torch.randint(0, 10, (batch_size,), generator=generator)
    for turn in range(1 + -(-num_batches // BATCHES_PER_TURN)):
        some = torch.rand(BATCHES_PER_TURN, batch_size, generator=generator).unbind()
        for variant in variants.values():
            for losses in some:
                variant.run(images, labels, losses)
            if not turn:  # the first turn warms up
                variant.watch.times_us.clear()
    rows = []
    for name, variant in variants.items():
        for (stage, clock), times_us in variant.watch.times_us.items():
            lower, middle, upper = statistics.quantiles(times_us, n=4)
            rows.append(
                {
                    "history": history_length,
                    "batch": batch_size,
                    "variant": name,
                    "stage": stage,
                    "clock": clock,
                    "median_us": middle,
                    "quartiles_us": [lower, upper],
                    "mean_us": statistics.fmean(times_us),
                    "n": len(times_us),
                }
            )
    return rows


def show(rows: list[Row], say: Callable[[str], object]) -> None:
    """Say a table of microseconds: a line per case and variant, medians, quartiles of the sum."""
    titles = ("history", "batch", "variant", "clock", *STAGES, ALL, "quartiles", "mean")
    say("| " + " | ".join(titles) + " |")
    say("|" + "---|" * len(titles))
    lines: dict[tuple[Any, ...], dict[str, Row]] = {}
    for row in rows:
        key = (row["history"], row["batch"], row["variant"], row["clock"])
        lines.setdefault(key, {})[row["stage"]] = row
    for key, by_stage in lines.items():
        medians = [f"{by_stage[stage]['median_us']:.0f}" for stage in (*STAGES, ALL)]
        lower, upper = by_stage[ALL]["quartiles_us"]
        spread = f"{lower:.0f} to {upper:.0f}"
        mean = f"{by_stage[ALL]['mean_us']:.0f}"
        say("| " + " | ".join([*map(str, key), *medians, spread, mean]) + " |")


def main() -> None:
    """Measure all cases and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, default=1000)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    num_batches = 40 if options.quick else options.batches
    print(f"torch {torch.__version__}, Python {platform.python_version()}; microseconds per batch")
    rows: list[Row] = []
    for history_length, batch_size in CASES:
        # Ranking by Python costs milliseconds in a long history: fewer batches are enough there.
        fewer = num_batches if history_length <= 10_000 else max(20, num_batches // 10)
        rows += measure_case(history_length, batch_size, fewer)
    show(rows, print)
    if options.json is not None:
        options.json.write_text(json.dumps({"beta": BETA, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
