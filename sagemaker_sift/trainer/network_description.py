"""Which of our networks a set of weights belongs to.

In:  weights under the names of :mod:`sagemaker_sift.trainer.model`.  Out: depth, shape, classes.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from sagemaker_sift.trainer.data.problem import quote
from sagemaker_sift.trainer.model import CIFAR_DEPTHS, IMAGENET_DEPTHS, Architecture, ResNet

_UNIT = re.compile(r"stage(\d{1,2})\.unit(\d{1,3})\.conv1\.weight", re.ASCII)
_COUNTER = "num_batches_tracked"


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkDescription:
    """What must be known to build a network.

    Attributes:
        num_layers: Depth, one of those of :mod:`sagemaker_sift.trainer.model`.
        image_shape: Channels, height and width of its input, in pixels.
        num_classes: Number of outputs.
    """

    num_layers: int
    image_shape: tuple[int, int, int]
    num_classes: int

    def build_empty(self) -> ResNet:
        """Return the network on the meta device: names and shapes, but no memory.

        Raises:
            ValueError: If there is no network of this depth.
        """
        with torch.device("meta"):
            return ResNet(
                Architecture.of_depth(self.num_layers), self.image_shape, self.num_classes
            )

    def build(self, weights: Mapping[str, torch.Tensor]) -> ResNet:
        """Return the network with these weights, on the CPU, float32.

        Args:
            weights: What :func:`check_weights` has passed.
        """
        network = self.build_empty()
        state = {
            name: torch.zeros((), dtype=torch.int64)
            if name.endswith(_COUNTER)
            else weights[name].float()
            for name in network.state_dict()
        }
        network.load_state_dict(state, assign=True)
        return network


def identify_network(
    weights: Mapping[str, torch.Tensor], image_shape: tuple[int, int, int]
) -> NetworkDescription:
    """Return which of our networks the weights belong to; every name and shape is checked.

    Args:
        weights: All weights of a network, under our names.
        image_shape: Channels, height and width of its input, which the weights do not tell.

    Raises:
        ValueError: If they belong to no network of ours; the text says what is missing or
            different.

    Example:
        >>> from sagemaker_sift.trainer.model import build_model
        >>> weights = build_model(32, (3, 28, 28), 7).state_dict()
        >>> identify_network(weights, (3, 28, 28))
        NetworkDescription(num_layers=32, image_shape=(3, 28, 28), num_classes=7)
    """
    num_layers = find_depth(weights)
    if "fc1.weight" not in weights or weights["fc1.weight"].ndim != 2:
        raise ValueError("The parameters lack 'fc1_weight', the classifier.")
    description = NetworkDescription(
        num_layers=num_layers,
        image_shape=image_shape,
        num_classes=int(weights["fc1.weight"].shape[0]),
    )
    check_weights(weights, description)
    return description


def find_depth(weights: Mapping[str, torch.Tensor]) -> int:
    """Return the depth from the number of units in each stage, and from the kind of unit.

    Args:
        weights: Under our names.

    Raises:
        ValueError: If no network of ours has such units.
    """
    places = [match.groups() for match in map(_UNIT.fullmatch, weights) if match]
    counts = Counter(int(stage) for stage, _ in places)
    units = tuple(counts[stage] for stage in sorted(counts))
    is_bottleneck = "stage1.unit1.conv3.weight" in weights
    for num_layers in (*CIFAR_DEPTHS, *IMAGENET_DEPTHS):
        architecture = Architecture.of_depth(num_layers)
        if (architecture.units, architecture.is_bottleneck) == (units, is_bottleneck):
            return num_layers
    depths = ", ".join(map(str, sorted((*CIFAR_DEPTHS, *IMAGENET_DEPTHS))))
    if not units:
        raise ValueError(
            "The parameters lack 'stage1_unit1_conv1_weight' and all other units, so they are of "
            f"no ResNet of {depths} layers."
        )
    kind = "three convolutions" if is_bottleneck else "two convolutions"
    raise ValueError(
        f"The parameters have {units} units of {kind} in their stages, as no ResNet of {depths} "
        "layers has."
    )


def check_weights(weights: Mapping[str, torch.Tensor], description: NetworkDescription) -> None:
    """Check that the weights are those of a network: names, shapes, and finite numbers.

    Counters of batches, which MXNet has not and nothing reads, may be there or not.

    Raises:
        ValueError: If they are not; the text names the first that is missing or different.
    """
    expected = _list_shapes(description.build_empty().state_dict())
    found = _list_shapes(weights)
    for name in [*expected, *found]:
        if found.get(name) == expected.get(name):
            continue
        network_text = (
            f"a ResNet of {description.num_layers} layers for images of {description.image_shape}"
        )
        if name not in found:
            raise ValueError(f"The parameters lack {quote(name)}, which {network_text} has.")
        if name not in expected:
            raise ValueError(f"The parameters have {quote(name)}, which {network_text} has not.")
        raise ValueError(
            f"{name!r} has the shape {found[name]}, but {expected[name]} in {network_text}."
        )
    for name in expected:
        value = weights[name]
        if not value.is_floating_point() or not value.float().isfinite().all():
            raise ValueError(f"{name!r} holds values that are no finite numbers.")


def _list_shapes(weights: Mapping[str, torch.Tensor]) -> dict[str, tuple[int, ...]]:
    return {
        name: tuple(value.shape) for name, value in weights.items() if not name.endswith(_COUNTER)
    }
