"""What a tuning job has tried, as a picture: SVG, drawn without any library."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from sagemaker_sift.backends.whole_file import save_text
from sagemaker_sift.results.plot_axis import NumberAxis, PlotAxis, build_axis

_PANEL_W, _PANEL_H = 320, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 14, 30, 44
_HEAD = 46
_IN_ROW = 3
_COLOURS = {"Completed": "#3356a6", "Stopped": "#c0711f", "Failed": "#b04a3a"}
_LARGEST = 1e300
_OTHER = "#777777"  # a job that runs
_LEGEND = (
    ("Completed", "completed"),
    ("Stopped", "stopped"),
    ("Failed", "failed"),
    ("", "no result yet"),
)


class TuningPlot:
    """A picture that notebooks show and :meth:`save` writes.

    Attributes:
        svg: The SVG document.
    """

    def __init__(self, svg: str) -> None:
        self.svg = svg

    def __repr__(self) -> str:
        return f"TuningPlot({len(self.svg)} characters of SVG)"

    def _repr_svg_(self) -> str:
        return self.svg

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the picture, whole or not at all.

        Args:
            path: Ends in ``.svg``; replaced if it is there.

        Raises:
            ValueError: If it ends otherwise.
        """
        if Path(path).suffix.lower() != ".svg":
            raise ValueError(f"path is {os.fspath(path)!r}, but must end in .svg: it is SVG.")
        save_text(path, self.svg)


def draw_tuning(
    title: str,
    metric: str,
    rows: Sequence[Mapping[str, Any]],
    ranges: Mapping[str, Any],
    *,
    maximize: bool,
) -> TuningPlot:
    """Return the objective over the training jobs, and against each tuned hyperparameter.

    A job's mark tells its status; one without an objective stands on the lower edge. The line is
    the best objective so far; a ring marks the best of all.

    Args:
        title: Name of the tuning job.
        metric: Name of the objective metric.
        rows: As :meth:`HyperparameterTuningJobAnalytics.rows` returns them, with the tuned
            values; in the order of the launches.
        ranges: Range of each tuned hyperparameter, in the API's form; ``None`` if unknown.
        maximize: Whether a larger objective is better.

    Example:
        >>> rows = [{"TrainingJobName": "t-1", "TrainingJobStatus": "Completed",
        ...     "FinalObjectiveValue": 0.5, "x": 3.0}]
        >>> plot = draw_tuning("t", "accuracy", rows, {"x": None}, maximize=True)
        >>> plot.svg.count('class="job"')
        2
    """
    objectives = [_read_objective(row) for row in rows]
    known = [value for value in objectives if value is not None]
    vertical = NumberAxis(min(known), max(known)) if known else None
    best = (max if maximize else min)(known) if known else None
    numbers = list(range(1, len(rows) + 1))
    panels: list[tuple[str, PlotAxis, Sequence[Any]]] = [
        ("training job", NumberAxis(1, max(2, len(rows))), numbers)
    ]
    panels += [
        (name, build_axis(ranges[name], [row[name] for row in rows if name in row]), values)
        for name in ranges
        for values in [[row.get(name) for row in rows]]
    ]
    columns = min(_IN_ROW, len(panels))
    width, height = columns * _PANEL_W, _HEAD + math.ceil(len(panels) / _IN_ROW) * _PANEL_H
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" '
        'font-family="Helvetica, Arial, sans-serif" font-size="11" role="img">',
        f"<title>{escape(f'{metric} of the training jobs of {title}')}</title>",
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        f'<text x="12" y="18" font-size="13" font-weight="bold">{escape(title)}</text>',
        *_draw_legend(),
    ]
    for idx, (name, axis, values) in enumerate(panels):
        left = idx % _IN_ROW * _PANEL_W + _LEFT
        top = _HEAD + idx // _IN_ROW * _PANEL_H + _TOP
        panel = _Panel(left, top, axis, vertical)
        lines.append(f'<g id="panel-{idx}">')
        lines += panel.draw_frame(name, metric if idx % _IN_ROW == 0 else "")
        if idx == 0:
            lines += panel.draw_best_so_far(objectives, maximize=maximize)
        lines += panel.draw_jobs(rows, values, objectives, best)
        lines.append("</g>")
    if not known:
        lines.append(f'<text x="{_LEFT + 20}" y="{_HEAD + 120}">no objective yet</text>')
    return TuningPlot("\n".join([*lines, "</svg>\n"]))


class _Panel:
    """One diagram at a place of the picture, in pixels."""

    def __init__(self, left: int, top: int, axis: PlotAxis, vertical: PlotAxis | None) -> None:
        self._left, self._top = left, top
        self._w, self._h = _PANEL_W - _LEFT - _RIGHT, _PANEL_H - _TOP - _BOTTOM
        self._axis, self._vertical = axis, vertical

    def draw_frame(self, name: str, metric: str) -> Iterator[str]:
        left, top, right, bottom = self._left, self._top, self._left + self._w, self._top + self._h
        yield (
            f'<rect x="{left}" y="{top}" width="{self._w}" height="{self._h}" fill="none" '
            'stroke="#999999"/>'
        )
        for place, text in self._axis.ticks():
            x = left + place * self._w
            yield f'<path d="M{x:.1f} {bottom} v4" stroke="#999999"/>'
            yield _write(x, bottom + 16, text, "middle")
        yield _write((left + right) / 2, bottom + 33, name, "middle")
        for place, text in self._vertical.ticks() if self._vertical else ():
            y = bottom - place * self._h
            yield f'<path d="M{left} {y:.1f} h{self._w}" stroke="#eeeeee"/>'
            yield _write(left - 6, y + 4, text, "end")
        if metric:
            yield _write(left - 48, top - 10, metric, "start")

    def draw_best_so_far(
        self, objectives: Sequence[float | None], *, maximize: bool
    ) -> Iterator[str]:
        choose = max if maximize else min
        best: float | None = None
        path = ""
        for number, value in enumerate(objectives, start=1):
            if value is None and best is None:
                continue
            before = best
            best = value if best is None else choose(best, best if value is None else value)
            x, y = self._to_pixels(number, best)
            if before is None:
                path = f"M{x:.1f} {y:.1f}"
            else:
                path += f" H{x:.1f} V{y:.1f}"
        if path:
            yield f'<path class="best" d="{path}" fill="none" stroke="#5c8a3c" stroke-width="2"/>'

    def draw_jobs(
        self,
        rows: Sequence[Mapping[str, Any]],
        values: Sequence[Any],
        objectives: Sequence[float | None],
        best: float | None,
    ) -> Iterator[str]:
        for row, value, objective in zip(rows, values, objectives, strict=True):
            if self._axis.place(value) is None:  # of another estimator, which does not tune it
                continue
            x, y = self._to_pixels(value, objective)
            status = row["TrainingJobStatus"]
            result = "no objective" if objective is None else f"{objective:.6g}"
            tip = escape(f"{row['TrainingJobName']}: {result}, {value} ({status})")
            yield f'<g class="job"><title>{tip}</title>{_draw_mark(x, y, status)}</g>'
            if best is not None and objective == best:
                yield (
                    f'<circle class="winner" cx="{x:.1f}" cy="{y:.1f}" r="8" fill="none" '
                    'stroke="#5c8a3c" stroke-width="2"/>'
                )
                best = None  # of equal ones the earliest

    def _to_pixels(self, value: Any, objective: float | None) -> tuple[float, float]:
        x = self._axis.place(value) or 0.0
        y = self._vertical.place(objective) if self._vertical else None
        return self._left + x * self._w, self._top + (1 - (y or 0.0)) * self._h


def _draw_legend() -> Iterator[str]:
    x = 18
    for status, text in _LEGEND:
        yield _draw_mark(x, 34, status) + _write(x + 10, 38, text, "start")
        x += 34 + 6 * len(text)
    yield f'<path d="M{x - 4} 34 h18" stroke="#5c8a3c" stroke-width="2"/>'
    yield _write(x + 20, 38, "best so far", "start")


def _draw_mark(x: float, y: float, status: str) -> str:
    """Return a mark that tells the status by its shape as well as by its colour."""
    colour = _COLOURS.get(status, _OTHER)
    if status == "Completed":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>'
    if status == "Stopped":
        return f'<path d="M{x:.1f} {y - 5:.1f} l5 5 l-5 5 l-5 -5 z" fill="{colour}"/>'
    if status == "Failed":
        start = f"M{x - 4:.1f} {y - 4:.1f}"
        return f'<path d="{start} l8 8 m0 -8 l-8 8" stroke="{colour}" stroke-width="2"/>'
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="none" stroke="{colour}"/>'


def _write(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _read_objective(row: Mapping[str, Any]) -> float | None:
    """Return the objective; one that no axis can hold is none."""
    value = row["FinalObjectiveValue"]
    return float(value) if value is not None and abs(value) < _LARGEST else None
