"""Training loops of many kinds: with nothing sifted out they must equal the unsifted loop."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from smart_sifting import Loss, SiftingDataloader
from tests.conformance.loader_suite import make_config


class CrossEntropy(Loss):
    def loss(self, model: Any, transformed_batch: Any, original_batch: Any = None) -> torch.Tensor:
        inputs, labels = original_batch
        logits = model(inputs.to(next(model.parameters()).dtype))
        return torch.nn.functional.cross_entropy(logits, labels, reduction="none")


@dataclass
class Loop:
    """How a training loop differs from the plainest one."""

    wrap: Callable[[torch.nn.Module], Any] = lambda model: model
    autocast: str = "off"
    num_accumulated: int = 1
    loader: tuple[tuple[str, Any], ...] = ()
    moves_late: bool = False


LOOPS = {
    "plain": Loop(),
    "gradient accumulation": Loop(num_accumulated=3),
    "autocast around the forward pass": Loop(autocast="forward"),
    "autocast around the whole loop": Loop(autocast="loop"),
    "compiled": Loop(wrap=lambda model: torch.compile(model, backend="eager")),
    "workers": Loop(loader=(("num_workers", 1),)),
    "persistent workers": Loop(loader=(("num_workers", 1), ("persistent_workers", True))),
    "double precision after the loader was made": Loop(moves_late=True),
}


def make_dataset() -> TensorDataset:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(42, 6, generator=generator)
    return TensorDataset(inputs, torch.randint(3, (42,), generator=generator))


def train(loop: Loop, beta: float | None) -> tuple[dict[str, Any], dict[str, Any], Any]:
    """Return the state before and after two epochs, and the loader."""
    torch.manual_seed(1)
    model = torch.nn.Sequential(
        torch.nn.Linear(6, 12),
        torch.nn.BatchNorm1d(12),
        torch.nn.ReLU(),
        torch.nn.Dropout(0.3),
        torch.nn.Linear(12, 3),
    )
    used = loop.wrap(model)
    dataset = make_dataset()
    loader: Any = DataLoader(dataset, batch_size=8, shuffle=True, **dict(loop.loader))
    if beta is not None:
        loader = SiftingDataloader(
            make_config(beta=beta, delay=1), loader, loss_impl=CrossEntropy(), model=used, seed=0
        )
    if loop.moves_late:
        model.double()
    before = copy.deepcopy(model.state_dict())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    around_loop, around_forward = (
        torch.autocast("cpu", torch.bfloat16)
        if loop.autocast == place
        else contextlib.nullcontext()
        for place in ("loop", "forward")
    )
    with around_loop:
        for _ in range(2):
            for idx, (inputs, labels) in enumerate(loader):
                with around_forward:
                    logits = used(inputs.to(model[0].weight.dtype))
                torch.nn.functional.cross_entropy(logits, labels).backward()
                if idx % loop.num_accumulated == loop.num_accumulated - 1:
                    optimizer.step()
                    optimizer.zero_grad()
    after = copy.deepcopy(model.state_dict()) | {"random state": torch.get_rng_state()}
    return before, after, loader


@pytest.mark.parametrize("name", LOOPS)
def test_with_nothing_sifted_out_training_equals_the_plain_loop_bit_for_bit(
    name: str,
) -> None:
    _, plain, _ = train(LOOPS[name], beta=None)
    before, sifted, loader = train(LOOPS[name], beta=1e-9)
    assert loader.statistics.samples_sifted_out == 0
    assert loader.statistics.samples_scored == 2 * 42 - 8
    assert not torch.equal(before["0.weight"], sifted["0.weight"])
    assert plain.keys() == sifted.keys()
    assert all(torch.equal(plain[key], sifted[key]) for key in plain)


@pytest.mark.parametrize("name", LOOPS)
def test_sifted_training_moves_the_weights(name: str) -> None:
    before, after, loader = train(LOOPS[name], beta=1.0)
    assert 0 < loader.statistics.samples_sifted_out < loader.statistics.samples_scored
    assert not torch.equal(before["0.weight"], after["0.weight"])


def test_hooks_and_autocast_are_as_before_scoring() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(6, 3))
    calls: list[int] = []
    model[0].register_forward_hook(lambda *_: calls.append(1))
    hooks = [dict(vars(module)) for module in model.modules()]
    num_hooks = [len(values["_forward_hooks"]) for values in hooks]
    model[0].bias.requires_grad_(False)
    wrapped = DataLoader(make_dataset(), batch_size=8)
    with torch.autocast("cpu", torch.bfloat16):
        list(SiftingDataloader(make_config(), wrapped, loss_impl=CrossEntropy(), model=model))
        assert torch.is_autocast_enabled("cpu")
        assert torch.get_autocast_dtype("cpu") == torch.bfloat16
        assert torch.is_autocast_cache_enabled()
    assert len(calls) == 6
    now = [len(vars(module)["_forward_hooks"]) for module in model.modules()]
    assert now == num_hooks == [0, 1]
    assert [parameter.requires_grad for parameter in model.parameters()] == [True, False]


@pytest.mark.parametrize("has_batch_norm", [False, True])
def test_a_single_sample_left_over_waits_for_the_next_epoch_if_there_is_batch_norm(
    has_batch_norm: bool,
) -> None:
    model = torch.nn.BatchNorm1d(6) if has_batch_norm else torch.nn.Linear(6, 6)
    dataset = make_dataset()
    loader = SiftingDataloader(
        make_config(beta=1e-9),
        DataLoader(torch.utils.data.Subset(dataset, range(17)), batch_size=8),
        loss_impl=CrossEntropy(),
        model=model,
    )
    sizes = [[len(inputs) for inputs, _ in loader] for _ in range(3)]
    counts = loader.statistics
    if has_batch_norm:
        assert sizes == [[8, 8], [8, 8, 2], [8, 8]]
        assert (counts.samples_yielded, counts.samples_waiting) == (50, 1)
        assert [epoch.samples_yielded for epoch in counts.epochs] == [16, 18, 16]
    else:
        assert sizes == [[8, 8, 1]] * 3
    assert counts.samples_dropped_last == 0
    if has_batch_norm:
        state = loader.state_dict()
        loader.load_state_dict(state)
        first = next(iter(loader))[0]
        assert torch.equal(first[0], dataset.tensors[0][16])
