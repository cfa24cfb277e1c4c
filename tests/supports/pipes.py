"""Pipe mode for tests: image records in memory, and a feeder that plays SageMaker's part."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import select
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2

from tests.supports.recordio import image_payload, write_record
from tests.supports.trainer_data import make_image

Labelled = tuple[Sequence[float] | float, bytes]
"""Labels and encoded image."""

PIPE = {"TrainingInputMode": "Pipe", "ContentType": "application/x-recordio"}


def encode_image(class_idx: int, seed: int, *, size: int = 10, num_classes: int = 2) -> bytes:
    """Return a JPEG file whose class is told by its brightest channel."""
    image_HWC = make_image(class_idx, num_classes=num_classes, size=size, seed=seed)
    is_encoded, data = cv2.imencode(".jpg", cv2.cvtColor(image_HWC, cv2.COLOR_RGB2BGR))
    assert is_encoded
    return data.tobytes()


def label_images(num_images: int, *, num_classes: int = 2, seed: int = 0) -> list[Labelled]:
    """Return images of all classes in turn, each with its class index."""
    return [
        (idx % num_classes, encode_image(idx % num_classes, seed * 1000 + idx))
        for idx in range(num_images)
    ]


def pack_records(images: Iterable[Labelled]) -> bytes:
    """Return what a pipe of ``.rec`` files gives."""
    return b"".join(
        write_record(image_payload(labels, image, idx))
        for idx, (labels, image) in enumerate(images)
    )


def pack_manifest(
    images: Iterable[Labelled], describe: Callable[[Any], str] = json.dumps
) -> bytes:
    """Return what a pipe of an augmented manifest gives: images and labels in turn."""
    return b"".join(
        write_record(image) + write_record(describe(labels).encode()) for labels, image in images
    )


def describe_channels(root: Path, channels: Mapping[str, Mapping[str, str]]) -> None:
    """Write ``inputdataconfig.json``."""
    folder = root / "input/config"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "inputdataconfig.json").write_text(json.dumps(channels))


def write_passes(root: Path, name: str, data: bytes, *, num_passes: int) -> None:
    """Write plain files in the place of a channel's pipes, which are read in the same way."""
    (root / "input/data").mkdir(parents=True, exist_ok=True)
    for number in range(num_passes):
        (root / "input/data" / f"{name}_{number}").write_bytes(data)


class PipeFeeder:
    """Makes the pipes of a channel one after the other, and writes the same data into each.

    As SageMaker, it makes the next pipe only when the one before was read or closed.

    Attributes:
        endings: For each pipe that is over ``done``, or ``closed`` if it was closed early.
    """

    def __init__(self, folder: Path, name: str, data: bytes) -> None:
        self.endings: list[str] = []
        self._folder = folder
        self._name = name
        self._data = data
        self._closing, self._closed = os.pipe()
        self._thread = threading.Thread(target=self._run, daemon=True)
        folder.mkdir(parents=True, exist_ok=True)
        self._make(0)
        self._thread.start()

    def close(self) -> None:
        """End, whatever is under way, and remove the pipe that nobody read."""
        os.close(self._closed)
        self._thread.join()
        os.close(self._closing)
        for path in self._folder.glob(f"{self._name}_*"):
            path.unlink()

    def _make(self, number: int) -> Path:
        path = self._folder / f"{self._name}_{number}"
        os.mkfifo(path)
        return path

    def _run(self) -> None:
        while True:
            number = len(self.endings)
            ending = self._feed(self._folder / f"{self._name}_{number}")
            if ending is None:
                return
            self._make(number + 1)
            self.endings.append(ending)

    def _feed(self, path: Path) -> str | None:
        """Write a pipe; return how it ended, ``None`` if the feeder did."""
        while (pipe := open_for_writing(path)) is None:
            if select.select([self._closing], [], [], 0.005)[0]:
                return None
        try:
            view = memoryview(self._data)
            while view:
                readable, _, _ = select.select([self._closing], [pipe], [])
                if readable:
                    return None
                with contextlib.suppress(BlockingIOError):
                    view = view[os.write(pipe, view[: 1 << 16]) :]
        except BrokenPipeError:
            return "closed"
        finally:
            os.close(pipe)
        return "done"


def open_for_writing(path: Path) -> int | None:
    """Return a pipe's end to write to, ``None`` while nobody has opened it to read."""
    try:
        return os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        return None


@contextlib.contextmanager
def feeding(root: Path, **channels: bytes) -> Iterator[dict[str, PipeFeeder]]:
    """Feed the pipes of channels while the block runs."""
    feeders = {
        name: PipeFeeder(root / "input/data", name, data) for name, data in channels.items()
    }
    try:
        yield feeders
    finally:
        for feeder in feeders.values():
            feeder.close()
