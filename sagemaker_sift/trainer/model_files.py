"""A stored model, of this algorithm or of the built-in one, in one form.

In:  a folder, a ``model.tar.gz``, or one file of weights.  Out: weights under our names.

```
of this algorithm   model.json, image-classification-NNNN.safetensors
of the built-in     image-classification-NNNN.params, model-shapes.json,
                    image-classification-symbol.json (optional)
```

Source of the built-in's files: the logs of its jobs, and apache/mxnet v1.9
``python/mxnet/model.py`` (``save_checkpoint``).
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError

from sagemaker_sift.contract.hyperparameters import Hyperparameters
from sagemaker_sift.trainer.archive import ModelSource, describe_names, open_model_source
from sagemaker_sift.trainer.artifacts import DESCRIPTION_FILE, SHAPES_FILE
from sagemaker_sift.trainer.model_description import ModelDescription, parse_description
from sagemaker_sift.trainer.mxnet_network import read_image_shape, read_symbol_kind, to_state_dict
from sagemaker_sift.trainer.mxnet_params import MAX_PARAMS_BYTES, parse_params
from sagemaker_sift.trainer.network_description import (
    NetworkDescription,
    check_weights,
    identify_network,
)

SYMBOL_FILE = "image-classification-symbol.json"

Weights = dict[str, torch.Tensor]
"""Weights of a network under our names, float32, without counters of batches."""

_PARAMS = re.compile(r"image-classification-(\d{4,9})\.params", re.ASCII)
_NUMBERED = re.compile(r"(.*)-(\d{4,9})\.params", re.ASCII | re.DOTALL)
_MAX_JSON_BYTES = 16 << 20
_MAX_HEADER_BYTES = 1 << 20
_MAX_REASON_CHARS = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredModel:
    """A model as it is stored.

    Attributes:
        file: Where the weights come from: a name in the folder or archive.
        epoch: Number of epochs behind the weights, as the file's name has it.
        network: What the weights are of.
        weights: All of them.
        classes: Class names, in the order of the outputs; ``"0"``, ``"1"``, ... if the model has
            none, as that of the built-in algorithm.
        is_multi_label: Whether an image may belong to several classes, or ``None`` if the model
            does not say.
        hyperparameters: Of the job that made it, or ``None`` if the model does not say.
        metrics: Values of that epoch, by metric name; empty if the model has none.
    """

    file: str
    epoch: int
    network: NetworkDescription
    weights: Weights
    classes: tuple[str, ...]
    is_multi_label: bool | None
    hyperparameters: Hyperparameters | None
    metrics: dict[str, float]


def read_stored_model(path: Path, *, epoch: int | None = None) -> StoredModel:
    """Return a model of this algorithm or of the built-in one.

    Args:
        path: A folder, or an archive of one.
        epoch: Whose weights, counted from 1; ``None`` for those that ``model.json`` names, or the
            newest of the built-in algorithm.

    Raises:
        ValueError: If there is no model, or two, it is damaged or unsafe to read, or has no such
            epoch.
    """
    with open_model_source(path) as source:
        params = {
            int(match[1]): match[0] for match in map(_PARAMS.fullmatch, source.names) if match
        }
        if DESCRIPTION_FILE in source.names:
            _refuse_both(source, params.values())
            return _read_own(source, epoch)
        if not params:
            raise ValueError(
                f"{path} holds no {DESCRIPTION_FILE}, nor an image-classification-NNNN.params of "
                f"the built-in algorithm; {describe_names(source.names)}. Give a model folder, or "
                "the model.tar.gz of a training job."
            )
        return _read_built_in(source, params, epoch)


def read_stored_weights(path: Path) -> tuple[str, Weights]:
    """Return the weights of a model, whether or not it says anything else.

    Args:
        path: A folder, an archive of one, or one file. Without a ``model.json`` there must be one
            ``.safetensors`` file, or one ``.params`` file, or several that differ in their epoch
            (``name-NNNN.params``), of which the newest counts.

    Returns:
        The name of the file and its weights, of whatever network.

    Raises:
        ValueError: If there are none, it is not clear which, or they cannot be read.
    """
    with open_model_source(path) as source:
        params = [name for name in source.names if name.endswith(".params")]
        tensors = [name for name in source.names if name.endswith(".safetensors")]
        if DESCRIPTION_FILE in source.names:
            _refuse_both(source, params)
            own = _read_own(source, None)
            return own.file, own.weights
        if not params and not tensors:
            raise ValueError(
                f"{path} holds neither {DESCRIPTION_FILE} nor a .params or .safetensors file; "
                f"{describe_names(source.names)}."
            )
        name = _choose_weights(path, params, tensors)
        content = source.read(name, max_bytes=MAX_PARAMS_BYTES)
        with _misfit_explained(source, name):
            return name, _parse_tensors(content) if tensors else _parse_params(content)


def _refuse_both(source: ModelSource, params: Collection[str]) -> None:
    if params:
        raise ValueError(
            f"{source.path} holds both {DESCRIPTION_FILE} of this algorithm and {min(params)} of "
            "MXNet. Keep one of the two models."
        )


def _choose_weights(path: Path, params: list[str], tensors: list[str]) -> str:
    numbered = [match for match in map(_NUMBERED.fullmatch, params) if match]
    if not tensors and len(numbered) == len(params) and len({m[1] for m in numbered}) == 1:
        return max(numbered, key=lambda match: int(match[2]))[0]
    names = (*params, *tensors)
    if len(names) > 1:
        raise ValueError(
            f"{path} holds several files of weights: {describe_names(names)}. Keep one of them."
        )
    return names[0]


def _read_own(source: ModelSource, epoch: int | None) -> StoredModel:
    description = _read_description(source)
    saved = description.best
    if epoch is not None:
        found = {saved.epoch: saved for saved in description.saved}
        _check_epoch(source.path, epoch, found)
        saved = found[epoch]
    hp = description.hyperparameters
    network = NetworkDescription(
        num_layers=hp.num_layers,
        image_shape=hp.image_shape,
        num_classes=hp.num_classes,
    )
    num_bytes = sum(tensor.nbytes for tensor in network.build_empty().state_dict().values())
    content = source.read(saved.file, max_bytes=num_bytes + _MAX_HEADER_BYTES)
    try:
        weights = _parse_tensors(content)
        check_weights(weights, network)
    except ValueError as error:
        raise ValueError(
            f"{saved.file} in {source.path} does not hold the weights that {DESCRIPTION_FILE} "
            f"describes ({_strip(error)}). The model is damaged; fetch it again."
        ) from error
    return StoredModel(
        file=saved.file,
        epoch=saved.epoch,
        network=network,
        weights=weights,
        classes=description.classes,
        is_multi_label=hp.multi_label,
        hyperparameters=hp,
        metrics=saved.metrics,
    )


def _read_description(source: ModelSource) -> ModelDescription:
    text = source.read(DESCRIPTION_FILE, max_bytes=_MAX_JSON_BYTES)
    try:
        return parse_description(text)
    except ValueError as error:
        raise ValueError(
            f"{DESCRIPTION_FILE} in {source.path} is not one of this algorithm ({_strip(error)}). "
            "Give the model.tar.gz of a training job of this version."
        ) from error


def _read_built_in(
    source: ModelSource, params: Mapping[int, str], epoch: int | None
) -> StoredModel:
    if epoch is None:
        epoch = max(params)
    _check_epoch(source.path, epoch, params)
    name = params[epoch]
    shapes = source.read(SHAPES_FILE, max_bytes=_MAX_JSON_BYTES)
    is_multi_label = _read_symbol(source)
    content = source.read(name, max_bytes=MAX_PARAMS_BYTES)
    with _misfit_explained(source, name):
        weights = _parse_params(content)
        network = identify_network(weights, read_image_shape(shapes))
    return StoredModel(
        file=name,
        epoch=epoch,
        network=network,
        weights=weights,
        classes=tuple(str(idx) for idx in range(network.num_classes)),
        is_multi_label=is_multi_label,
        hyperparameters=None,
        metrics={},
    )


def _read_symbol(source: ModelSource) -> bool | None:
    """Return whether an image may belong to several classes; ``None`` without the file."""
    if SYMBOL_FILE not in source.names:
        return None
    text = source.read(SYMBOL_FILE, max_bytes=_MAX_JSON_BYTES)
    try:
        kind = read_symbol_kind(text)
    except ValueError as error:
        raise ValueError(f"{SYMBOL_FILE} in {source.path}: {error}") from error
    if kind is None:
        raise ValueError(
            f"{SYMBOL_FILE} in {source.path} ends neither in softmax nor in sigmoid, so it does "
            "not say what the outputs are. Remove the file if the classes exclude each other."
        )
    return kind == "sigmoid"


def _check_epoch(path: Path, epoch: int, found: Collection[int]) -> None:
    if epoch not in found:
        epochs = ", ".join(map(str, sorted(found)))
        raise ValueError(
            f"`epoch` is {epoch!r}, but {path} has weights of {epochs} only. Give one of them, or "
            "leave it out."
        )


def _parse_params(content: bytes) -> Weights:
    return to_state_dict(parse_params(content))


def _parse_tensors(content: bytes) -> Weights:
    try:
        tensors = safetensors.torch.load(content)
    except (SafetensorError, RuntimeError, KeyError, ValueError, TypeError) as error:
        raise ValueError(f"it cannot be read as safetensors: {error}") from error
    return {
        name: value.float() if value.is_floating_point() else value
        for name, value in sorted(tensors.items())
        if not name.endswith("num_batches_tracked")
    }


@contextmanager
def _misfit_explained(source: ModelSource, name: str) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise ValueError(
            f"{name} in {source.path} does not hold the weights of a network of this algorithm: "
            f"{_strip(error)}."
        ) from error


def _strip(error: ValueError) -> str:
    """Return the error's text on one line, not too long, to stand within a sentence."""
    return textwrap.shorten(str(error), _MAX_REASON_CHARS, placeholder=" ...").rstrip(".")
