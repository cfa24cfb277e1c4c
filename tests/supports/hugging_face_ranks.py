"""A sifted Hugging Face training on several ranks, and its continuation; run by torchrun.

Prints, as JSON in the first argument's folder, what each rank ended with.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tests.supports.hugging_face import (
    Recorder,
    make_sifting_trainer,
    read_counts,
    read_learning_rates,
)


def train(folder: Path, resume_from: Path | None = None) -> Any:
    """Train, from the begin or from a checkpoint, and return the Trainer."""
    trainer = make_sifting_trainer(
        folder,
        num_samples=250,
        ddp_backend="gloo",
        ddp_find_unused_parameters=False,
        num_train_epochs=3,
        gradient_accumulation_steps=2,
        eval_strategy="epoch",
        save_strategy="steps",
        save_steps=1,
        callbacks=[Recorder()],
    )
    trainer.train(resume_from_checkpoint=resume_from and str(resume_from))
    return trainer


def describe(trainer: Any) -> dict[str, Any]:
    """Return what must be the same whether a training was interrupted or not."""
    return {
        "weight": trainer.model.head.weight.tolist(),
        "global_step": trainer.state.global_step,
        "epoch": trainer.state.epoch,
        "learning_rates": read_learning_rates(trainer),
        "counts": read_counts(trainer),
    }


def main(folder: Path, steps: list[str]) -> None:
    """Train once, then again from each of the steps."""
    reference = train(folder / "reference")
    results = {"reference": describe(reference)}
    for step in steps:
        checkpoint = folder / f"reference/checkpoint-{step}"
        results[step] = describe(train(folder / f"from {step}", checkpoint))
    rank = reference.args.process_index
    (folder / f"results_{rank}.json").write_text(json.dumps(results))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
