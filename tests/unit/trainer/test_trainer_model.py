import pytest
import torch
from torch import nn

from sagemaker_sift.trainer.model import (
    CIFAR_DEPTHS,
    IMAGENET_DEPTHS,
    Architecture,
    ResNet,
    build_model,
)

# Published counts are without the scale and shift of the input normalisation, which add two
# parameters a channel.
INPUT_NORMALISATION = 6


@pytest.mark.parametrize(
    ("num_layers", "image_shape", "num_classes", "expected"),
    [
        (20, (3, 28, 28), 10, 272_538),
        (32, (3, 28, 28), 10, 466_970),
        (44, (3, 28, 28), 10, 661_402),
        (56, (3, 28, 28), 10, 855_834),
        (110, (3, 28, 28), 10, 1_730_778),
        (18, (3, 224, 224), 1000, 11_691_944),
        (34, (3, 224, 224), 1000, 21_800_104),
        (50, (3, 224, 224), 1000, 25_549_480),
        (101, (3, 224, 224), 1000, 44_541_608),
        (152, (3, 224, 224), 1000, 60_185_256),
        (200, (3, 224, 224), 1000, 64_666_280),
    ],
)
def test_every_depth_has_the_published_number_of_parameters(
    num_layers: int, image_shape: tuple[int, int, int], num_classes: int, expected: int
) -> None:
    with torch.device("meta"):
        model = ResNet(Architecture.of_depth(num_layers), image_shape, num_classes)
    assert sum(p.numel() for p in model.parameters()) == expected + INPUT_NORMALISATION


@pytest.mark.parametrize("num_layers", [20, 18, 50])
@pytest.mark.parametrize("image_shape", [(3, 32, 32), (1, 33, 40)])
def test_a_network_takes_any_image_size_and_gray_images(
    num_layers: int, image_shape: tuple[int, int, int]
) -> None:
    model = build_model(num_layers, image_shape, 7).eval()
    assert model(torch.zeros(2, *image_shape)).shape == (2, 7)


def test_the_stem_depends_on_the_height_alone() -> None:
    assert build_model(18, (3, 32, 64), 2).conv0.kernel_size == (3, 3)
    assert build_model(18, (3, 32, 64), 2).bn0 is None
    assert build_model(20, (3, 33, 20), 2).conv0.kernel_size == (7, 7)


def test_the_stride_of_a_bottleneck_is_on_its_3x3_convolution() -> None:
    model = build_model(50, (3, 64, 64), 2)
    unit = model.get_submodule("stage2.unit1")
    assert isinstance(unit.conv1, nn.Conv2d)
    assert isinstance(unit.conv2, nn.Conv2d)
    assert (unit.conv1.stride, unit.conv2.stride) == ((1, 1), (2, 2))


def test_an_unknown_depth_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"`num_layers` is 19, but must be one of 18, 20"):
        build_model(19, (3, 28, 28), 10)
    assert set(CIFAR_DEPTHS).isdisjoint(IMAGENET_DEPTHS)


def test_initial_weights_follow_the_fan_in_and_the_generator() -> None:
    first, again, other = (
        build_model(20, (3, 28, 28), 10, generator=torch.Generator().manual_seed(seed))
        for seed in (1, 1, 2)
    )
    weight = first.get_parameter("stage3.unit2.conv1.weight")
    assert float(weight.detach().std()) == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.02)
    assert float(first.fc1.weight.detach().std()) == pytest.approx((2 / 64) ** 0.5, rel=0.1)
    assert torch.equal(weight, again.get_parameter("stage3.unit2.conv1.weight"))
    assert not torch.equal(weight, other.get_parameter("stage3.unit2.conv1.weight"))
    assert float(first.bn1.weight.detach().min()) == 1.0
    assert float(first.fc1.bias.detach().abs().max()) == 0.0


def test_building_a_network_leaves_the_global_generator_alone() -> None:
    before = torch.random.get_rng_state()
    build_model(20, (3, 28, 28), 10)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_scale_of_the_input_normalisation_is_fixed_to_one() -> None:
    model = build_model(20, (3, 8, 8), 2).train()
    model(torch.rand(4, 3, 8, 8) * 255).sum().backward()
    assert not model.bn_data.weight.requires_grad
    assert model.bn_data.weight.tolist() == [1.0, 1.0, 1.0]
    assert model.bn_data.bias.grad is not None


def test_a_tenth_of_each_batch_enters_the_running_statistics() -> None:
    model = build_model(20, (3, 8, 8), 2).train()
    model(torch.full((2, 3, 8, 8), 200.0))
    assert model.bn_data.running_mean is not None
    assert model.bn_data.running_mean.tolist() == pytest.approx([20.0] * 3)
