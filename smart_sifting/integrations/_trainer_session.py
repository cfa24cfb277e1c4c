"""What changes in a Hugging Face Trainer that sifts: its loader, its schedule, its resumption."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from smart_sifting.integrations._checkpoint import read_state, write_state
from smart_sifting.integrations._schedule import Pace, expect_update_steps, set_pace
from smart_sifting.integrations._trainer_callback import SiftingCallback
from smart_sifting.integrations._trainer_loader import EpochLength, TrainerLoader

_LOGGER = logging.getLogger("smart_sifting.integrations.trainer")
_STATE_VERSION = 1
_MOST_EPOCHS = 1000
_NUM_MORE_UPDATES = 5  # four batches that a rank may carry over, and the question that ends it


class TrainerSession:
    """The sifting of one Trainer; the Trainer's own methods are replaced on the instance.

    Args:
        trainer: A ``transformers.Trainer``.
        build_loader: Makes the sifting loader around the Trainer's own.

    Attributes:
        is_resuming: Whether the epoch under way was begun before a checkpoint.
        is_between_epochs: Whether an epoch is over for the Trainer too, and no other has begun.
    """

    def __init__(self, trainer: Any, build_loader: Callable[[Any], TrainerLoader]) -> None:
        self._trainer = trainer
        self._build_loader = build_loader
        self._loader: TrainerLoader | None = None
        self._pace: Pace | None = None
        self.is_resuming = False
        self.is_between_epochs = False
        self._get_train_dataloader = trainer.get_train_dataloader
        self._set_initial_training_values = trainer.set_initial_training_values
        self._init_training_state = trainer._init_training_state
        self._create_scheduler = trainer.create_scheduler

    @property
    def loader(self) -> TrainerLoader:
        """The loader of the training under way."""
        assert self._loader is not None, "the Trainer asks for its loader before anything else"
        return self._loader

    def install(self) -> None:
        """Replace the methods of the Trainer, and follow its events before anyone else does."""
        self._trainer.get_train_dataloader = self.get_train_dataloader
        self._trainer.set_initial_training_values = self.set_initial_training_values
        self._trainer._init_training_state = self.init_training_state
        self._trainer.create_scheduler = self.create_scheduler
        self._trainer.callback_handler.callbacks.insert(0, SiftingCallback(self))

    def get_train_dataloader(self) -> TrainerLoader:
        """Return a new sifting loader around the Trainer's own."""
        self._loader = self._build_loader(self._get_train_dataloader())
        self._pace = self._make_pace()
        self.is_resuming = False
        return self._loader

    def set_initial_training_values(self, args: Any, dataloader: Any) -> tuple[Any, ...]:
        """Return the Trainer's own values, with an epoch length that knows the loader.

        The Trainer is to ask on until the loader ends the epoch. With ``max_steps`` there may be
        as many epochs as steps, since each has at least one.
        """
        values = list(self._set_initial_training_values(args, dataloader))
        num_epochs, num_updates, *others, num_batches, max_steps = values
        if args.max_steps > 0:
            num_epochs = max_steps
        length = EpochLength(num_batches, self.loader)
        return (num_epochs, num_updates + _NUM_MORE_UPDATES, *others, length, max_steps)

    def init_training_state(
        self,
        max_steps: int,
        num_update_steps_per_epoch: int,
        num_train_epochs: int,
        resume_from_checkpoint: str | None,
        trial: Any,
    ) -> tuple[int, int]:
        """Return how many epochs are trained, and that the Trainer has no batch to skip.

        The Trainer would divide its number of steps by the length of an unsifted epoch, and skip
        batches by a loader of its own. The sifting loader knows where it was.
        """
        num_updates = num_update_steps_per_epoch - _NUM_MORE_UPDATES
        num_epochs, num_batches = self._init_training_state(
            max_steps, num_updates, num_train_epochs, resume_from_checkpoint, trial
        )
        if resume_from_checkpoint is None:
            return num_epochs, num_batches
        saved = read_state(Path(resume_from_checkpoint), self._trainer.args.process_index)
        if saved is not None:
            self.loader.resume(
                saved["loader"],
                is_in_epoch=saved["is_in_epoch"],
                has_ended=saved["has_ended"],
            )
            self.begin_epoch(saved["num_epochs_done"], first_step=saved["first_step"])
            self.is_resuming = saved["is_in_epoch"]
            return saved["num_epochs_done"], 0
        _LOGGER.warning(
            "%s was made without sifting: the loss history begins empty%s.",
            resume_from_checkpoint,
            ", and the epoch under way from its begin" if num_batches else "",
        )
        if self._trainer.args.max_steps <= 0:
            num_left = (num_train_epochs - num_epochs) * num_updates
            self._trainer.state.max_steps = self._trainer.state.global_step + num_left
        return num_epochs, 0

    def create_scheduler(
        self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None
    ) -> Any:
        """Create the Trainer's own schedule, over the expected number of steps."""
        if self._trainer.lr_scheduler is not None or self._pace is None:
            return self._create_scheduler(num_training_steps, optimizer)
        scheduler = self._create_scheduler(self._pace.num_steps, optimizer)
        set_pace(scheduler, self._pace)
        return scheduler

    def begin_epoch(self, epoch_idx: int, *, first_step: int) -> None:
        """Tell the schedule that an epoch begins.

        Args:
            epoch_idx: Which one, from 0.
            first_step: How many steps were taken before it began.
        """
        if self._pace is not None:
            self._pace.begin_epoch(epoch_idx, first_step=first_step)

    def expect_num_epochs(self) -> int:
        """Return how many epochs ``max_steps`` are expected to take, at most so many steps."""
        args = self._trainer.args
        try:
            expected_steps = self._expect_update_steps(min(args.max_steps, _MOST_EPOCHS))
        except TypeError:
            return int(args.max_steps)
        reached = (idx for idx, steps in enumerate(expected_steps, 1) if steps >= args.max_steps)
        return next(reached, int(args.max_steps))

    def is_fraction_over(self, epoch: float) -> bool:
        """Return whether a fractional number of epochs is over, the same on all ranks.

        Args:
            epoch: How many epochs this rank has done, ``>= 0``.
        """
        args = self._trainer.args
        if args.max_steps > 0 or float(args.num_train_epochs).is_integer():
            return False
        if epoch < math.floor(args.num_train_epochs) and args.world_size == 1:
            return False
        done = torch.tensor([epoch], device=args.device)
        return bool(self._trainer.accelerator.gather(done).min() >= args.num_train_epochs)

    def save(self, folder: str) -> None:
        """Write this rank's state into a checkpoint.

        Args:
            folder: The checkpoint's name below the output folder.
        """
        trainer = self._trainer
        run_folder = Path(trainer._get_output_dir(trial=getattr(trainer, "_trial", None)))
        state = {
            "version": _STATE_VERSION,
            "num_epochs_done": self.loader.epoch_idx + int(self.is_between_epochs),
            "is_in_epoch": not self.is_between_epochs,
            "has_ended": self.loader.has_ended,
            "first_step": 0 if self._pace is None else self._pace.first_step,
            "loader": self.loader.state_dict(),
        }
        write_state(run_folder / folder, trainer.args.process_index, state)

    def _make_pace(self) -> Pace | None:
        if self._trainer.args.max_steps > 0:
            return None
        try:
            return Pace(self._expect_update_steps(self._trainer.args.num_train_epochs))
        except TypeError:
            return None

    def _expect_update_steps(self, num_epochs: float) -> list[int]:
        accumulation_steps = self._trainer.args.gradient_accumulation_steps
        return expect_update_steps(
            self.loader, num_epochs=num_epochs, accumulation_steps=accumulation_steps
        )


def is_sifting(trainer: Any) -> bool:
    """Return whether a Trainer sifts already.

    Args:
        trainer: A ``transformers.Trainer``.
    """
    callbacks = trainer.callback_handler.callbacks
    return any(isinstance(callback, SiftingCallback) for callback in callbacks)
