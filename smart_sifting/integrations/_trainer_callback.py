"""What sifting does at the events of a Hugging Face Trainer; needs ``transformers``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, IntervalStrategy, SaveStrategy

if TYPE_CHECKING:
    from smart_sifting.integrations._trainer_session import TrainerSession


class SiftingCallback(TrainerCallback):
    """Ends epochs where they end, and saves the sifting state with every checkpoint.

    Args:
        session: The sifting of one Trainer.
    """

    def __init__(self, session: TrainerSession) -> None:
        super().__init__()
        self._session = session

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Show the expected number of epochs, where the number of steps is given."""
        if args.max_steps > 0:
            state.num_train_epochs = self._session.expect_num_epochs()

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Note that an epoch is under way."""
        self._session.is_between_epochs = False

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Stop within an epoch where a fractional number of epochs is over."""
        if self._session.is_fraction_over(state.epoch):
            self._request_last(args, state, control)
            control.should_training_stop = True

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """End the loader's epoch too, unless training was stopped within it."""
        loader = self._session.loader
        if loader.has_ended and not loader.num_taken and self._session.is_resuming:
            # The Trainer takes an epoch of which nothing was left for an empty dataset.
            control.should_training_stop = False
        self._session.is_resuming = False
        is_all_done = args.world_size == 1 and loader.epoch_progress == 1
        if is_all_done or not control.should_training_stop:
            loader.leave_epoch()
        if not loader.has_ended:
            return
        num_epochs_done = loader.epoch_idx + 1
        self._session.is_between_epochs = True
        self._session.begin_epoch(num_epochs_done, first_step=state.global_step)
        state.epoch = float(num_epochs_done)
        if args.max_steps <= 0 and num_epochs_done >= args.num_train_epochs:
            self._request_last(args, state, control)

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Put the sifting state into the checkpoint folder."""
        if not args.save_only_model:
            self._session.save(f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}")

    def _request_last(self, args: Any, state: Any, control: Any) -> None:
        """Evaluate and save at the training's end, as the Trainer does at ``state.max_steps``."""
        if state.global_step >= state.max_steps:
            return
        if args.eval_strategy == IntervalStrategy.STEPS and args.eval_delay <= state.global_step:
            control.should_evaluate |= bool(state.global_step % state.eval_steps)
        if args.save_strategy == SaveStrategy.STEPS:
            is_saved = state.save_steps > 0 and state.global_step % state.save_steps == 0
            control.should_save |= not is_saved
