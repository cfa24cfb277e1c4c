from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from sagemaker_sift.trainer.model import build_model
from smart_sifting._core.batch_norm_folding import find_foldable
from smart_sifting._core.low_precision_copy import LowPrecisionCopy


def trained_norms(model: nn.Module) -> nn.Module:
    """Give every BatchNorm statistics as of training."""
    generator = torch.Generator().manual_seed(1)
    for module in model.modules():
        own = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
        for name, tensor in own:
            if isinstance(module, nn.modules.batchnorm._BatchNorm) and tensor.is_floating_point():
                value = 0.5 + torch.rand(tensor.shape, generator=generator)
                tensor.data.copy_(value if name != "bias" else value - 1)
    return model


def convolutions() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Conv2d(4, 4, 3, groups=2),
        nn.BatchNorm2d(4, affine=False),
        nn.Flatten(),
        nn.Linear(4 * 16, 5),
        nn.BatchNorm1d(5),
    )


def count(model: nn.Module) -> int:
    return len(find_foldable(model.eval()))


def test_folding_equals_evaluation() -> None:
    model = trained_norms(convolutions())
    assert count(model) == 3
    copied = LowPrecisionCopy(model, torch.float32, is_folded=True)
    assert sum(isinstance(module, nn.Identity) for module in copied.modules()) == 3
    images = torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(copied(images), model(images), rtol=1e-5, atol=1e-5)


def test_of_our_network_what_leads_to_a_single_norm_is_folded() -> None:
    model = trained_norms(build_model(20, (3, 28, 28), 10)).eval()
    names = {module: name for name, module in model.named_modules()}
    pairs = {(names[layer], names[norm]) for layer, norm in find_foldable(model)}
    units = [f"stage{stage}.unit{unit}" for stage in (1, 2, 3) for unit in (1, 2, 3)]
    expected = {(f"{unit}.conv1", f"{unit}.bn2") for unit in units}
    assert pairs == expected | {("conv0", "stage1.unit1.bn1")}
    copied = LowPrecisionCopy(model, torch.float32, is_folded=True)
    images = 255 * torch.rand(2, 3, 28, 28, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(copied(images), model(images), rtol=1e-4, atol=1e-4)


class Two(nn.Module):
    """A layer and a norm, and a way from one to the other."""

    def __init__(self, forward: Callable[[Any, torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 3)
        self.norm = nn.BatchNorm1d(3)
        self.other = nn.Linear(3, 3)
        self.way = forward

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.way(self, inputs)


@pytest.mark.parametrize(
    ("way", "expected"),
    [
        (lambda m, x: m.norm(m.layer(x)), 1),
        (lambda m, x: m.norm(m.layer(x)) + m.norm(m.other(x)), 0),
        (lambda m, x: m.norm(m.layer(m.layer(x))), 0),
        (lambda m, x: [y := m.layer(x), m.norm(y) + y][1], 0),
        (lambda m, x: m.norm(m.layer(x).relu()), 0),
        (lambda m, x: m.norm(m.layer(x)) + m.layer.weight.sum(), 0),
        (lambda m, x: m.norm(m.layer(x)) if x.sum() > 0 else x, 0),
    ],
    ids=["plain", "norm twice", "layer twice", "used twice", "between", "read", "data"],
)
def test_only_what_nothing_else_uses_is_folded(way: Any, expected: int) -> None:
    assert count(Two(way)) == expected


def plain(change: Callable[[Two], object]) -> Two:
    model = Two(lambda m, x: m.norm(m.layer(x)))
    change(model)
    return model


@pytest.mark.parametrize(
    "change",
    [
        lambda m: setattr(m, "norm", nn.BatchNorm1d(3, track_running_stats=False)),
        lambda m: m.layer.register_forward_hook(lambda *args: None),
        lambda m: m.register_forward_pre_hook(lambda *args: None),
        lambda m: nn.utils.parametrizations.weight_norm(m.layer),
        lambda m: setattr(m.other, "weight", m.layer.weight),
        lambda m: setattr(m, "layer", type("Own", (nn.Linear,), {})(3, 3)),
    ],
    ids=["no statistics", "hook", "pre-hook", "parametrised", "tied", "subclass"],
)
def test_layers_that_are_more_than_they_seem_are_not_folded(change: Any) -> None:
    assert count(plain(change)) == 0


def test_tracing_runs_the_copy_and_leaves_the_model_alone() -> None:
    def way(model: Any, inputs: torch.Tensor) -> torch.Tensor:
        model.num_calls = getattr(model, "num_calls", 0) + 1
        model.last = inputs
        output: torch.Tensor = model.norm(model.layer(inputs))
        return output

    model = Two(way)
    LowPrecisionCopy(model, torch.bfloat16, is_folded=True)
    assert not hasattr(model, "num_calls")
    assert not hasattr(model, "last")


def test_changed_statistics_and_eps_are_folded_anew() -> None:
    model = trained_norms(convolutions()).eval()
    copied = LowPrecisionCopy(model, torch.float32, is_folded=True)
    for parameter in model.parameters():
        parameter.data += 0.1
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 0.3
            assert module.running_var is not None
            module.running_var *= 2
    images = torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    assert not torch.allclose(copied(images), model(images), atol=1e-2)
    copied.refresh()
    torch.testing.assert_close(copied(images), model(images), rtol=1e-5, atol=1e-5)
