"""The default dataset: real handwritten digits that scikit-learn carries in its package.

1,797 grey pictures of 8 x 8 pixels with 17 levels, from 43 people. They are written as JPEG
files of 32 x 32 pixels, one folder a class, as the algorithm reads them.

Source: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine
Learning Repository, 1998, https://doi.org/10.24432/C50P49 (CC BY 4.0).
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sagemaker_sift.exceptions import MissingDependencyError

try:
    import cv2
    import numpy as np
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split
except ImportError as _error:
    raise MissingDependencyError(
        f"{_error.name} is not installed. Run: pip install 'sagemaker-sift[local]'"
    ) from _error

_FORMAT = {"dataset": "digits", "version": 1, "pixels": 32, "seed": 0}
_VALIDATION_SHARE = 0.2
_JPEG_QUALITY = 95


@dataclass(frozen=True, slots=True)
class Dataset:
    """A dataset on disk, one folder a class.

    Attributes:
        train: Folder of the training images.
        validation: Folder of the validation images.
        num_classes: Number of classes.
        num_training_samples: Number of training images.
        num_validation_samples: Number of validation images.
    """

    train: Path
    validation: Path
    num_classes: int
    num_training_samples: int
    num_validation_samples: int


def write_default_dataset(folder: str | os.PathLike[str]) -> Dataset:
    """Write the default dataset, split 80/20 by class with a fixed seed, and return where it is.

    If the folder has it already, nothing is written. The folder appears complete or not at all.

    Args:
        folder: Where to put ``train/`` and ``validation/``.

    Raises:
        FileExistsError: If the folder exists and holds something else.
    """
    target = Path(folder).expanduser().absolute()
    label = target / "dataset.json"
    if label.is_file():
        found = json.loads(label.read_text(encoding="utf-8"))
        if {name: found.get(name) for name in _FORMAT} == _FORMAT:
            return _to_dataset(target, found)
    if target.exists():
        raise FileExistsError(
            f"{str(target)!r} exists and is not the default dataset. Choose another folder."
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        counts = _write_images(temporary)
        (temporary / "dataset.json").write_text(json.dumps(_FORMAT | counts), encoding="utf-8")
        temporary.chmod(0o755)
        temporary.rename(target)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return _to_dataset(target, counts)


def _write_images(folder: Path) -> dict[str, int]:
    digits = load_digits()
    indices = np.arange(len(digits.target))
    split = train_test_split(
        indices,
        test_size=_VALIDATION_SHARE,
        stratify=digits.target,
        random_state=_FORMAT["seed"],
    )
    for name, chosen in zip(("train", "validation"), split, strict=True):
        for digit in range(10):
            (folder / name / str(digit)).mkdir(parents=True)
        for idx in chosen:
            path = folder / name / str(digits.target[idx]) / f"{idx:04d}.jpg"
            path.write_bytes(_encode(digits.images[idx]))
    return {
        "num_classes": 10,
        "num_training_samples": len(split[0]),
        "num_validation_samples": len(split[1]),
    }


def _encode(image_HW: Any) -> bytes:
    """Return the JPEG of a digit, dark background, from its 8 x 8 levels in [0, 16]."""
    small_HW = np.round(image_HW * (255.0 / 16.0)).astype(np.uint8)
    pixels = int(str(_FORMAT["pixels"]))
    large_HW = cv2.resize(small_HW, (pixels, pixels), interpolation=cv2.INTER_CUBIC)
    ok, encoded = cv2.imencode(".jpg", large_HW, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    if not ok:
        raise RuntimeError("OpenCV did not encode a JPEG.")
    return encoded.tobytes()


def _to_dataset(folder: Path, counts: dict[str, int]) -> Dataset:
    return Dataset(
        train=folder / "train",
        validation=folder / "validation",
        num_classes=counts["num_classes"],
        num_training_samples=counts["num_training_samples"],
        num_validation_samples=counts["num_validation_samples"],
    )
