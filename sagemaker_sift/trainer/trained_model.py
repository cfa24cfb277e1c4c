"""A trained model, ready to classify images.

In:  a model folder or ``model.tar.gz``.  Out: probabilities.

Shape suffixes in this file: N = images, C = channels, H = height, W = width, K = classes.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import torch

from sagemaker_sift.contract.hyperparameter import ImageShape
from sagemaker_sift.trainer.archive import resolve_model_path
from sagemaker_sift.trainer.data.image import (
    Image,
    Unreadable,
    crop_center,
    has_room,
    read_image,
    stretch,
)
from sagemaker_sift.trainer.loop import to_input
from sagemaker_sift.trainer.model_files import StoredModel, read_stored_model
from sagemaker_sift.trainer.objective import BinaryCrossEntropy, CrossEntropy, Objective

_CHUNK = 256


class TrainedModel:
    """An image classifier on the CPU.

    Args:
        stored: The model as it is stored.

    Attributes:
        classes: Class names, in the order of the probabilities. The built-in algorithm stores
            none: its classes are ``"0"``, ``"1"``, ...
        image_shape: Channels, height and width of an image, in pixels.
        num_layers: Depth of the network.
        is_multi_label: Whether an image may belong to several classes.
        epoch: Number of epochs behind the weights.
        metrics: Values of that epoch, by metric name; empty if the model has none.
        hyperparameters: Those of the training job, or ``None`` if the model does not say, as that
            of the built-in algorithm.
    """

    def __init__(self, stored: StoredModel) -> None:
        network = stored.network
        self.classes = stored.classes
        self.image_shape = ImageShape(*network.image_shape)
        self.num_layers = network.num_layers
        self.is_multi_label = bool(stored.is_multi_label)
        self.epoch = stored.epoch
        self.metrics = stored.metrics
        self.hyperparameters = stored.hyperparameters
        self._objective: Objective = (
            BinaryCrossEntropy(network.num_classes) if self.is_multi_label else CrossEntropy()
        )
        self._network = network.build(stored.weights).to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]

    def read_images(
        self,
        files: Iterable[str | os.PathLike[str]],
        *,
        fit: Literal["resize", "crop"] = "resize",
    ) -> torch.Tensor:
        """Return image files as the tensor that :meth:`probabilities` takes.

        Args:
            files: Paths of JPEG or PNG files.
            fit: ``"resize"`` stretches each image to ``image_shape``, neither keeping its aspect
                nor cropping, as the built-in algorithm does at inference; ``"crop"`` treats it
                as a validation image in training: ``resize`` of its shorter side if the model
                has that hyperparameter, then the middle.

        Returns:
            Shape ``(N, C, H, W)``, uint8.

        Raises:
            ValueError: If a file cannot be read as an image, or is too small to crop.
        """
        shape, images = self.image_shape, []
        resize = None
        if fit == "crop" and self.hyperparameters is not None:
            resize = self.hyperparameters.resize
        for file in files:
            image = read_image(Path(file), num_channels=shape.channels, resize=resize)
            if isinstance(image, Unreadable):
                raise ValueError(f"{image.name} cannot be read: {image.reason}.")
            fitted_HWC = _fit_image(image, Path(file), shape, fit)
            images.append(torch.from_numpy(fitted_HWC.copy()).permute(2, 0, 1))
        return torch.stack(images) if images else torch.empty((0, *shape), dtype=torch.uint8)

    def probabilities(self, images: torch.Tensor) -> torch.Tensor:
        """Return how likely each class is for each image.

        Args:
            images: RGB (or gray) pixels, uint8, shape ``(N, C, H, W)`` with the C, H and W of
                ``image_shape``, on the CPU.

        Returns:
            Shape ``(N, K)``, float32, on the CPU. Each row sums to 1, but with several classes an
            image (``is_multi_label``) each probability is of that class by itself, and above one
            half if the class is likelier there than not.

        Raises:
            ValueError: If the images have another type or shape.
        """
        if images.dtype != torch.uint8:
            raise ValueError(
                f"`images` are {images.dtype}, but must be torch.uint8 with values 0 to 255. "
                "Give the decoded pixels, neither scaled nor normalised."
            )
        if images.ndim != 4 or tuple(images.shape[1:]) != tuple(self.image_shape):
            raise ValueError(
                f"`images` have shape {tuple(images.shape)}, but must have (N, "
                f"{', '.join(map(str, self.image_shape))}). Crop or resize them, and put the "
                "channels first."
            )
        with torch.inference_mode():
            chunks_NK = [
                self._objective.probabilities(self._network(to_input(chunk_NCHW.cpu())))
                for chunk_NCHW in torch.split(images, _CHUNK)
            ]
        return torch.cat(chunks_NK).clone()


def _fit_image(
    image_HWC: Image, path: Path, shape: ImageShape, fit: Literal["resize", "crop"]
) -> Image:
    if fit == "resize":
        return stretch(image_HWC, shape.height, shape.width)
    if not has_room(image_HWC, shape.height, shape.width):
        raise ValueError(
            f"{path} has {image_HWC.shape[1]} x {image_HWC.shape[0]} pixels, too few to crop "
            f"{shape.width} x {shape.height} from it. Use fit='resize'."
        )
    return crop_center(image_HWC, shape.height, shape.width)


def load_model(path: str | os.PathLike[str], *, epoch: int | None = None) -> TrainedModel:
    """Return the model that a training job left: of this algorithm, or of the built-in one.

    The built-in algorithm's folder holds ``image-classification-NNNN.params``,
    ``model-shapes.json`` and ``image-classification-symbol.json``. Without that last file the
    classes are taken to exclude each other.

    Args:
        path: A model folder, a ``model.tar.gz``, or a ``file://`` URI of either. An archive is
            read in memory; nothing is unpacked, and links and paths that lead out of it are
            refused.
        epoch: Whose weights, counted from 1, if the job kept several (``checkpoint_frequency``).
            ``None`` for the best, which is the newest if the model does not say.

    Raises:
        FileNotFoundError: If there is nothing at ``path``.
        ValueError: If it is no model of either algorithm, is damaged or unsafe to read, or has no
            such epoch.
    """
    return TrainedModel(read_stored_model(resolve_model_path(path), epoch=epoch))
