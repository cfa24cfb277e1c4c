"""The sifting loader that knows where in a Hugging Face Trainer's epochs it is."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from smart_sifting._core.scoring import unchanged_random_state
from smart_sifting.dataloader.sift_dataloader import SiftingDataloader

_END = object()


class TrainerLoader(SiftingDataloader):
    """A SiftingDataloader that follows a Trainer through its epochs.

    Args:
        model: The model to score with.
        arguments: As for SiftingDataloader.

    Attributes:
        epoch_idx: Which epoch the Trainer is in, from 0.
        num_taken: Batches taken in this epoch since it began, or since it was resumed.
        has_ended: Whether it is known that this epoch has no more batches.
    """

    def __init__(self, *, model: torch.nn.Module, **arguments: Any) -> None:
        super().__init__(model=model, **arguments)
        self.epoch_idx = 0
        self.num_taken = 0
        self.has_ended = False
        self._scored_model = model
        self._will_read_again = False
        self._is_rest_empty = False

    def __iter__(self) -> Iterator[Any]:
        """Iterate over one epoch, or over the rest of the one that was resumed.

        A resumed epoch reads again what was consumed; the global random states, which the Trainer
        has restored before, are afterwards as they were.
        """
        self.num_taken, self.has_ended = 0, False
        batches = iter(()) if self._is_rest_empty else super().__iter__()
        self._is_rest_empty = False
        if self._will_read_again:
            self._will_read_again = False
            with _unchanged_random_states(self._scored_model):
                batch = next(batches, _END)
        else:
            batch = next(batches, _END)
        while batch is not _END:
            self.num_taken += 1
            yield batch
            batch = next(batches, _END)
        self.has_ended = True

    @property
    def epoch_progress(self) -> float | None:
        """Share of this epoch's samples that were trained on or sifted out, in 0..1.

        Samples that wait in the pool do not count yet. None if the wrapped loader has no length.
        """
        if self.has_ended:
            return 1.0
        try:
            num_batches = max(1, len(self))
        except TypeError:
            return None
        counts = self.statistics.epoch
        num_done = counts.samples_yielded + counts.samples_sifted_out
        num_loaded = counts.num_batches_loaded
        return min(1.0, num_loaded / num_batches * num_done / max(1, counts.samples_seen))

    def set_epoch(self, epoch: int) -> None:
        """Note which epoch begins, and tell the wrapped loader.

        Args:
            epoch: Which one, from 0.
        """
        self.epoch_idx = epoch
        set_epoch = getattr(self._orig_dataloader, "set_epoch", None)
        if set_epoch is not None:
            set_epoch(epoch)

    def leave_epoch(self) -> None:
        """Count this epoch as over, although there may be more of it; the next one ends it."""
        self.has_ended = True

    def resume(self, state: Mapping[str, Any], *, is_in_epoch: bool, has_ended: bool) -> None:
        """Continue from a state, at an epoch's begin or within it.

        Args:
            state: What :meth:`state_dict` returned.
            is_in_epoch: Whether the Trainer is to continue the epoch, be it only to its end.
            has_ended: Whether that epoch has no more batches.

        Raises:
            ValueError: If it is no such state, or another rank's.
        """
        self.load_state_dict(state)
        has_read = self.statistics.epoch.num_batches_loaded > 0
        self._will_read_again = is_in_epoch and not has_ended and has_read
        self._is_rest_empty = is_in_epoch and has_ended
        if not is_in_epoch:
            self.end_epoch()


@contextmanager
def _unchanged_random_states(model: torch.nn.Module) -> Iterator[None]:
    python_state, numpy_state = random.getstate(), np.random.get_state()
    try:
        with unchanged_random_state(model):
            yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)


class EpochLength(int):
    """How many batches an epoch has: a bound for the Trainer's arithmetic, true when it asks.

    The Trainer asks ``step == steps_in_epoch`` to apply what it accumulated at an epoch's end, and
    ``step / steps_in_epoch`` for ``state.epoch``. A sifted epoch is shorter than its bound, so
    both are answered by the loader; for the rest this is an ``int``.

    Args:
        bound: The wrapped loader's length, or what the Trainer takes for one.
        loader: The loader that knows.
    """

    _loader: TrainerLoader

    def __new__(cls, bound: int, loader: TrainerLoader) -> EpochLength:
        """Return the bound as an int that knows the loader."""
        length = super().__new__(cls, bound)
        length._loader = loader
        return length

    def __eq__(self, step: object) -> bool:
        """Whether ``step`` batches are known to be all that the epoch has.

        The bound itself does not count: with several ranks an epoch may go on beyond it.
        """
        return self._loader.has_ended and step == self._loader.num_taken

    def __hash__(self) -> int:
        return int.__hash__(self)

    def __rtruediv__(self, step: int) -> float:
        """Return the share of the epoch that is done."""
        progress = self._loader.epoch_progress
        return min(1.0, step / int(self)) if progress is None else progress
