"""From MXNet's parameters to our network of the same form.

Source: apache/mxnet v1.9 ``example/image-classification/symbols/resnet.py`` for the names, and the
artifacts of the built-in algorithm: ``image-classification-NNNN.params``,
``image-classification-symbol.json`` and ``model-shapes.json``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from sagemaker_sift.trainer.network_description import NetworkDescription, identify_network

SymbolKind = Literal["softmax", "sigmoid"]
"""How a network's logits become probabilities: of one class, or of each class by itself."""

MAX_SIDE = 1 << 15
"""Of an image, in pixels."""

_QUANTITIES = {
    "weight": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_var": "running_var",
}
_NAME = re.compile(rf"(?:arg|aux):(\w+)_({'|'.join(_QUANTITIES)})", re.ASCII)
_SOFTMAX = {"SoftmaxOutput", "Softmax", "softmax", "SoftmaxActivation", "log_softmax"}
_SIGMOID = {"LogisticRegressionOutput", "sigmoid"}


def to_state_dict(arrays: Mapping[str, NDArray[Any]]) -> dict[str, torch.Tensor]:
    """Return the parameters under the names of our network, float32.

    ``arg:stage1_unit1_bn1_gamma`` becomes ``stage1.unit1.bn1.weight``. The gamma of ``bn_data`` is
    fixed to 1 in the symbol, whatever the file says.

    Args:
        arrays: As :func:`~sagemaker_sift.trainer.mxnet_params.read_params` returns them.

    Raises:
        ValueError: If a name is none of a network's, two mean the same, or a value is no finite
            number.

    Example:
        >>> list(to_state_dict({"aux:stage1_unit1_bn1_moving_mean": np.zeros(2)}))
        ['stage1.unit1.bn1.running_mean']
    """
    state: dict[str, torch.Tensor] = {}
    for name, values in arrays.items():
        match = _NAME.fullmatch(name)
        if not match:
            raise ValueError(f"{name!r} is the name of no parameter of a ResNet.")
        layer, quantity = match.groups()
        if layer.startswith("stage"):
            layer = layer.replace("_", ".")
        own_name = f"{layer}.{_QUANTITIES[quantity]}"
        if own_name in state:
            raise ValueError(f"{name!r} is there a second time under another name.")
        with np.errstate(over="ignore"):
            single = values.astype(np.float32)
        if not np.isfinite(single).all():
            raise ValueError(f"{name!r} holds values that are no finite numbers.")
        state[own_name] = torch.from_numpy(single)
    if "bn_data.weight" in state:
        state["bn_data.weight"] = torch.ones_like(state["bn_data.weight"])
    return state


def describe_network(
    arrays: Mapping[str, NDArray[Any]], shapes_json: str | bytes
) -> NetworkDescription:
    """Return which of our networks the parameters belong to; every name and shape is checked.

    Args:
        arrays: As :func:`~sagemaker_sift.trainer.mxnet_params.read_params` returns them.
        shapes_json: The content of ``model-shapes.json``.

    Raises:
        ValueError: If they belong to no network of ours, or the shapes do not fit; the text says
            what is missing or different.
    """
    return identify_network(to_state_dict(arrays), read_image_shape(shapes_json))


def read_image_shape(shapes_json: str | bytes) -> tuple[int, int, int]:
    """Return channels, height and width from ``model-shapes.json``.

    Raises:
        ValueError: If it says something else.

    Example:
        >>> read_image_shape('[{"name": "data", "shape": [1, 3, 28, 28]}]')
        (3, 28, 28)
    """
    value = _load_json(shapes_json, "model-shapes.json")
    for entry in value if isinstance(value, list) else []:
        shape = entry.get("shape") if isinstance(entry, dict) else None
        if isinstance(shape, list) and entry.get("name") == "data" and len(shape) == 4:
            _, num_channels, height, width = shape
            sides = (num_channels, height, width)
            if all(type(side) is int and 1 <= side <= MAX_SIDE for side in sides):
                return sides
    raise ValueError(
        "model-shapes.json does not give the shape of 'data', such as "
        '[{"name": "data", "shape": [1, 3, 224, 224]}].'
    )


def read_symbol_kind(symbol_json: str | bytes | None) -> SymbolKind | None:
    """Return how the network's logits become probabilities.

    Args:
        symbol_json: The content of ``image-classification-symbol.json``, or ``None`` without it.

    Returns:
        ``None`` if there is no symbol, or it holds neither of the two operators, or both.

    Raises:
        ValueError: If it is no JSON.

    Example:
        >>> read_symbol_kind('{"nodes": [{"op": "null"}, {"op": "SoftmaxOutput"}]}')
        'softmax'
    """
    if symbol_json is None:
        return None
    symbol = _load_json(symbol_json, "The symbol file")
    nodes = symbol.get("nodes") if isinstance(symbol, dict) else None
    operators = {
        _name_operator(node)
        for node in (nodes if isinstance(nodes, list) else [])
        if isinstance(node, dict)
    }
    is_softmax, is_sigmoid = bool(operators & _SOFTMAX), bool(operators & _SIGMOID)
    if is_softmax == is_sigmoid:
        return None
    return "softmax" if is_softmax else "sigmoid"


def _name_operator(node: Mapping[str, Any]) -> str:
    operator = str(node.get("op"))
    attributes = node.get("attrs") or node.get("attr") or node.get("param")
    if operator == "Activation" and isinstance(attributes, dict):
        return str(attributes.get("act_type"))
    return operator


def _load_json(text: str | bytes, what: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{what} cannot be read as JSON ({error}).") from error
