"""From encoded images to batches: decoding against Pillow, the loader's share of a step, RecordIO.

All variants of a table take turns in one run on one thread; what is compared are ratios within a
round. Seconds are of processor time, so that other work of the machine matters less. ``--rounds``
is how often they take turns, ``--quick`` makes everything small, ``--json`` names a file for all
numbers. Pillow is no dependency: its rows are there if it is installed.
Photographs are read from ``bccd-cells.tar.gz`` in ``$SIFT_DATA`` or ``../shared/data`` if it is
there.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import statistics
import struct
import tarfile
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch.nn import functional

from sagemaker_sift.trainer.data import image as image_module
from sagemaker_sift.trainer.data.augmentation import NUM_CHANCES, augment
from sagemaker_sift.trainer.data.dataset import ImageDataset, read_encoded
from sagemaker_sift.trainer.data.folder import list_train_images
from sagemaker_sift.trainer.data.image_set import Encoded, ImageSet
from sagemaker_sift.trainer.data.label import LabelRule
from sagemaker_sift.trainer.data.ledger import UnreadableLedger
from sagemaker_sift.trainer.data.loader import ImageLoader
from sagemaker_sift.trainer.data.order import BatchShare, ShuffledBatches
from sagemaker_sift.trainer.data.record_file import read_record_files
from sagemaker_sift.trainer.loop import to_input
from sagemaker_sift.trainer.model import build_model

try:
    from PIL import Image as PillowImage
except ImportError:
    PillowImage = None

SHORT_SIDE, CROP = 256, 224
BATCH_SIZE = 128
Row = dict[str, Any]


class EncodedImages:
    """Encoded images in memory."""

    def __init__(self, images: Sequence[bytes]) -> None:
        self._images = [np.frombuffer(image, np.uint8) for image in images]

    def __len__(self) -> int:
        return len(self._images)

    def read(self, idx: int) -> Encoded:
        """Return the bytes of one image."""
        return self._images[idx]

    def name(self, idx: int) -> str:
        """Return the number of one image."""
        return str(idx)


def make_photograph(seed: int, height: int = 375, width: int = 500) -> bytes:
    """Return a JPEG of smooth noise at several scales: fine in brightness, coarse in colour."""
    rng = np.random.default_rng(seed)
    image_HWC = np.full((height, width, 3), 128.0, np.float32)
    for cell in (2, 4, 8, 16, 32, 64, 128):
        rows, columns = height // cell + 2, width // cell + 2
        noise = rng.normal(0, 6 * cell**0.5, (rows, columns, 1)).astype(np.float32)
        if cell >= 8:
            noise = noise + rng.normal(0, 2 * cell**0.5, (rows, columns, 3)).astype(np.float32)
        smooth = cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
        image_HWC += smooth.reshape(height, width, -1)
    pixels = np.clip(image_HWC, 0, 255).astype(np.uint8)
    return cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()


def read_photographs(num_images: int) -> list[bytes]:
    """Return real pictures, or nothing if they are not there."""
    default = Path(__file__).resolve().parents[1] / "../shared/data"
    archive = Path(os.environ.get("SIFT_DATA") or default) / "bccd-cells.tar.gz"
    if not archive.exists():
        return []
    with tarfile.open(archive) as tar:
        members = [member for member in tar if member.name.endswith(".jpg")][:num_images]
        return [file.read() for member in members if (file := tar.extractfile(member))]


def sample_by_pillow(data: bytes, chances: Sequence[float]) -> Any:
    """Return a sample: decoded, short side 256, random crop of 224, mirrored or not."""
    image = PillowImage.open(io.BytesIO(data)).convert("RGB")
    width, height = image.size
    scale = SHORT_SIDE / min(width, height)
    image = image.resize(
        (max(SHORT_SIDE, int(width * scale)), max(SHORT_SIDE, int(height * scale))),
        PillowImage.Resampling.BILINEAR,
    )
    top = int(chances[0] * (image.size[1] - CROP + 1))
    left = int(chances[1] * (image.size[0] - CROP + 1))
    image = image.crop((left, top, left + CROP, top + CROP))
    if chances[2] < 0.5:
        image = image.transpose(PillowImage.Transpose.FLIP_LEFT_RIGHT)
    return np.array(image)


def build_variants(images: Sequence[bytes]) -> dict[str, Callable[[int, Sequence[float]], Any]]:
    """Return the ways to a sample, each a function of an image's number and its chances."""
    source = ImageSet(
        channel="train",
        classes=("0",),
        reader=EncodedImages(images),
        labels=np.zeros(len(images), np.int64),
    )
    fast = image_module.simplejpeg

    def sample(augmentation: str, decoder: Any) -> Callable[[int, Sequence[float]], Any]:
        def run(idx: int, chances: Sequence[float]) -> Any:
            image_module.simplejpeg = decoder
            image_HWC = read_encoded(source, idx, num_channels=3, resize=SHORT_SIDE)
            assert isinstance(image_HWC, np.ndarray)
            crop_HWC = augment(
                image_HWC, CROP, CROP, augmentation_type=augmentation, chances=chances
            )
            return np.ascontiguousarray(crop_HWC)

        return run

    variants = {}
    if PillowImage is not None:
        variants["Pillow, crop"] = lambda idx, chances: sample_by_pillow(images[idx], chances)
    variants["OpenCV, crop"] = sample("crop", None)
    if fast is not None:
        variants["simplejpeg, crop"] = sample("crop", fast)
    for augmentation in ("crop_color", "crop_color_transform"):
        variants[f"{'simplejpeg' if fast else 'OpenCV'}, {augmentation}"] = sample(
            augmentation, fast
        )
    return variants


def measure_samples(name: str, images: Sequence[bytes], num_rounds: int) -> list[Row]:
    """Return images per second of every variant, and its speed as a multiple of the first's."""
    fast = image_module.simplejpeg
    variants = build_variants(images)
    chances = np.random.default_rng(0).random((len(images), NUM_CHANCES["crop_color_transform"]))
    seconds: dict[str, list[float]] = {variant: [] for variant in variants}
    for round_idx in range(num_rounds + 1):
        for variant, run in variants.items():
            started = time.process_time()
            for idx in range(len(images)):
                run(idx, chances[idx])
            if round_idx:  # the first round warms up
                seconds[variant].append((time.process_time() - started) / len(images))
    image_module.simplejpeg = fast
    reference = seconds[next(iter(variants))]
    return [
        {
            "images": name,
            "variant": variant,
            "images_per_second": 1 / statistics.median(own),
            "speed_ratio": quartiles([r / s for r, s in zip(reference, own, strict=True)]),
        }
        for variant, own in seconds.items()
    ]


def measure_loader(num_rounds: int, num_batches: int) -> list[Row]:
    """Return the loader's share of a training step of images in memory."""
    rng = np.random.default_rng(0)
    decoded = rng.integers(0, 256, (BATCH_SIZE * num_batches, 32, 32, 3), np.uint8)
    source = ImageSet(
        channel="train",
        classes=tuple("0123456789"),
        reader=EncodedImages([b""] * len(decoded)),
        labels=rng.integers(0, 10, len(decoded)),
    )
    model = build_model(20, (3, 28, 28), 10).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    rows: list[Row] = []
    for augmentation in (None, "crop", "crop_color", "crop_color_transform"):
        dataset = ImageDataset(
            source=source,
            image_shape=(3, 28, 28),
            resize=None,
            augmentation_type=augmentation,
            decoded=decoded,
        )
        order = ShuffledBatches(
            num_images=len(decoded),
            num_batches=num_batches,
            share=BatchShare(0, BATCH_SIZE, BATCH_SIZE),
            seed=0,
            num_chances=NUM_CHANCES[augmentation],
        )
        loader = ImageLoader(
            dataset,
            order,
            batch_size=BATCH_SIZE,
            ledger=UnreadableLedger("train", num_images=len(decoded), max_fraction=0.0),
            device=torch.device("cpu"),
            num_workers=0,
        )
        loads, steps = [], []
        for _ in range(num_rounds):
            started = time.process_time()
            for batch in loader:
                loaded = time.process_time()
                optimizer.zero_grad()
                functional.cross_entropy(model(to_input(batch.images)), batch.labels).backward()
                optimizer.step()
                ended = time.process_time()
                loads.append(loaded - started)
                steps.append(ended - loaded)
                started = ended
        shares = [load / (load + step) for load, step in zip(loads, steps, strict=True)]
        rows.append(
            {
                "augmentation_type": augmentation or "none",
                "load_ms": 1000 * statistics.median(loads),
                "step_ms": 1000 * statistics.median(steps),
                "share": quartiles(shares),
            }
        )
    return rows


def measure_recordio(num_rounds: int, images: Sequence[bytes], num_images: int) -> list[Row]:
    """Return microseconds an image of the scan, of random reads, and of reading files."""
    with tempfile.TemporaryDirectory() as folder:
        record_path, root = Path(folder, "train.rec"), Path(folder, "train")
        with record_path.open("wb") as file:
            for idx in range(num_images):
                data = images[idx % len(images)]
                length = 24 + len(data)
                file.write(struct.pack("<IIIfQQ", 0xCED7230A, length, 0, idx % 2, idx, 0))
                file.write(data + bytes(-length % 4))
                path = root / f"class{idx % 2}" / f"{idx:06d}.jpg"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
        rule = LabelRule(2, False)
        records = read_record_files([record_path], channel="train", rule=rule)
        files = list_train_images(root, num_classes=2)
        order = np.random.default_rng(0).permutation(num_images).tolist()
        variants: dict[str, Callable[[], Any]] = {
            "file, random read": lambda: [files.reader.read(idx) for idx in order],
            "RecordIO, random read": lambda: [records.reader.read(idx) for idx in order],
            "RecordIO, scan for places and labels": lambda: read_record_files(
                [record_path], channel="train", rule=rule
            ),
            "class folders, listing": lambda: list_train_images(root, num_classes=2),
        }
        seconds: dict[str, list[float]] = {name: [] for name in variants}
        for round_idx in range(num_rounds + 1):
            for name, run in variants.items():
                started = time.process_time()
                run()
                if round_idx:
                    seconds[name].append((time.process_time() - started) / num_images)
    reference = seconds["file, random read"]
    return [
        {
            "what": name,
            "microseconds": 1e6 * statistics.median(own),
            "speed_ratio": quartiles([r / s for r, s in zip(reference, own, strict=True)]),
        }
        for name, own in seconds.items()
    ]


def quartiles(values: Sequence[float]) -> dict[str, float]:
    """Return median and quartiles."""
    if len(values) < 2:
        return {"median": values[0], "lower": values[0], "upper": values[0]}
    lower, middle, upper = statistics.quantiles(values, n=4, method="inclusive")
    return {"median": middle, "lower": lower, "upper": upper}


def print_table(rows: Sequence[Row], digits: int) -> None:
    """Print rows as a table in Markdown; median and quartiles share two columns."""
    header = [part for key, value in rows[0].items() for part in name_columns(key, value)]
    print("| " + " | ".join(header) + " |")
    print("|" + "---|" * len(header))
    for row in rows:
        cells = [part for value in row.values() for part in format_cells(value, digits)]
        print("| " + " | ".join(cells) + " |")
    print(flush=True)


def name_columns(key: str, value: Any) -> list[str]:
    """Return the headings of a value."""
    name = key.replace("_", " ")
    return [name, "quartiles"] if isinstance(value, dict) else [name]


def format_cells(value: Any, digits: int) -> list[str]:
    """Return the cells of a value."""
    if isinstance(value, dict):
        lower, upper = value["lower"], value["upper"]
        return [f"{value['median']:.{digits}f}", f"{lower:.{digits}f} to {upper:.{digits}f}"]
    return [f"{value:.2f}" if isinstance(value, float) else str(value)]


def main() -> None:
    """Measure everything and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    num_rounds = 1 if options.quick else options.rounds
    num_images = 8 if options.quick else 64
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    versions = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "opencv": cv2.__version__,
        "simplejpeg": getattr(image_module.simplejpeg, "__version__", None),
        "pillow": getattr(PillowImage, "__version__", None),
    }
    print(f"{versions}, {num_rounds} rounds, one thread\n")
    synthetic = [make_photograph(seed) for seed in range(num_images)]
    photographs = read_photographs(num_images)
    samples: list[Row] = []
    for name, images in (("375 x 500, noise", synthetic), ("480 x 640, blood", photographs)):
        if images:
            size_kb = statistics.mean(map(len, images)) / 1000
            samples += measure_samples(f"{name}, {size_kb:.0f} kB", images, num_rounds)
    print_table(samples, 2)
    loader = measure_loader(num_rounds, 2 if options.quick else 4)
    print_table(loader, 4)
    recordio = measure_recordio(num_rounds, synthetic, 50 if options.quick else 2000)
    print_table(recordio, 2)
    if options.json:
        found = {
            "versions": versions,
            "rounds": num_rounds,
            "samples": samples,
            "loader": loader,
            "recordio": recordio,
        }
        options.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
