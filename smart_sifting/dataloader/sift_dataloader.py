"""The loader that yields only the samples worth training on.

Source: interface and documented behaviour from
https://docs.aws.amazon.com/sagemaker/latest/dg/train-smart-sifting-pysdk-reference.html
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch

from smart_sifting._core.arguments import (
    check_whole_number,
)
from smart_sifting._core.assembly import assemble
from smart_sifting._core.scoring import LossImplementation
from smart_sifting._core.statistics import SiftingStatistics
from smart_sifting.data_model.data_model_interface import SiftingBatchTransform
from smart_sifting.exceptions import (
    LossImplementationNotProvidedException,
    SiftConfigValidationException,
    UnsupportedDataFormatException,
)
from smart_sifting.sift_config.sift_configs import (
    RelativeProbabilisticSiftConfig,
    Scoring,
)

__all__ = [
    "LossImplementationNotProvidedException",
    "SiftConfigValidationException",
    "SiftingDataloader",
    "UnsupportedDataFormatException",
]

_STATE_VERSION = 3
_STATE_KEYS = {
    "rank",
    "num_ranks",
    "schedule",
    "is_in_epoch",
    "held",
    "held_ids",
    "verdict",
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
        scoring: Where losses come from. ``"plain"``: a forward pass of the model in eval mode, as
            published. ``"fresh"``: the same by the cheapest copy of the model that ranks losses
            alike, in bfloat16 or float16 and with BatchNorm folded where that is possible;
            :attr:`scoring_method` says which it is. ``"last_visit"``: the loss that the training
            step itself had at the sample's last visit, told by :meth:`record_losses`; samples that
            were never seen, or not for ``max_score_age`` epochs, are scored fresh.
        max_score_age: How old a loss may be with ``"last_visit"``, in epochs, ``>= 1``.
        sample_ids: Returns the ids of a batch's samples for ``"last_visit"``: whole numbers from
            0, the same in every epoch, one per sample, as a tensor or a sequence. Not needed if
            the wrapped loader's dataset is an :class:`IdentifiedDataset`.
        stop_if_slower: Whether sifting switches itself off if, measured over the first 25 sifted
            batches, it takes 97 % of the time of plain training or more. By default it only warns.

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
        scoring: Scoring = "plain",
        max_score_age: int = 3,
        sample_ids: Callable[[Any], Any] | None = None,
        stop_if_slower: bool = False,
    ) -> None:
        self._orig_dataloader: Any = orig_dataloader
        self._parts = assemble(
            sift_config,
            orig_dataloader,
            batch_transforms=batch_transforms,
            loss_impl=loss_impl,
            model=model,
            log_batch_data=log_batch_data,
            batch_format_index=batch_format_index,
            seed=seed,
            process_group=process_group,
            share_history=share_history,
            scoring=scoring,
            max_score_age=max_score_age,
            sample_ids=sample_ids,
            stop_if_slower=stop_if_slower,
        )
        self._run = self._parts.run
        self._ranks = self._parts.ranks
        self.statistics: SiftingStatistics = self._parts.statistics
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
            one of each epoch included where there are any. With ``sift_delay="auto"`` nobody
            knows when sifting will start: until then all batches are counted. Size a schedule by
            :attr:`progress` there.

        Raises:
            TypeError: If the wrapped loader has no length, or ``num_epochs`` is no whole number.
            ValueError: If ``num_epochs`` is negative.
        """
        check_whole_number("num_epochs", num_epochs, minimum=0)
        return self._run.expected_num_steps(num_epochs, kept_fraction=self._parts.kept_fraction)

    @property
    def progress(self) -> float:
        """How many epochs of data were presented so far, kept or not; 0.5 is half of the first.

        For learning-rate schedules: a schedule over this is independent of what is kept.

        Raises:
            TypeError: If the wrapped loader has no length.
        """
        return self._run.progress()

    @property
    def status(self) -> str:
        """Whether batches are sifted, and if not, why; how they are scored. For people to read."""
        described = self._run.describe()
        return f"{described}, scored by: {self.scoring_method}" if described == "on" else described

    @property
    def scoring_method(self) -> str:
        """How scoring passes are made, ``"folded bfloat16 copy"`` for example."""
        return self._parts.scoring.scorer.method

    @property
    def weights(self) -> torch.Tensor:
        """Weights of the samples of the batch yielded last, shape ``(B,)``, float32, on the CPU.

        With ``weighting="inverse"`` multiply each sample's loss by its weight, and take the mean;
        otherwise, and for batches that passed unsifted, they are 1.
        """
        return self._parts.pipeline.marks.weights

    def record_losses(self, losses: torch.Tensor) -> None:
        """Tell the losses that the training step had for the batch yielded last.

        ``scoring="last_visit"`` needs them; ``sift_delay="auto"`` then needs no scoring of its own
        before sifting starts. Otherwise they are not used. The device is not waited for.

        Args:
            losses: One loss per sample (``reduction="none"``), unweighted, shape ``(B, ...)``, any
                device; no gradient is recorded.

        Raises:
            TypeError: If it is no tensor.
            ValueError: If it does not hold as many losses as the batch has samples.
        """
        if not isinstance(losses, torch.Tensor):
            raise TypeError(f"`losses` is {losses!r}, but must be a tensor, one loss per sample.")
        self._run.record_losses(losses)

    def update_batch_norm(self, num_batches: int | None = None) -> int:
        """Take the running statistics of BatchNorm layers anew, from unsifted batches.

        Sifted training sees mostly samples of high loss, and so do running averages. Call this
        between two epochs, such as before the model is saved: it goes over the wrapped loader once
        more, without gradients. Layers in eval mode stay as they are.

        Args:
            num_batches: How many batches to look at, ``>= 1``; by default a whole epoch.

        Returns:
            How many were looked at; 0 if the model has no such layers.

        Raises:
            RuntimeError: If an epoch is under way.
        """
        if num_batches is not None:
            check_whole_number("num_batches", num_batches, minimum=1)
        return self._run.update_batch_norm(num_batches)

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
