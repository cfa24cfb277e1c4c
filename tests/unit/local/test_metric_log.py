"""Reading the values of a metric while they come."""

from __future__ import annotations

import json
from pathlib import Path

from sagemaker_sift.backends.local.metric_log import METRICS_NAME, CurveReader


def test_values_are_read_as_they_come_and_each_once(tmp_path: Path) -> None:
    reader = CurveReader(tmp_path, "loss")
    assert reader.read() == []
    lines = [
        json.dumps({"name": name, "value": value, "time_s": 1.0}) + "\n"
        for name, value in (("loss", 3.0), ("accuracy", 9.0), ("loss", 2.0), ("loss", 1.0))
    ]
    with (tmp_path / METRICS_NAME).open("a") as file:
        for upto, curve in ((2, [3.0]), (3, [3.0, 2.0])):
            file.write("".join(lines[upto - 1 if upto == 3 else 0 : upto]))
            file.flush()
            assert reader.read() == curve
            assert reader.read() == curve
        file.write(lines[3][:9])
        file.flush()
        assert reader.read() == [3.0, 2.0]  # half a line says nothing
        file.write(lines[3][9:])
        file.flush()
        assert reader.read() == [3.0, 2.0, 1.0]
