"""A trained model, ready to classify images.

In:  a model folder or ``model.tar.gz``.  Out: probabilities.

Shape suffixes in this file: N = images, C = channels, H = height, W = width, K = classes.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import safetensors.torch
import torch
from safetensors import SafetensorError

from sagemaker_sift.contract.hyperparameter import ImageShape
from sagemaker_sift.contract.hyperparameters import Hyperparameters
from sagemaker_sift.contract.problem import ContractError
from sagemaker_sift.trainer.archive import read_model_file, resolve_model_path
from sagemaker_sift.trainer.artifacts import DESCRIPTION_FILE, FORMAT_VERSION, WEIGHTS_PATTERN
from sagemaker_sift.trainer.data.image import (
    Image,
    Unreadable,
    crop_center,
    has_room,
    read_image,
    stretch,
)
from sagemaker_sift.trainer.loop import to_input
from sagemaker_sift.trainer.model import ResNet, build_model

_CHUNK = 256
_MAX_DESCRIPTION_BYTES = 16 << 20
_MAX_HEADER_BYTES = 1 << 20


class TrainedModel:
    """An image classifier on the CPU.

    Attributes:
        classes: Class names, in the order of the probabilities.
        hyperparameters: Those of the training job.
        metrics: Values of the epoch that the weights come from, by metric name.
        image_shape: Channels, height and width of an image, in pixels.
    """

    def __init__(
        self,
        network: ResNet,
        *,
        classes: tuple[str, ...],
        hyperparameters: Hyperparameters,
        metrics: dict[str, float],
    ) -> None:
        self.classes = classes
        self.hyperparameters = hyperparameters
        self.metrics = metrics
        self.image_shape = hyperparameters.image_shape
        self._network = network.to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]

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
                as a validation image in training: ``resize`` of its shorter side if that
                hyperparameter was set, then the middle.

        Returns:
            Shape ``(N, C, H, W)``, uint8.

        Raises:
            ValueError: If a file cannot be read as an image, or is too small to crop.
        """
        shape, images = self.image_shape, []
        resize = self.hyperparameters.resize if fit == "crop" else None
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
            Shape ``(N, K)``, float32, on the CPU; each row sums to 1.

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
                self._network(to_input(chunk_NCHW.cpu())).softmax(dim=1)
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


def load_model(path: str | os.PathLike[str]) -> TrainedModel:
    """Return the model that a training job left.

    Args:
        path: A model folder, a ``model.tar.gz``, or a ``file://`` URI of either. An archive is
            read in memory; nothing is unpacked, and links and paths that lead out of it are
            refused.

    Raises:
        FileNotFoundError: If there is nothing at ``path``.
        ValueError: If it is no model of this algorithm, is damaged, or is unsafe to read.
    """
    location = resolve_model_path(path)
    description = _read_description(location)
    hyperparameters, classes = description["hyperparameters"], description["classes"]
    network = build_model(hyperparameters.num_layers, hyperparameters.image_shape, len(classes))
    num_bytes = sum(tensor.nbytes for tensor in network.state_dict().values())
    content = read_model_file(
        location, description["weights"], max_bytes=num_bytes + _MAX_HEADER_BYTES
    )
    try:
        network.load_state_dict(safetensors.torch.load(content))
    except (SafetensorError, RuntimeError) as error:
        raise ValueError(
            f"{description['weights']} in {location} does not hold the weights that "
            f"{DESCRIPTION_FILE} describes. The model is damaged; fetch it again."
        ) from error
    return TrainedModel(
        network,
        classes=classes,
        hyperparameters=hyperparameters,
        metrics=description["metrics"],
    )


def _read_description(location: Path) -> dict[str, Any]:
    """Return ``model.json``, checked, in Python types."""
    text = read_model_file(location, DESCRIPTION_FILE, max_bytes=_MAX_DESCRIPTION_BYTES)
    try:
        raw = json.loads(text)
        if raw["format_version"] != FORMAT_VERSION:
            raise ValueError(
                f"format_version is {raw['format_version']!r}, but this version of "
                f"sagemaker-sift reads {FORMAT_VERSION}"
            )
        if not re.fullmatch(WEIGHTS_PATTERN, raw["weights"]):
            raise ValueError(f"weights is {raw['weights']!r}")
        hyperparameters = Hyperparameters.from_strings(raw["hyperparameters"])
        classes = tuple(str(name) for name in raw["classes"])
        if len(classes) != hyperparameters.num_classes:
            raise ValueError("num_classes and classes differ")
        metrics = {str(name): float(value) for name, value in raw["metrics"].items()}
    except (ValueError, KeyError, TypeError, AttributeError, ContractError) as error:
        raise ValueError(
            f"{DESCRIPTION_FILE} in {location} is not one of this algorithm ({error}). "
            "Give the model.tar.gz of a training job of this version."
        ) from error
    return {
        "hyperparameters": hyperparameters,
        "classes": classes,
        "weights": raw["weights"],
        "metrics": metrics,
    }
