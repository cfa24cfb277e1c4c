"""Running statistics of BatchNorm layers, taken anew from batches that are not sifted."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import update_bn
from torch.utils.data import DataLoader, TensorDataset

from smart_sifting import (
    IdentifiedDataset,
    Loss,
    SiftingBatchTransform,
    SiftingDataloader,
    TensorBatch,
)
from tests.conformance.loader_suite import make_config


class CrossEntropy(Loss):
    def __init__(self) -> None:
        self.num_passes = 0
        self.fails_at: int | None = None

    def loss(self, model: Any, transformed_batch: Any, original_batch: Any = None) -> torch.Tensor:
        self.num_passes += 1
        if self.num_passes == self.fails_at:
            raise KeyError("own error")
        inputs, labels = transformed_batch
        return nn.functional.cross_entropy(model(inputs), labels, reduction="none")


def make_model(dropout: float = 0.0) -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Linear(3, 8),
        nn.BatchNorm1d(8, momentum=0.3),
        nn.Dropout(dropout),
        nn.ReLU(),
        nn.BatchNorm1d(8, affine=False),
        nn.Linear(8, 2),
    )


def make_dataset(num_samples: int = 50) -> TensorDataset:
    generator = torch.Generator().manual_seed(4)
    inputs = 3 + 2 * torch.randn(num_samples, 3, generator=generator)
    return TensorDataset(inputs, (inputs[:, 0] > 3).long())


def make_sifting(
    model: nn.Module, *, dataset: Any = None, shuffles: bool = False, **arguments: Any
) -> SiftingDataloader:
    dataset = make_dataset() if dataset is None else dataset
    generator = torch.Generator().manual_seed(6) if shuffles else None
    wrapped = DataLoader(dataset, batch_size=8, shuffle=shuffles, generator=generator)
    arguments = {"loss_impl": CrossEntropy()} | arguments
    config = make_config(delay=arguments.pop("delay", 0))
    return SiftingDataloader(config, wrapped, model=model, seed=0, **arguments)


def read_state(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def differ(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> set[str]:
    return {name for name in before if not torch.equal(before[name], after[name])}


STATISTICS = {
    f"{layer}.{name}"
    for layer in (1, 4)
    for name in ("running_mean", "running_var", "num_batches_tracked")
}


class PairTransform(SiftingBatchTransform):
    def transform(self, batch: Any) -> TensorBatch:
        return TensorBatch(*batch)

    def reverse_transform(self, sifting_batch: Any) -> Any:
        return list(sifting_batch)


@pytest.mark.parametrize("kind", ["plain", "transformed", "identified", "last_visit", "fresh"])
def test_equals_an_average_over_the_plain_loader(kind: str) -> None:
    model = make_model()
    reference = copy.deepcopy(model)
    update_bn(DataLoader(make_dataset(), batch_size=8), reference)
    arguments: dict[str, Any] = {}
    if kind == "transformed":
        arguments["batch_transforms"] = PairTransform()
    if kind in ("identified", "last_visit"):
        arguments["dataset"] = IdentifiedDataset(make_dataset())
    if kind in ("last_visit", "fresh"):
        arguments["scoring"] = kind
    loader = make_sifting(model, **arguments)
    for _ in loader:
        pass
    assert loader.update_batch_norm() == 7
    assert differ(reference.state_dict(), model.state_dict()) == set()
    assert model[1].momentum == 0.3
    assert model[4].momentum == 0.1


def test_looks_at_as_many_batches_as_asked_for() -> None:
    model, reference = make_model(), make_model()
    update_bn(DataLoader(TensorDataset(*make_dataset()[:24]), batch_size=8), reference)
    assert make_sifting(model).update_batch_norm(3) == 3
    assert differ(reference.state_dict(), model.state_dict()) == set()
    assert make_sifting(model).update_batch_norm(100) == 7


@pytest.mark.parametrize("scoring", ["plain", "last_visit"])
def test_touches_nothing_else(scoring: Any) -> None:
    """With dropout, a frozen layer, and another model in the loss."""

    class WithTeacher(CrossEntropy):
        def __init__(self) -> None:
            super().__init__()
            self.teacher = make_model(dropout=0.5)

        def loss(self, model: Any, transformed_batch: Any, *others: Any) -> torch.Tensor:
            self.teacher(transformed_batch[0])
            return super().loss(model, transformed_batch, *others)

    model, loss = make_model(dropout=0.5), WithTeacher()
    model[4].eval()
    model[2].training = True
    dataset = IdentifiedDataset(make_dataset())
    options: dict[str, Any] = {
        "dataset": dataset,
        "shuffles": True,
        "scoring": scoring,
        "delay": 9,
    }
    loader = make_sifting(model, loss_impl=loss, **options)
    twin = make_sifting(make_model(), **options)
    before, teacher_before = read_state(model), read_state(loss.teacher)
    flags = [module.training for module in (*model.modules(), *loss.teacher.modules())]
    model[0].weight.grad = torch.ones_like(model[0].weight)
    random_state = torch.get_rng_state()
    state = loader.state_dict()
    assert loader.update_batch_norm() == 7
    assert differ(before, read_state(model)) == {n for n in STATISTICS if n.startswith("1.")}
    assert differ(teacher_before, read_state(loss.teacher)) == set()
    assert [m.training for m in (*model.modules(), *loss.teacher.modules())] == flags
    assert torch.equal(model[0].weight.grad, torch.ones_like(model[0].weight))
    assert torch.equal(torch.get_rng_state(), random_state)
    assert repr(loader.state_dict()["wrapped"]) == repr(state["wrapped"])
    assert loader.statistics.samples_seen == loader.statistics.num_batches_loaded == 0
    assert loader.progress == 0.0
    first, second = next(iter(loader)), next(iter(twin))
    assert torch.equal(first[0], second[0])  # the order of the next epoch is what it was
    assert model[1].weight.requires_grad


def test_a_sifted_training_goes_on_as_without_it_but_for_the_statistics() -> None:
    yielded = []
    for updates in (False, True):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
        loader = make_sifting(model, shuffles=True)
        batches = []
        for _ in range(3):
            batches += [batch[0].tolist() for batch in loader]
            if updates:
                assert loader.update_batch_norm() == 7
                model[1].reset_running_stats()
        yielded.append(batches)
    assert yielded[0] == yielded[1]


@pytest.mark.parametrize("fails_at", [1, 4])
def test_an_error_leaves_everything_as_it_was(fails_at: int) -> None:
    model = make_model(dropout=0.5)
    loader = make_sifting(model, shuffles=True)
    for batch in loader._orig_dataloader:
        model(batch[0])
    loss: Any = loader._run._pipeline.loss_impl
    loss.fails_at = fails_at
    before, states = read_state(model), torch.get_rng_state()
    wrapped = repr(loader.state_dict()["wrapped"])
    with pytest.raises(KeyError, match="own error"):
        loader.update_batch_norm()
    assert differ(before, read_state(model)) == set()
    assert model[1].momentum == 0.3
    assert all(module.training for module in model.modules())
    assert torch.equal(torch.get_rng_state(), states)
    assert repr(loader.state_dict()["wrapped"]) == wrapped


@pytest.mark.parametrize(
    "layer",
    [nn.ReLU(), nn.BatchNorm1d(3, track_running_stats=False), nn.LayerNorm(3), nn.BatchNorm1d(3)],
)
def test_without_layers_to_update_nothing_is_loaded(layer: nn.Module) -> None:
    model = nn.Sequential(layer, nn.Linear(3, 2))
    if type(layer) is nn.BatchNorm1d and layer.track_running_stats:
        model.eval()
    before = read_state(model)
    loader = make_sifting(model)
    assert loader.update_batch_norm() == 0
    assert loader._run._pipeline.loss_impl.num_passes == 0  # type: ignore[attr-defined] # it counts
    assert differ(before, read_state(model)) == set()


def test_a_loader_without_batches_changes_nothing() -> None:
    model = make_model()
    model(make_dataset()[:20][0])
    before = read_state(model)
    loader = SiftingDataloader(make_config(), [], loss_impl=CrossEntropy(), model=model)
    assert loader.update_batch_norm() == 0
    assert differ(before, read_state(model)) == set()


def test_within_an_epoch_it_is_refused_with_the_remedy() -> None:
    loader = make_sifting(make_model())
    next(iter(loader))
    with pytest.raises(RuntimeError, match=r"within an epoch\. .*call end_epoch\(\) first"):
        loader.update_batch_norm()
    resumed = make_sifting(make_model())
    resumed.load_state_dict(loader.state_dict())
    with pytest.raises(RuntimeError, match="within an epoch"):
        resumed.update_batch_norm()
    loader.end_epoch()
    assert loader.update_batch_norm() == 7


@pytest.mark.parametrize("num_batches", [0, -1])
def test_a_number_that_is_too_small_is_told(num_batches: int) -> None:
    with pytest.raises(
        ValueError, match=f"`num_batches` is {num_batches}, but must be at least 1"
    ):
        make_sifting(make_model()).update_batch_norm(num_batches)


def test_what_is_no_number_is_told() -> None:
    with pytest.raises(TypeError, match=r"`num_batches` is 1\.5, but must be a whole number"):
        make_sifting(make_model()).update_batch_norm(1.5)  # type: ignore[arg-type]
