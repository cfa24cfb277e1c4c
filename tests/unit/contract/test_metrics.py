from __future__ import annotations

import pytest

from sagemaker_sift.contract.metrics import (
    METRICS,
    TIME_COST,
    TRAIN_ACCURACY,
    TRAIN_TOP_K_ACCURACY,
    VALIDATION_ACCURACY,
    format_batch_line,
    format_line,
    read_batch_line,
    read_line,
)

PREFIX = "[09/07/2019 22:57:58 INFO 140484553713472] "


@pytest.mark.parametrize(
    ("line", "name", "epoch", "value"),
    [
        ("Epoch[0] Train-accuracy=0.375000", "train:accuracy", 0, 0.375),
        ("Epoch[0] Train-top_k_accuracy_2=0.273438", "train:top_k_accuracy", 0, 0.273438),
        ("Epoch[12] Time cost=14.863", "train:time", 12, 14.863),
        ("Epoch[0] Validation-accuracy=0.771429", "validation:accuracy", 0, 0.771429),
        ("Epoch[3] Sifting-samples_seen=1437", "sifting:samples_seen", 3, 1437),
        ("Epoch[3] Sifting-kept_fraction=0.501000", "sifting:kept_fraction", 3, 0.501),
    ],
)
def test_the_lines_of_the_builtin_and_ours_are_read(
    line: str, name: str, epoch: int, value: float
) -> None:
    found = read_line(PREFIX + line)
    assert found is not None
    assert (found[0], found[1].name, found[2]) == (epoch, name, value)


def test_lines_are_written_exactly_as_the_builtin_writes_them() -> None:
    assert format_line(TRAIN_ACCURACY, 0, 0.375) == "Epoch[0] Train-accuracy=0.375000"
    assert format_line(VALIDATION_ACCURACY, 0, 27 / 35) == "Epoch[0] Validation-accuracy=0.771429"
    assert format_line(TIME_COST, 0, 14.8631) == "Epoch[0] Time cost=14.863"
    line = format_line(TRAIN_TOP_K_ACCURACY, 0, 0.2734375, top_k=2)
    assert line == "Epoch[0] Train-top_k_accuracy_2=0.273438"


def test_one_line_belongs_to_one_metric_only() -> None:
    for metric in METRICS:
        top_k = 3 if metric is TRAIN_TOP_K_ACCURACY else None
        line = PREFIX + format_line(metric, 7, 0.25, top_k=top_k)
        assert [other.name for other in METRICS if other.read(line) is not None] == [metric.name]


def test_regexes_fit_into_the_api() -> None:
    assert all(len(metric.regex) <= 500 for metric in METRICS)
    assert len({metric.name for metric in METRICS}) == len(METRICS)


@pytest.mark.parametrize(
    "line", ["", "Epoch[0] Batch [20]", "Validation-accuracy=0.5", "Epoch[x]"]
)
def test_other_lines_report_nothing(line: str) -> None:
    assert read_line(line) is None


def test_top_k_goes_with_its_metric_only() -> None:
    with pytest.raises(ValueError, match="top_k"):
        format_line(TRAIN_TOP_K_ACCURACY, 0, 0.5)
    with pytest.raises(ValueError, match="top_k"):
        format_line(TRAIN_ACCURACY, 0, 0.5, top_k=2)
    with pytest.raises(ValueError, match="epoch"):
        format_line(TRAIN_ACCURACY, -1, 0.5)


def test_progress_lines_round_trip_and_are_no_metric() -> None:
    line = format_batch_line(2, 40, 512.25, 0.75)
    progress = read_batch_line(PREFIX + line)
    assert progress is not None
    assert (progress.epoch, progress.batch) == (2, 40)
    assert (progress.samples_per_second, progress.accuracy) == (512.25, 0.75)
    assert read_line(line) is None
