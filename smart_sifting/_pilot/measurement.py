"""The pilot: what sifting would cost and save, measured on the user's own model and data."""

from __future__ import annotations

import itertools
import platform
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch

from smart_sifting._core.arguments import check_model, check_transforms
from smart_sifting._core.cost_model import SiftingCosts
from smart_sifting._core.formats import BatchFormats
from smart_sifting._core.scoring import LossImplementation
from smart_sifting._core.wrapped_loader import END, WrappedLoader
from smart_sifting._pilot.arguments import (
    check_optimizer,
    read_betas,
    read_count,
    read_scoring,
)
from smart_sifting._pilot.batch import BatchPilot
from smart_sifting._pilot.loading import (
    count_workers,
    detach_loader,
    drain_loader,
    one_epoch,
)
from smart_sifting._pilot.report import (
    STAGE_LABELS,
    PilotReport,
    StageSeconds,
    summarise_pooling,
    summarise_stage,
)
from smart_sifting._pilot.stopwatch import BatchTimes, Stopwatch
from smart_sifting._pilot.untouched_state import leaving_no_trace
from smart_sifting.data_model.data_model_interface import SiftingBatchTransform
from smart_sifting.loss.abstract_sift_loss_module import check_loss_impl
from smart_sifting.sift_config.sift_configs import Scoring

DEFAULT_BETAS = (0.1, 0.25, 0.5, 1, 2, 3, 10, 100)
_SCORING = ("transform", "score", "select")
_IN_VAIN = ("fresh", "plain")
_NOTHING_CHEAPER = (
    "scoring is fresh, but no cheaper method than plain was found here: the device is no faster "
    "in 16 bits, or losses rank otherwise in them, as those of an untrained model may."
)
_TRAINING = ("forward", "backward", "step")


def pilot(
    model: torch.nn.Module,
    loss_impl: LossImplementation,
    orig_dataloader: Iterable[Any],
    *,
    batch_transforms: SiftingBatchTransform | None = None,
    optimizer: torch.optim.Optimizer | None = None,
    betas: Iterable[float] = DEFAULT_BETAS,
    beta_value: float | None = None,
    num_batches: int = 20,
    num_warmup: int = 3,
    batch_format_index: int | None = None,
    scoring: Scoring = "plain",
) -> PilotReport:
    """Measure on some batches whether sifting would save time, and from which ``beta_value`` on.

    Every batch is loaded, sifted as a ``SiftingDataloader`` does it (transform, scoring pass,
    selection, pooling) and trained on whole: ``loss_impl`` in train mode with gradients, the mean,
    backward, and a step if there is an optimizer. On a GPU each stage is waited for. Per sample
    the medians over the batches count; of pooling, which comes in bursts and is paid for kept
    samples only, the mean per kept sample. All expectations hold for the time after the
    ``sift_delay``. With ``scoring="fresh"`` the first batch is scored until the cheapest method
    is found, unmeasured; the report says which it is.

    Nothing is trained: model, gradients, optimizer, training flags, global random states and the
    generators of the loader are put back as they were; ``leaving_no_trace`` says which. The
    loader is iterated from a fresh start, and left after the batches that are needed; with
    ``num_workers`` twice. The second time its batches are drawn with nothing computed between
    them, because loading then runs beside training and costs what the workers' throughput is;
    the first batch of each worker, with its start, is left out. Where the workers share the
    processors with the model they are slower in training than so measured.

    Run it where the training loop would run: under ``torch.autocast`` if that is used. Of a model
    wrapped by DDP the inner one is used, so that one rank may run a pilot by itself; the averaging
    of gradients is then not in the figures, and would make training, and so sifting's gain, more.

    Args:
        model: The model, on the device where it is to train.
        loss_impl: An object whose ``loss(model, transformed_batch, original_batch)`` gives one
            loss per sample, with a gradient where that is enabled.
        orig_dataloader: The loader to be wrapped, which may be infinite. Where it has fewer
            batches than asked for, those there are count; a smaller last one does not.
        batch_transforms: As for a SiftingDataloader.
        optimizer: Of the model, with a step that needs no closure. Without it training is measured
            without the step.
        betas: Selectivities to look at, each positive and finite.
        beta_value: The one you mean to use: it is added to ``betas``, its verdict comes first.
        num_batches: Batches to measure, ``>= 1``.
        num_warmup: Batches to run before, unmeasured, ``>= 0``; fewer in a short loader.
        batch_format_index: As for a SiftingDataloader.
        scoring: ``"plain"`` or ``"fresh"``, as for a SiftingDataloader. Losses of the last visit
            take no scoring pass, so that there is nothing to measure.

    Returns:
        The report: print it, or read its ``rows`` and ``break_even_beta``.

    Raises:
        LossImplementationNotProvidedException: If ``loss_impl`` cannot give losses.
        UnsupportedDataFormatException: If single samples cannot be taken from the batches.
        TypeError: If another argument has a wrong type, or a loss is no tensor.
        ValueError: If a number is out of range, there are no batches, there is not one loss per
            sample, or the losses carry no gradient.

    Example:
        >>> from smart_sifting import Loss
        >>> class SquaredError(Loss):
        ...     def loss(self, model, transformed_batch, original_batch=None):
        ...         return (model(original_batch) ** 2).squeeze(1)
        >>> batches = torch.arange(100.0).reshape(100, 1).split(10)
        >>> report = pilot(torch.nn.Linear(1, 1), SquaredError(), batches, betas=[1])
        >>> report.batch_size, report.num_batches, report.rows[0].kept_fraction
        (10, 7, 0.5)
    """
    return run_pilot(
        model,
        loss_impl,
        orig_dataloader,
        batch_transforms=batch_transforms,
        optimizer=optimizer,
        betas=read_betas(betas, beta_value),
        beta_value=beta_value,
        num_batches=read_count("num_batches", num_batches, minimum=1),
        num_warmup=read_count("num_warmup", num_warmup, minimum=0),
        batch_format_index=batch_format_index,
        scoring=read_scoring(scoring),
        clock=time.perf_counter,
    )


def run_pilot(
    model: torch.nn.Module,
    loss_impl: LossImplementation,
    orig_dataloader: Iterable[Any],
    *,
    batch_transforms: SiftingBatchTransform | None,
    optimizer: torch.optim.Optimizer | None,
    betas: tuple[float, ...],
    beta_value: float | None,
    num_batches: int,
    num_warmup: int,
    batch_format_index: int | None,
    scoring: Scoring,
    clock: Callable[[], float],
) -> PilotReport:
    """Run a pilot with a clock of one's own; the other arguments are those of :func:`pilot`.

    Args:
        model: The model.
        loss_impl: Gives the losses.
        orig_dataloader: The loader.
        batch_transforms: Or None.
        optimizer: Or None.
        betas: Ascending.
        beta_value: Or None.
        num_batches: Batches to measure.
        num_warmup: Batches before them.
        batch_format_index: Or None.
        scoring: ``plain`` or ``fresh``.
        clock: Seconds, from any origin.

    Returns:
        The report.

    Raises:
        TypeError: As :func:`pilot`.
        ValueError: As :func:`pilot`.
    """
    check_loss_impl(loss_impl)
    loader = WrappedLoader(detach_loader(orig_dataloader))
    check_model(model)
    check_transforms(batch_transforms)
    check_optimizer(optimizer)
    formats = BatchFormats(batch_format_index)
    stopwatch = Stopwatch(clock, _find_device(model))
    with (
        torch.inference_mode(mode=False),  # switches gradients on too
        leaving_no_trace(
            model, loss_impl=loss_impl, optimizer=optimizer, orig_dataloader=orig_dataloader
        ),
    ):
        batch_pilot = BatchPilot(
            model=model,
            loss_impl=loss_impl,
            batch_transforms=batch_transforms,
            optimizer=optimizer,
            formats=formats,
            loader_batch_size=loader.batch_size,
            scoring=scoring,
            stopwatch=stopwatch,
        )
        batch_pilot.set_training()
        times = _run_batches(loader, batch_pilot, stopwatch, most=num_warmup + num_batches)
        num_warmup = min(num_warmup, len(times) - 1)
        times = times[num_warmup:]
        loading_s = _measure_loading(loader, stopwatch, times, num_batches=num_batches)
    num_workers = count_workers(loader.loader)
    costs, stages = _summarise(times, loading_s, is_overlapped=num_workers > 0)
    return PilotReport(
        costs=costs,
        stages=stages,
        betas=betas,
        beta_value=beta_value,
        batch_size=_find_batch_size(times),
        num_batches=len(times),
        num_warmup=num_warmup,
        num_workers=num_workers,
        device=_describe_device(_find_device(model)),
        num_threads=torch.get_num_threads(),
        torch_version=str(torch.__version__),
        scoring_method=batch_pilot.scoring_method,
        note=_NOTHING_CHEAPER if (scoring, batch_pilot.scoring_method) == _IN_VAIN else "",
    )


def _run_batches(
    loader: WrappedLoader, batch_pilot: BatchPilot, stopwatch: Stopwatch, *, most: int
) -> list[BatchTimes]:
    times: list[BatchTimes] = []
    largest = 0
    method: str | None = None
    with one_epoch(loader):
        while len(times) < most:
            with stopwatch.measure("load"):
                batch = loader.read()
            if batch is END:
                break
            transformed, num_samples, num_kept = batch_pilot.sift(batch)
            if method != batch_pilot.scoring_method:  # what came before is of another price
                method, times = batch_pilot.scoring_method, []
            largest = max(largest, num_samples)
            is_trainable = num_samples > 1 or largest == 1  # BatchNorm refuses a left-over sample
            if is_trainable:
                batch_pilot.train(transformed, batch, num_samples)
            batch_times = stopwatch.finish(num_samples=num_samples, num_kept=num_kept)
            if is_trainable:
                times.append(batch_times)
    if not times:
        raise ValueError(
            "`orig_dataloader` gave 0 batches, but the pilot needs one or more. Give the loader "
            "of the training set; with drop_last it needs as many samples as fill a batch."
        )
    return times[:-1] if times[-1].num_samples < largest and len(times) > 1 else times


def _measure_loading(
    loader: WrappedLoader, stopwatch: Stopwatch, times: Sequence[BatchTimes], *, num_batches: int
) -> list[float]:
    num_workers = count_workers(loader.loader)
    if not num_workers:
        return [batch.per_sample(["load"]) for batch in times]
    return drain_loader(
        loader,
        stopwatch,
        num_workers=num_workers,
        num_batches=num_batches,
        batch_size=_find_batch_size(times),
    )


def _find_batch_size(times: Sequence[BatchTimes]) -> int:
    return statistics.median_high(batch.num_samples for batch in times)


def _summarise(
    times: Sequence[BatchTimes], loading_s: Sequence[float], *, is_overlapped: bool
) -> tuple[SiftingCosts, tuple[StageSeconds, ...]]:
    groups: dict[str, tuple[str, ...]] = {stage: (stage,) for stage in (*_SCORING, *_TRAINING)}
    groups |= {"scoring": _SCORING, "training": _TRAINING}
    found = {"load": summarise_stage("load", loading_s), "pool": summarise_pooling(times)}
    for name, stages in groups.items():
        if any(stage in batch.seconds for batch in times for stage in stages):
            found[name] = summarise_stage(name, [batch.per_sample(stages) for batch in times])
    costs = SiftingCosts(
        loading_s=found["load"].median_s,
        scoring_s=found["scoring"].median_s,
        training_s=found["training"].median_s,
        pooling_s=found["pool"].median_s,
        is_loading_overlapped=is_overlapped,
    )
    return costs, tuple(found[name] for name in STAGE_LABELS if name in found)


def _find_device(model: torch.nn.Module) -> torch.device:
    tensor = next(itertools.chain(model.parameters(), model.buffers()), None)
    return torch.device("cpu") if tensor is None else tensor.device


def _describe_device(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU ({platform.machine()})" if device.type == "cpu" else str(device)
