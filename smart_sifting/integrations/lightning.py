"""Sifted epochs inside Lightning: where they end, and where a checkpoint continues.

Needs ``lightning`` or ``pytorch_lightning``, whichever the training script uses.
"""

from __future__ import annotations

from typing import Any

import torch

from smart_sifting.dataloader.sift_dataloader import SiftingDataloader
from smart_sifting.integrations._lightning_base import find_callback_class
from smart_sifting.integrations._look_ahead import LookAhead

__all__ = ["SiftingCallback"]

_KEY = "smart_sifting"
_Callback = find_callback_class()


class SiftingCallback(_Callback):  # type: ignore[misc, valid-type] # a run-time class
    """Tells Lightning which batch is the last of a sifted epoch, and saves the sifting state.

    An epoch of a SiftingDataloader is shorter than its ``len()``. Lightning, which counts to that,
    would never validate, never step schedulers by epoch, and lose what is accumulated at an
    epoch's end. With this callback all three happen at the last batch. To know which that is, a
    batch is sifted one step ahead, thus scored with the weights of the step before. Does nothing
    where the training loader is no SiftingDataloader, or one of several.

    A checkpoint holds the sifting state of every rank, and ``fit(ckpt_path=...)`` continues from
    there. Lightning itself saves that of rank 0 alone, and does not load it if
    ``configure_optimizers`` asks for ``trainer.estimated_stepping_batches``. It does not save the
    global random states either: a training with dropout does not continue to the bit, nor does
    one with BatchNorm on several ranks, of whose statistics a checkpoint holds rank 0's.
    ``estimated_stepping_batches`` stays that of an unsifted training, an upper bound; size a
    schedule with ``loader.expected_len(max_epochs)`` by ``accumulate_grad_batches`` instead.

    No example: it needs a Lightning trainer (``Trainer(callbacks=[SiftingCallback()])``).
    """

    def __init__(self) -> None:
        super().__init__()
        self._look_ahead: LookAhead | None = None
        self._states_to_load: list[dict[str, Any]] = []

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Look ahead from here on, and continue where the checkpoint was saved."""
        self._attach(trainer)
        if self._look_ahead is not None and self._states_to_load:
            if trainer.world_size != len(self._states_to_load):
                raise ValueError(
                    f"The checkpoint holds sifting states of {len(self._states_to_load)} "
                    f"processes, but there are {trainer.world_size}. Continue with as many."
                )
            self._look_ahead.load_state_dict(self._states_to_load[trainer.global_rank])
            if not self._look_ahead.is_in_epoch:
                _begin_next_epoch(trainer.fit_loop.epoch_loop)
        self._states_to_load = []

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Look ahead in a loader that was loaded anew, too."""
        self._attach(trainer)

    def on_train_batch_start(self, *args: Any, **kwargs: Any) -> None:
        """Tell Lightning if this batch is the last."""
        if self._look_ahead is not None and self._look_ahead.is_last:
            trainer: Any = args[0] if args else kwargs["trainer"]
            trainer.fit_loop.epoch_loop.batch_progress.is_last_batch = True

    def on_save_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """Put the sifting states of all ranks into the checkpoint."""
        if self._look_ahead is None:
            return
        states = [self._look_ahead.state_dict()]
        if trainer.world_size > 1:
            own, states = states[0], [{} for _ in range(trainer.world_size)]
            torch.distributed.all_gather_object(states, own)
        checkpoint[_KEY] = states
        # Of rank 0, and loaded by Lightning into the loader of any.
        checkpoint["loops"]["fit_loop"]["state_dict"].pop("combined_loader", None)

    def on_load_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """Remember the states until there is a loader."""
        self._states_to_load = checkpoint.get(_KEY, [])

    def _attach(self, trainer: Any) -> None:
        combined_loader = trainer.fit_loop._combined_loader
        loaders = combined_loader.flattened
        if len(loaders) == 1 and loaders[0] is self._look_ahead:
            return
        self._look_ahead = None
        if len(loaders) != 1 or not isinstance(loaders[0], SiftingDataloader):
            return
        self._look_ahead = LookAhead(loaders[0])
        combined_loader.flattened = [self._look_ahead]
        iter(trainer.fit_loop._data_fetcher)
        if trainer.val_check_interval == 1.0 and trainer.check_val_every_n_epoch is not None:
            trainer.val_check_batch = float("inf")  # as of a loader without length: at the end


def _begin_next_epoch(epoch_loop: Any) -> None:
    """Let Lightning begin an epoch anew: it takes one shorter than ``len()`` for unfinished."""
    if epoch_loop.restarted_on_train_batch_end:
        epoch_loop.batch_progress.increment_completed()
        epoch_loop.reset_restart_stage()
    epoch_loop.batch_progress.reset_on_run()
