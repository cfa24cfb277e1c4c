"""From the records of a batch to its pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sagemaker_sift.trainer.data.batch_plan import PlannedBatch
from sagemaker_sift.trainer.data.dataset import Draws, ImageDataset, RawBatch
from sagemaker_sift.trainer.data.image_set import Encoded, ImageSet, Record


class RecordBatch:
    """The records of one batch; an ``ImageReader``."""

    def __init__(self, records: list[Record]) -> None:
        self._records = records

    def __len__(self) -> int:
        return len(self._records)

    def read(self, idx: int) -> Encoded:
        """Return the encoded image of one record."""
        return self._records[idx].data

    def name(self, idx: int) -> str:
        """Return where one record comes from."""
        return self._records[idx].name


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchDecoder:
    """Makes a batch of its records, as an ``ImageDataset`` makes it of images by index.

    Attributes:
        channel: Name of the channel.
        classes: Class names.
        multi_label: Whether an image has a 0 or 1 for every class.
        image_shape: Channels, height and width of a sample, in pixels.
        resize: Length of the shorter side before the crop, in pixels, or ``None``.
        augmentation_type: As the hyperparameter; ``None`` takes the middle.
        is_pinned: Whether the batch is to lie in memory that a GPU can copy by itself.
    """

    channel: str
    classes: tuple[str, ...]
    multi_label: bool
    image_shape: tuple[int, int, int]
    resize: int | None
    augmentation_type: str | None
    is_pinned: bool = False

    def decode(self, planned: PlannedBatch) -> RawBatch:
        """Return the batch; it depends on nothing else."""
        labels = [record.label for record in planned.records]
        source = ImageSet(
            channel=self.channel,
            classes=self.classes,
            reader=RecordBatch(planned.records),
            labels=np.array(labels, np.uint8).reshape(-1, len(self.classes))
            if self.multi_label
            else np.array(labels, np.int64),
        )
        dataset = ImageDataset(
            source=source,
            image_shape=self.image_shape,
            resize=self.resize,
            augmentation_type=self.augmentation_type,
        )
        raw = dataset.__getitems__(Draws(np.arange(len(labels)), planned.chances))
        if not self.is_pinned:
            return raw
        return raw._replace(images=raw.images.pin_memory(), labels=raw.labels.pin_memory())
