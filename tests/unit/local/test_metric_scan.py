"""The lines that a scan finds are all that a metric may be in."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from sagemaker_sift.backends.local.job_log import JobLog
from sagemaker_sift.backends.local.metric_log import read_points
from sagemaker_sift.backends.local.metric_scan import MetricScan
from sagemaker_sift.backends.metric_definitions import MetricReader
from sagemaker_sift.contract.metrics import METRICS

PATTERNS = [
    *("^a=([0-9])", "a=([0-9])$", r"\ba=([0-9])\b", "([^b]*)c", r"a(?:b|c)=(\d)", "()", "a*?(b?)"),
    *("(?i)A=([0-9])", "(?<!b)a=([0-9])", r"\Aa=([0-9])", r"a=([0-9])\Z", "(?s)a(.*)b", "(", "a"),
    *(r"(\s)a", "^()$", r"(?P<v>[0-9])(?P=v)", "b([^a]+)b"),
]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_no_line_is_missed(pattern: str) -> None:
    definitions = [{"Name": "m", "Regex": pattern}]
    reader, scan = MetricReader(definitions), MetricScan(definitions)
    rng = random.Random(0)
    for _ in range(300):
        lines = ["".join(rng.choices("ab=12 ", k=rng.randrange(8))) for _ in range(5)]
        found = scan.find("".join(f"{line}\n" for line in lines))
        expected = [point for line in lines for point in reader.read(line, 1.0)]
        assert [point for line in found for point in reader.read(line, 1.0)] == expected


def test_lines_without_a_metric_are_left_out() -> None:
    scan = MetricScan([{"Name": "m", "Regex": "m=([0-9])"}])
    assert scan.find("one\nm=1\ntwo\nm=2 m=3\n\n") == ["m=1", "m=2 m=3"]


def test_a_large_log_is_written_quickly(tmp_path: Path) -> None:
    definitions = [{"Name": metric.name, "Regex": metric.regex} for metric in METRICS]
    line = b"[11/21/2026 22:05:46 INFO 140668785773440] a line of a log that reports nothing\n"
    chunk = line * 13_000 + b"Epoch[0] Train-loss=0.5\n"
    with JobLog(tmp_path, definitions, lambda: 1.0) as log:
        start = time.process_time()
        for _ in range(20):
            log.write("algo-1", chunk)
        used_s = time.process_time() - start
    assert [point.value for point in read_points(tmp_path)] == [0.5] * 20
    assert 20 * len(chunk) / used_s > 5e6  # bytes a second; a tenth of what is usual
