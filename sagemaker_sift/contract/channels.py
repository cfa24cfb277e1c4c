"""The input channels of the algorithm.

Source: "Image Classification - MXNet: input/output interface", SageMaker developer guide, and,
for one folder a class, the fine-tuning page of SageMaker JumpStart.
"""

from __future__ import annotations

from dataclasses import dataclass

IMAGE_CONTENT_TYPES = ("application/x-image", "image/jpeg", "image/png")
"""Content types of images in one folder a class."""

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
"""File names that count as images, in lower case."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """One input of a training job.

    Attributes:
        name: The API's ``ChannelName``, and the folder's name in the container.
        meaning: What belongs into it.
        is_required: Whether a job needs it.
        content_types: Accepted ``ContentType`` values; a job may leave the field out.
        input_modes: Accepted ``TrainingInputMode`` values.
    """

    name: str
    meaning: str
    is_required: bool
    content_types: tuple[str, ...] = IMAGE_CONTENT_TYPES
    input_modes: tuple[str, ...] = ("File", "FastFile")


TRAIN = Channel(
    name="train",
    meaning="Training images, one folder a class (JPEG or PNG).",
    is_required=True,
)
VALIDATION = Channel(
    name="validation",
    meaning="Validation images, the same folders as train.",
    is_required=False,
)

CHANNELS = (TRAIN, VALIDATION)
"""Every channel of the algorithm."""
