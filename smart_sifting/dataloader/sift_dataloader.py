"""The loader that yields only the samples worth training on.

Source: interface and documented behaviour from
https://docs.aws.amazon.com/sagemaker/latest/dg/train-smart-sifting-pysdk-reference.html
"""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Iterable, Iterator, Mapping
from typing import Any

import torch

from smart_sifting._core.formats import BatchFormats
from smart_sifting._core.pipeline import SiftingPipeline
from smart_sifting._core.scoring import LossImplementation
from smart_sifting._core.selection import Selector
from smart_sifting._core.statistics import SiftingStatistics
from smart_sifting.data_model.data_model_interface import SiftingBatchTransform
from smart_sifting.exceptions import (
    LossImplementationNotProvidedException,
    SiftConfigValidationException,
    UnsupportedDataFormatException,
)
from smart_sifting.loss.abstract_sift_loss_module import check_loss_impl
from smart_sifting.sift_config.sift_configs import (
    RelativeProbabilisticSiftConfig,
    read_sift_config,
)

__all__ = [
    "LossImplementationNotProvidedException",
    "SiftConfigValidationException",
    "SiftingDataloader",
    "UnsupportedDataFormatException",
]

_END = object()
_STATE_VERSION = 1


class SiftingDataloader:
    """Wraps a loader; drops low-loss samples and yields full batches of those kept.

    Every iteration is one epoch over the wrapped loader. The first ``sift_delay`` batches pass as
    the very objects that the wrapped loader gave. Of later ones each sample is kept with
    probability ``percentile ** beta_value`` of its loss; kept samples are pooled, in order, into
    batches of the wrapped loader's batch size. What is left at the end of an epoch comes as a last
    partial batch; with ``drop_last`` in the wrapped loader it is dropped, and counted.

    Attributes that this class does not have itself (``dataset``, ``sampler``, ``batch_size``,
    ``set_epoch``, ...) are the wrapped loader's.

    **Concurrency**: one iteration at a time; a new one ends the one before.

    **State**: :meth:`state_dict` may be called between any two batches. A loader that continues
    mid-epoch loads and skips the batches that were consumed, unscored. This is exact if the
    wrapped loader gives the same order again: unshuffled, by a sampler with ``set_epoch``, or
    shuffled with a ``generator`` of its own (whose state is part of the state). A shuffle by the
    global random state, and random augmentation, cannot be repeated from here.

    Args:
        sift_config: How to sift: a RelativeProbabilisticSiftConfig, or a dict with its keys.
        orig_dataloader: The loader to wrap: any iterable over batches that can be iterated once
            per epoch.
        batch_transforms: Turns batches into a SiftingBatch and back, for formats other than
            lists, tuples, dicts and tensors, or to change what the training loop gets.
        loss_impl: An object whose ``loss(model, transformed_batch, original_batch)`` gives one
            loss per sample.
        model: The model to score with; it may be moved, trained or wrapped by DDP later on.
        log_batch_data: Whether to log the kept and sifted-out samples themselves, at INFO level.
        batch_format_index: 0 if batches are indexed by sample, 1 if by feature; needed only
            where the sizes fit both.
        seed: Seed of the selection. By default it is the global seed (``torch.initial_seed()``),
            so that ``torch.manual_seed`` decides; the global random state is not used.

    Attributes:
        statistics: Samples seen, kept and sifted out, of the whole training and by epoch.

    Raises:
        SiftConfigValidationException: If ``sift_config`` is not valid.
        LossImplementationNotProvidedException: If ``loss_impl`` cannot give losses.
        TypeError: If ``model`` is no module, ``orig_dataloader`` cannot be iterated, or
            ``batch_transforms`` lacks a method.
        ValueError: If ``batch_format_index`` is unknown.

    Example:
        >>> from smart_sifting import Loss
        >>> class SquaredError(Loss):
        ...     def loss(self, model, transformed_batch, original_batch=None):
        ...         return (model(original_batch) ** 2).squeeze(1)
        >>> data = torch.arange(100.0).reshape(100, 1)
        >>> config = {"beta_value": 1, "loss_history_length": 50,
        ...           "loss_based_sift_config": {"sift_config": {"sift_delay": 0}}}
        >>> loader = SiftingDataloader(config, data.split(10), loss_impl=SquaredError(),
        ...                            model=torch.nn.Identity(), seed=0)
        >>> num_yielded = sum(len(batch) for batch in loader)
        >>> num_yielded == 100 - loader.statistics.samples_sifted_out
        True
    """

    def __init__(
        self,
        sift_config: RelativeProbabilisticSiftConfig | Mapping[str, Any],
        orig_dataloader: Iterable[Any],
        batch_transforms: SiftingBatchTransform | None = None,
        loss_impl: LossImplementation | None = None,
        model: torch.nn.Module | None = None,
        log_batch_data: bool = False,
        batch_format_index: int | None = None,
        *,
        seed: int | None = None,
    ) -> None:
        config, base_config = read_sift_config(sift_config)
        check_loss_impl(loss_impl)
        assert loss_impl is not None
        self._orig_dataloader: Any = _check_loader(orig_dataloader)
        self._beta = config.beta_value
        self._delay = base_config.sift_delay
        self._is_delay_repeated = base_config.repeat_delay_per_epoch
        self.statistics = SiftingStatistics()
        self._pipeline = SiftingPipeline(
            selector=Selector(
                beta=config.beta_value,
                history_length=config.loss_history_length,
                seed=torch.initial_seed() if seed is None else seed,
            ),
            formats=BatchFormats(batch_format_index),
            statistics=self.statistics,
            loss_impl=loss_impl,
            model=_check_model(model),
            batch_transforms=_check_transforms(batch_transforms),
            loader_batch_size=_read_batch_size(orig_dataloader),
            log_batch_data=log_batch_data,
        )
        self._num_steps = 0
        self._num_steps_in_epoch = 0
        self._num_loaded_in_epoch = 0
        self._is_in_epoch = False
        self._is_resuming = False
        self._epoch_generator_states: list[torch.Tensor] = []
        self._iteration = 0

    def __iter__(self) -> Iterator[Any]:
        """Iterate over one epoch; it begins when the first batch is asked for.

        Yields:
            Batches in the wrapped loader's format, or as ``batch_transforms`` gives them back.

        Raises:
            RuntimeError: If more than one process trains (not supported in this version), or
                another iteration over this loader began meanwhile.
        """
        _refuse_distributed()
        self._iteration += 1
        iteration = self._iteration
        for batch in self._run_epoch():
            yield batch
            if iteration != self._iteration:
                raise RuntimeError(
                    "Another iteration over this SiftingDataloader began, or a state was loaded, "
                    "before this one ended. Iterate over it once at a time."
                )

    def __len__(self) -> int:
        """Return the wrapped loader's length: an upper bound of the number of batches.

        How many batches an epoch has is known only afterwards; see :meth:`expected_len`.

        Raises:
            TypeError: If the wrapped loader has no length.
        """
        return len(self._orig_dataloader)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self._orig_dataloader, name)

    def expected_len(self, num_epochs: int = 1) -> int:
        """Return how many batches the next epochs are expected to have together.

        This is the number to size a learning-rate schedule with.

        Args:
            num_epochs: How many epochs, ``>= 0``.

        Returns:
            The expected number of batches, a partial last one of each epoch included.

        Raises:
            TypeError: If the wrapped loader has no length.
        """
        num_full, num_delayed, total = len(self), self._delay - self._num_steps, 0
        for _ in range(num_epochs):
            if self._is_delay_repeated:
                num_delayed = self._delay
            num_passed = min(num_full, max(0, num_delayed))
            num_kept = (num_full - num_passed) / (1 + self._beta)
            num_sifted = math.floor(num_kept) if self._drops_last else math.ceil(num_kept)
            total += num_passed + num_sifted
            num_delayed -= num_passed
        return total

    def state_dict(self) -> dict[str, Any]:
        """Return all that is needed to continue, as it is after the batch yielded last.

        Returns:
            A dict of tensors, numbers, strings, lists and dicts, which
            ``torch.load(weights_only=True)`` reads; only while samples wait in the pool that are
            objects of other classes, those are in it as they are.
        """
        states = self._epoch_generator_states
        return {
            "version": _STATE_VERSION,
            "num_steps": self._num_steps,
            "num_steps_in_epoch": self._num_steps_in_epoch,
            "num_loaded_in_epoch": self._num_loaded_in_epoch,
            "is_in_epoch": self._is_in_epoch,
            "loader_generators": states if self._is_in_epoch else self._generator_states(),
            "statistics": self.statistics.state_dict(),
            "pipeline": self._pipeline.state_dict(),
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue from a state: the next iteration yields what would have come next.

        Args:
            state_dict: What :meth:`state_dict` returned, of a loader made alike.

        Raises:
            ValueError: If it is no such dict.
        """
        if state_dict.get("version") != _STATE_VERSION:
            raise ValueError(
                f"`state_dict` has version {state_dict.get('version')!r}, but must have version "
                f"{_STATE_VERSION}. Give what SiftingDataloader.state_dict() returned."
            )
        self._iteration += 1
        self._num_steps = state_dict["num_steps"]
        self._num_steps_in_epoch = state_dict["num_steps_in_epoch"]
        self._num_loaded_in_epoch = state_dict["num_loaded_in_epoch"]
        self._is_in_epoch = self._is_resuming = state_dict["is_in_epoch"]
        self._epoch_generator_states = [state.cpu() for state in state_dict["loader_generators"]]
        self.statistics.load_state_dict(state_dict["statistics"])
        self._pipeline.load_state_dict(state_dict["pipeline"])
        for generator, state in zip(self._generators(), self._epoch_generator_states, strict=True):
            generator.set_state(state)

    @property
    def _drops_last(self) -> bool:
        sources = (self._orig_dataloader, getattr(self._orig_dataloader, "batch_sampler", None))
        return any(bool(getattr(source, "drop_last", False)) for source in sources)

    @property
    def _is_delayed(self) -> bool:
        num_steps = self._num_steps_in_epoch if self._is_delay_repeated else self._num_steps
        return num_steps < self._delay

    def _run_epoch(self) -> Iterator[Any]:
        batches = self._resume_epoch() if self._is_resuming else self._begin_epoch()
        asked = time.perf_counter()
        while (batch := self._load(batches)) is not _END:
            if self._is_delayed:
                yield self._pass_through(batch)
                asked = time.perf_counter()
                continue
            self._pipeline.sift(batch)
            while self._pipeline.is_ready:
                yield self._take(asked)
                asked = time.perf_counter()
        if self._pipeline.pool.num_samples and not self._drops_last:
            yield self._take(asked)
        self._end_epoch()

    def _begin_epoch(self) -> Iterator[Any]:
        if self._is_in_epoch:
            self._end_epoch()
        self._is_in_epoch = True
        self._num_loaded_in_epoch = self._num_steps_in_epoch = 0
        self._epoch_generator_states = self._generator_states()
        self.statistics.begin_epoch()
        batches: Iterator[Any] = iter(self._orig_dataloader)
        return batches

    def _resume_epoch(self) -> Iterator[Any]:
        self._is_resuming = False
        batches: Iterator[Any] = iter(self._orig_dataloader)
        for num_skipped in range(self._num_loaded_in_epoch):
            if next(batches, _END) is _END:
                raise RuntimeError(
                    f"The wrapped loader ended after {num_skipped} batches, but the loaded state "
                    f"was saved after {self._num_loaded_in_epoch}. Wrap the same loader."
                )
        return batches

    def _end_epoch(self) -> None:
        self.statistics.record(samples_dropped_last=self._pipeline.pool.num_samples)
        self._pipeline.pool.clear()
        self._is_in_epoch = False

    def _load(self, batches: Iterator[Any]) -> Any:
        started = time.perf_counter()
        batch = next(batches, _END)
        self.statistics.record_seconds("load", time.perf_counter() - started)
        if batch is not _END:
            self._num_loaded_in_epoch += 1
            self.statistics.record(num_batches_loaded=1)
        return batch

    def _pass_through(self, batch: Any) -> Any:
        num_samples = self._pipeline.count_samples(batch)
        self.statistics.record(samples_seen=num_samples, samples_kept=num_samples)
        self._count_step(num_samples)
        return batch

    def _take(self, asked: float) -> Any:
        batch, num_samples = self._pipeline.take(asked)
        self._count_step(num_samples)
        return batch

    def _count_step(self, num_samples: int) -> None:
        self._num_steps += 1
        self._num_steps_in_epoch += 1
        self.statistics.record(num_batches=1, samples_yielded=num_samples)

    def _generators(self) -> list[torch.Generator]:
        loader = self._orig_dataloader
        sources = (loader, getattr(loader, "sampler", None))
        found = [getattr(source, "generator", None) for source in sources]
        generators = [generator for generator in found if isinstance(generator, torch.Generator)]
        return list(dict.fromkeys(generators))

    def _generator_states(self) -> list[torch.Tensor]:
        return [generator.get_state() for generator in self._generators()]


def _refuse_distributed() -> None:
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return
    world_size = torch.distributed.get_world_size()
    if world_size > 1:
        raise RuntimeError(
            f"SiftingDataloader runs in a process group of {world_size} processes, which is not "
            "supported in this version: ranks that keep differently many samples would wait for "
            "each other forever. Train in one process, or iterate over the wrapped loader."
        )


def _check_loader(orig_dataloader: object) -> object:
    if not isinstance(orig_dataloader, Iterable) or isinstance(orig_dataloader, Generator):
        raise TypeError(
            f"`orig_dataloader` is a {type(orig_dataloader).__name__}, but must be iterable once "
            "per epoch, such as a torch.utils.data.DataLoader."
        )
    return orig_dataloader


def _check_model(model: object) -> torch.nn.Module:
    if not isinstance(model, torch.nn.Module):
        raise TypeError(
            f"`model` is {model!r}, but must be the torch.nn.Module that is being trained."
        )
    return model


def _check_transforms(batch_transforms: Any) -> Any:
    for method in ("transform", "reverse_transform"):
        is_missing = not callable(getattr(batch_transforms, method, None))
        if batch_transforms is not None and (isinstance(batch_transforms, type) or is_missing):
            raise TypeError(
                f"`batch_transforms` is {batch_transforms!r}, but must be an instance with the "
                "methods `transform` and `reverse_transform`: see SiftingBatchTransform."
            )
    return batch_transforms


def _read_batch_size(orig_dataloader: object) -> int | None:
    batch_sampler = getattr(orig_dataloader, "batch_sampler", None)
    for source in (orig_dataloader, batch_sampler):
        batch_size = getattr(source, "batch_size", None)
        if isinstance(batch_size, int):
            return batch_size
    return None
