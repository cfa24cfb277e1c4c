"""The log lines from which a SageMaker job reads its sifting metrics.

They are written at INFO level by one logger; without a logging configuration of the user's none of
them shows. Latencies are seconds. Batch content is logged only by :func:`log_batch_data`.

Source: names and form from the metric definitions of the published example notebooks
(amazon-sagemaker-examples, ``smart_sifting``).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from smart_sifting._core.spare_watch import SpareWatch

LOGGER = logging.getLogger("smart_sifting.dataloader.sift_dataloader")


def is_logging() -> bool:
    """Return whether the lines show anywhere."""
    return LOGGER.isEnabledFor(logging.INFO)


def log_stage(stage: str, elapsed_s: float) -> None:
    """Log how long one stage took for one batch.

    Args:
        stage: Such as ``should_sift``.
        elapsed_s: Seconds.
    """
    LOGGER.info("func:%s latency: %.6e", stage, elapsed_s)


def log_relevance_values(losses: Iterable[float], kept_losses: Iterable[float]) -> None:
    """Log the losses of a scored batch and of the samples kept.

    Args:
        losses: Per-sample losses.
        kept_losses: Those of the kept samples; an empty one is not logged.
    """
    LOGGER.info("relevance_values: %s", format_values(losses))
    kept = list(kept_losses)
    if kept:
        LOGGER.info("relevance_values_kept: %s", format_values(kept))


def log_sifted_batch(*, num_seen: int, num_kept: int, elapsed_s: float, next_size: int) -> None:
    """Log how a sifted batch came to be.

    Args:
        num_seen: Samples seen since the batch before.
        num_kept: Samples kept of them.
        elapsed_s: Seconds from the request for the batch to the batch.
        next_size: How many samples the next sifted batch is to have.
    """
    LOGGER.info("num_orig_samples_seen: %d", num_seen)
    LOGGER.info("num_orig_samples_kept: %d", num_kept)
    LOGGER.info("sifted_batch_creation_latency: %.6e", elapsed_s)
    LOGGER.info("Batch size for next sifted batch: %d", next_size)


def log_scoring_method(method: str) -> None:
    """Log how losses are computed from now on.

    Args:
        method: Such as ``bfloat16 autocast``.
    """
    LOGGER.info("Losses are scored by this method: %s.", method)


def log_passed_over(method: str, reason: str) -> None:
    """Log why losses are not computed in a cheaper way.

    Args:
        method: The way.
        reason: One sentence without a full stop.
    """
    LOGGER.info("Losses are not scored by this method: %s, because %s.", method, reason)


def log_batch_data(kept: Any, sifted_out: Any) -> None:
    """Log the samples of a batch themselves; only with ``log_batch_data=True``.

    Args:
        kept: The batch of kept samples, or None.
        sifted_out: The batch of sifted-out samples, or None.
    """
    LOGGER.info("samples kept: %s", kept)
    LOGGER.info("samples sifted out: %s", sifted_out)


def warn_about_nonfinite(num_nonfinite: int) -> None:
    """Warn that samples have no finite loss.

    Args:
        num_nonfinite: How many in the batch at hand.
    """
    LOGGER.warning(
        "%d sample(s) of a batch have a NaN or infinite loss. Such samples are kept and their "
        "losses ignored; statistics.samples_nonfinite counts them. This is said once.",
        num_nonfinite,
    )


def warn_about_cost(verdict: str) -> None:
    """Warn that sifting makes training slower.

    Args:
        verdict: Why, in one sentence.
    """
    LOGGER.warning("Sifting makes this training slower: %s This is said once.", verdict)


def log_start(spare: SpareWatch, *, step: int) -> None:
    """Log that sifting starts because enough losses are near zero.

    Args:
        spare: What was seen of the losses.
        step: How many batches have passed unsifted.
    """
    LOGGER.info(
        "Sifting starts after %d batches: the samples that it is expected to drop carry %.1f %% "
        "of the loss.",
        step,
        100 * spare.share,
    )


def warn_about_untold_losses(num_batches: int) -> None:
    """Warn that the training loop never tells its losses.

    Args:
        num_batches: How many batches were yielded.
    """
    LOGGER.warning(
        "`scoring` is 'last_visit', but record_losses() was not called for any of the first %d "
        "batches: losses are those of scoring passes, made anew every few epochs. Call "
        "record_losses(losses) after each training step, one loss per sample. This is said once.",
        num_batches,
    )


def warn_about_switching_off(verdict: str | None) -> None:
    """Warn that sifting ends because it would not save time.

    Args:
        verdict: Why, in one sentence; None if another rank knows.
    """
    LOGGER.warning(
        "Sifting is switched off: %s Batches pass unsifted from here on; with "
        "stop_if_slower=False they would go on being sifted.",
        verdict or "on another rank it was measured not to save time.",
    )


def warn_about_shared_data(num_ranks: int) -> None:
    """Warn that all ranks train on the same data.

    Args:
        num_ranks: How many there are.
    """
    LOGGER.warning(
        "All %d processes got the same first batch: `orig_dataloader` is not sharded, so that "
        "they all train on the same data. Give it a sampler that shards: "
        "DataLoader(dataset, sampler=DistributedSampler(dataset), ...), and call "
        "sampler.set_epoch(epoch) before every epoch. This is said once.",
        num_ranks,
    )


def warn_about_uneven_ranks(rank: int, num_unread: int) -> None:
    """Warn that a rank leaves much of its data out.

    Args:
        rank: Which rank.
        num_unread: How many batches of the epoch it did not read; 0 if that cannot be known.
    """
    LOGGER.warning(
        "Rank %d left %s of this epoch unread, because another rank had no more to give: it has "
        "less data, or keeps less of it, which with share_history=True happens where its data is "
        "easier. Shard the data evenly and shuffle it, as DistributedSampler does. This is said "
        "once.",
        rank,
        f"{num_unread} batches" if num_unread else "batches",
    )


def warn_about_idle_epoch(rank: int) -> None:
    """Warn that an epoch ended before its first batch, for all ranks.

    Args:
        rank: A rank that had no batch.
    """
    LOGGER.warning(
        "Rank %d had no batch to give in this epoch, so that no rank trained in it. Give every "
        "rank enough data to fill a batch after sifting; what was kept is carried over.",
        rank,
    )


def warn_about_global_shuffle(num_loaded: int) -> None:
    """Warn that an epoch cannot be continued in the order in which it began.

    Args:
        num_loaded: How many of its batches were read.
    """
    LOGGER.warning(
        "The state was saved after %d batches of an epoch whose order came from the global random "
        "state: the rest of the epoch will be another one than it would have been. Give the "
        "wrapped loader a `generator` of its own, whose state is part of the state.",
        num_loaded,
    )


def format_values(values: Iterable[float]) -> str:
    """Return numbers as the metric definitions read them.

    Args:
        values: Any numbers.

    Returns:
        A bracketed list.

    Example:
        >>> format_values([0.5, 2.0])
        '[5.000000e-01, 2.000000e+00]'
    """
    return "[" + ", ".join(f"{value:.6e}" for value in values) + "]"
