"""Images, class folders and container roots for tests of the trainer, all from seeds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

REPOSITORY = Path(__file__).resolve().parents[2]

TINY = {
    "num_classes": "2",
    "num_training_samples": "32",
    "num_layers": "20",
    "image_shape": "3,8,8",
    "mini_batch_size": "8",
    "epochs": "2",
    "learning_rate": "0.05",
}
"""Hyperparameters of a job that takes a second."""

SIFTING = {"beta_value": "1", "sift_delay": "2", "stop_if_slower": "False"}
"""Hyperparameters of a tiny job that sifts from its third batch on, whatever that costs here."""


def make_image(class_idx: int, *, num_classes: int, size: int, seed: int) -> np.ndarray:
    """Return a noisy RGB image whose class is told by the brightness of its channels."""
    rng = np.random.default_rng([class_idx, seed])
    image_HWC = rng.integers(0, 60, (size, size, 3), dtype=np.uint8)
    image_HWC[:, :, class_idx % 3] += np.uint8(100 + 90 * (class_idx // 3) // num_classes)
    return image_HWC


def write_image(path: Path, image_HWC: np.ndarray) -> Path:
    """Write an RGB image as the suffix of ``path`` says, and return the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    is_written = cv2.imwrite(str(path), cv2.cvtColor(image_HWC, cv2.COLOR_RGB2BGR))
    assert is_written
    return path


def fill_channel(
    root: Path, *, num_classes: int = 2, num_images: int = 16, size: int = 10, seed: int = 0
) -> Path:
    """Write ``num_images`` JPEG files into each of the folders ``class0``, ``class1``, ..."""
    for class_idx in range(num_classes):
        for idx in range(num_images):
            image_HWC = make_image(
                class_idx, num_classes=num_classes, size=size, seed=seed * 100_000 + idx
            )
            write_image(root / f"class{class_idx}" / f"{idx:04d}.jpg", image_HWC)
    return root


def make_root(
    root: Path,
    *,
    hyperparameters: dict[str, str] | None = None,
    validation: bool = True,
    num_images: int = 16,
) -> Path:
    """Lay out an ``/opt/ml`` with the tiny job, its images, and changed hyperparameters."""
    configure(root, **(hyperparameters or {}))
    fill_channel(root / "input/data/train", num_images=num_images)
    if validation:
        fill_channel(root / "input/data/validation", num_images=5, seed=1)
    return root


def configure(root: Path, **hyperparameters: str) -> None:
    """Write ``hyperparameters.json`` of the tiny job with some of them changed."""
    folder = root / "input/config"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "hyperparameters.json").write_text(json.dumps(TINY | hyperparameters))


def read_failure(root: Path) -> str:
    """Return the failure file."""
    return (root / "output/failure").read_text()


def start_train(
    root: Path,
    *,
    arguments: Sequence[str] = (),
    prefix: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> subprocess.Popen[str]:
    """Start ``entry_points/train`` on a root, one thread, its log in a pipe."""
    own = {"SAGEMAKER_BASE_DIR": str(root), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*prefix, sys.executable, str(REPOSITORY / "entry_points/train"), *arguments],
        env={**os.environ, **own, **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: subprocess.Popen[str], expected: int = 0) -> str:
    """Wait for the end of a program that :func:`start_train` started and return its log."""
    log, _ = process.communicate(timeout=240)
    assert process.returncode == expected, log
    return log


def read_until(process: subprocess.Popen[str], text: str) -> str:
    """Return the log up to the line that contains ``text``."""
    assert process.stdout is not None
    log = ""
    for line in process.stdout:
        log += line
        if text in line:
            return log
    raise AssertionError(f"{text!r} is not in the log:\n{log}")


def read_weights(root: Path) -> dict[str, bytes]:
    """Return the files of weights that a job left, by name."""
    return {path.name: path.read_bytes() for path in (root / "model").glob("*.safetensors")}
