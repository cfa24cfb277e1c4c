r"""The metric lines of the log: writer, regex and reader in one place.

The lines are those of SageMaker's built-in image classification algorithm, so that metric
definitions and dashboards made for it go on working:

======================  ======================================  ====  ==========================
metric                  line                                    unit  meaning
======================  ======================================  ====  ==========================
train:accuracy          ``Epoch[0] Train-accuracy=0.9``         1     over the trained samples
train:top_k_accuracy    ``Epoch[0] Train-top_k_accuracy_2=..``  1     if ``top_k`` is set
train:loss              ``Epoch[0] Train-loss=0.3``             1     mean cross entropy, nats
train:time              ``Epoch[0] Time cost=14.863``           s     one epoch of training
validation:accuracy     ``Epoch[0] Validation-accuracy=0.97``   1     every image once
sifting:samples_seen    ``Epoch[0] Sifting-samples_seen=640``   1     presented this epoch
sifting:samples_kept    ``Epoch[0] Sifting-samples_kept=320``   1     trained this epoch
sifting:kept_fraction   ``Epoch[0] Sifting-kept_fraction=0.5``  1     kept / seen this epoch
======================  ======================================  ====  ==========================
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

_NUMBER = r"([-+]?(?:[0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?|nan|inf))"
_EPOCH = re.compile(r"Epoch\[(\d+)\]")
_BATCH = re.compile(
    rf"Epoch\[(\d+)\] Batch \[(\d+)\]\tSpeed: {_NUMBER} samples/sec\taccuracy={_NUMBER}"
)


@dataclass(frozen=True, slots=True)
class Metric:
    """A value that the trainer reports once an epoch.

    Attributes:
        name: ``split:quantity``, as the tuner and the console show it.
        label: What stands in the log line between ``Epoch[e]`` and ``=``.
        unit: ``"1"`` for ratios and counts, ``"s"`` for seconds.
        meaning: One sentence for people.
        is_objective: Whether a tuning job may use it as its objective, to be maximised.
        decimals: Digits after the point in the log line.
    """

    name: str
    label: str
    unit: str
    meaning: str
    is_objective: bool = False
    decimals: int = 6

    @property
    def regex(self) -> str:
        r"""The ``Regex`` of the metric's ``MetricDefinitions`` entry; group 1 is the value.

        Example:
            >>> print(VALIDATION_ACCURACY.regex[:35])
            Epoch\[\d+\] Validation-accuracy=([
        """
        label = re.escape(self.label).replace(r"\-", "-").replace(r"\ ", " ")
        return rf"Epoch\[\d+\] {label.replace('K', '[0-9]+')}={_NUMBER}"

    def read(self, line: str) -> float | None:
        """Return the value that ``line`` reports, or ``None`` if it reports none.

        Example:
            >>> VALIDATION_ACCURACY.read("[.. INFO 1] Epoch[3] Validation-accuracy=0.771429")
            0.771429
        """
        match = re.search(self.regex, line)
        return float(match.group(1)) if match else None


TRAIN_ACCURACY = Metric(
    "train:accuracy", "Train-accuracy", "1", "Accuracy over the samples trained in the epoch."
)
TRAIN_TOP_K_ACCURACY = Metric(
    "train:top_k_accuracy",
    "Train-top_k_accuracy_K",
    "1",
    "Share of trained samples whose class is among the k most likely.",
)
TRAIN_LOSS = Metric(
    "train:loss", "Train-loss", "1", "Mean cross entropy of the samples trained in the epoch."
)
TIME_COST = Metric("train:time", "Time cost", "s", "Seconds that the epoch took.", decimals=3)
VALIDATION_ACCURACY = Metric(
    "validation:accuracy",
    "Validation-accuracy",
    "1",
    "Accuracy over the validation channel, every image once.",
    is_objective=True,
)
SAMPLES_SEEN = Metric(
    "sifting:samples_seen",
    "Sifting-samples_seen",
    "1",
    "Samples that the loader presented in the epoch.",
    decimals=0,
)
SAMPLES_KEPT = Metric(
    "sifting:samples_kept",
    "Sifting-samples_kept",
    "1",
    "Samples that were kept for training in the epoch.",
    decimals=0,
)
KEPT_FRACTION = Metric(
    "sifting:kept_fraction",
    "Sifting-kept_fraction",
    "1",
    "Kept over seen samples of the epoch.",
)

METRICS = (
    TRAIN_ACCURACY,
    TRAIN_TOP_K_ACCURACY,
    TRAIN_LOSS,
    TIME_COST,
    VALIDATION_ACCURACY,
    SAMPLES_SEEN,
    SAMPLES_KEPT,
    KEPT_FRACTION,
)
"""Every metric of the algorithm, in the order of its specification."""


def format_line(metric: Metric, epoch: int, value: float, *, top_k: int | None = None) -> str:
    """Return the log line that reports ``value``.

    Args:
        metric: What is reported.
        epoch: Counted from 0, as the built-in algorithm does.
        value: In the metric's unit; NaN and infinities are written as such.
        top_k: The k of :data:`TRAIN_TOP_K_ACCURACY`; required for it, refused for others.

    Raises:
        ValueError: If ``epoch`` is negative, or ``top_k`` does not go with the metric.

    Example:
        >>> format_line(VALIDATION_ACCURACY, 0, 27 / 35)
        'Epoch[0] Validation-accuracy=0.771429'
        >>> format_line(TRAIN_TOP_K_ACCURACY, 0, 0.5, top_k=2)
        'Epoch[0] Train-top_k_accuracy_2=0.500000'
    """
    if epoch < 0:
        raise ValueError(f"`epoch` is {epoch!r}, but must be 0 or more.")
    if (top_k is None) == (metric is TRAIN_TOP_K_ACCURACY):
        raise ValueError(f"`top_k` is {top_k!r}, which does not go with {metric.name!r}.")
    label = metric.label if top_k is None else metric.label.replace("K", str(top_k))
    if math.isfinite(value):
        text = f"{value:.{metric.decimals}f}"
        if metric.decimals and float(text) != value and abs(value) < 10**-metric.decimals:
            text = f"{value:.6e}"
    else:
        text = str(float(value))
    return f"Epoch[{epoch}] {label}={text}"


def read_line(line: str) -> tuple[int, Metric, float] | None:
    """Return epoch, metric and value of a line, or ``None`` if it is no metric line.

    Example:
        >>> epoch, metric, value = read_line("Epoch[2] Time cost=14.863")
        >>> epoch, metric.name, value
        (2, 'train:time', 14.863)
    """
    for metric in METRICS:
        match = re.search(metric.regex, line)
        if match:
            epoch = _EPOCH.match(match.group(0))
            return int(epoch.group(1)) if epoch else 0, metric, float(match.group(1))
    return None


@dataclass(frozen=True, slots=True)
class MetricPoint:
    """One reported value.

    Attributes:
        name: The metric, such as ``validation:accuracy``.
        value: In the metric's own unit.
        time_s: When it was reported, epoch seconds.
    """

    name: str
    value: float
    time_s: float


@dataclass(frozen=True, slots=True)
class BatchProgress:
    """How far an epoch is.

    Attributes:
        epoch: Counted from 0.
        batch: Batches presented so far in this epoch, before sifting.
        samples_per_second: Presented samples a second.
        accuracy: Running training accuracy of the epoch, in [0, 1].
    """

    epoch: int
    batch: int
    samples_per_second: float
    accuracy: float


def format_batch_line(epoch: int, batch: int, samples_per_second: float, accuracy: float) -> str:
    r"""Return the progress line inside an epoch, in the form of MXNet's ``Speedometer``.

    Example:
        >>> format_batch_line(0, 20, 512.25, 0.5)
        'Epoch[0] Batch [20]\tSpeed: 512.25 samples/sec\taccuracy=0.500000'
    """
    speed = f"{samples_per_second:.2f}"
    return f"Epoch[{epoch}] Batch [{batch}]\tSpeed: {speed} samples/sec\taccuracy={accuracy:.6f}"


def read_batch_line(line: str) -> BatchProgress | None:
    r"""Return the progress that a line reports, or ``None``.

    Example:
        >>> read_batch_line("Epoch[1] Batch [4]\tSpeed: 8.00 samples/sec\taccuracy=1.0").batch
        4
    """
    match = _BATCH.search(line)
    if match is None:
        return None
    epoch, batch, speed, accuracy = match.groups()
    return BatchProgress(int(epoch), int(batch), float(speed), float(accuracy))
