from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from smart_sifting import (
    Loss,
    LossImplementationNotProvidedException,
    SiftConfigValidationException,
    SiftingBatchTransform,
    SiftingDataloader,
    TensorBatch,
    UnsupportedDataFormatException,
)
from tests.conformance.loader_suite import make_config
from tests.supports.sifting_loader import make_batches, make_loader


def test_missing_and_unfit_losses_are_told() -> None:
    class Empty(Loss):
        pass

    class WithoutLoss:
        pass

    for loss in (None, Empty(), WithoutLoss(), Empty, 3):
        with pytest.raises(LossImplementationNotProvidedException, match="`loss_impl` is"):
            SiftingDataloader(make_config(), [], loss_impl=loss, model=torch.nn.Identity())  # type: ignore[arg-type]


def test_a_wrong_configuration_is_told() -> None:
    with pytest.raises(SiftConfigValidationException, match="`beta_value` is 0"):
        make_loader([], config=make_config(beta=0))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": None}, r"`model` is None, but must be the torch\.nn\.Module"),
        ({"model": "resnet"}, "`model` is 'resnet', but must be"),
        ({"batch_transforms": SiftingBatchTransform}, "`batch_transforms` is .* an instance"),
        ({"batch_transforms": 3}, "`batch_transforms` is 3, but must be an instance"),
        ({"max_score_age": 1.5}, "`max_score_age` is 1.5, but must be a whole number"),
        ({"max_score_age": True}, "`max_score_age` is True, but must be a whole number"),
        ({"sample_ids": "ids"}, "`sample_ids` is 'ids', but must be a function that returns"),
    ],
)
def test_a_wrong_argument_is_told(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        make_loader(make_batches(), **arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"scoring": "stale"},
            "`scoring` is 'stale', but must be one of 'plain', 'fresh', 'last_",
        ),
        ({"scoring": None}, "`scoring` is None, but must be one of"),
        ({"scoring": ["plain"]}, r"`scoring` is \['plain'\], but must be one of"),
        ({"max_score_age": 0}, "`max_score_age` is 0, but must be at least 1"),
        ({"max_score_age": -3}, "`max_score_age` is -3, but must be at least 1"),
    ],
)
def test_a_value_out_of_range_is_told(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_loader(make_batches(), **arguments)


def test_our_own_arguments_are_given_by_name_only() -> None:
    with pytest.raises(TypeError, match="positional"):
        SiftingDataloader(make_config(), [], None, None, None, False, None, 0)  # type: ignore[misc]


@pytest.mark.parametrize("wrapped", [None, (batch for batch in make_batches())])
def test_what_cannot_be_iterated_every_epoch_is_told(wrapped: Any) -> None:
    with pytest.raises(TypeError, match=r"`orig_dataloader` is a .* iterable once per epoch"):
        make_loader(wrapped)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("has_transform", [False, True])
def test_a_reduced_loss_is_told_with_the_remedy(reduction: str, has_transform: bool) -> None:
    class Transform(SiftingBatchTransform):
        def transform(self, batch: Any) -> TensorBatch:
            return TensorBatch(*batch)

        def reverse_transform(self, sifting_batch: Any) -> Any:
            return list(sifting_batch)

    class Reduced(Loss):
        def loss(
            self, model: Any, transformed_batch: Any, original_batch: Any = None
        ) -> torch.Tensor:
            loss: torch.Tensor = getattr(original_batch[0].float(), reduction)()
            return loss

    dataset = TensorDataset(torch.arange(40), torch.arange(40))
    transforms = Transform() if has_transform else None
    loader = make_loader(DataLoader(dataset, 8), Reduced(), batch_transforms=transforms)
    with pytest.raises(ValueError, match=r"1 loss\(es\) for a batch of 8 .*reduction='none'"):
        list(loader)


def test_a_transform_to_something_else_is_told() -> None:
    class Transform(SiftingBatchTransform):
        def transform(self, batch: Any) -> Any:
            return batch

        def reverse_transform(self, sifting_batch: Any) -> Any:
            return sifting_batch

    loader = make_loader(make_batches(), batch_transforms=Transform())
    with pytest.raises(UnsupportedDataFormatException, match="but must return a SiftingBatch"):
        list(loader)


def test_a_strange_state_is_told() -> None:
    with pytest.raises(ValueError, match="`state_dict` has version None, but must have version 3"):
        make_loader(make_batches()).load_state_dict({})


def test_a_shorter_loader_cannot_continue_a_state() -> None:
    loader = make_loader(make_batches())
    batches = iter(loader)
    next(batches), next(batches)
    other = make_loader(make_batches(1))
    other.load_state_dict(loader.state_dict())
    with pytest.raises(RuntimeError, match="ended after 1 batches, but the loaded state"):
        next(iter(other))
