from __future__ import annotations

from typing import Any

import pytest
import torch

from smart_sifting._core.scoring import score_batch


class Network(torch.nn.Module):
    """With a frozen BatchNorm, of which ``train()`` knows."""

    def __init__(self) -> None:
        super().__init__()
        self.frozen = torch.nn.BatchNorm1d(4)
        self.norm = torch.nn.BatchNorm1d(4)
        self.dropout = torch.nn.Dropout(0.5)
        self.num_mode_changes = 0

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.dropout(self.norm(self.frozen(inputs)))
        return output

    def train(self, mode: bool = True) -> Network:
        self.num_mode_changes = getattr(self, "num_mode_changes", 0) + 1
        super().train(mode)
        self.frozen.eval()
        return self


class SquareLoss:
    """Draws random numbers and looks at the modes, as user code may."""

    def loss(self, model: Any, transformed_batch: Any, original_batch: Any) -> torch.Tensor:
        self.modes = [module.training for module in model.modules()]
        self.grad_mode = torch.is_grad_enabled()
        torch.rand(3)
        output: torch.Tensor = model(original_batch)
        return output**2


class Returns:
    def __init__(self, loss: Any) -> None:
        self.value = loss

    def loss(self, model: Any, transformed_batch: Any, original_batch: Any) -> Any:
        return self.value


def score(value: Any) -> torch.Tensor:
    return score_batch(Returns(value), torch.nn.Identity(), None, None)


def test_the_model_comes_out_exactly_as_it_went_in() -> None:
    model, loss = Network().train(), SquareLoss()
    modes = [module.training for module in model.modules()]
    assert modes == [True, False, True, True]
    state = {name: value.clone() for name, value in model.state_dict().items()}
    random_state, num_mode_changes = torch.get_rng_state(), model.num_mode_changes
    loss_B = score_batch(loss, model, None, torch.randn(8, 4).requires_grad_())
    assert loss.modes == [False] * 4
    assert not loss.grad_mode
    assert [module.training for module in model.modules()] == modes
    assert model.num_mode_changes == num_mode_changes
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert not loss_B.requires_grad
    assert torch.is_grad_enabled()
    torch.set_rng_state(random_state)
    torch.randn(8, 4)
    after_inputs = torch.get_rng_state()
    torch.set_rng_state(random_state)
    score_batch(loss, model, None, torch.randn(8, 4))
    assert torch.equal(torch.get_rng_state(), after_inputs)


def test_modes_and_random_state_come_back_after_an_error_too() -> None:
    class Fails:
        def loss(self, model: Any, transformed_batch: Any, original_batch: Any) -> Any:
            torch.rand(1)
            raise ValueError("own error")

    model = Network().train()
    random_state = torch.get_rng_state()
    with pytest.raises(ValueError, match="own error"):
        score_batch(Fails(), model, None, None)
    assert model.norm.training
    assert not model.frozen.training
    assert torch.is_grad_enabled()
    assert torch.equal(torch.get_rng_state(), random_state)


def test_scoring_is_deterministic_in_spite_of_dropout() -> None:
    model, inputs = Network().train(), torch.randn(8, 4)
    first, second = (score_batch(SquareLoss(), model, None, inputs) for _ in range(2))
    assert torch.equal(first, second)


def test_of_a_ddp_model_the_inner_one_is_used() -> None:
    class Shell(torch.nn.parallel.DistributedDataParallel):
        def __init__(self, module: torch.nn.Module) -> None:
            torch.nn.Module.__init__(self)
            self.module = module
            self.require_forward_param_sync = True

        def forward(self, *args: Any, **kwargs: Any) -> Any:
            raise AssertionError("the wrapper may call collectives")

    inner = Network()
    seen: list[Any] = []

    class Loss:
        def loss(self, model: Any, transformed_batch: Any, original_batch: Any) -> torch.Tensor:
            seen.append(model)
            output: torch.Tensor = model(original_batch)
            return output

    assert score_batch(Loss(), Shell(inner), None, torch.randn(8, 4)).shape == (8,)
    assert seen == [inner]


def test_further_dimensions_are_averaged_to_one_loss_per_sample() -> None:
    loss_BCD = torch.arange(12.0).reshape(2, 3, 2)
    assert score(loss_BCD).tolist() == [2.5, 8.5]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16, torch.int64])
def test_losses_of_any_type_come_as_float32(dtype: torch.dtype) -> None:
    loss_B = score(torch.tensor([1, 2], dtype=dtype))
    assert loss_B.dtype == torch.float32
    assert loss_B.tolist() == [1.0, 2.0]


def test_a_single_number_is_one_loss() -> None:
    assert score(torch.tensor(3.0)).tolist() == [3.0]


@pytest.mark.parametrize("value", [3.0, None, [1.0, 2.0]])
def test_anything_but_a_tensor_is_told(value: Any) -> None:
    with pytest.raises(TypeError, match=r"`loss_impl\.loss` returned .*reduction='none'"):
        score(value)
