"""All parts of a sifting loader, checked and put together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, get_args

import torch

from smart_sifting._core.arguments import (
    check_flag,
    check_model,
    check_ranks,
    check_scoring,
    check_transforms,
    check_whole_number,
)
from smart_sifting._core.batch_scoring import BatchScoring
from smart_sifting._core.cost_watch import CostWatch
from smart_sifting._core.formats import BatchFormats
from smart_sifting._core.pipeline import SiftingPipeline
from smart_sifting._core.ranks import Ranks
from smart_sifting._core.relative_probability import mean_keep_probability
from smart_sifting._core.run import SiftingRun
from smart_sifting._core.sample_ids import SampleIds
from smart_sifting._core.scorer import build_scorer
from smart_sifting._core.scoring import LossImplementation
from smart_sifting._core.selection import Selector
from smart_sifting._core.sifting_schedule import SiftingSchedule
from smart_sifting._core.statistics import SiftingStatistics
from smart_sifting._core.visit_losses import VisitLosses
from smart_sifting._core.weigher import Weigher
from smart_sifting._core.wrapped_loader import WrappedLoader
from smart_sifting.data_model.data_model_interface import SiftingBatchTransform
from smart_sifting.loss.abstract_sift_loss_module import check_loss_impl
from smart_sifting.sift_config.sift_configs import (
    RelativeProbabilisticSiftConfig,
    Scoring,
    read_sift_config,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SiftingParts:
    """What a sifting loader is made of.

    Attributes:
        run: Goes over the epochs.
        pipeline: Scores, selects and pools.
        scoring: Gives the losses.
        ranks: The processes that train one model together.
        statistics: Where samples and seconds are counted.
        kept_fraction: The share of the samples that is expected to be kept.
    """

    run: SiftingRun
    pipeline: SiftingPipeline
    scoring: BatchScoring
    ranks: Ranks
    statistics: SiftingStatistics
    kept_fraction: float


def assemble(
    sift_config: RelativeProbabilisticSiftConfig | Mapping[str, Any],
    orig_dataloader: Iterable[Any],
    *,
    batch_transforms: SiftingBatchTransform | None,
    loss_impl: LossImplementation | None,
    model: torch.nn.Module | None,
    log_batch_data: bool,
    batch_format_index: int | None,
    seed: int | None,
    process_group: Any,
    share_history: bool,
    scoring: Scoring,
    max_score_age: int,
    sample_ids: Callable[[Any], Any] | None,
    stop_if_slower: bool,
) -> SiftingParts:
    """Check the arguments of a ``SiftingDataloader``, which says what they mean, and build it.

    Raises:
        SiftConfigValidationException: If ``sift_config`` is not valid.
        LossImplementationNotProvidedException: If ``loss_impl`` cannot give losses.
        TypeError: If an argument has a wrong type.
        ValueError: If one is unknown or out of range.
    """
    config, base_config = read_sift_config(sift_config)
    check_loss_impl(loss_impl)
    assert loss_impl is not None
    wrapped, model = WrappedLoader(orig_dataloader), check_model(model)
    seed = torch.initial_seed() if seed is None else check_whole_number("seed", seed)
    ranks = _build_ranks(config, process_group, share_history, scoring)
    check_flag("stop_if_slower", stop_if_slower)
    check_whole_number("max_score_age", max_score_age, minimum=1)
    watch = CostWatch(config.beta_value)
    statistics = SiftingStatistics()
    kept_fraction = mean_keep_probability(config.beta_value, max_percentile=config.max_percentile)
    is_by_visit = scoring == "last_visit"
    batch_scoring = BatchScoring(
        scorer=build_scorer(scoring, loss_impl, model),
        loss_impl=loss_impl,
        visits=VisitLosses(max_score_age) if is_by_visit else None,
        formats=BatchFormats(batch_format_index),
        statistics=statistics,
        model=model,
        batch_transforms=check_transforms(batch_transforms),
        loader_batch_size=wrapped.batch_size,
        watch=watch,
    )
    pipeline = SiftingPipeline(
        selector=_build_selector(config, seed),
        scoring=batch_scoring,
        statistics=statistics,
        weigher=_build_weigher(config),
        log_batch_data=log_batch_data,
        watch=watch,
    )
    run = SiftingRun(
        wrapped=wrapped,
        pipeline=pipeline,
        ranks=ranks,
        watch=watch,
        stops_if_slower=stop_if_slower,
        model=model,
        schedule=SiftingSchedule(base_config, beta=config.beta_value),
        sample_ids=SampleIds(sample_ids, is_needed=is_by_visit),
        seed=seed,
    )
    return SiftingParts(
        run=run,
        pipeline=pipeline,
        scoring=batch_scoring,
        ranks=ranks,
        statistics=statistics,
        kept_fraction=kept_fraction,
    )


def _build_ranks(
    config: RelativeProbabilisticSiftConfig,
    process_group: Any,
    share_history: bool,
    scoring: Scoring,
) -> Ranks:
    check_ranks(process_group, share_history)
    check_scoring(scoring)
    settings = {
        "beta_value": config.beta_value,
        "loss_history_length": config.loss_history_length,
        "max_percentile": config.max_percentile,
        "scoring": get_args(Scoring).index(scoring),
    }
    return Ranks(process_group, shares_losses=share_history, settings=settings)


def _build_selector(config: RelativeProbabilisticSiftConfig, seed: int) -> Selector:
    return Selector(
        beta=config.beta_value,
        history_length=config.loss_history_length,
        seed=seed,
        max_percentile=config.max_percentile,
    )


def _build_weigher(config: RelativeProbabilisticSiftConfig) -> Weigher | None:
    if config.weighting == "none":
        return None
    return Weigher(
        beta=config.beta_value,
        max_weight=config.max_weight,
        max_percentile=config.max_percentile,
    )
