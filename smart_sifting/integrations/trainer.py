"""Sifting inside the Hugging Face Trainer.

Source: interface from
https://docs.aws.amazon.com/sagemaker/latest/dg/train-smart-sifting-apply-to-hugging-face-transformers-script.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from smart_sifting._core.scoring import LossImplementation
from smart_sifting.data_model.data_model_interface import SiftingBatchTransform
from smart_sifting.dataloader.sift_dataloader import SiftingDataloader
from smart_sifting.loss.abstract_sift_loss_module import check_loss_impl
from smart_sifting.sift_config.sift_configs import (
    RelativeProbabilisticSiftConfig,
    read_sift_config,
)

__all__ = ["enable_sifting"]


class _EndlessSiftingDataloader(SiftingDataloader):
    """A loader without a length, so that the Trainer goes on until ``max_steps``."""

    def __len__(self) -> int:
        raise TypeError("With `max_steps` the number of sifted batches per epoch is not known.")


def enable_sifting(
    trainer: Any,
    sift_config: RelativeProbabilisticSiftConfig | Mapping[str, Any],
    loss: LossImplementation | None = None,
    set_epochs: bool | float | None = None,
    *,
    batch_transforms: SiftingBatchTransform | None = None,
    log_batch_data: bool = False,
    batch_format_index: int | None = None,
    seed: int | None = None,
) -> None:
    """Let a Hugging Face Trainer sift its training data; changes the trainer in place.

    With ``args.max_steps`` set, training lasts that many steps, over as many epochs as they need.
    Otherwise it lasts ``args.num_train_epochs`` epochs; their number of steps is known only
    afterwards, and the learning-rate schedule is sized for unsifted epochs, as an upper bound.

    After training has begun, the loader is ``trainer.callback_handler.train_dataloader``; its
    ``statistics`` tell what was sifted out.

    Args:
        trainer: A ``transformers.Trainer``, or anything with its ``get_train_dataloader()``,
            ``model`` and ``args``.
        sift_config: How to sift: a RelativeProbabilisticSiftConfig, or a dict with its keys.
        loss: An object whose ``loss(model, transformed_batch, original_batch)`` gives one loss per
            sample.
        set_epochs: True to train for ``args.num_train_epochs`` epochs even if ``args.max_steps``
            is set; a number to train for that many epochs; None or False to leave both as they
            are.
        batch_transforms: As for SiftingDataloader.
        log_batch_data: As for SiftingDataloader.
        batch_format_index: As for SiftingDataloader.
        seed: As for SiftingDataloader; ``args.data_seed`` or ``args.seed`` by default.

    Raises:
        SiftConfigValidationException: If ``sift_config`` is not valid.
        LossImplementationNotProvidedException: If ``loss`` cannot give losses.
        ValueError: If ``set_epochs`` is not positive.
    """
    read_sift_config(sift_config)
    check_loss_impl(loss, argument="loss")
    _set_epochs(trainer.args, set_epochs)
    get_unsifted_dataloader = trainer.get_train_dataloader

    def get_train_dataloader() -> SiftingDataloader:
        has_max_steps = trainer.args.max_steps > 0
        loader_class = _EndlessSiftingDataloader if has_max_steps else SiftingDataloader
        return loader_class(
            sift_config=sift_config,
            orig_dataloader=get_unsifted_dataloader(),
            batch_transforms=batch_transforms,
            loss_impl=loss,
            model=trainer.model,
            log_batch_data=log_batch_data,
            batch_format_index=batch_format_index,
            seed=_read_seed(trainer.args) if seed is None else seed,
        )

    trainer.get_train_dataloader = get_train_dataloader


def _set_epochs(args: Any, set_epochs: bool | float | None) -> None:
    if set_epochs is None or set_epochs is False:
        return
    if set_epochs is not True:
        if not set_epochs > 0:
            raise ValueError(
                f"`set_epochs` is {set_epochs!r}, but must be a positive number of epochs, or "
                "True to train for `args.num_train_epochs`."
            )
        args.num_train_epochs = set_epochs
    args.max_steps = -1


def _read_seed(args: Any) -> int | None:
    data_seed: int | None = getattr(args, "data_seed", None)
    return getattr(args, "seed", None) if data_seed is None else data_seed
