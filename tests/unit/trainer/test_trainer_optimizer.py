import torch

from sagemaker_sift.trainer.model import build_model
from sagemaker_sift.trainer.optimizer import (
    build_optimizer,
    load_optimizer_state,
    set_learning_rate,
)
from sagemaker_sift.trainer.state import pack_state, unpack_state

RATE, MOMENTUM, DECAY = 0.1, 0.9, 0.01


def make_layers() -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))


def step(model: torch.nn.Module, optimizer: torch.optim.Optimizer, gradient: float) -> None:
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, gradient)
    optimizer.step()


def test_two_steps_follow_the_documented_rule() -> None:
    model = make_layers()
    optimizer = build_optimizer(model, learning_rate=RATE, momentum=MOMENTUM, weight_decay=DECAY)
    expected = {name: p.detach().clone() for name, p in model.named_parameters()}
    velocity = {name: torch.zeros_like(p) for name, p in expected.items()}
    for gradient in (0.5, -0.25):
        for name, weight in expected.items():
            decay = DECAY if name.endswith("weight") else 0.0
            velocity[name] = MOMENTUM * velocity[name] + gradient + decay * weight
            expected[name] = weight - RATE * velocity[name]
        step(model, optimizer, gradient)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.detach(), expected[name])


def test_decay_acts_on_weights_and_gammas_only_and_the_fixed_gamma_is_left_out() -> None:
    model = build_model(20, (3, 8, 8), 2)
    optimizer = build_optimizer(model, learning_rate=RATE, momentum=0.0, weight_decay=DECAY)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    decayed, others = (
        {names[id(parameter)] for parameter in group["params"]} for group in optimizer.param_groups
    )
    assert {"conv0.weight", "bn1.weight", "fc1.weight"} <= decayed
    assert others == {name for name in names.values() if name.endswith("bias")}
    assert "bn_data.weight" not in decayed | others
    assert [group["weight_decay"] for group in optimizer.param_groups] == [DECAY, 0.0]


def test_the_rate_of_every_group_is_set() -> None:
    optimizer = build_optimizer(
        make_layers(), learning_rate=RATE, momentum=0.0, weight_decay=DECAY
    )
    set_learning_rate(optimizer, 0.025)
    assert [group["lr"] for group in optimizer.param_groups] == [0.025, 0.025]


def test_a_restored_optimizer_takes_the_same_next_step() -> None:
    models = [build_model(20, (3, 8, 8), 2).to(memory_format=torch.channels_last) for _ in "ab"]
    first, second = (
        build_optimizer(model, learning_rate=RATE, momentum=MOMENTUM, weight_decay=DECAY)
        for model in models
    )
    step(models[0], first, 0.5)
    models[1].load_state_dict(models[0].state_dict())
    load_optimizer_state(second, unpack_state(*pack_state(first.state_dict())))
    for model, optimizer in zip(models, (first, second), strict=True):
        step(model, optimizer, 0.1)
    for left, right in zip(models[0].parameters(), models[1].parameters(), strict=True):
        assert torch.equal(left, right)
        assert left.stride() == right.stride()
    weight = models[1].get_parameter("stage1.unit1.conv1.weight")
    assert second.state[weight]["momentum_buffer"].stride() == weight.stride()
