"""Show how far a job is: a bar on a terminal, plain lines in a pipe."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from typing import Any, Protocol, TextIO

from sagemaker_sift.contract.metrics import (
    KEPT_FRACTION,
    TIME_COST,
    TRAIN_ACCURACY,
    VALIDATION_ACCURACY,
    read_batch_line,
    read_line,
)

_SHOWN = {
    TRAIN_ACCURACY.name: ("train", "{:.4f}"),
    VALIDATION_ACCURACY.name: ("validation", "{:.4f}"),
    KEPT_FRACTION.name: ("kept", "{:.1%}"),
    TIME_COST.name: ("time", "{:.1f} s"),
}


class ProgressView(Protocol):
    """Shows a job while somebody waits for it."""

    def show_status(self, status: str) -> None:
        """Show the secondary status; called whenever it changes."""

    def show_line(self, line: str) -> None:
        """Take one line of the log."""

    def close(self) -> None:
        """Show what is left and stop showing."""


class SilentView:
    """Shows nothing."""

    def show_status(self, status: str) -> None:
        """Show nothing."""

    def show_line(self, line: str) -> None:
        """Show nothing."""

    def close(self) -> None:
        """Do nothing."""


class LogView:
    """Shows every line of the log."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def show_status(self, status: str) -> None:
        """Show the status as a line."""
        self._stream.write(f"-- {status}\n")
        self._stream.flush()

    def show_line(self, line: str) -> None:
        """Show the line as it is."""
        self._stream.write(line + "\n")
        self._stream.flush()

    def close(self) -> None:
        """Do nothing."""


class EpochLines:
    """Shows one line for each status and each epoch.

    Args:
        stream: Where to write.
        num_epochs: Epochs that the job asks for, 0 if unknown.
    """

    def __init__(self, stream: TextIO, num_epochs: int) -> None:
        self._stream = stream
        self._num_epochs = num_epochs
        self._epoch = -1
        self._values: dict[str, float] = {}

    def show_status(self, status: str) -> None:
        """Show the status as a line."""
        self._flush_epoch()
        self._write(status)

    def show_line(self, line: str) -> None:
        """Collect metric lines; show an epoch when the next one begins."""
        found = read_line(line)
        if found is None:
            return
        epoch, metric, value = found
        if epoch != self._epoch:
            self._flush_epoch()
            self._epoch = epoch
        self._values[metric.name] = value
        if metric is VALIDATION_ACCURACY:
            self._flush_epoch()

    def close(self) -> None:
        """Show the last epoch."""
        self._flush_epoch()

    def _flush_epoch(self) -> None:
        text = describe_values(self._values)
        if text:
            total = f"/{self._num_epochs}" if self._num_epochs else ""
            self._write(f"epoch {self._epoch + 1}{total}: {text}")
        self._values = {}

    def _write(self, text: str) -> None:
        self._stream.write(text + "\n")
        self._stream.flush()


class ProgressBar:
    """Shows one bar over all epochs, on a terminal.

    Args:
        num_epochs: Epochs that the job asks for.
        num_batches: Batches presented in one epoch.
    """

    def __init__(self, num_epochs: int, num_batches: int) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415  # an extra, loaded where it is used

        self._num_batches = max(num_batches, 1)
        self._num_epochs = num_epochs
        self._values: dict[str, float] = {}
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:3.0f}%"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}"),
        )
        self._task = self._progress.add_task(
            "Starting", total=num_epochs * self._num_batches, note=""
        )
        self._progress.start()

    def show_status(self, status: str) -> None:
        """Show the status before the bar."""
        self._progress.update(self._task, description=status)

    def show_line(self, line: str) -> None:
        """Move the bar by progress lines, the note by metric lines."""
        batch = read_batch_line(line)
        if batch is not None:
            done = batch.epoch * self._num_batches + min(batch.batch, self._num_batches)
            self._progress.update(self._task, completed=done)
            return
        found = read_line(line)
        if found is None:
            return
        epoch, metric, value = found
        self._values[metric.name] = value
        note = f"epoch {epoch + 1}/{self._num_epochs} {describe_values(self._values)}"
        completed = (epoch + 1) * self._num_batches if metric is TIME_COST else None
        self._progress.update(self._task, completed=completed, note=note)

    def close(self) -> None:
        """Leave the bar as it is."""
        self._progress.stop()


def describe_values(values: Mapping[str, float]) -> str:
    """Return the metrics that a person follows, in words.

    Example:
        >>> describe_values({"validation:accuracy": 0.97, "sifting:kept_fraction": 0.5})
        'validation 0.9700, kept 50.0%'
    """
    return ", ".join(
        f"{word} {form.format(values[name])}"
        for name, (word, form) in _SHOWN.items()
        if name in values
    )


def choose_view(logs: bool | str | None, description: Mapping[str, Any]) -> ProgressView:
    """Return the view that suits the request and the terminal.

    Args:
        logs: ``False``, ``None`` or ``"None"`` for silence, ``"All"`` for the whole log, else
            a bar on a terminal (with the package rich) and one line an epoch elsewhere; of an
            algorithm of somebody else the whole log.
        description: DescribeTrainingJob response; it tells the algorithm and how long it runs.
    """
    if logs in {False, None, "None"}:
        return SilentView()
    definitions = description.get("AlgorithmSpecification", {}).get("MetricDefinitions", ())
    is_ours = not definitions or TIME_COST.name in {one.get("Name") for one in definitions}
    if logs == "All" or not is_ours:
        return LogView(sys.stdout)
    hyperparameters = description.get("HyperParameters", {})
    num_epochs = _read_count(hyperparameters, "epochs")
    samples = _read_count(hyperparameters, "num_training_samples")
    batch = _read_count(hyperparameters, "mini_batch_size")
    if sys.stdout.isatty() and num_epochs and batch and importlib.util.find_spec("rich"):
        return ProgressBar(num_epochs, samples // batch)
    return EpochLines(sys.stdout, num_epochs)


def _read_count(hyperparameters: Mapping[str, Any], name: str) -> int:
    text = str(hyperparameters.get(name, ""))
    return int(text) if text.isdigit() else 0
