"""The picture of what a tuning job has tried."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from sagemaker_sift.results.plot_axis import CategoryAxis, NumberAxis, build_axis
from sagemaker_sift.results.tuning_plot import TuningPlot, draw_tuning
from tests.unit.client.test_tuning_results import build_job, describe, summary

SVG = "{http://www.w3.org/2000/svg}"
RATE = {"Name": "rate", "MinValue": "0.01", "MaxValue": "1", "ScalingType": "Logarithmic"}


def row(
    number: int, value: float | None, status: str = "Completed", **tuned: Any
) -> dict[str, Any]:
    return {
        "TrainingJobName": f"t-{number}",
        "TrainingJobStatus": status,
        "FinalObjectiveValue": value,
    } | tuned


def find_panels(plot: TuningPlot) -> list[ElementTree.Element]:
    root = ElementTree.fromstring(plot.svg)
    return [group for group in root.iter(f"{SVG}g") if group.get("id", "").startswith("panel")]


def find_marks(panel: ElementTree.Element) -> list[ElementTree.Element]:
    return [group for group in panel.iter(f"{SVG}g") if group.get("class") == "job"]


def find_circles(panel: ElementTree.Element) -> list[tuple[float, float]]:
    """Return where the completed training jobs stand, in pixels."""
    return [
        (float(circle.get("cx", "")), float(circle.get("cy", "")))
        for mark in find_marks(panel)
        for circle in mark.iter(f"{SVG}circle")
        if circle.get("fill") != "none"
    ]


def test_ranges_by_logarithm_are_drawn_by_logarithm() -> None:
    rows = [row(1, 0.1, rate=0.01), row(2, 0.2, rate=0.1), row(3, 0.3, rate=1.0)]
    left, middle, right = find_circles(
        find_panels(draw_tuning("t", "m", rows, {"rate": RATE}, maximize=True))[1]
    )
    assert middle[0] - left[0] == pytest.approx(right[0] - middle[0], abs=0.2)
    linear = RATE | {"ScalingType": "Linear"}
    left, middle, right = find_circles(
        find_panels(draw_tuning("t", "m", rows, {"rate": linear}, maximize=True))[1]
    )
    assert middle[0] - left[0] < 0.1 * (right[0] - left[0])
    assert left[1] - middle[1] == pytest.approx(middle[1] - right[1], abs=0.2)


@pytest.mark.parametrize(("maximize", "winner", "levels"), [(True, 2, 2), (False, 0, 1)])
def test_the_line_is_the_best_so_far_and_a_ring_marks_the_best(
    maximize: bool, winner: int, levels: int
) -> None:
    rows = [row(1, 0.5), row(2, None, "Failed"), row(3, 0.9), row(4, 0.7), row(5, 0.9)]
    [panel] = find_panels(draw_tuning("t", "m", rows, {}, maximize=maximize))
    [line] = [path.get("d", "") for path in panel.iter(f"{SVG}path") if path.get("class")]
    heights = re.findall(r"(?:M[\d.]+ |V)([\d.]+)", line)
    assert len(heights) == 5
    assert len(set(heights)) == levels
    [ring] = [circle for circle in panel.iter(f"{SVG}circle") if circle.get("class") == "winner"]
    circles = find_circles(panel)
    found = float(ring.get("cx", "")), float(ring.get("cy", ""))
    assert found == circles[{0: 0, 2: 1}[winner]]


def test_every_status_has_a_shape_of_its_own_and_a_job_without_objective_stands_below() -> None:
    statuses = ("Completed", "Stopped", "Failed", "InProgress")
    rows = [
        row(idx, 0.5 if status in {"Completed", "Stopped"} else None, status)
        for idx, status in enumerate(statuses)
    ]
    [panel] = find_panels(draw_tuning("t", "m", rows, {}, maximize=True))
    shapes = [
        re.sub(r'[\d.-]+|"#\w+"', "", ElementTree.tostring(mark[1], "unicode"))
        for mark in find_marks(panel)
    ]
    assert len(set(shapes)) == len(statuses)
    titles = [mark[0].text for mark in find_marks(panel)]
    assert titles[0] == "t-0: 0.5, 1 (Completed)"
    assert titles[2] == "t-2: no objective, 3 (Failed)"
    frame = next(panel.iter(f"{SVG}rect"))
    bottom = float(frame.get("y", "")) + float(frame.get("height", ""))
    assert float(find_marks(panel)[3][1].get("cy", "")) == bottom


def test_names_cannot_break_the_picture() -> None:
    rows = [row(1, 0.5, **{"<a&b>": '"x" < y'})]
    plot = draw_tuning("<script>", "a & b", rows, {"<a&b>": None}, maximize=True)
    texts = [element.text for element in ElementTree.fromstring(plot.svg).iter(f"{SVG}text")]
    assert {"<script>", "a & b", "<a&b>"} <= set(texts)


@pytest.mark.parametrize(
    "objectives",
    [[], [None], [math.nan, math.inf], [0.5], [0.5, 0.5], [1e308, -1e308, 1.0], [1e16, 1e16 + 2]],
    ids=["none", "failed", "not finite", "one", "equal", "too large", "close"],
)
def test_any_objectives_make_a_picture(objectives: list[float | None]) -> None:
    rows = [row(idx, value, x=float(idx)) for idx, value in enumerate(objectives)]
    plot = draw_tuning("t", "m", rows, {"x": None}, maximize=True)
    assert "nan" not in plot.svg.lower()
    for panel in find_panels(plot):
        assert len(find_marks(panel)) == len(rows)
    has_objective = any(value is not None and abs(value) < 1e300 for value in objectives)
    assert ("no objective yet" in plot.svg) is not has_objective


def test_a_job_that_does_not_tune_a_hyperparameter_is_not_in_its_diagram() -> None:
    rows = [row(1, 0.5, rate=0.1), row(2, 0.6, depth=3.0)]
    ranges = {"rate": RATE, "depth": {"MinValue": "1", "MaxValue": "9"}}
    panels = find_panels(draw_tuning("t", "m", rows, ranges, maximize=True))
    assert [len(find_marks(panel)) for panel in panels] == [2, 1, 1]


@pytest.mark.parametrize(
    ("low", "high", "scaling", "shown"),
    [
        (0.0, 1.0, "Linear", ["0", "0.2", "0.4", "0.6", "0.8", "1"]),
        (1e-6, 10.0, "Logarithmic", ["1e-06", "0.0001", "0.01", "1"]),
        (2.0, 8.0, "Logarithmic", ["2", "4", "6", "8"]),
        (0.9, 0.999, "ReverseLogarithmic", ["0.9", "0.99", "0.999"]),
        (5.0, 5.0, "Linear", ["4.6", "4.8", "5", "5.2", "5.4"]),
        (-20.0, 20.0, "Linear", ["-20", "-10", "0", "10", "20"]),
    ],
)
def test_numbers_beside_an_axis_are_round(
    low: float, high: float, scaling: str, shown: list[str]
) -> None:
    assert [text for _, text in NumberAxis(low, high, scaling).ticks()] == shown


@pytest.mark.parametrize(
    ("low", "high", "middle"),
    [
        ("0.07", "7", 0.7),
        ("1", "99", 50.0),
        ("0.9", "0.999", 0.99),
        ("0.4", "0.999", 0.6995),
        ("0", "1000", 500.0),
    ],
    ids=["logarithm", "narrow", "reverse", "low", "zero"],
)
def test_auto_is_drawn_as_it_is_searched_here(low: str, high: str, middle: float) -> None:
    axis = build_axis({"MinValue": low, "MaxValue": high, "ScalingType": "Auto"}, [])
    assert axis.place(middle) == pytest.approx(0.5)


def test_categories_may_be_numbers_and_many() -> None:
    axis = build_axis(["32", "64"], [64.0, 32.0])
    assert (axis.place(32.0), axis.place("64")) == (0.25, 0.75)
    many = CategoryAxis([f"a-very-long-word-{idx}" for idx in range(30)])
    shown = [text for _, text in many.ticks()]
    assert len(shown) == 5
    assert shown[0] == "a-very-l.."
    assert list(CategoryAxis([]).ticks()) == []


def test_analytics_draw_what_the_api_tells(tmp_path: Path) -> None:
    job, _ = build_job(tmp_path, [describe("Completed")], [summary(1), summary(2, value=0.75)])
    plot = job.analytics.plot(tmp_path / "tuning.svg")
    assert (tmp_path / "tuning.svg").read_text() == plot.svg == plot._repr_svg_()
    assert len(find_panels(plot)) == 3
    texts = [element.text for element in ElementTree.fromstring(plot.svg).iter(f"{SVG}text")]
    assert {"tune", "validation:accuracy", "max_leaf_nodes", "criterion", "gini"} <= set(texts)
    with pytest.raises(ValueError, match=r"path is 'tuning\.png', but must end in \.svg"):
        job.analytics.plot("tuning.png")


def test_ranges_of_several_estimators_are_drawn_together(tmp_path: Path) -> None:
    def define(name: str, low: str, high: str, words: list[str]) -> dict[str, Any]:
        rate = RATE | {"MinValue": low, "MaxValue": high}
        ranges = {
            "ContinuousParameterRanges": [rate],
            "CategoricalParameterRanges": [{"Name": "kind", "Values": words}],
        }
        return {"DefinitionName": name, "HyperParameterRanges": ranges}

    definitions = [define("a", "0.01", "0.1", ["x"]), define("b", "0.1", "1", ["y"])]
    jobs = [
        summary(idx) | {"TunedHyperParameters": {"rate": rate, "kind": kind}}
        for idx, (rate, kind) in enumerate([("0.01", "x"), ("1", "y")])
    ]
    for one in jobs:
        one["FinalHyperParameterTuningJobObjectiveMetric"]["Type"] = "Minimize"
    job, _ = build_job(tmp_path, [describe("Completed", TrainingJobDefinitions=definitions)], jobs)
    panels = find_panels(job.analytics.plot())
    assert len(panels) == 3
    (left, _), (right, _) = find_circles(panels[1])
    assert right - left > 200
    assert len(find_circles(panels[2])) == 2
