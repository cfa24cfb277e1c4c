"""Weights that a job starts from: those of an earlier job, or pretrained ones.

In:  the channels ``model`` and ``pretrained``.  Out: weights for
:func:`~sagemaker_sift.trainer.trainee.build_trainee`.

Source: "Image Classification - MXNet", SageMaker developer guide, on incremental training and on
transfer learning: what must agree, what is new, and that the channel ``model`` goes before
``use_pretrained_model``.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from sagemaker_sift.contract.channels import MODEL, PRETRAINED
from sagemaker_sift.contract.hyperparameters import Hyperparameters
from sagemaker_sift.trainer.archive import WEIGHTS_SUFFIXES, describe_names
from sagemaker_sift.trainer.artifacts import DESCRIPTION_FILE
from sagemaker_sift.trainer.config import TrainingConfig
from sagemaker_sift.trainer.data.problem import quote
from sagemaker_sift.trainer.errors import TrainingError
from sagemaker_sift.trainer.model_files import (
    StoredModel,
    read_stored_model,
    read_stored_weights,
)
from sagemaker_sift.trainer.network_description import (
    NetworkDescription,
    check_weights,
    find_depth,
)

PRETRAINED_IMAGE_SHAPE = (3, 224, 224)
"""Pretrained weights are of a network for images of this shape, with four stages."""

_ARCHIVE_SUFFIXES = (".tar.gz", ".tgz", ".tar")
_OTHER_OUTPUT = "output.tar.gz"  # SageMaker lays it beside model.tar.gz
_CLASSIFIER = "fc1."
_NUM_NAMED = 4

_LOG = logging.getLogger(__name__)


def read_initial_weights(
    config: TrainingConfig, classes: tuple[str, ...]
) -> dict[str, torch.Tensor] | None:
    """Return the weights that the job starts from, or ``None`` if all are drawn.

    With a channel ``model`` they are all of an earlier job's, statistics of normalisations
    included. Otherwise, with ``use_pretrained_model``, they are all of the channel
    ``pretrained`` but the classifier.

    Args:
        config: The job.
        classes: Its class names, in the order of the outputs.

    Returns:
        Weights under our network's names, float32, on the CPU.

    Raises:
        TrainingError: If a channel that is needed is missing, holds no model, an unclear or a
            damaged one, or one that differs from the job.
    """
    uses_pretrained = config.hyperparameters.use_pretrained_model
    model_root = config.job_input.folder(MODEL.name)
    pretrained_root = config.job_input.folder(PRETRAINED.name)
    if model_root is not None:
        if uses_pretrained:
            _LOG.info("No effect: use_pretrained_model is 1, but the job has a channel 'model'.")
        return _read_model(model_root, config.hyperparameters, classes)
    check_channels(config)
    if uses_pretrained and pretrained_root is not None:
        return _read_pretrained(pretrained_root, config.hyperparameters)
    if pretrained_root is not None:
        _LOG.info("No effect: the job has a channel 'pretrained', but use_pretrained_model is 0.")
    return None


def check_channels(config: TrainingConfig) -> None:
    """Refuse a job that wants pretrained weights and has no channel for them.

    Raises:
        TrainingError: If so.
    """
    folders = (config.job_input.folder(channel.name) for channel in (MODEL, PRETRAINED))
    if config.hyperparameters.use_pretrained_model and not any(folders):
        raise TrainingError(
            "`use_pretrained_model` is 1, but the job has no channel 'pretrained', and a training "
            "container cannot fetch weights from the internet. Add a channel of that name with "
            "the model.tar.gz of a job of this or of the built-in algorithm, unpacked or not, or "
            "with one .params or .safetensors file, such as MXNet's resnet-50-0000.params."
        )


def _read_model(
    root: Path, hp: Hyperparameters, classes: tuple[str, ...]
) -> dict[str, torch.Tensor]:
    path = _locate(MODEL.name, root)
    with _failure_explained(MODEL.name):
        stored = read_stored_model(path)
    _check_settings(stored, hp, path)
    _check_classes(stored, classes, path)
    _LOG.info("Starting from the weights of epoch %d: %s in %s", stored.epoch, stored.file, path)
    return stored.weights


def _read_pretrained(root: Path, hp: Hyperparameters) -> dict[str, torch.Tensor]:
    path = _locate(PRETRAINED.name, root)
    with _failure_explained(PRETRAINED.name):
        file, weights = read_stored_weights(path)
        num_layers = find_depth(weights)
        if num_layers != hp.num_layers:
            raise TrainingError(
                f"Channel {PRETRAINED.name!r} holds the weights of a network with num_layers "
                f"{num_layers} ({quote(file)}), but this job has num_layers {hp.num_layers}. Set "
                f"num_layers to {num_layers}, or give the channel other weights."
            )
        # The classifier, which is not used, fits whatever it is.
        body = {name: value for name, value in weights.items() if not name.startswith(_CLASSIFIER)}
        network = NetworkDescription(
            num_layers=num_layers, image_shape=PRETRAINED_IMAGE_SHAPE, num_classes=1
        )
        empty = network.build_empty().fc1.state_dict()
        classifier = {
            _CLASSIFIER + name: torch.zeros(value.shape) for name, value in empty.items()
        }
        check_weights(body | classifier, network)
    _LOG.info("Starting from the pretrained weights %s in %s; the classifier is new", file, path)
    return body


def _locate(name: str, root: Path) -> Path:
    """Return what a channel holds: the folder itself, or the one archive in it.

    Args:
        name: Of the channel.
        root: Its folder; or a file, for a channel that is one file.
    """
    if root.is_file():
        return root.resolve()
    try:
        names = sorted(path.name for path in root.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise TrainingError(
            f"Channel {name!r} cannot be read: {root} ({error.strerror}). Check its rights."
        ) from error
    if not names:
        raise TrainingError(
            f"Channel {name!r} is empty: {root} holds no file. Check its S3 location or folder."
        )
    archives = [
        file for file in names if file.endswith(_ARCHIVE_SUFFIXES) and file != _OTHER_OUTPUT
    ]
    unpacked = [
        file for file in names if file == DESCRIPTION_FILE or file.endswith(WEIGHTS_SUFFIXES)
    ]
    if len(archives) > 1 or (archives and unpacked):
        raise TrainingError(
            f"Channel {name!r} holds more than one model: {describe_names((*archives, *unpacked))}"
            f" in {root}. Keep one of them."
        )
    return root / archives[0] if archives else root


@contextmanager
def _failure_explained(name: str) -> Iterator[None]:
    """Turn an error about a model into one that names the channel it is from."""
    try:
        yield
    except ValueError as error:
        what = "model to go on from" if name == MODEL.name else "weights to start from"
        raise TrainingError(f"Channel {name!r} holds no {what}: {error}") from error


def _check_settings(stored: StoredModel, hp: Hyperparameters, path: Path) -> None:
    network = stored.network
    pairs: dict[str, tuple[object, object]] = {
        "num_layers": (network.num_layers, hp.num_layers),
        "image_shape": (_join(network.image_shape), _join(hp.image_shape)),
        "num_classes": (network.num_classes, hp.num_classes),
    }
    if stored.is_multi_label is not None:
        pairs["multi_label"] = (int(stored.is_multi_label), int(hp.multi_label))
    different = {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
    if different:
        theirs = ", ".join(f"{name} {pair[0]}" for name, pair in different.items())
        ours = ", ".join(f"{name} {pair[1]}" for name, pair in different.items())
        raise TrainingError(
            f"Channel {MODEL.name!r} holds a model with {theirs} ({path}), but this job has "
            f"{ours}. Use the model's, or give the channel another model."
        )


def _check_classes(stored: StoredModel, classes: tuple[str, ...], path: Path) -> None:
    """Refuse a model whose outputs stand for other classes than the job's.

    Numbers say nothing about names: where only one of the two has names, its order is trusted.
    """
    if stored.classes == classes:
        return
    numbers = tuple(str(idx) for idx in range(len(classes)))
    if numbers in (stored.classes, classes) and sorted(stored.classes) != sorted(classes):
        _LOG.warning(
            "The model's classes (%s) are taken for the job's (%s), in this order.",
            _shorten(stored.classes),
            _shorten(classes),
        )
        return
    different = [idx for idx, name in enumerate(classes) if stored.classes[idx] != name]
    first = different[0]
    raise TrainingError(
        f"Channel {MODEL.name!r} holds a model of other classes than this job's ({path}): "
        f"{len(different)} of {len(classes)} differ; output {first} is of "
        f"{quote(stored.classes[first])} in the model, but of {quote(classes[first])} here. Name "
        "the class folders as in the job that made the model, or give the channel another model."
    )


def _join(shape: tuple[int, int, int]) -> str:
    return ",".join(map(str, shape))


def _shorten(names: tuple[str, ...]) -> str:
    return ", ".join([*map(quote, names[:_NUM_NAMED]), *(["..."] if names[_NUM_NAMED:] else [])])
