"""Presented images per second with sifting active at every step, against plain training.

ResNet-20 on 128 images of 3 x 28 x 28. Every way to train takes a short epoch in turn, in one
process; the ratio to plain training is taken within each round. The last way has a selectivity
that cannot pay, finds that out and switches sifting off.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
from dataclasses import replace
from pathlib import Path

import torch
from image_sets import generate
from training_arms import Arm, Recipe, Sifted, TwoForward

BATCH_SIZE = 128
NUM_WARM_UP = 2

Ways = dict[str, tuple[Arm, str]]


def build_ways(num_images: int) -> Ways:
    """Return the ways to train, and against which other each is held."""
    images = generate(num_images, 128)
    recipe = Recipe(10_000, BATCH_SIZE, peak_rate=0.05, warm_up=0.0)
    low = replace(recipe, is_bfloat16=True)

    def sifted(recipe: Recipe, beta: float, scoring: str) -> Sifted:
        return Sifted(
            images,
            recipe,
            0,
            beta=beta,
            scoring=scoring,
            delay_epochs=1,
            unsifted_share=0.0,
        )

    plain, plain_low = "plain", "plain, bfloat16"
    ways: Ways = {plain: (Arm(images, recipe, 0), plain)}
    for beta in (1, 2):
        ways[f"fresh, beta {beta}"] = (sifted(recipe, beta, "fresh"), plain)
        ways[f"last visit, beta {beta}"] = (sifted(recipe, beta, "last_visit"), plain)
        ways[f"published two-forward, beta {beta}"] = (
            TwoForward(images, recipe, 0, beta=beta),
            plain,
        )
    ways[plain_low] = (Arm(images, low, 0), plain)
    ways["fresh, beta 1, bfloat16"] = (sifted(low, 1, "fresh"), plain_low)
    ways["last visit, beta 1, bfloat16"] = (sifted(low, 1, "last_visit"), plain_low)
    ways["two-forward, beta 1, bfloat16"] = (TwoForward(images, low, 0, beta=1), plain_low)
    ways["fresh, beta 0.05, stops if slower"] = (
        Sifted(
            images,
            recipe,
            0,
            beta=0.05,
            scoring="fresh",
            delay_epochs=1,
            unsifted_share=0.0,
            stop_if_slower=True,
        ),
        plain,
    )
    return ways


def measure(ways: Ways, num_rounds: int) -> dict[str, list[tuple[float, float]]]:
    """Return wall-clock and processor seconds of every epoch of every way."""
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for round_idx in range(NUM_WARM_UP + num_rounds):
        for name, (arm, _) in ways.items():
            before = arm.seconds, arm.cpu_seconds
            arm.train_epoch()
            if round_idx >= NUM_WARM_UP:
                taken = arm.seconds - before[0], arm.cpu_seconds - before[1]
                seconds[name].append(taken)
    return seconds


def main() -> None:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--batches", type=int, default=40, help="of an epoch")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--quick", action="store_true", help="only see that it runs")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.batches = 1, 2
    if options.threads:
        torch.set_num_threads(options.threads)
    ways = build_ways(options.batches * BATCH_SIZE)
    seconds = measure(ways, options.rounds)
    print(
        f"torch {torch.__version__}, Python {platform.python_version()}, "
        f"{torch.get_num_threads()} threads; {options.rounds} rounds of {options.batches} batches"
    )
    print(
        "| way to train | against | presented images per second, ratio | quartiles | by CPU time |"
    )
    print("|---|---|---|---|---|")
    rows = []
    for name, (_, other) in ways.items():
        pairs = list(zip(seconds[other], seconds[name], strict=True))
        wall = [theirs[0] / own[0] for theirs, own in pairs]
        cpu = statistics.median(theirs[1] / own[1] for theirs, own in pairs)
        low, middle, high = statistics.quantiles(wall, n=4) if len(wall) > 1 else [wall[0]] * 3
        rate = options.batches * BATCH_SIZE / statistics.median(own[0] for _, own in pairs)
        print(f"| {name} | {other} | {middle:.2f} | {low:.2f} to {high:.2f} | {cpu:.2f} |")
        rows.append({"way": name, "against": other, "ratios": wall, "images_per_s": rate})
    if options.json:
        about = {"torch": torch.__version__, "threads": torch.get_num_threads()}
        options.json.write_text(json.dumps(about | {"rows": rows}, indent=1))


if __name__ == "__main__":
    main()
