"""A sifting loader asked for one batch more than was yielded, to know which is the last."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from smart_sifting._core.pool_state import snapshot
from smart_sifting.dataloader.sift_dataloader import SiftingDataloader

_END = object()
_KEY = "looked_ahead"


class LookAhead:
    """Yields the batches of a sifting loader, each after the next one is at hand.

    Attributes that this class does not have itself are the loader's.

    Args:
        loader: The loader.

    Attributes:
        is_last: Whether the batch yielded last is the last of its epoch.

    Example:
        >>> import torch
        >>> class SquaredError:
        ...     def loss(self, model, transformed_batch, original_batch):
        ...         return model(original_batch) ** 2
        >>> config = {"beta_value": 1, "loss_history_length": 50,
        ...           "loss_based_sift_config": {"sift_config": {"sift_delay": 9}}}
        >>> loader = LookAhead(SiftingDataloader(config, torch.ones(4, 1).split(2), None,
        ...                                      SquaredError(), torch.nn.Identity()))
        >>> [(len(batch), loader.is_last) for batch in loader]
        [(2, False), (2, True)]
    """

    def __init__(self, loader: SiftingDataloader) -> None:
        self._loader = loader
        self._held: Any = _END
        self._is_resuming = False
        self.is_last = False

    def __iter__(self) -> Iterator[Any]:
        """Iterate over one epoch, or over the rest of the one that was resumed."""
        batches = iter(self._loader)
        if not self._is_resuming:
            self._held = next(batches, _END)
        self._is_resuming = False
        while self._held is not _END:
            batch, self._held = self._held, next(batches, _END)
            self.is_last = self._held is _END
            yield batch

    def __len__(self) -> int:
        """Return the loader's length: an upper bound."""
        return len(self._loader)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self._loader, name)

    @property
    def loader(self) -> SiftingDataloader:
        """The loader."""
        return self._loader

    @property
    def is_in_epoch(self) -> bool:
        """Whether batches of the epoch under way are left."""
        return self._held is not _END

    def state_dict(self) -> dict[str, Any]:
        """Return the loader's state, and the batch that it has given but that was not yielded."""
        held = [] if self._held is _END else [snapshot(self._held)]
        return self._loader.state_dict() | {_KEY: held}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue from a state.

        Args:
            state_dict: What :meth:`state_dict` returned.

        Raises:
            ValueError: If it is no such dict, or another rank's.
        """
        self._loader.load_state_dict(state_dict)
        held = state_dict[_KEY]
        self._is_resuming = bool(held)
        self._held = snapshot(held[0]) if held else _END
