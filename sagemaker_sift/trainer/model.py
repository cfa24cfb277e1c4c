"""The network: ResNet v2 as MXNet's image classification example defines it.

He et al. 2016, "Identity Mappings in Deep Residual Networks", https://arxiv.org/abs/1603.05027,
in the form of apache/mxnet v1.9 ``example/image-classification/symbols/resnet.py``, the public
ancestor of SageMaker's built-in algorithm. Module names follow its symbol names, so that
``stage1_unit1_conv1_weight`` there is ``stage1.unit1.conv1.weight`` here, ``_gamma`` and ``_beta``
of a normalisation are its ``weight`` and ``bias``.

Shape suffixes in this file: B = images in the batch, C = channels, H = height, W = width,
K = classes.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

CIFAR_DEPTHS = (20, 32, 44, 56, 110)
"""Depths of the three-stage family (He et al. 2016, section 4, CIFAR)."""

IMAGENET_DEPTHS = (18, 34, 50, 101, 152, 200)
"""Depths of the four-stage family."""

SMALL_STEM_MAX_HEIGHT = 32
"""Images up to this height, in pixels, enter through a 3x3 convolution of stride 1."""

BATCH_NORM_EPS = 2e-5
BATCH_NORM_MOMENTUM = 0.1
"""Torch's convention; MXNet calls the same average 0.9."""

_IMAGENET_UNITS = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
    200: (3, 24, 36, 3),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """How deep and how wide a network of a given depth is.

    Attributes:
        units: Number of residual units in each stage.
        stem_channels: Channels behind the first convolution.
        stage_channels: Channels behind each stage.
        is_bottleneck: Whether a unit is 1x1, 3x3, 1x1 rather than 3x3, 3x3.
    """

    units: tuple[int, ...]
    stem_channels: int
    stage_channels: tuple[int, ...]
    is_bottleneck: bool

    @classmethod
    def of_depth(cls, num_layers: int) -> Architecture:
        """Return the architecture of the ResNet with ``num_layers`` layers.

        Args:
            num_layers: One of ``CIFAR_DEPTHS`` or ``IMAGENET_DEPTHS``.

        Raises:
            ValueError: If there is no such network.

        Example:
            >>> Architecture.of_depth(20).units
            (3, 3, 3)
        """
        if num_layers in CIFAR_DEPTHS:
            return cls(
                units=((num_layers - 2) // 6,) * 3,
                stem_channels=16,
                stage_channels=(16, 32, 64),
                is_bottleneck=False,
            )
        if num_layers not in _IMAGENET_UNITS:
            allowed = ", ".join(str(depth) for depth in sorted(CIFAR_DEPTHS + IMAGENET_DEPTHS))
            raise ValueError(f"`num_layers` is {num_layers!r}, but must be one of {allowed}.")
        is_bottleneck = num_layers >= 50
        return cls(
            units=_IMAGENET_UNITS[num_layers],
            stem_channels=64,
            stage_channels=(256, 512, 1024, 2048) if is_bottleneck else (64, 128, 256, 512),
            is_bottleneck=is_bottleneck,
        )


class ResidualUnit(nn.Module):
    """A pre-activation unit: normalise, ReLU, convolve, two or three times, plus a shortcut.

    The stride sits on the 3x3 convolution (the first of two, the second of three). A projection
    shortcut is a 1x1 convolution of the activated input.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        stride: int,
        has_projection: bool,
        is_bottleneck: bool,
    ) -> None:
        super().__init__()
        inner = out_channels // 4 if is_bottleneck else out_channels
        self.bn1 = _batch_norm(in_channels)
        self.conv1: nn.Conv2d
        self.conv3: nn.Conv2d | None = None
        self.bn3: nn.BatchNorm2d | None = None
        if is_bottleneck:
            self.conv1 = _convolution(in_channels, inner, kernel=1)
            self.bn2 = _batch_norm(inner)
            self.conv2 = _convolution(inner, inner, kernel=3, stride=stride)
            self.bn3 = _batch_norm(inner)
            self.conv3 = _convolution(inner, out_channels, kernel=1)
        else:
            self.conv1 = _convolution(in_channels, out_channels, kernel=3, stride=stride)
            self.bn2 = _batch_norm(out_channels)
            self.conv2 = _convolution(out_channels, out_channels, kernel=3)
        self.sc = (
            _convolution(in_channels, out_channels, kernel=1, stride=stride)
            if has_projection
            else None
        )

    def forward(self, input_BCHW: torch.Tensor) -> torch.Tensor:
        """Return the unit's output, shape ``(B, out_channels, H / stride, W / stride)``."""
        activated_BCHW = functional.relu(self.bn1(input_BCHW))
        shortcut_BCHW = input_BCHW if self.sc is None else self.sc(activated_BCHW)
        residual_BCHW = self.conv1(activated_BCHW)
        residual_BCHW = self.conv2(functional.relu(self.bn2(residual_BCHW)))
        if self.bn3 is not None and self.conv3 is not None:
            residual_BCHW = self.conv3(functional.relu(self.bn3(residual_BCHW)))
        sum_BCHW: torch.Tensor = residual_BCHW + shortcut_BCHW
        return sum_BCHW


class ResNet(nn.Module):
    """ResNet v2 on raw pixel values.

    ``bn_data`` normalises the input (its gamma is fixed to 1), so that no mean and no standard
    deviation of the data set is needed.
    """

    def __init__(
        self, architecture: Architecture, image_shape: tuple[int, int, int], num_classes: int
    ) -> None:
        super().__init__()
        num_channels, height, _ = image_shape
        width = architecture.stem_channels
        self.bn_data = _batch_norm(num_channels)
        self.bn_data.weight.requires_grad_(False)
        self.bn0: nn.BatchNorm2d | None = None
        if height <= SMALL_STEM_MAX_HEIGHT:
            self.conv0 = _convolution(num_channels, width, kernel=3)
        else:
            self.conv0 = _convolution(num_channels, width, kernel=7, stride=2)
            self.bn0 = _batch_norm(width)
        self.num_stages = len(architecture.units)
        for stage_idx in range(self.num_stages):
            stage = _stage(architecture, width, stage_idx)
            self.add_module(f"stage{stage_idx + 1}", stage)
            width = architecture.stage_channels[stage_idx]
        self.bn1 = _batch_norm(width)
        self.fc1 = nn.Linear(width, num_classes)

    def forward(self, image_BCHW: torch.Tensor) -> torch.Tensor:
        """Return the logits.

        Args:
            image_BCHW: Pixel values 0 to 255, floating dtype, shape ``(B, C, H, W)``.

        Returns:
            Unnormalised log probabilities, shape ``(B, K)``.
        """
        features_BCHW = self.conv0(self.bn_data(image_BCHW))
        if self.bn0 is not None:
            features_BCHW = functional.relu(self.bn0(features_BCHW))
            features_BCHW = functional.max_pool2d(features_BCHW, 3, stride=2, padding=1)
        for stage_idx in range(self.num_stages):
            features_BCHW = self.get_submodule(f"stage{stage_idx + 1}")(features_BCHW)
        features_BCHW = functional.relu(self.bn1(features_BCHW))
        logits_BK: torch.Tensor = self.fc1(features_BCHW.mean(dim=(2, 3)))
        return logits_BK


def final_map_size(num_layers: int, image_shape: tuple[int, int, int]) -> tuple[int, int]:
    """Return height and width of the last feature map, which is averaged before the classifier.

    Args:
        num_layers: One of ``CIFAR_DEPTHS`` or ``IMAGENET_DEPTHS``.
        image_shape: Channels, height and width of the images, in pixels.

    Example:
        >>> final_map_size(50, (3, 224, 224)), final_map_size(20, (3, 28, 28))
        ((7, 7), (7, 7))
    """
    _, height, width = image_shape
    reduction = 2 ** (len(Architecture.of_depth(num_layers).units) - 1)
    if height > SMALL_STEM_MAX_HEIGHT:
        reduction *= 4
    return -(-height // reduction), -(-width // reduction)


def build_model(
    num_layers: int,
    image_shape: tuple[int, int, int],
    num_classes: int,
    *,
    generator: torch.Generator | None = None,
) -> ResNet:
    """Return a freshly initialised network on the CPU.

    The depth picks the family, the height of the image picks the stem. Convolutions and the
    classifier start as N(0, sqrt(2 / fan_in)) (He et al. 2015, https://arxiv.org/abs/1502.01852),
    gammas as 1, betas and the classifier's bias as 0.

    Args:
        num_layers: One of ``CIFAR_DEPTHS`` or ``IMAGENET_DEPTHS``.
        image_shape: Channels, height and width of the images, in pixels.
        num_classes: Number of classes, ``>= 2``.
        generator: CPU generator of the initial weights. The global generator of torch is neither
            read nor moved: without a generator the weights come from one of seed 0.

    Raises:
        ValueError: If there is no network of this depth.

    Example:
        >>> sum(p.numel() for p in build_model(20, (3, 28, 28), 10).parameters())
        272544
    """
    architecture = Architecture.of_depth(num_layers)
    with torch.device("meta"):
        model = ResNet(architecture, image_shape, num_classes)
    model.to_empty(device="cpu")
    _initialise(model, generator or torch.Generator().manual_seed(0))
    return model


def _initialise(model: ResNet, generator: torch.Generator) -> None:
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()
        elif isinstance(module, nn.Conv2d | nn.Linear):
            fan_in = module.weight[0].numel()
            nn.init.normal_(module.weight, std=math.sqrt(2 / fan_in), generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def _stage(architecture: Architecture, in_channels: int, stage_idx: int) -> nn.Sequential:
    out_channels = architecture.stage_channels[stage_idx]
    units: OrderedDict[str, nn.Module] = OrderedDict()
    for unit_idx in range(architecture.units[stage_idx]):
        is_first = unit_idx == 0
        units[f"unit{unit_idx + 1}"] = ResidualUnit(
            in_channels if is_first else out_channels,
            out_channels,
            stride=2 if is_first and stage_idx > 0 else 1,
            has_projection=is_first,
            is_bottleneck=architecture.is_bottleneck,
        )
    return nn.Sequential(units)


def _batch_norm(num_channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(num_channels, eps=BATCH_NORM_EPS, momentum=BATCH_NORM_MOMENTUM)


def _convolution(
    in_channels: int, out_channels: int, *, kernel: int, stride: int = 1
) -> nn.Conv2d:
    return nn.Conv2d(
        in_channels, out_channels, kernel, stride=stride, padding=kernel // 2, bias=False
    )
