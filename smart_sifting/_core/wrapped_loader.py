"""The loader that sifting wraps: how large its batches are, and how it continues mid-epoch."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils.data import BatchSampler, RandomSampler

from smart_sifting._core import log_lines

_ONE_SHOT = (Generator, enumerate, filter, map, reversed, zip)

END = object()
"""What :meth:`WrappedLoader.read` gives when the epoch is over."""


class WrappedLoader:
    """A loader that is iterated once per epoch, and can be brought back to where it was.

    Args:
        loader: Any iterable over batches.

    Raises:
        TypeError: If it cannot be iterated once per epoch.

    Example:
        >>> wrapped = WrappedLoader([["a", "b"], ["c"]])
        >>> wrapped.begin()
        >>> wrapped.read(), wrapped.num_loaded
        (['a', 'b'], 1)
    """

    def __init__(self, loader: object) -> None:
        if not isinstance(loader, Iterable) or isinstance(loader, _ONE_SHOT):
            raise TypeError(
                f"`orig_dataloader` is a {type(loader).__name__}, but must be iterable once "
                "per epoch, such as a torch.utils.data.DataLoader."
            )
        self.loader: Any = loader
        self.num_loaded = 0
        self._batches: Iterator[Any] = iter(())
        self._begin_states: list[torch.Tensor] = []
        self._own_state_to_load: Any = None

    @property
    def batch_size(self) -> int | None:
        """How many samples a full batch has, or None if the loader does not say.

        Of batch samplers only torch's own is asked: that of another may count tokens, or the
        samples of all ranks.
        """
        batch_size = getattr(self.loader, "batch_size", None)
        if batch_size is None and type(self._batch_sampler) is BatchSampler:
            batch_size = self._batch_sampler.batch_size
        return batch_size if isinstance(batch_size, int) else None

    @property
    def drops_last(self) -> bool:
        """Whether the loader drops a last partial batch."""
        sources = (self.loader, self._batch_sampler)
        return any(bool(getattr(source, "drop_last", False)) for source in sources)

    @property
    def num_unread(self) -> int:
        """How many batches of the epoch were not read, 0 if the loader has no length."""
        try:
            return max(0, len(self.loader) - self.num_loaded)
        except (TypeError, NotImplementedError):
            return 0

    @property
    def has_length(self) -> bool:
        """Whether the loader says how many batches an epoch has."""
        try:
            len(self.loader)
        except (TypeError, NotImplementedError):
            return False
        return True

    @contextmanager
    def unchanged_generators(self) -> Iterator[None]:
        """Put the loader's own generators back; what draws from the global one is not.

        Yields:
            Nothing.
        """
        states = self._generator_states()
        try:
            yield
        finally:
            for generator, state in zip(self._generators(), states, strict=True):
                generator.set_state(state)

    def begin(self) -> None:
        """Begin an epoch."""
        self.num_loaded = 0
        self._begin_states = self._generator_states()
        self._batches = iter(self.loader)

    def read(self) -> Any:
        """Return the next batch, or ``END``."""
        batch = next(self._batches, END)
        if batch is not END:
            self.num_loaded += 1
        return batch

    def end(self) -> None:
        """Let go of the epoch's iterator, and of its worker processes."""
        self._batches = iter(())

    def state_dict(self, *, is_in_epoch: bool) -> dict[str, Any]:
        """Return what :meth:`load_state_dict` needs.

        Args:
            is_in_epoch: Whether the epoch begun last goes on.

        Returns:
            The number of batches read, the states of the loader's generators at the epoch's
            begin (of the next epoch, between two), and within an epoch the loader's own state if
            it has one, such as torchdata's StatefulDataLoader.
        """
        own = self._own_state_to_load
        if own is None and is_in_epoch:
            own = self._own_state()
        return {
            "num_loaded": self.num_loaded,
            "generators": self._begin_states if is_in_epoch else self._generator_states(),
            "own": own,
        }

    def load_state_dict(self, state: Mapping[str, Any], *, is_in_epoch: bool) -> None:
        """Continue where the state was taken; the next :meth:`resume` gets there.

        Args:
            state: What :meth:`state_dict` returned.
            is_in_epoch: Whether it was taken within an epoch.

        Raises:
            ValueError: If the loader does not have the generators that it had.
        """
        generators = self._generators()
        if len(generators) != len(state["generators"]):
            raise ValueError(
                f"`state_dict` is of a loader with {len(state['generators'])} generator(s), but "
                f"the wrapped loader has {len(generators)}. Wrap a loader made alike."
            )
        self.num_loaded = state["num_loaded"]
        self._begin_states = [generator_state.cpu() for generator_state in state["generators"]]
        for generator, begin_state in zip(generators, self._begin_states, strict=True):
            generator.set_state(begin_state)
        self._own_state_to_load = state["own"]
        if is_in_epoch and state["own"] is None and self._is_shuffled_by_global_state:
            log_lines.warn_about_global_shuffle(self.num_loaded)

    def resume(self) -> None:
        """Continue the epoch of the state that was loaded.

        Raises:
            RuntimeError: If the loader ends before it gets there.
        """
        if self._own_state_to_load is not None:
            self.loader.load_state_dict(self._own_state_to_load)
            self._batches = iter(self.loader)
            self._own_state_to_load = None
            return
        self._batches = iter(self.loader)
        for num_skipped in range(self.num_loaded):
            if next(self._batches, END) is END:
                raise RuntimeError(
                    f"The wrapped loader ended after {num_skipped} batches, but the loaded state "
                    f"was saved after {self.num_loaded}. Wrap the same loader."
                )

    @property
    def _batch_sampler(self) -> Any:
        return getattr(self.loader, "batch_sampler", None)

    @property
    def _samplers(self) -> list[Any]:
        nested = getattr(self._batch_sampler, "sampler", None)
        found = [getattr(self.loader, "sampler", None), self._batch_sampler, nested]
        # What has set_epoch gives the order of an epoch by its number.
        return [sampler for sampler in found if not hasattr(sampler, "set_epoch")]

    @property
    def _is_shuffled_by_global_state(self) -> bool:
        return any(
            isinstance(sampler, RandomSampler) and sampler.generator is None
            for sampler in self._samplers
        )

    def _own_state(self) -> Any:
        if not callable(getattr(self.loader, "load_state_dict", None)):
            return None
        try:
            return self.loader.state_dict()
        except AttributeError:  # a wrapper that only forwards the call to what it wraps
            return None

    def _generators(self) -> list[torch.Generator]:
        found = [getattr(source, "generator", None) for source in (self.loader, *self._samplers)]
        generators = [generator for generator in found if isinstance(generator, torch.Generator)]
        return list(dict.fromkeys(generators))

    def _generator_states(self) -> list[torch.Tensor]:
        return [generator.get_state() for generator in self._generators()]
