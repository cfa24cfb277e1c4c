"""Whole runs of training: how long each way takes, and how accurate it is at the end.

All ways start from the same weights and see the same augmentation. They advance epoch by epoch in
turn, in one process, so that what disturbs the machine disturbs all alike. Only training is timed,
with all that it needs: loading, augmentation, scoring, selection. When the ways that sift are
done, plain training is given as many epochs as fit into the time that they took, its learning rate
fully decayed. ``--folder`` keeps the state: what was interrupted goes on where it was. ``--show``
prints the table of results that were written before, by several runs maybe.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from image_sets import ImageSet, generate, read_cifar10, read_sign_digits
from training_arms import Arm, Random, Recipe, Sifted, TwoForward

PLAIN = "plain"
OURS = "fresh, beta 1"
FAST = "fresh, beta 2"
EARLY = "fresh, beta 1, from the second epoch"

REGIMES: dict[str, tuple[Callable[[Path], ImageSet], Recipe]] = {
    "quick": (lambda _: generate(256, 64), Recipe(4, 64, 0.1)),
    "saturated": (read_sign_digits, Recipe(40, 64, 0.1)),
    "saturated-plain-images": (read_sign_digits, Recipe(40, 64, 0.1, is_augmented=False)),
    "under-trained": (lambda data: read_cifar10(data, 10_000), Recipe(10, 128, 0.2)),
    "full": (lambda data: read_cifar10(data, 50_000), Recipe(20, 128, 0.2)),
}


def build_arms(
    images: ImageSet, recipe: Recipe, seed: int, names: list[str] | None
) -> dict[str, Arm]:
    """Return the ways to train that advance together, by name."""

    def sifted(beta: float, scoring: str, **settings: Any) -> Sifted:
        return Sifted(images, recipe, seed, beta=beta, scoring=scoring, **settings)

    ours = sifted(1, "fresh")
    early = sifted(1, "fresh", delay_epochs=1)
    makers: dict[str, Callable[[], Arm]] = {
        PLAIN: lambda: Arm(images, recipe, seed),
        OURS: lambda: ours,
        FAST: lambda: sifted(2, "fresh"),
        "last visit, beta 1": lambda: sifted(1, "last_visit"),
        "last visit, beta 2": lambda: sifted(2, "last_visit"),
        EARLY: lambda: early,
        "fresh, beta 1, weights": lambda: sifted(1, "fresh", weighting="inverse"),
        "fresh, beta 1, last tenth unsifted": lambda: sifted(1, "fresh", unsifted_share=0.1),
        "fresh, beta 1, BatchNorm anew": lambda: sifted(1, "fresh", updates_batch_norm=True),
        "random, as many": lambda: Random(images, recipe, seed, like=ours),
        f"random, as many as '{EARLY}'": lambda: Random(images, recipe, seed, like=early),
        "published two-forward, beta 1": lambda: TwoForward(images, recipe, seed, beta=1),
    }
    unknown = set(names or ()) - set(makers)
    if unknown:
        raise SystemExit(f"There is no way {sorted(unknown)}; there are {sorted(makers)}.")
    # Arms that follow another come after it, in this order.
    return {name: make() for name, make in makers.items() if names is None or name in names}


def advance(arms: dict[str, Arm], state_file: Path | None) -> None:
    """Train all ways to their ends, an epoch of each in turn, each first in its turn."""
    if state_file is not None and state_file.exists():
        states = torch.load(state_file, weights_only=True)
        for name, arm in arms.items():
            arm.load_state_dict(states[name])
    while not all(arm.is_done for arm in arms.values()):
        for arm in arms.values():
            if not arm.is_done:
                arm.train_epoch()
        if state_file is not None:
            partial = state_file.with_suffix(".partial")
            torch.save({name: arm.state_dict() for name, arm in arms.items()}, partial)
            os.replace(partial, state_file)


def run_seed(
    images: ImageSet, recipe: Recipe, seed: int, names: list[str] | None, folder: Path | None
) -> list[dict[str, Any]]:
    """Return a row for each way to train, of one seed."""
    arms = build_arms(images, recipe, seed, names)
    advance(arms, folder / f"arms-{seed}.pt" if folder else None)
    rows = [describe(name, arm, seed) for name, arm in arms.items()]
    plain_s = arms[PLAIN].cpu_seconds / recipe.num_epochs
    matched: dict[str, Arm] = {}
    for name in (OURS, FAST, EARLY):
        if name in arms:
            num_epochs = max(1, round(arms[name].cpu_seconds / plain_s))
            if num_epochs >= recipe.num_epochs:  # that is plain training
                continue
            shorter = replace(recipe, num_epochs=num_epochs)
            matched[f"plain, the time of '{name}'"] = Arm(images, shorter, seed)
    advance(matched, folder / f"matched-{seed}.pt" if folder else None)
    return rows + [describe(name, arm, seed) for name, arm in matched.items()]


def describe(name: str, arm: Arm, seed: int) -> dict[str, Any]:
    """Return what a way to train took and gave."""
    return {
        "way": name,
        "seed": seed,
        "epochs": arm.recipe.num_epochs,
        "accuracy": 100 * arm.accuracy(),
        "seconds": arm.seconds,
        "cpu_seconds": arm.cpu_seconds,
        "trained": arm.num_trained / max(1, arm.num_presented),
    }


def summarise(rows: list[dict[str, Any]]) -> str:
    """Return a Markdown table: each way against plain training of the same seed."""
    plain = {row["seed"]: row for row in rows if row["way"] == PLAIN}
    columns = [
        "way to train",
        "epochs",
        "samples trained",
        "accuracy % (by seed)",
        "mean difference to plain",
        "wall-clock time / plain",
        "processor time / plain",
    ]
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for way in dict.fromkeys(row["way"] for row in rows):
        own = [row for row in rows if row["way"] == way]
        differences = [row["accuracy"] - plain[row["seed"]]["accuracy"] for row in own]
        wall = [row["seconds"] / plain[row["seed"]]["seconds"] for row in own]
        cpu = [row["cpu_seconds"] / plain[row["seed"]]["cpu_seconds"] for row in own]
        accuracies = ", ".join(f"{row['accuracy']:.2f}" for row in own)
        epochs = sorted({row["epochs"] for row in own})
        lines.append(
            f"| {way} | {', '.join(map(str, epochs))} "
            f"| {statistics.fmean(row['trained'] for row in own):.2f} "
            f"| {accuracies} | {statistics.fmean(differences):+.2f} "
            f"| {show(wall)} | {show(cpu)} |"
        )
    return "\n".join(lines)


def show(ratios: list[float]) -> str:
    """Return median and range."""
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def main() -> None:
    """Train, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("regime", choices=sorted(REGIMES), nargs="?", default="quick")
    parser.add_argument("--data", type=Path, help="where sign-digits, train and test lie")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--ways", nargs="+", help="only these; 'plain' must be one of them")
    parser.add_argument("--epochs", type=int, help="another number of epochs than the regime's")
    parser.add_argument("--threads", type=int, help="of torch")
    parser.add_argument("--folder", type=Path, help="keeps the state, and results.json")
    parser.add_argument("--show", type=Path, nargs="+", help="results.json files")
    options = parser.parse_args()
    if options.show:
        print(
            summarise(
                [row for file in options.show for row in json.loads(file.read_text())["rows"]]
            )
        )
        return
    if options.threads:
        torch.set_num_threads(options.threads)
    read, recipe = REGIMES[options.regime]
    if options.epochs:
        recipe = replace(recipe, num_epochs=options.epochs)
    images = read(options.data)
    folder = options.folder
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    results = folder / "results.json" if folder else None
    rows = json.loads(results.read_text())["rows"] if results and results.exists() else []
    for seed in options.seeds:
        if all(row["seed"] != seed for row in rows):
            rows += run_seed(images, recipe, seed, options.ways, folder)
        if results is not None:
            about = {
                "regime": options.regime,
                "data": images.name,
                "torch": torch.__version__,
                "python": platform.python_version(),
                "threads": torch.get_num_threads(),
            }
            results.write_text(json.dumps(about | {"rows": rows}, indent=1))
    print(
        f"{images.name}: {len(images.train_labels):,} training and {len(images.test_labels):,} "
        f"test images; ResNet-{recipe.num_layers}, {recipe.num_epochs} epochs, batches of "
        f"{recipe.batch_size}; torch {torch.__version__}, {torch.get_num_threads()} threads"
    )
    print(summarise(rows))


if __name__ == "__main__":
    main()
