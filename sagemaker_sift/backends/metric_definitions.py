"""Metric values in log lines, found as a job's ``MetricDefinitions`` say.

Source: API reference of MetricDefinition: ``Regex`` is searched for in the log, and its first
group is the value.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from sagemaker_sift.contract.metrics import MetricPoint


class MetricReader:
    r"""Finds the metrics of one job.

    A definition that Python's ``re`` does not know, or that has no group, finds nothing: the job
    runs in any case, and its log is still to be read.

    Args:
        definitions: ``[{"Name": ..., "Regex": ...}]``.

    Example:
        >>> reader = MetricReader([{"Name": "loss", "Regex": r"loss=([0-9.]+)"}])
        >>> list(reader.read("epoch 3 loss=0.25", time_s=10.0))
        [MetricPoint(name='loss', value=0.25, time_s=10.0)]
    """

    def __init__(self, definitions: Iterable[Mapping[str, str]]) -> None:
        self._patterns: list[tuple[str, re.Pattern[str]]] = []
        for definition in definitions:
            try:
                pattern = re.compile(definition["Regex"])
            except re.error:
                continue
            if pattern.groups:
                self._patterns.append((definition["Name"], pattern))

    def read(self, line: str, time_s: float) -> Iterator[MetricPoint]:
        """Yield what a line reports; a value that is no number is passed over.

        Args:
            line: Of the log.
            time_s: When it was written, epoch seconds.
        """
        for name, pattern in self._patterns:
            match = pattern.search(line)
            if match:
                try:
                    value = float(match.group(1))
                except (TypeError, ValueError):
                    continue
                yield MetricPoint(name, value, time_s)
