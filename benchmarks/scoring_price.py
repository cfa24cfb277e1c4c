"""What a scoring pass costs, in training steps of the same batch, and how well it ranks.

Every network is first trained a little on generated images that can be learnt, so that losses
differ. Then, round by round, each way to score is timed beside a float32 training step of the
same process. A round of ``FreshScorer`` is four passes, with as many refreshes of its copy as come
with them. How well a way ranks is measured while training goes on, two passes
to a step as with beta 1, against an evaluation pass in float32 of the same weights and batch:
Spearman's rank correlation and the share of the upper half of the losses that is found.

Times are processor time of one thread, so that other processes matter less; wall-clock time stands
beside it. ``--rounds`` is how often everything is repeated, ``--quick`` runs small batches a few
times, ``--json FILE`` writes the figures to a file.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from sagemaker_sift.trainer.model import build_model
from smart_sifting import Loss
from smart_sifting._core.fresh_scorer import NUM_COMPARED, FreshScorer
from smart_sifting._core.rank_agreement import spearman
from smart_sifting._core.scoring import score_batch

NUM_CLASSES = 10
REFRESHES = (1, 2, 4)
"""After how many passes the copy takes over the model's values; 4 is the default."""

PASSES_PER_STEP = 2
LAST_VISIT = "last_visit"
"""A way without a pass: its row is filled where the losses of training steps are kept."""

Batch = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class Case:
    """A network and its batch."""

    name: str
    num_layers: int
    batch_size: int
    height: int


CASES = (Case("ResNet-20", 20, 128, 28), Case("ResNet-18", 18, 32, 112))
QUICK_CASES = (Case("ResNet-20", 20, 32, 28), Case("ResNet-18", 18, 8, 64))


class CrossEntropy(Loss):
    """Cross-entropy of each sample."""

    def loss(self, model: Any, transformed_batch: Any, original_batch: Any = None) -> torch.Tensor:
        """Return the losses."""
        images, labels = transformed_batch
        return functional.cross_entropy(model(images), labels, reduction="none")


class Images:
    """Images of ten patterns, each under noise of its own strength, pixel values 0 to 255."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self._generator = torch.Generator().manual_seed(0)
        patterns = torch.rand(NUM_CLASSES, 3, 7, 7, generator=self._generator)
        self._patterns = functional.interpolate(patterns, (case.height, case.height))

    def draw(self) -> Batch:
        """Return a batch of new images and their labels."""
        size = self._case.batch_size
        labels = torch.randint(0, NUM_CLASSES, (size,), generator=self._generator)
        shape = (size, 3, self._case.height, self._case.height)
        strength = 2.5 * torch.rand(size, 1, 1, 1, generator=self._generator)
        noise = strength * (torch.rand(shape, generator=self._generator) - 0.5)
        images = (255 * (self._patterns[labels] + noise)).clamp(0, 255)
        return images.contiguous(memory_format=torch.channels_last), labels


class Bench:
    """One network, its optimizer, and the ways to score with it."""

    def __init__(self, case: Case) -> None:
        model = build_model(case.num_layers, (3, case.height, case.height), NUM_CLASSES)
        self.model = model.to(memory_format=torch.channels_last).train()
        self.images = Images(case)
        self.loss = CrossEntropy()
        self.optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
        self.fresh = {
            f"FreshScorer, refresh_every={n}": FreshScorer(self.loss, model, refresh_every=n)
            for n in REFRESHES
        }
        self.ways: dict[str, Callable[[Batch], torch.Tensor]] = {
            "evaluation pass, float32": self.score_plainly,
            "training mode, no gradients": self.score_in_training_mode,
            "evaluation pass, bfloat16 autocast": self.score_under_autocast,
        }
        for name, scorer in self.fresh.items():
            self.ways[name] = lambda batch, scorer=scorer: scorer.score(batch, None)

    def step(self, batch: Batch) -> None:
        """Train on a batch."""
        images, labels = batch
        self.optimizer.zero_grad()
        functional.cross_entropy(self.model(images), labels).backward()
        self.optimizer.step()

    def score_plainly(self, batch: Batch) -> torch.Tensor:
        """Return losses of the network in eval mode."""
        return score_batch(self.loss, self.model, batch, None)

    def score_under_autocast(self, batch: Batch) -> torch.Tensor:
        """Return losses of the network in eval mode, multiplied in 16 bits."""
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return score_batch(self.loss, self.model, batch, None)

    @torch.no_grad()
    def score_in_training_mode(self, batch: Batch) -> torch.Tensor:
        """Return losses by the batch's own statistics; moves the running ones."""
        return self.loss.loss(self.model, batch)

    def compare(self, num_steps: int) -> dict[str, tuple[list[float], list[float]]]:
        """Train and score by turns; return rank correlations and overlaps of each way."""
        results: dict[str, tuple[list[float], list[float]]] = {n: ([], []) for n in self.ways}
        for _ in range(num_steps):
            for _ in range(PASSES_PER_STEP):
                batch = self.images.draw()
                reference = self.score_plainly(batch)
                for name, way in self.ways.items():
                    buffers = [buffer.clone() for buffer in self.model.buffers()]
                    losses = way(batch)
                    for buffer, value in zip(self.model.buffers(), buffers, strict=True):
                        buffer.copy_(value)
                    results[name][0].append(spearman(reference, losses))
                    results[name][1].append(overlap(reference, losses))
            self.step(self.images.draw())
        return results

    def measure(self, num_rounds: int) -> dict[str, list[tuple[float, float]]]:
        """Return processor and wall-clock seconds of a step and of each way to score."""
        batch = self.images.draw()
        results: dict[str, list[tuple[float, float]]] = {}
        for round_idx in range(num_rounds + 1):
            durations = {"training step": measure(lambda: self.step(batch))}
            for name, way in self.ways.items():
                passes = max(REFRESHES) if name in self.fresh else 1
                spent = measure(lambda way=way, n=passes: [way(batch) for _ in range(n)])
                durations[name] = (spent[0] / passes, spent[1] / passes)
            if round_idx:  # the first one warms up
                for name, spent in durations.items():
                    results.setdefault(name, []).append(spent)
        return results


def overlap(reference: torch.Tensor, losses: torch.Tensor) -> float:
    """Return the share of the upper half of the reference that the losses' upper half holds."""
    half = reference.numel() // 2
    tops = [set(values.topk(half).indices.tolist()) for values in (reference, losses)]
    return len(tops[0] & tops[1]) / half


def measure(work: Callable[[], object]) -> tuple[float, float]:
    """Return the seconds that something takes: of the processor and of the clock on the wall."""
    wall, processor = time.perf_counter(), time.process_time()
    work()
    return time.process_time() - processor, time.perf_counter() - wall


def summarise(values: list[float]) -> dict[str, float]:
    """Return median and quartiles."""
    lower, median, upper = statistics.quantiles(values, n=4) if len(values) > 1 else values * 3
    return {"lower_quartile": lower, "median": median, "upper_quartile": upper}


def run_case(case: Case, *, num_rounds: int, num_warmup: int, num_compared: int) -> dict[str, Any]:
    """Train, compare and measure one network; print its rows; return its figures."""
    bench = Bench(case)
    for _ in range(num_warmup):
        bench.step(bench.images.draw())
    for _ in range(NUM_COMPARED // case.batch_size):  # until it has decided
        batch = bench.images.draw()
        for scorer in bench.fresh.values():
            scorer.score(batch, None)
    agreements = bench.compare(num_compared)
    seconds = bench.measure(num_rounds)
    steps = seconds.pop("training step")
    rows: dict[str, Any] = {}
    for name, durations in seconds.items():
        pairs = list(zip(durations, steps, strict=True))
        processor = summarise([spent[0] / step[0] for spent, step in pairs])
        wall = summarise([spent[1] / step[1] for spent, step in pairs])
        correlations, overlaps = agreements[name]
        rows[name] = {
            "price_processor_time": processor,
            "price_wall_clock": wall,
            "spearman": summarise(correlations) | {"min": min(correlations)},
            "top_half_overlap": summarise(overlaps),
        }
        print(
            f"| {case.name} | {name} | {processor['median']:.3f} | "
            f"{processor['lower_quartile']:.3f} to {processor['upper_quartile']:.3f} | "
            f"{wall['median']:.3f} | {statistics.median(correlations):.4f} | "
            f"{min(correlations):.4f} | {statistics.median(overlaps):.3f} |",
            flush=True,
        )
    rows[LAST_VISIT] = None
    method = next(iter(bench.fresh.values())).method
    step_s = summarise([step[0] for step in steps])
    return {"step_processor_s": step_s, "method": method, "ways": rows}


def main() -> None:
    """Measure all networks and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    num_rounds = 2 if options.quick else options.rounds
    print(f"torch {torch.__version__}, Python {platform.python_version()}, {num_rounds} rounds")
    print(
        "| network | way to score | price, processor time | quartiles | price, wall clock "
        "| Spearman, median | least | top-half overlap |"
    )
    print("|---|---|---|---|---|---|---|---|")
    results = {
        case.name: run_case(
            case,
            num_rounds=num_rounds,
            num_warmup=3 if options.quick else 30,
            num_compared=2 if options.quick else 20,
        )
        for case in (QUICK_CASES if options.quick else CASES)
    }
    for name, result in results.items():
        print(f"{name}: FreshScorer used {result['method']}.")
    if options.json:
        figures = {"torch": torch.__version__, "rounds": num_rounds, "networks": results}
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
