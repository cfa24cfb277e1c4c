from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from smart_sifting._core.low_precision_copy import LowPrecisionCopy

PROPERTY = settings(max_examples=40, deadline=None, derandomize=True, database=None)


@PROPERTY
@given(
    kernel=st.integers(1, 3),
    groups=st.sampled_from([1, 2, 4]),
    stride=st.integers(1, 2),
    has_bias=st.booleans(),
    is_affine=st.booleans(),
    eps=st.sampled_from([1e-5, 1e-3, 0.5]),
    seed=st.integers(0, 1000),
)
def test_a_folded_norm_equals_one_that_is_evaluated(
    kernel: int,
    groups: int,
    stride: int,
    has_bias: bool,
    is_affine: bool,
    eps: float,
    seed: int,
) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = nn.Sequential(
            nn.Conv2d(
                4, 8, kernel, groups=groups, stride=stride, bias=has_bias, padding=kernel // 2
            ),
            nn.BatchNorm2d(8, affine=is_affine, eps=eps),
        ).eval()
        model[1].running_mean.normal_()
        model[1].running_var.uniform_(0.1, 3)
        if is_affine:
            nn.init.normal_(model[1].weight)
            nn.init.normal_(model[1].bias)
        images = torch.randn(3, 4, 5, 5)
    copied = LowPrecisionCopy(model, torch.float32, is_folded=True)
    torch.testing.assert_close(copied(images), model(images), rtol=1e-5, atol=1e-5)
