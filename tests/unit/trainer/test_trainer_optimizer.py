"""Each optimizer against its documented rule, computed independently in float64."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from sagemaker_sift.contract.hyperparameters import Hyperparameters
from sagemaker_sift.trainer import optimizer as optimizer_module
from sagemaker_sift.trainer.errors import TrainingError
from sagemaker_sift.trainer.model import build_model
from sagemaker_sift.trainer.optimizer import (
    build_optimizer,
    load_optimizer_state,
    set_learning_rate,
)
from sagemaker_sift.trainer.state import pack_state, unpack_state

Array = NDArray[np.float64]
Rule = Callable[[Array, list[Array], list[float], Hyperparameters, float], list[Array]]

RATES = (0.1, 0.1, 0.1, 0.02, 0.02, 0.02)
"""The learning rate drops between the third and the fourth step."""


def make_hyperparameters(**changes: Any) -> Hyperparameters:
    return Hyperparameters(num_classes=2, num_training_samples=100, **changes)


def make_layers() -> nn.Module:
    layers = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    generator = torch.Generator().manual_seed(1)
    for parameter in layers.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator)
    return layers


def draw_gradients(model: nn.Module, num_steps: int, seed: int = 2) -> list[list[torch.Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    return [
        [torch.randn(p.shape, generator=generator) for p in model.parameters()]
        for _ in range(num_steps)
    ]


def step(
    model: nn.Module, optimizer: torch.optim.Optimizer, gradients: list[torch.Tensor]
) -> None:
    for parameter, gradient in zip(model.parameters(), gradients, strict=True):
        if parameter.requires_grad:
            parameter.grad = torch.empty_like(parameter).copy_(gradient)
    optimizer.step()


def run_sgd(
    weight: Array, gradients: list[Array], rates: list[float], hp: Hyperparameters, decay: float
) -> list[Array]:
    velocity, found = np.zeros_like(weight), []
    for gradient, rate in zip(gradients, rates, strict=True):
        velocity = hp.momentum * velocity - rate * (gradient + decay * weight)
        weight = weight + velocity
        found.append(weight)
    return found


def run_nag(
    weight: Array, gradients: list[Array], rates: list[float], hp: Hyperparameters, decay: float
) -> list[Array]:
    """The kernel of the engine, line by line: its momentum has the other order of terms."""
    momentum, found = np.zeros_like(weight), []
    for gradient, rate in zip(gradients, rates, strict=True):
        momentum = hp.momentum * momentum
        moved = momentum - rate * (gradient + decay * weight)
        weight = weight - momentum + (hp.momentum + 1) * moved
        momentum = moved
        found.append(weight)
    return found


def run_adam(
    weight: Array, gradients: list[Array], rates: list[float], hp: Hyperparameters, decay: float
) -> list[Array]:
    mean, variance, found = np.zeros_like(weight), np.zeros_like(weight), []
    for t, (gradient, rate) in enumerate(zip(gradients, rates, strict=True), 1):
        mean = hp.beta_1 * mean + (1 - hp.beta_1) * gradient
        variance = hp.beta_2 * variance + (1 - hp.beta_2) * gradient**2
        corrected = rate * math.sqrt(1 - hp.beta_2**t) / (1 - hp.beta_1**t)
        weight = weight - corrected * mean / (np.sqrt(variance) + hp.eps)
        found.append(weight)
    return found


def run_rmsprop(
    weight: Array, gradients: list[Array], rates: list[float], hp: Hyperparameters, decay: float
) -> list[Array]:
    average, found = np.zeros_like(weight), []
    for gradient, rate in zip(gradients, rates, strict=True):
        average = (1 - hp.gamma) * gradient**2 + hp.gamma * average
        weight = weight - rate * gradient / np.sqrt(average + hp.eps)
        found.append(weight)
    return found


RULES: dict[str, Rule] = {
    "sgd": run_sgd,
    "nag": run_nag,
    "adam": run_adam,
    "rmsprop": run_rmsprop,
}
SETTINGS: list[dict[str, Any]] = [
    *({"optimizer": name, "momentum": m} for name in ("sgd", "nag") for m in (0, 0.5, 0.9, 1)),
    *({"optimizer": name, "weight_decay": d} for name in ("sgd", "nag") for d in (0, 0.3, 1)),
    *({"optimizer": "adam", "beta_1": beta} for beta in (0, 0.5, 0.99)),
    *({"optimizer": "adam", "beta_2": beta} for beta in (0, 0.5, 0.999)),
    *({"optimizer": "adam", "eps": eps} for eps in (0, 1e-8, 0.1, 1)),
    *({"optimizer": "rmsprop", "gamma": gamma} for gamma in (0, 0.5, 0.99, 1)),
    *({"optimizer": "rmsprop", "eps": eps} for eps in (0, 1e-8, 0.1, 1)),
]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("rates", [RATES, (*RATES[:3], 0.0, 0.0, 0.0)], ids=["drop", "drop to 0"])
def test_every_step_follows_the_documented_rule(
    settings: dict[str, Any], rates: tuple[float, ...]
) -> None:
    hp = make_hyperparameters(**{"weight_decay": 0.05} | settings)
    model = make_layers()
    gradients = draw_gradients(model, len(rates))
    expected = {
        name: RULES[hp.optimizer](
            parameter.detach().double().numpy(),
            [gradient[position].double().numpy() for gradient in gradients],
            list(rates),
            hp,
            hp.weight_decay if name in {"0.weight", "1.weight"} else 0.0,
        )
        for position, (name, parameter) in enumerate(model.named_parameters())
    }
    optimizer = build_optimizer(model, hp)
    for idx, rate in enumerate(rates):
        set_learning_rate(optimizer, rate)
        step(model, optimizer, gradients[idx])
        for name, parameter in model.named_parameters():
            np.testing.assert_allclose(
                parameter.detach().numpy(), expected[name][idx], rtol=2e-5, atol=2e-5
            )


@pytest.mark.parametrize("optimizer", ["adam", "rmsprop"])
def test_adam_and_rmsprop_do_not_decay_weights(optimizer: str) -> None:
    model = make_layers()
    before = [parameter.detach().clone() for parameter in model.parameters()]
    hp = make_hyperparameters(optimizer=optimizer, weight_decay=1, momentum=1)
    step(model, build_optimizer(model, hp), [torch.zeros_like(p) for p in model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


@pytest.mark.parametrize("optimizer", ["adam", "rmsprop"])
@pytest.mark.parametrize("size", [0.0, 1e-25, 1e-19])
def test_without_eps_a_weight_with_little_or_no_gradient_does_not_jump(
    optimizer: str, size: float
) -> None:
    model = make_layers()
    before = [parameter.detach().clone() for parameter in model.parameters()]
    hp = make_hyperparameters(optimizer=optimizer, eps=0, learning_rate=0.01)
    built = build_optimizer(model, hp)
    for _ in range(3):
        step(model, built, [torch.full_like(p, size) for p in model.parameters()])
    for old, new in zip(before, model.parameters(), strict=True):
        assert (new - old).abs().max() < 0.1


@pytest.mark.parametrize(
    ("optimizer", "expected"), [("adam", -0.01), ("rmsprop", -(0.1**0.5) / 10)]
)
def test_without_eps_a_small_gradient_moves_a_weight_as_far_as_a_large_one(
    optimizer: str, expected: float
) -> None:
    model = nn.Linear(1, 1, bias=False)
    model.weight.data.zero_()
    hp = make_hyperparameters(optimizer=optimizer, eps=0, learning_rate=0.01)
    step(model, build_optimizer(model, hp), [torch.full((1, 1), 1e-14)])
    assert model.weight.item() == pytest.approx(expected, rel=1e-3)


def test_decay_acts_on_weights_and_gammas_only_and_the_fixed_gamma_is_left_out() -> None:
    model = build_model(20, (3, 8, 8), 2)
    optimizer = build_optimizer(model, make_hyperparameters(weight_decay=0.01))
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    decayed, others = (
        {names[id(parameter)] for parameter in group["params"]} for group in optimizer.param_groups
    )
    assert {"conv0.weight", "bn1.weight", "fc1.weight"} <= decayed
    assert others == {name for name in names.values() if name.endswith("bias")}
    assert "bn_data.weight" not in decayed | others
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.01, 0.0]


@pytest.mark.parametrize("optimizer", list(RULES))
def test_every_trained_parameter_is_in_the_optimizer_once(optimizer: str) -> None:
    model = build_model(20, (3, 8, 8), 2)
    built = build_optimizer(model, make_hyperparameters(optimizer=optimizer))
    held = [id(parameter) for group in built.param_groups for parameter in group["params"]]
    assert sorted(held) == sorted(id(p) for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize("optimizer", list(RULES))
def test_the_rate_of_every_group_is_set(optimizer: str) -> None:
    built = build_optimizer(make_layers(), make_hyperparameters(optimizer=optimizer))
    assert {group["lr"] for group in built.param_groups} == {0.1}
    set_learning_rate(built, 0.025)
    assert {group["lr"] for group in built.param_groups} == {0.025}


@pytest.mark.parametrize("optimizer", list(RULES))
def test_a_rate_of_zero_from_the_start_moves_nothing(optimizer: str) -> None:
    model = make_layers()
    for parameter in model.parameters():
        parameter.data.zero_()
    built = build_optimizer(model, make_hyperparameters(optimizer=optimizer, learning_rate=0))
    for gradients in draw_gradients(model, 3):
        set_learning_rate(built, 0.0)
        step(model, built, gradients)
    assert not any(parameter.any() for parameter in model.parameters())


@pytest.mark.parametrize("optimizer", ["sgd", "nag"])
def test_what_gathered_at_a_rate_of_zero_moves_nothing_later(optimizer: str) -> None:
    models = [make_layers() for _ in "ab"]
    waiting, fresh = (
        build_optimizer(model, make_hyperparameters(optimizer=optimizer, learning_rate=0))
        for model in models
    )
    first, second = draw_gradients(models[0], 2)
    step(models[0], waiting, first)
    for model, built in zip(models, (waiting, fresh), strict=True):
        set_learning_rate(built, 0.1)
        step(model, built, second)
    for left, right in zip(models[0].parameters(), models[1].parameters(), strict=True):
        assert torch.equal(left, right)


@pytest.mark.parametrize("optimizer", list(RULES))
def test_a_parameter_without_gradient_stays_and_counts_no_step(optimizer: str) -> None:
    hp = make_hyperparameters(optimizer=optimizer)
    late, fresh = make_layers(), make_layers()
    late_bias, fresh_bias = (model.get_parameter("0.bias") for model in (late, fresh))
    built, reference = build_optimizer(late, hp), build_optimizer(fresh, hp)
    *earlier, last = draw_gradients(late, 3)
    before = late_bias.detach().clone()
    for gradients in earlier:
        for parameter, gradient in zip(late.parameters(), gradients, strict=True):
            parameter.grad = None if parameter is late_bias else gradient
        built.step()
        assert torch.equal(late_bias, before)
    step(late, built, last)
    step(fresh, reference, last)
    assert torch.equal(late_bias, fresh_bias)


@pytest.mark.parametrize("settings", [*({"optimizer": name} for name in RULES), {"momentum": 0}])
@pytest.mark.parametrize("rate", [0.1, 0.01, 0.0])
def test_a_resumed_optimizer_goes_on_to_the_bit(settings: dict[str, Any], rate: float) -> None:
    """The rate stays, drops or becomes 0 right after the job was resumed."""
    hp = make_hyperparameters(**{"learning_rate": 0.3} | settings)
    models = [build_model(20, (3, 8, 8), 2).to(memory_format=torch.channels_last) for _ in "ab"]
    first, second = (build_optimizer(model, hp) for model in models)
    gradients = draw_gradients(models[0], 6)
    set_learning_rate(first, 0.1)
    for idx in range(3):
        step(models[0], first, gradients[idx])
    models[1].load_state_dict(models[0].state_dict())
    load_optimizer_state(second, unpack_state(*pack_state(first.state_dict())))
    for idx in range(3, 6):
        for model, optimizer in zip(models, (first, second), strict=True):
            set_learning_rate(optimizer, rate)
            step(model, optimizer, gradients[idx])
    for left, right in zip(models[0].parameters(), models[1].parameters(), strict=True):
        assert torch.equal(left, right)
        assert left.stride() == right.stride()
    weight = models[1].get_parameter("stage1.unit1.conv1.weight")
    for value in second.state[weight].values():
        assert not isinstance(value, torch.Tensor) or value.stride() == weight.stride()


def test_a_resumed_job_uses_its_own_hyperparameters() -> None:
    model = make_layers()
    saved = build_optimizer(model, make_hyperparameters(momentum=0.9, weight_decay=0.1))
    step(model, saved, draw_gradients(model, 1)[0])
    resumed = build_optimizer(model, make_hyperparameters(momentum=0.5, weight_decay=0.2))
    load_optimizer_state(resumed, saved.state_dict())
    assert [group["momentum"] for group in resumed.param_groups] == [0.5, 0.5]
    assert [group["weight_decay"] for group in resumed.param_groups] == [0.2, 0.0]


@pytest.mark.parametrize("momentum", [0, 0.9])
@pytest.mark.parametrize(
    ("before", "after"),
    [("sgd", "adam"), ("adam", "sgd"), ("adam", "rmsprop"), ("rmsprop", "adam")],
)
def test_the_state_of_another_optimizer_is_refused(
    before: str, after: str, momentum: float
) -> None:
    model = make_layers()
    saved = build_optimizer(model, make_hyperparameters(optimizer=before, momentum=momentum))
    step(model, saved, draw_gradients(model, 1)[0])
    resumed = build_optimizer(model, make_hyperparameters(optimizer=after))
    with pytest.raises(TrainingError, match="another `optimizer`"):
        load_optimizer_state(resumed, saved.state_dict())


@pytest.mark.parametrize("optimizer", list(RULES))
def test_a_gradient_scaler_leaves_out_steps_that_overflow_and_changes_no_other(
    optimizer: str,
) -> None:
    hp = make_hyperparameters(optimizer=optimizer, learning_rate=0.01)
    scaled, plain = make_layers(), make_layers()
    with_scaler, without = build_optimizer(scaled, hp), build_optimizer(plain, hp)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    for idx, input_BC in enumerate((torch.ones(2, 3), torch.eye(3)[:2])):
        loss = scaled(input_BC).square().sum() * (1.0 if idx else torch.inf)
        with_scaler.zero_grad()
        scaler.scale(loss).backward()
        scaler.step(with_scaler)
        scaler.update(1024.0)
    plain.load_state_dict(make_layers().state_dict())
    plain(torch.ones(2, 3))
    plain(torch.eye(3)[:2]).square().sum().backward()
    without.step()
    for left, right in zip(scaled.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(left, right)


@pytest.mark.parametrize("optimizer", list(RULES))
def test_a_closure_is_called_with_gradients_and_its_loss_returned(optimizer: str) -> None:
    model = nn.Linear(1, 1, bias=False)
    model.weight.data.fill_(3.0)
    built = build_optimizer(model, make_hyperparameters(optimizer=optimizer))

    def closure() -> float:
        built.zero_grad()
        loss = model(torch.ones(1, 1)).square().sum()
        loss.backward()
        return loss.item()

    assert built.step(closure) == 9.0
    assert model.weight.item() < 3.0


@pytest.mark.parametrize("name", ["adam", "rmsprop"])
def test_changing_weights_some_at_a_time_gives_the_same_values(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    results = []
    for num_elements in (1, 7, 2**18):
        monkeypatch.setattr(optimizer_module, "_ELEMENTS_AT_ONCE", num_elements)
        model = make_layers()
        optimizer = build_optimizer(model, make_hyperparameters(optimizer=name))
        for gradients in draw_gradients(model, 3):
            step(model, optimizer, gradients)
        results.append([parameter.detach().clone() for parameter in model.parameters()])
    for others in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], others, strict=True))
    untrained = list(make_layers().parameters())
    assert not any(torch.equal(a, b) for a, b in zip(results[0], untrained, strict=True))
