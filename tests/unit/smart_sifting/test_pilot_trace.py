"""A pilot leaves everything as it was."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from smart_sifting import Loss, PilotReport, pilot


class Network(torch.nn.Module):
    """With all that a forward in train mode changes, and a ``train()`` of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.frozen = torch.nn.BatchNorm1d(4)
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(4, 6), torch.nn.BatchNorm1d(6), torch.nn.Dropout(0.5)
        )
        self.head = torch.nn.Linear(6, 3)
        self.register_buffer("num_calls", torch.zeros(()))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        self.num_calls = self.num_calls + 1
        output: torch.Tensor = self.head(self.layers(self.frozen(inputs)))
        return output

    def train(self, mode: bool = True) -> Network:
        super().train(mode)
        self.frozen.eval()
        self.frozen.requires_grad_(False)
        return self


class Crossed(Loss):
    """Holds a layer of its own, and draws from every global random state."""

    error: Exception | None = None

    def __init__(self) -> None:
        self.scale = torch.nn.Linear(1, 1)
        self.modes: list[list[bool]] = []

    def loss(self, model: Any, transformed_batch: Any, original_batch: Any = None) -> Any:
        inputs, labels = original_batch
        torch.rand(1), np.random.rand(), random.random()
        if torch.is_grad_enabled():
            self.modes.append([module.training for module in model.modules()])
            if self.error and len(self.modes) > 1:
                raise self.error
        logits = model(inputs)
        losses = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
        return self.scale(losses[:, None].float()).squeeze(1)


def make_loader(**options: Any) -> DataLoader[Any]:
    data = TensorDataset(torch.rand(64, 4), torch.randint(0, 3, (64,)))
    return DataLoader(data, batch_size=8, shuffle=True, **options)


def step(model: Network, optimizer: torch.optim.Optimizer, batch: Any) -> None:
    optimizer.zero_grad()
    torch.nn.functional.cross_entropy(model(batch[0]), batch[1]).backward()  # type: ignore[no-untyped-call]
    optimizer.step()


def read_random_states() -> list[Any]:
    name, keys, *rest = np.random.get_state()
    return [torch.get_rng_state().tolist(), random.getstate(), name, list(keys), rest]


@pytest.fixture
def model() -> Network:
    return Network()


@pytest.fixture
def loader() -> DataLoader[Any]:
    return make_loader()


@pytest.fixture
def crossed() -> Crossed:
    return Crossed()


def run(model: Network, loader: DataLoader[Any], loss: Crossed, **options: Any) -> PilotReport:
    return pilot(model, loss, loader, num_batches=3, **options)


@pytest.mark.parametrize("is_training", [True, False])
def test_parameters_buffers_gradients_and_modes(
    model: Network, loader: DataLoader[Any], crossed: Crossed, is_training: bool
) -> None:
    if is_training:
        model.train()
    else:
        torch.nn.Module.train(model, False)
    model.layers[1].eval()
    gradient = torch.rand(3, 6)
    model.head.weight.grad = gradient
    before = copy.deepcopy(model.state_dict())
    tensors = {id(tensor) for tensor in [*model.parameters(), *model.buffers()]}
    modes = [module.training for module in model.modules()]
    needs = [parameter.requires_grad for parameter in model.parameters()]
    loss, gradient_before = crossed, gradient.clone()
    optimizer = torch.optim.SGD([*model.parameters(), *loss.scale.parameters()], lr=0.5)
    scale = loss.scale.weight.clone()
    run(model, loader, loss, optimizer=optimizer)
    after = model.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert {id(tensor) for tensor in [*model.parameters(), *model.buffers()]} == tensors
    assert [module.training for module in model.modules()] == modes
    assert [parameter.requires_grad for parameter in model.parameters()] == needs
    assert model.head.weight.grad is gradient
    assert torch.equal(gradient, gradient_before)
    others = [p for p in model.parameters() if p is not model.head.weight]
    assert all(parameter.grad is None for parameter in [*others, *loss.scale.parameters()])
    assert torch.equal(loss.scale.weight, scale)
    frozen = loss.modes[0][1]
    assert not frozen
    assert loss.modes[0][0]
    assert loss.modes[0][4] == (not is_training)  # switched off by hand: respected


def test_a_loss_without_an_optimizer_gets_no_gradient_either(
    model: Network, loader: DataLoader[Any], crossed: Crossed
) -> None:
    gradient = crossed.scale.bias.grad = torch.ones(1)
    run(model, loader, crossed)
    assert crossed.scale.weight.grad is None
    assert crossed.scale.bias.grad is gradient
    assert gradient.item() == 1


@pytest.mark.parametrize("has_stepped", [True, False])
def test_the_optimizer(
    model: Network, loader: DataLoader[Any], crossed: Crossed, has_stepped: bool
) -> None:
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1)
    if has_stepped:
        step(model, optimizer, next(iter(loader)))
    before, groups = copy.deepcopy(optimizer.state_dict()), optimizer.param_groups
    marks = {key: value for key, value in vars(optimizer).items() if key != "state"}
    moments = {id(v) for state in optimizer.state.values() for v in state.values()}
    run(model, loader, crossed, optimizer=optimizer)
    after = optimizer.state_dict()
    assert after["param_groups"] == before["param_groups"]
    assert optimizer.param_groups is groups
    assert after["state"].keys() == before["state"].keys()
    for idx, state in before["state"].items():
        assert all(torch.equal(after["state"][idx][key], value) for key, value in state.items())
    assert {id(v) for state in optimizer.state.values() for v in state.values()} == moments
    assert {k: v for k, v in vars(optimizer).items() if k != "state"} == marks
    assert schedule.get_last_lr() == [0.1]


def test_every_global_random_state(
    model: Network, loader: DataLoader[Any], crossed: Crossed
) -> None:
    before = read_random_states()
    run(model, loader, crossed)
    assert read_random_states() == before


def test_the_training_that_follows_is_the_one_without_a_pilot() -> None:
    ends = []
    for has_pilot in (False, True):
        torch.manual_seed(3)
        model = Network().train()
        optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
        loader, loss = make_loader(generator=torch.Generator().manual_seed(5)), Crossed()
        if has_pilot:
            pilot(model, loss, loader, optimizer=optimizer, num_batches=3)
        for batch in loader:
            step(model, optimizer, batch)
        ends.append(model.state_dict())
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


@pytest.mark.parametrize("where", ["loader", "sampler", "batch_sampler"])
def test_the_generators_of_the_loader(model: Network, where: str) -> None:
    generator = torch.Generator().manual_seed(5)
    data = TensorDataset(torch.rand(64, 4), torch.randint(0, 3, (64,)))
    sampler = torch.utils.data.RandomSampler(data, generator=generator)
    loader: DataLoader[Any] = {
        "loader": lambda: DataLoader(data, batch_size=8, generator=generator),
        "sampler": lambda: DataLoader(data, batch_size=8, sampler=sampler),
        "batch_sampler": lambda: DataLoader(
            data, batch_sampler=torch.utils.data.BatchSampler(sampler, 8, False)
        ),
    }[where]()
    before = generator.get_state()
    pilot(model, Crossed(), loader, num_batches=2)
    assert torch.equal(generator.get_state(), before)


def test_persistent_workers_are_the_pilots_own(model: Network) -> None:
    loader = make_loader(num_workers=1, persistent_workers=True)
    report = pilot(model, Crossed(), loader, num_batches=2, num_warmup=0)
    assert report.num_workers == 1
    assert loader._iterator is None
    batches = iter(loader)
    next(batches)
    pilot(model, Crossed(), loader, num_batches=2, num_warmup=0)
    assert len(list(batches)) == len(loader) - 1


def test_everything_is_put_back_after_an_error_too(
    model: Network, loader: DataLoader[Any], crossed: Crossed
) -> None:
    crossed.error = KeyError("own error")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    before, states = copy.deepcopy(model.state_dict()), read_random_states()
    model.eval()
    with pytest.raises(KeyError, match="own error"):
        run(model, loader, crossed, optimizer=optimizer)
    assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())
    assert read_random_states() == states
    assert not model.training
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_it_trains_where_gradients_are_switched_off(
    model: Network, loader: DataLoader[Any], crossed: Crossed, mode: Any
) -> None:
    with mode():
        assert run(model, loader, crossed).costs.training_s > 0
        assert not torch.is_grad_enabled()
        assert torch.is_inference_mode_enabled() == (mode is torch.inference_mode)


def test_it_trains_under_autocast_and_leaves_no_weights_in_its_cache(
    model: Network, loader: DataLoader[Any]
) -> None:
    model.train()
    seen: list[torch.Tensor] = []

    class Watched(Crossed):
        def loss(self, model: Any, transformed_batch: Any, original_batch: Any = None) -> Any:
            losses = super().loss(model, transformed_batch, original_batch)
            if losses.requires_grad:
                model.head.weight.register_hook(seen.append)
            return losses

    with torch.autocast("cpu", dtype=torch.bfloat16):
        run(model, loader, Watched())
        assert torch.is_autocast_enabled("cpu")
        assert model(torch.rand(4, 4)).requires_grad
    assert seen


def test_under_autocast_the_weights_of_the_moment_count_not_cached_ones() -> None:
    model = torch.nn.Linear(4, 1)
    seen: dict[bool, list[float]] = {False: [], True: []}

    class Watched(Loss):
        def loss(self, model: Any, transformed_batch: Any, original_batch: Any = None) -> Any:
            losses = model(original_batch).square().mean(1)
            seen[losses.requires_grad].append(losses.sum().item())
            return losses

    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        batches = [torch.rand(4, 4)] * 3
        pilot(model, Watched(), batches, optimizer=optimizer, num_batches=3, num_warmup=0)
        output = model(batches[0])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(model(batches[0]), output)
    assert len(set(seen[False])) == 3
    assert len(set(seen[True])) == 3


def test_of_a_ddp_model_the_inner_one_is_used(model: Network) -> None:
    class Shell(torch.nn.parallel.DistributedDataParallel):
        def __init__(self, module: torch.nn.Module) -> None:
            torch.nn.Module.__init__(self)
            self.module = module

        def forward(self, *args: Any, **kwargs: Any) -> Any:
            raise AssertionError("the wrapper may call collectives")

    seen: list[Any] = []

    class Watched(Crossed):
        def loss(self, model: Any, transformed_batch: Any, original_batch: Any = None) -> Any:
            seen.append(model)
            return super().loss(model, transformed_batch, original_batch)

    pilot(Shell(model), Watched(), make_loader(), num_batches=2)
    assert all(found is model for found in seen)


def test_the_loader_is_left_before_its_end(model: Network) -> None:
    closed: list[bool] = []

    class Watched:
        def __iter__(self) -> Iterator[Any]:
            try:
                yield from make_loader()
            finally:
                closed.append(True)

    pilot(model, Crossed(), Watched(), num_batches=2, num_warmup=0)
    assert closed == [True]
