"""The loaders of a job, and every check that needs the images themselves.

In:  channels and hyperparameters.  Out: batches on the device.
Next: :mod:`sagemaker_sift.trainer.loop`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import torch

from sagemaker_sift.trainer.config import TrainingConfig
from sagemaker_sift.trainer.data.augmentation import NUM_CHANCES
from sagemaker_sift.trainer.data.cache import DecodedSet, decode_set
from sagemaker_sift.trainer.data.dataset import ImageDataset
from sagemaker_sift.trainer.data.folder import list_train_images, list_validation_images
from sagemaker_sift.trainer.data.image import TooSmall, has_room
from sagemaker_sift.trainer.data.image_set import ImageSet
from sagemaker_sift.trainer.data.ledger import UnreadableLedger, build_too_small_error
from sagemaker_sift.trainer.data.loader import BatchLoader, ImageLoader
from sagemaker_sift.trainer.data.order import (
    BatchOrder,
    BatchShare,
    SequentialBatches,
    ShuffledBatches,
)
from sagemaker_sift.trainer.data.stream_loader import StreamLoader, build_stream_loader
from sagemaker_sift.trainer.errors import TrainingError
from sagemaker_sift.trainer.inputs import InputForm, open_image_set
from sagemaker_sift.trainer.model import final_map_size
from sagemaker_sift.trainer.objective import LabelCounts
from sagemaker_sift.trainer.ranks import Ranks

MAX_WORKERS = 8
"""Processes that decode images of a set that does not fit into memory."""

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingData:
    """What a job trains on and validates with.

    Attributes:
        classes: Class names; a label is an index into them.
        train: Full batches, shuffled and augmented.
        validation: Every image once, or ``None`` without the channel.
        label_counts: How often each class occurs in training; ``None`` if it is not known before.
    """

    classes: tuple[str, ...]
    train: BatchLoader
    validation: BatchLoader | None
    label_counts: LabelCounts | None


def prepare_data(
    config: TrainingConfig, *, device: torch.device, is_stopping: Callable[[], bool]
) -> TrainingData:
    """Return the loaders of a job.

    Channels that fit into ``config.decoded_budget_bytes`` are decoded here, once, which also finds
    every unreadable and every too small image before the first epoch; larger ones are decoded by
    worker processes as they are needed.

    Args:
        config: The job.
        device: Where batches go.
        is_stopping: Asked while decoding.

    Raises:
        TrainingError: If the channels do not fit the hyperparameters, or their images are too few,
            too small or too often unreadable.
    """
    cv2.setNumThreads(0)
    hp, job_input = config.hyperparameters, config.job_input
    if hp.early_stopping and job_input.validation is None:
        raise TrainingError(
            "`early_stopping` is True, but the job has no channel 'validation' to measure "
            "improvement with. Add one, or set early_stopping to False."
        )
    builder = _LoaderBuilder(config, device, is_stopping)
    train = builder.open("train")
    validation = None
    if job_input.validation is None:
        _LOG.warning("There is no channel 'validation': the model of the last epoch is kept.")
    else:
        validation = builder.open("validation", classes=train.classes)
    return TrainingData(
        classes=train.classes,
        train=builder.build(train, is_training=True),
        validation=None if validation is None else builder.build(validation, is_training=False),
        label_counts=count_labels(train) if isinstance(train, ImageSet) else None,
    )


def _open_set(
    name: str, config: TrainingConfig, *, classes: tuple[str, ...] | None = None
) -> ImageSet:
    """Return the images of a channel that are read by index.

    Args:
        name: ``train`` or ``validation``.
        config: The job.
        classes: Those of train, for validation.
    """
    hp, job_input = config.hyperparameters, config.job_input
    form = job_input.train if name == "train" else job_input.validation
    if form is not InputForm.CLASS_FOLDERS:
        return open_image_set(
            name, job_input, num_classes=hp.num_classes, multi_label=hp.multi_label
        )
    if hp.multi_label:
        raise TrainingError(
            f"`multi_label` is 1, but channel {name!r} has one folder a class, where an image has "
            "one label. Give a list (.lst), RecordIO or an augmented manifest, or set multi_label "
            "to 0."
        )
    root = config.paths.channel(name)
    if classes is None:
        return list_train_images(root, num_classes=hp.num_classes)
    return list_validation_images(root, classes=classes)


class _LoaderBuilder:
    """Builds the loaders one after the other; they share the memory for decoded images."""

    def __init__(
        self, config: TrainingConfig, device: torch.device, is_stopping: Callable[[], bool]
    ) -> None:
        self._config = config
        self._hp = config.hyperparameters
        self._device = device
        self._is_stopping = is_stopping
        self._budget_bytes = config.decoded_budget_bytes
        self._share = share_of(config)

    def open(
        self, name: str, *, classes: tuple[str, ...] | None = None
    ) -> ImageSet | StreamLoader:
        """Return the images of a channel, or if they pass by, their loader.

        Args:
            name: ``train`` or ``validation``.
            classes: Those of train, for validation.
        """
        job_input = self._config.job_input
        form = job_input.train if name == "train" else job_input.validation
        if form is None or not form.is_stream:
            source = _open_set(name, self._config, classes=classes)
            of_classes = f", {len(source.classes)} classes" if classes is None else ""
            _LOG.info("Channel %r: %d images%s", name, len(source), of_classes)
            return source
        loader = build_stream_loader(
            name,
            self._config,
            share=self._share,
            device=self._device,
            is_stopping=self._is_stopping,
        )
        _LOG.info("Channel %r: %s", name, form.value)
        return loader

    def build(self, source: ImageSet | StreamLoader, *, is_training: bool) -> BatchLoader:
        """Return the loader of one channel."""
        if isinstance(source, StreamLoader):
            return source
        return self._build(source, is_training=is_training)

    def _build(self, source: ImageSet, *, is_training: bool) -> ImageLoader:
        """Return the loader of one channel whose images are read by index."""
        hp = self._hp
        ledger = UnreadableLedger(
            source.channel, num_images=len(source), max_fraction=hp.max_corrupt_fraction
        )
        decoded = self._decode(source, ledger)
        dataset = ImageDataset(
            source=decoded.source if decoded else source,
            image_shape=hp.image_shape,
            resize=hp.resize,
            augmentation_type=hp.augmentation_type if is_training else None,
            decoded=decoded.images if decoded else None,
        )
        num_images = len(dataset)
        order: BatchOrder
        if is_training:
            order = ShuffledBatches(
                num_images=num_images,
                num_batches=self._count_batches(num_images),
                share=self._share,
                seed=hp.seed,
                num_chances=NUM_CHANCES[hp.augmentation_type],
            )
        else:
            order = SequentialBatches(num_images=num_images, share=self._share)
        is_one_of_many = self._config.placement.num_ranks > 1
        return ImageLoader(
            dataset,
            order,
            batch_size=self._share.size,
            ledger=ledger,
            device=self._device,
            num_workers=self._count_workers(dataset),
            yields_empty=is_one_of_many and not (is_training and hp.is_sifting),
        )

    def _count_workers(self, dataset: ImageDataset) -> int:
        """Return how many processes decode: none if there is little left to do a batch."""
        is_costly = dataset.augmentation_type in {"crop_color", "crop_color_transform"}
        if dataset.decoded is not None and not (is_costly and self._device.type == "cuda"):
            return 0
        return min(MAX_WORKERS, self._config.num_cpus)

    def _decode(self, source: ImageSet, ledger: UnreadableLedger) -> DecodedSet | None:
        """Return the channel's images in memory if they fit, all of them checked."""
        hp = self._hp
        decoded = decode_set(
            source,
            num_channels=hp.image_shape.channels,
            resize=hp.resize,
            budget_bytes=self._budget_bytes,
            num_threads=self._config.num_cpus,
            is_stopping=self._is_stopping,
        )
        if decoded is None:
            _LOG.info("Channel %r is decoded as it is needed.", source.channel)
            return None
        _LOG.info(
            "Channel %r is kept in memory: %.1f MB", source.channel, decoded.size_bytes / 1e6
        )
        self._budget_bytes -= decoded.size_bytes
        ledger.record(decoded.unreadable)
        if len(decoded.images) == 0:
            raise TrainingError(
                f"None of the {len(source)} images in channel {source.channel!r} can be read. "
                "Give the channel JPEG or PNG images."
            )
        for idx, image_HWC in enumerate(decoded.images):
            if not has_room(image_HWC, hp.image_shape.height, hp.image_shape.width):
                raise build_too_small_error(
                    TooSmall(decoded.source.reader.name(idx), *image_HWC.shape[:2]),
                    image_shape=hp.image_shape,
                    resize=hp.resize,
                )
        return decoded

    def _count_batches(self, num_images: int) -> int:
        """Return the length of an epoch: as many full batches as fit.

        ``num_training_samples`` bounds it when it is smaller than what was found. The built-in
        algorithm leaves a value that differs from the number of images undefined.
        """
        hp = self._hp
        if hp.num_training_samples != num_images:
            _LOG.warning(
                "num_training_samples is %d, but channel 'train' has %d readable images. "
                "An epoch takes full batches from %d of them.",
                hp.num_training_samples,
                num_images,
                min(hp.num_training_samples, num_images),
            )
        num_batches = min(hp.num_training_samples, num_images) // self._share.job_size
        if num_batches == 0:
            machines = self._config.placement.num_hosts
            times = f" times {machines} machines" if machines > 1 else ""
            if hp.num_training_samples < num_images:
                count, where = hp.num_training_samples, "num_training_samples is"
            else:
                count, where = num_images, "channel 'train' has only"
            raise TrainingError(
                f"`mini_batch_size` is {hp.mini_batch_size}{times}, but {where} {count} images, "
                f"so no batch would be full. Use {count // machines} or less, or give more images."
            )
        return num_batches


def share_of(config: TrainingConfig) -> BatchShare:
    """Return the part of every batch that this process trains on.

    Raises:
        TrainingError: If a batch has fewer samples than the machine has processes.
    """
    placement, batch_size = config.placement, config.hyperparameters.mini_batch_size
    if batch_size < placement.num_local:
        raise TrainingError(
            f"`mini_batch_size` is {batch_size}, but it is split over the {placement.num_local} "
            f"GPUs of a machine. Use {placement.num_local} or more, or an instance type with "
            "fewer GPUs."
        )
    share = BatchShare.of(
        batch_size,
        num_hosts=placement.num_hosts,
        host_idx=placement.cluster.host_idx,
        num_local=placement.num_local,
        local_rank=placement.local_rank,
    )
    hp = config.hyperparameters
    if share.size == 1 and final_map_size(hp.num_layers, hp.image_shape) == (1, 1):
        shape = ",".join(map(str, hp.image_shape))
        raise TrainingError(
            f"`mini_batch_size` is {batch_size}, which leaves a process one image a step, but "
            f"with image_shape {shape} and num_layers {hp.num_layers} batch normalisation needs "
            f"two. Use {2 * placement.num_local} or more."
        )
    return share


def check_alike(data: TrainingData, ranks: Ranks) -> None:
    """Refuse to train if the processes of a job see different data; all call it together.

    Raises:
        TrainingError: On every rank, with what the first one that differs sees.
    """
    if not ranks.are_many:
        return
    own = {
        "classes": list(data.classes),
        "batches of an epoch": len(data.train),
        "images of each class": data.label_counts and list(data.label_counts.positives),
        "a validation channel": data.validation is not None,
    }
    everywhere = ranks.share(ranks.gather(own))
    for rank, other in enumerate(everywhere):
        for name, value in other.items():
            if value != everywhere[0][name]:
                raise TrainingError(
                    f"The processes of the job do not see the same data: {name} is "
                    f"{everywhere[0][name]} on the first, but {value} on process {rank}. Give "
                    "every machine all channels in full (FullyReplicated)."
                )


def count_labels(source: ImageSet) -> LabelCounts:
    """Return how many images of a set show each class."""
    if source.labels.ndim == 2:
        return LabelCounts(source.labels.sum(axis=0, dtype=np.int64).tolist(), len(source))
    counts = np.bincount(source.labels, minlength=len(source.classes))
    return LabelCounts(counts.tolist(), len(source))
