"""The loader that yields only the samples worth training on.

Source: interface and documented behaviour from
https://docs.aws.amazon.com/sagemaker/latest/dg/train-smart-sifting-pysdk-reference.html
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch

from smart_sifting._core.arguments import (
    check_model,
    check_ranks,
    check_transforms,
    check_whole_number,
)
from smart_sifting._core.cost_watch import CostWatch
from smart_sifting._core.formats import BatchFormats
from smart_sifting._core.pipeline import SiftingPipeline
from smart_sifting._core.ranks import Ranks
from smart_sifting._core.run import SiftingRun
from smart_sifting._core.scoring import LossImplementation
from smart_sifting._core.selection import Selector
from smart_sifting._core.statistics import SiftingStatistics
from smart_sifting._core.wrapped_loader import WrappedLoader
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

_STATE_VERSION = 2
_STATE_KEYS = {
    "rank",
    "num_ranks",
    "num_steps",
    "num_steps_in_epoch",
    "is_in_epoch",
    "held",
    "wrapped",
    "statistics",
    "pipeline",
}


class SiftingDataloader:
    """Wraps a loader; drops low-loss samples and yields full batches of those kept.

    Every iteration is one epoch over the wrapped loader. The first ``sift_delay`` batches pass as
    the very objects that the wrapped loader gave. Of later ones each sample is kept with
    probability ``percentile ** beta_value`` of its loss; kept samples are pooled, in order, into
    batches of the wrapped loader's batch size. What is left at the end of an epoch comes as a last
    partial batch; with ``drop_last`` in the wrapped loader it is dropped, and counted. A single
    sample left over is carried to the next epoch if the model has BatchNorm layers, which may be
    unable to train on one.

    Attributes that this class does not have itself (``dataset``, ``sampler``, ``batch_size``,
    ``set_epoch``, ...) are the wrapped loader's.

    **Ranks**: where ``torch.distributed`` is initialised, every rank yields the same number of
    batches: before each one the ranks agree, by an all-reduce of a few integers on the CPU, that
    all have one. An epoch ends when a rank has nothing more to give. What the others have kept by
    then, and the leftovers of all, they carry over to their next epoch: after the delay no rank
    yields a partial batch, and a rank carries at most four batches' worth
    (``statistics.batches_unread`` counts what it left out because of that; of a loader that does
    not shuffle that is always the end). All ranks must iterate, as they must all train. The
    wrapped loader must be sharded, by a ``DistributedSampler`` for example.

    **Concurrency**: one iteration at a time; a new one ends the one before. Scoring switches the
    model to eval mode and back: iterate in the thread that trains.

    **State**: :meth:`state_dict` may be called between any two batches, and is of this rank alone.
    A loader that continues mid-epoch loads and skips the batches that were consumed, unscored; a
    wrapped loader with a ``state_dict`` of its own is continued by that instead. Skipping is exact
    if the wrapped loader gives the same order again: unshuffled, by a sampler with ``set_epoch``,
    or shuffled with a ``generator`` of its own (whose state is part of the state). A shuffle by
    the global random state cannot be repeated from here, which is warned of; neither can random
    augmentation.

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
        seed: Seed of the selection; every rank adds its number. By default it is the global seed
            (``torch.initial_seed()``), so that ``torch.manual_seed`` decides; the global random
            state is not used.
        process_group: The ranks that train the model together; the default group if None.
        share_history: Whether the losses that the other ranks scored enter the history too, at
            the price of an all-gather per batch. By default every rank has its own history. It
            needs shards alike: a rank with harder data keeps more, and the others end its epochs.

    Attributes:
        statistics: Samples seen, kept and sifted out, of the whole training and by epoch.

    Raises:
        SiftConfigValidationException: If ``sift_config`` is not valid.
        LossImplementationNotProvidedException: If ``loss_impl`` cannot give losses.
        TypeError: If ``model`` is no module, ``orig_dataloader`` cannot be iterated once per
            epoch, ``batch_transforms`` lacks a method, or another argument has a wrong type.
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
        process_group: Any = None,
        share_history: bool = False,
    ) -> None:
        config, base_config = read_sift_config(sift_config)
        check_loss_impl(loss_impl)
        assert loss_impl is not None
        self._orig_dataloader: Any = orig_dataloader
        wrapped, model = WrappedLoader(orig_dataloader), check_model(model)
        seed = torch.initial_seed() if seed is None else check_whole_number("seed", seed)
        check_ranks(process_group, share_history)
        watch = CostWatch(config.beta_value)
        self.statistics = SiftingStatistics()
        self._beta = config.beta_value
        settings = {
            "beta_value": config.beta_value,
            "loss_history_length": config.loss_history_length,
        }
        self._ranks = Ranks(process_group, shares_losses=share_history, settings=settings)
        pipeline = SiftingPipeline(
            selector=Selector(
                beta=config.beta_value, history_length=config.loss_history_length, seed=seed
            ),
            formats=BatchFormats(batch_format_index),
            statistics=self.statistics,
            loss_impl=loss_impl,
            model=model,
            batch_transforms=check_transforms(batch_transforms),
            loader_batch_size=wrapped.batch_size,
            log_batch_data=log_batch_data,
            watch=watch,
        )
        self._run = SiftingRun(
            wrapped=wrapped,
            pipeline=pipeline,
            ranks=self._ranks,
            watch=watch,
            model=model,
            base_config=base_config,
            seed=seed,
        )
        self._iteration = 0

    def __iter__(self) -> Iterator[Any]:
        """Iterate over one epoch; it begins when the first batch is asked for.

        Yields:
            Batches in the wrapped loader's format, or as ``batch_transforms`` gives them back.

        Raises:
            RuntimeError: If another iteration over this loader began meanwhile; or if another rank
                ended, does not ask for its batch within the process group's timeout, or iterates
                otherwise than this one.
            ValueError: If several ranks train a model of which each holds but a part.
        """
        self._iteration += 1
        iteration = self._iteration
        for batch in self._run.batches():
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
            num_epochs: How many epochs, a whole number ``>= 0``.

        Returns:
            The expected number of batches, on every rank, while losses are steady; a partial last
            one of each epoch included where there are any.

        Raises:
            TypeError: If the wrapped loader has no length, or ``num_epochs`` is no whole number.
            ValueError: If ``num_epochs`` is negative.
        """
        check_whole_number("num_epochs", num_epochs, minimum=0)
        return self._run.expected_num_steps(num_epochs, kept_fraction=1 / (1 + self._beta))

    def end_epoch(self) -> None:
        """Count the epoch under way as over, after it was left early.

        A loop that leaves an epoch by ``break`` and begins another needs nothing. But a state that
        is saved in between is one within the epoch that was left, and continues it; unless this
        is called before.
        """
        self._iteration += 1
        self._run.end_epoch()

    def state_dict(self) -> dict[str, Any]:
        """Return all that is needed to continue, as it is after the batch yielded last.

        Returns:
            A dict of tensors, numbers, strings, lists, tuples and dicts, which
            ``torch.load(weights_only=True)`` reads. Pooled samples are stored by their items and
            the names of their containers' classes; on loading they are of these classes again if
            these are imported already. Mappings other than dicts and UserDicts come as dicts,
            unless ``torch.serialization.add_safe_globals`` was given their class. Only while the
            pool holds objects of other classes, a SiftingBatch of your own for example, those are
            in it as they are.
        """
        ranks = {"rank": self._ranks.rank, "num_ranks": self._ranks.size}
        return {"version": _STATE_VERSION} | ranks | self._run.state_dict()

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue from a state: the next iteration yields what would have come next.

        Args:
            state_dict: What :meth:`state_dict` returned, of a loader made alike.

        Raises:
            ValueError: If it is no such dict, or of another rank or number of ranks.
        """
        self._check_state(state_dict)
        self._iteration += 1
        self._run.load_state_dict(state_dict)

    def _check_state(self, state_dict: Mapping[str, Any]) -> None:
        version = state_dict.get("version") if isinstance(state_dict, Mapping) else None
        if version != _STATE_VERSION:
            raise ValueError(
                f"`state_dict` has version {version!r}, but must have version {_STATE_VERSION}. "
                "Give what SiftingDataloader.state_dict() returned."
            )
        missing = sorted(_STATE_KEYS - state_dict.keys())
        if missing:
            raise ValueError(
                f"`state_dict` misses {', '.join(missing)}. Give all of what "
                "SiftingDataloader.state_dict() returned."
            )
        saved = (state_dict["rank"], state_dict["num_ranks"])
        if saved != (self._ranks.rank, self._ranks.size):
            raise ValueError(
                f"`state_dict` is of rank {saved[0]} of {saved[1]}, but this is rank "
                f"{self._ranks.rank} of {self._ranks.size}. Save and load one state per rank, and "
                "continue with as many ranks; or begin with a new SiftingDataloader."
            )
