"""Sifting inside the Hugging Face Trainer.

Source: interface from
https://docs.aws.amazon.com/sagemaker/latest/dg/train-smart-sifting-apply-to-hugging-face-transformers-script.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from smart_sifting._core.scoring import LossImplementation
from smart_sifting.data_model.data_model_interface import SiftingBatchTransform
from smart_sifting.integrations._trainer_loader import TrainerLoader
from smart_sifting.loss.abstract_sift_loss_module import check_loss_impl
from smart_sifting.sift_config.sift_configs import (
    RelativeProbabilisticSiftConfig,
    read_sift_config,
)

__all__ = ["enable_sifting"]

_NEEDED = (
    "_init_training_state",
    "callback_handler",
    "create_scheduler",
    "get_train_dataloader",
    "set_initial_training_values",
)


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

    With ``args.max_steps`` set, training lasts that many steps, over as many epochs as they need,
    and the learning-rate schedule is as the Trainer makes it. Otherwise training lasts
    ``args.num_train_epochs`` epochs. Their number of steps is known only afterwards: the schedule
    is sized for the expected number (:meth:`SiftingDataloader.expected_len`, by
    ``args.gradient_accumulation_steps``), a warm-up ratio with it. Every epoch begins in the
    schedule where it was expected to begin; in an epoch of more steps than expected it waits for
    the next one, and so it does beyond its end. A scheduler given to the Trainer is left alone.

    An epoch ends when its data ends: what is accumulated by then is applied, evaluation and
    saving by epoch happen once, and ``state.epoch`` is the share of the data that is done.
    ``state.max_steps``, which the progress bar shows and by which fractional ``logging_steps``,
    ``eval_steps`` and ``save_steps`` are reckoned, stays the number of an unsifted training: an
    upper bound. With ``args.max_steps``, ``state.num_train_epochs`` is an estimate.

    Every checkpoint holds the sifting state too (``sifting_state_<rank>.pt``), unless
    ``args.save_only_model``. ``train(resume_from_checkpoint=...)`` continues from there, within an
    epoch by reading again, unscored, what was consumed; ``args.ignore_data_skip`` changes
    nothing. The continued training is the uninterrupted one to the bit, dropout included, if
    reading the data draws nothing from the global random states; but not with BatchNorm on
    several ranks, of whose statistics a checkpoint holds rank 0's. A checkpoint without the file
    is continued with an empty history, after a warning. With ``args.push_to_hub`` a checkpoint is
    pushed before that file is written.

    After training has begun, the loader is ``trainer.callback_handler.train_dataloader``; its
    ``statistics`` tell what was sifted out. Scoring calls ``trainer.model``, thus in the
    precision of training (``bf16``, ``fp16``), but not compiled. Methods of this one trainer are
    replaced for all this; of the Trainer's class nothing is.

    Args:
        trainer: A ``transformers.Trainer`` of version 5.
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
        ValueError: If ``set_epochs`` is not positive, or the trainer sifts already.
        TypeError: If ``trainer`` is no Trainer that can be changed.
    """
    read_sift_config(sift_config)
    check_loss_impl(loss, argument="loss")
    _check_trainer(trainer)
    # Loads transformers, which the script has if it has a Trainer.
    from smart_sifting.integrations._trainer_session import (  # noqa: PLC0415
        TrainerSession,
        is_sifting,
    )

    if is_sifting(trainer):
        raise ValueError("`trainer` sifts already. Make a new Trainer for other settings.")
    _set_epochs(trainer.args, set_epochs)

    def build_loader(orig_dataloader: Any) -> TrainerLoader:
        return TrainerLoader(
            sift_config=sift_config,
            orig_dataloader=orig_dataloader,
            batch_transforms=batch_transforms,
            loss_impl=loss,
            model=trainer.model,
            log_batch_data=log_batch_data,
            batch_format_index=batch_format_index,
            seed=_read_seed(trainer.args) if seed is None else seed,
        )

    TrainerSession(trainer, build_loader).install()


def _check_trainer(trainer: Any) -> None:
    missing = [name for name in _NEEDED if not hasattr(trainer, name)]
    if missing:
        raise TypeError(
            f"`trainer` is a {type(trainer).__name__} without {', '.join(missing)}, but must be a "
            "transformers.Trainer of version 5. Run: pip install --upgrade transformers"
        )


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
