"""The loaders of a job, and every check that needs the images themselves.

In:  channels and hyperparameters.  Out: batches on the device.
Next: :mod:`sagemaker_sift.trainer.loop`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import torch

from sagemaker_sift.trainer.config import TrainingConfig
from sagemaker_sift.trainer.data.cache import DecodedFolder, decode_folder
from sagemaker_sift.trainer.data.dataset import ImageDataset
from sagemaker_sift.trainer.data.folder import (
    ImageFolder,
    list_train_images,
    list_validation_images,
)
from sagemaker_sift.trainer.data.image import TooSmall, has_room
from sagemaker_sift.trainer.data.ledger import UnreadableLedger, build_too_small_error
from sagemaker_sift.trainer.data.loader import ImageLoader, SequentialBatches, ShuffledBatches
from sagemaker_sift.trainer.errors import TrainingError

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
    """

    classes: tuple[str, ...]
    train: ImageLoader
    validation: ImageLoader | None


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
        is_stopping: Asked while decoding and between batches.

    Raises:
        TrainingError: If the channels do not fit the hyperparameters, or their images are too few,
            too small or too often unreadable.
    """
    cv2.setNumThreads(0)
    hp = config.hyperparameters
    validation_root = config.paths.channel("validation")
    if hp.early_stopping and not validation_root.is_dir():
        raise TrainingError(
            "`early_stopping` is True, but the job has no channel 'validation' to measure "
            "improvement with. Add one, or set early_stopping to False."
        )
    train = list_train_images(config.paths.channel("train"), num_classes=hp.num_classes)
    _LOG.info("Channel 'train': %d images, %d classes", len(train), len(train.classes))
    validation = None
    if validation_root.is_dir():
        validation = list_validation_images(validation_root, classes=train.classes)
        _LOG.info("Channel 'validation': %d images", len(validation))
    else:
        _LOG.warning("There is no channel 'validation': the model of the last epoch is kept.")
    builder = _LoaderBuilder(config, device, is_stopping)
    return TrainingData(
        classes=train.classes,
        train=builder.build(train, is_training=True),
        validation=builder.build(validation, is_training=False) if validation else None,
    )


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

    def build(self, folder: ImageFolder, *, is_training: bool) -> ImageLoader:
        """Return the loader of one channel."""
        hp = self._hp
        ledger = UnreadableLedger(
            folder.channel, num_images=len(folder), max_fraction=hp.max_corrupt_fraction
        )
        decoded = self._decode(folder, ledger)
        dataset = ImageDataset(
            folder=decoded.folder if decoded else folder,
            image_shape=hp.image_shape,
            resize=hp.resize,
            is_augmented=is_training and hp.augmentation_type is not None,
            images=decoded.images if decoded else None,
        )
        num_images = len(dataset)
        sampler: ShuffledBatches | SequentialBatches
        if is_training:
            sampler = ShuffledBatches(
                num_images=num_images,
                num_batches=self._count_batches(num_images),
                batch_size=hp.mini_batch_size,
                seed=hp.seed,
            )
        else:
            sampler = SequentialBatches(num_images=num_images, batch_size=hp.mini_batch_size)
        return ImageLoader(
            dataset,
            sampler,
            batch_size=hp.mini_batch_size,
            ledger=ledger,
            device=self._device,
            num_workers=0 if decoded else min(MAX_WORKERS, self._config.num_cpus),
            is_stopping=self._is_stopping,
        )

    def _decode(self, folder: ImageFolder, ledger: UnreadableLedger) -> DecodedFolder | None:
        """Return the channel's images in memory if they fit, all of them checked."""
        hp = self._hp
        decoded = decode_folder(
            folder,
            num_channels=hp.image_shape.channels,
            resize=hp.resize,
            budget_bytes=self._budget_bytes,
            num_threads=self._config.num_cpus,
            is_stopping=self._is_stopping,
        )
        if decoded is None:
            _LOG.info("Channel %r is decoded as it is needed.", folder.channel)
            return None
        _LOG.info(
            "Channel %r is kept in memory: %.1f MB", folder.channel, decoded.size_bytes / 1e6
        )
        self._budget_bytes -= decoded.size_bytes
        ledger.record(decoded.unreadable)
        if not decoded.images:
            raise TrainingError(
                f"None of the {len(folder)} images in channel {folder.channel!r} can be read. "
                "Put JPEG or PNG images into its class folders."
            )
        for path, image_HWC in zip(decoded.folder.paths, decoded.images, strict=True):
            if not has_room(image_HWC, hp.image_shape.height, hp.image_shape.width):
                raise build_too_small_error(
                    TooSmall(path, *image_HWC.shape[:2]),
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
        num_batches = min(hp.num_training_samples, num_images) // hp.mini_batch_size
        if num_batches == 0:
            raise TrainingError(
                f"`mini_batch_size` is {hp.mini_batch_size}, but channel 'train' has only "
                f"{num_images} images, so no batch would be full. Use {num_images} or less, or "
                "add images."
            )
        return num_batches
