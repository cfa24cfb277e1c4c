"""The input channels of the algorithm.

Source: "Image Classification - MXNet: input/output interface", SageMaker developer guide, and,
for one folder a class, the fine-tuning page of SageMaker JumpStart.
"""

from __future__ import annotations

from dataclasses import dataclass

IMAGE_CONTENT_TYPES = ("application/x-image", "image/jpeg", "image/png")
"""Content types of images in files of their own."""

RECORDIO_CONTENT_TYPE = "application/x-recordio"
"""Content type of RecordIO files, and of an augmented manifest."""

MODEL_CONTENT_TYPE = "application/x-sagemaker-model"
"""Content type of the artifact of an earlier job."""

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
"""File names that count as images, in lower case."""

RECORDIO_SUFFIX = ".rec"
"""File names that count as RecordIO, in lower case."""

LIST_SUFFIX = ".lst"
"""File names that count as a list of images, in lower case."""


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
    meaning="Training images: RecordIO, JPEG or PNG (one folder a class, a .lst or a manifest).",
    is_required=True,
    content_types=(RECORDIO_CONTENT_TYPE, *IMAGE_CONTENT_TYPES),
    input_modes=("File", "FastFile", "Pipe"),
)
VALIDATION = Channel(
    name="validation",
    meaning="Validation images, in a form that numbers or names classes as train does.",
    is_required=False,
    content_types=(RECORDIO_CONTENT_TYPE, *IMAGE_CONTENT_TYPES),
    input_modes=("File", "FastFile", "Pipe"),
)
TRAIN_LIST = Channel(
    name="train_lst",
    meaning="One .lst file that names the images of train and their classes.",
    is_required=False,
)
VALIDATION_LIST = Channel(
    name="validation_lst",
    meaning="One .lst file that names the images of validation and their classes.",
    is_required=False,
)
MODEL = Channel(
    name="model",
    meaning="model.tar.gz of an earlier job, to go on from.",
    is_required=False,
    content_types=(MODEL_CONTENT_TYPE,),
)
PRETRAINED = Channel(
    name="pretrained",
    meaning="Weights to start from with use_pretrained_model.",
    is_required=False,
    content_types=(MODEL_CONTENT_TYPE,),
)

CHANNELS = (TRAIN, VALIDATION, TRAIN_LIST, VALIDATION_LIST, MODEL, PRETRAINED)
"""Every channel of the algorithm."""
