"""Which batches a pilot takes, and what it says of input that it cannot take."""

from __future__ import annotations

import dataclasses
import math
from collections import namedtuple
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from smart_sifting import (
    ListBatch,
    Loss,
    LossImplementationNotProvidedException,
    SiftingBatchTransform,
    SiftingDataloader,
    TensorBatch,
    UnsupportedDataFormatException,
    pilot,
)

Pair = namedtuple("Pair", ["inputs", "labels"])
CONFIG = {
    "beta_value": 1,
    "loss_history_length": 10,
    "loss_based_sift_config": {"sift_config": {"sift_delay": 0}},
}


class Squares(Loss):
    """Of the inputs, which ``read`` finds in a batch."""

    def __init__(self, read: Callable[[Any], torch.Tensor] = lambda batch: batch) -> None:
        self.read = read

    def loss(self, model: Any, transformed_batch: Any, original_batch: Any = None) -> Any:
        return model(self.read(original_batch)) ** 2


class Tensors(SiftingBatchTransform):
    def transform(self, batch: Any) -> TensorBatch:
        return TensorBatch(batch.inputs, batch.labels)

    def reverse_transform(self, sifting_batch: Any) -> Any:
        return Own(sifting_batch.inputs, sifting_batch.labels)


class Lists(SiftingBatchTransform):
    def transform(self, batch: Any) -> ListBatch:
        return ListBatch(batch.inputs.tolist(), batch.labels.tolist())

    def reverse_transform(self, sifting_batch: Any) -> Any:
        return Own(torch.tensor(sifting_batch.inputs), torch.tensor(sifting_batch.labels))


@dataclasses.dataclass
class Own:
    inputs: torch.Tensor
    labels: torch.Tensor


INPUTS, LABELS = torch.rand(6, 2), torch.arange(6)
FORMATS: dict[str, tuple[Any, Callable[[Any], torch.Tensor], dict[str, Any]]] = {
    "tensor by sample": (INPUTS, lambda batch: batch, {}),
    "tensor by feature": (INPUTS.T, lambda batch: batch.T, {"batch_format_index": 1}),
    "list of features": ([INPUTS, LABELS], lambda batch: batch[0], {}),
    "tuple of features": ((INPUTS, LABELS), lambda batch: batch[0], {}),
    "list of samples": (list(zip(INPUTS, LABELS, strict=True)), lambda b: stack(b), {}),
    "dict": ({"inputs": INPUTS, "labels": LABELS}, lambda batch: batch["inputs"], {}),
    "named tuple": (Pair(INPUTS, LABELS), lambda batch: batch.inputs, {}),
    "nested": ([{"inputs": INPUTS}, LABELS], lambda batch: batch[0]["inputs"], {}),
    "own class as tensors": (
        Own(INPUTS, LABELS),
        lambda batch: batch.inputs,
        {"batch_transforms": Tensors()},
    ),
    "own class as lists": (
        Own(INPUTS, LABELS),
        lambda batch: batch.inputs,
        {"batch_transforms": Lists()},
    ),
}


def stack(samples: Any) -> torch.Tensor:
    return torch.stack([inputs for inputs, _ in samples])


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_that_the_loader_takes(name: str) -> None:
    batch, read, options = FORMATS[name]
    report = pilot(torch.nn.Linear(2, 1), Squares(read), [batch] * 4, num_warmup=2, **options)
    assert (report.batch_size, report.num_batches, report.num_warmup) == (6, 2, 2)


class NoSamples(Squares):
    def loss(self, model: Any, transformed_batch: Any, original_batch: Any = None) -> Any:
        return super().loss(model, transformed_batch, original_batch).mean()


class NoTensor(Squares):
    def loss(self, model: Any, transformed_batch: Any, original_batch: Any = None) -> Any:
        return [1.0] * 6


class NoSiftingBatch(Tensors):
    def transform(self, batch: Any) -> Any:
        return [1, 2]


LINEAR = torch.nn.Linear(2, 1)
REFUSED: dict[str, dict[str, Any]] = {
    "no loss": {"loss_impl": None},
    "a class as loss": {"loss_impl": Squares},
    "a loss without loss": {"loss_impl": Loss()},
    "no model": {"model": "resnet"},
    "no loader": {"orig_dataloader": 3},
    "a generator as loader": {"orig_dataloader": (INPUTS for _ in range(3))},
    "a class as transforms": {"batch_transforms": Tensors},
    "an unknown format index": {"batch_format_index": 2},
    "a mean as loss": {"loss_impl": NoSamples()},
    "a list as loss": {"loss_impl": NoTensor()},
    "an unknown batch": {"orig_dataloader": [Own(INPUTS, LABELS)], "loss_impl": NoTensor()}
    | {"loss_impl": Squares(lambda batch: batch.inputs)},
    "a transform to something else": {"batch_transforms": NoSiftingBatch()},
    "a transform to other samples": {
        "orig_dataloader": [Own(INPUTS[:5], LABELS[:5])],
        "loss_impl": Squares(lambda batch: INPUTS),
        "batch_transforms": Tensors(),
    },
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_sifting_loader_refuses_is_refused_in_its_words(name: str) -> None:
    arguments = {"model": LINEAR, "loss_impl": Squares(), "orig_dataloader": [INPUTS] * 3}
    arguments |= REFUSED[name]
    with pytest.raises((TypeError, ValueError)) as expected:
        list(SiftingDataloader(CONFIG, **arguments))
    with pytest.raises((TypeError, ValueError)) as found:
        pilot(**arguments)
    assert found.type is expected.type
    assert str(found.value) == str(expected.value)


def test_the_comparison_covers_the_published_exceptions() -> None:
    types = set()
    for wrong in REFUSED.values():
        arguments = {"model": LINEAR, "loss_impl": Squares(), "orig_dataloader": [INPUTS] * 3}
        try:
            pilot(**(arguments | wrong))
        except (TypeError, ValueError) as error:
            types.add(type(error))
    assert types >= {LossImplementationNotProvidedException, UnsupportedDataFormatException}


@pytest.mark.parametrize("switch_off", [torch.no_grad(), None])
def test_a_loss_without_a_gradient_is_named(switch_off: Any) -> None:
    class Detached(Squares):
        def loss(self, model: Any, transformed_batch: Any, original_batch: Any = None) -> Any:
            if switch_off is None:
                return super().loss(model, transformed_batch, original_batch).detach()
            with switch_off:
                return super().loss(model, transformed_batch, original_batch)

    with pytest.raises(ValueError, match=r"`loss_impl\.loss` gave losses without a gradient"):
        pilot(LINEAR, Detached(), [INPUTS])


def test_a_model_with_nothing_to_train_is_named() -> None:
    frozen = torch.nn.Linear(2, 1).requires_grad_(False)
    with pytest.raises(ValueError, match="`model` has no parameter that requires a gradient"):
        pilot(frozen, Squares(), [INPUTS])
    assert not frozen.weight.requires_grad


def test_a_loader_without_batches_is_named() -> None:
    with pytest.raises(ValueError, match="`orig_dataloader` gave 0 batches, but"):
        pilot(LINEAR, Squares(), [])


def test_a_sifted_loader_is_refused() -> None:
    sifted = SiftingDataloader(CONFIG, [INPUTS], model=LINEAR, loss_impl=Squares())
    with pytest.raises(TypeError, match="is a SiftingDataloader, but must be the loader that"):
        pilot(LINEAR, Squares(), sifted)


def test_a_layer_without_values_is_named() -> None:
    with pytest.raises(ValueError, match="`model` has a parameter without a value"):
        pilot(torch.nn.LazyLinear(1), Squares(), [INPUTS])


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"betas": []}, ValueError, "`betas` is empty"),
        ({"betas": 1}, TypeError, "`betas` is 1, but must be a list of numbers"),
        ({"betas": torch.tensor(1.0)}, TypeError, r"`betas` is tensor\(1\.\), but must be a list"),
        ({"betas": "12"}, TypeError, "`betas` is '12', but must be a list of numbers"),
        ({"scoring": "stale"}, ValueError, "`scoring` is 'stale', but must be 'plain' or 'fresh'"),
        ({"scoring": "last_visit"}, ValueError, "of the last visit take no scoring pass"),
        ({"betas": [1, 0]}, ValueError, "`betas` holds 0, but a selectivity must be positive"),
        ({"betas": ["1"]}, TypeError, "`betas` holds '1', but a selectivity must be a number"),
        ({"beta_value": -2}, ValueError, "`beta_value` is -2, but a selectivity must be pos"),
        ({"beta_value": math.nan}, ValueError, "`beta_value` is nan, but a selectivity must be"),
        ({"beta_value": "1"}, TypeError, "`beta_value` is '1', but a selectivity must be a num"),
        ({"beta_value": True}, TypeError, "`beta_value` is True, but a selectivity must be a n"),
        ({"num_batches": 0}, ValueError, "`num_batches` is 0, but must be at least 1"),
        ({"num_batches": 2.5}, TypeError, r"`num_batches` is 2\.5, but must be a whole number"),
        ({"num_warmup": -1}, ValueError, "`num_warmup` is -1, but must be at least 0"),
        ({"optimizer": "sgd"}, TypeError, "`optimizer` is 'sgd', but must be a torch"),
    ],
)
def test_other_arguments_out_of_range_are_named(
    arguments: dict[str, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        pilot(LINEAR, Squares(), [INPUTS] * 2, **arguments)


def test_the_loader_may_hold_its_own_class_of_iterator() -> None:
    class Loader:
        batch_size = 6

        def __iter__(self) -> Iterator[Any]:
            return iter([INPUTS, INPUTS])

    assert pilot(LINEAR, Squares(), Loader()).num_batches == 1


@pytest.mark.parametrize("has_schedule", [False, True])
def test_an_optimizer_whose_step_needs_a_closure_is_named(has_schedule: bool) -> None:
    optimizer = torch.optim.LBFGS(LINEAR.parameters())
    if has_schedule:
        torch.optim.lr_scheduler.StepLR(optimizer, 1)
    with pytest.raises(TypeError, match=r"`optimizer` is LBFGS, .* Pass optimizer=None"):
        pilot(LINEAR, Squares(), [INPUTS] * 2, optimizer=optimizer)


def test_any_other_optimizer_is_taken_with_a_schedule_too() -> None:
    optimizer = torch.optim.SGD(LINEAR.parameters(), lr=0.1)
    torch.optim.lr_scheduler.StepLR(optimizer, 1)
    report = pilot(LINEAR, Squares(), [INPUTS] * 2, optimizer=optimizer)
    assert "step" in report.as_dict()["stages"]


@pytest.mark.parametrize("is_buffer", [False, True])
def test_a_model_without_data_is_named(is_buffer: bool) -> None:
    model = torch.nn.Linear(2, 1, device="cpu" if is_buffer else "meta")
    if is_buffer:
        model.register_buffer("mean", torch.zeros(1, device="meta"))
    with pytest.raises(ValueError, match=r"on the meta device, .* Move it to"):
        pilot(model, Squares(), [INPUTS])


def test_batches_of_one_sample_are_named_where_batch_norm_needs_more() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    with pytest.raises(ValueError, match="gave a batch of 1 sample, but the BatchNorm layers"):
        pilot(model, Squares(), [INPUTS[:1]] * 2)


class Particular(Squares):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text

    def loss(self, model: Any, transformed_batch: Any, original_batch: Any = None) -> Any:
        if torch.is_grad_enabled():
            raise ValueError(self.text)
        return super().loss(model, transformed_batch, original_batch)


@pytest.mark.parametrize(
    ("has_norm", "num_samples", "text"),
    [
        (True, 6, "Expected more than 1 value per channel"),
        (False, 1, "Expected more than 1 value per channel"),
        (True, 1, "own error"),
    ],
)
def test_a_loss_that_fails_for_its_own_reason_keeps_its_error(
    has_norm: bool, num_samples: int, text: str
) -> None:
    norm = torch.nn.BatchNorm1d(2) if has_norm else torch.nn.Identity()
    model = torch.nn.Sequential(norm, torch.nn.Linear(2, 1))
    with pytest.raises(ValueError, match=f"^{text}$"):
        pilot(model, Particular(text), [INPUTS[:num_samples]])


def test_a_loss_that_takes_things_out_of_the_batch_does_so_from_a_copy() -> None:
    batches = [{"inputs": INPUTS} for _ in range(3)]
    report = pilot(LINEAR, Squares(lambda batch: batch.pop("inputs")), batches, num_warmup=0)
    assert report.num_batches == 3
