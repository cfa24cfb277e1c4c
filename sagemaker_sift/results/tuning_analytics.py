"""The training jobs of a tuning job as a table."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sagemaker_sift.backends.errors import translate_errors
from sagemaker_sift.backends.whole_file import save_text
from sagemaker_sift.exceptions import MissingDependencyError
from sagemaker_sift.results.tuning_plot import TuningPlot, draw_tuning
from sagemaker_sift.session import JobSession, adopt_session

if TYPE_CHECKING:
    import pandas as pd

_MAX_PAGES = 100
_COLUMNS = (
    "TrainingJobName",
    "TrainingJobStatus",
    "FinalObjectiveValue",
    "TrainingStartTime",
    "TrainingEndTime",
    "TrainingElapsedTimeSeconds",
)


class HyperparameterTuningJobAnalytics:
    """What a tuning job has tried.

    Names, methods and columns are those of the SageMaker SDK v2. What was read is kept until
    :meth:`clear_cache` or ``force_refresh=True``.

    Args:
        hyperparameter_tuning_job_name: The tuning job.
        sagemaker_session: Where it runs.
    """

    def __init__(self, hyperparameter_tuning_job_name: str, sagemaker_session: Any = None) -> None:
        self._name = hyperparameter_tuning_job_name
        self._session: JobSession = adopt_session(sagemaker_session)
        self.clear_cache()

    def __repr__(self) -> str:
        return f"HyperparameterTuningJobAnalytics({self._name!r})"

    @property
    def name(self) -> str:
        """Name of the tuning job."""
        return self._name

    def clear_cache(self) -> None:
        """Forget what was read."""
        self._description: dict[str, Any] | None = None
        self._summaries: list[dict[str, Any]] | None = None

    def description(self, force_refresh: bool = False) -> dict[str, Any]:
        """Return the DescribeHyperParameterTuningJob response.

        Args:
            force_refresh: Whether to read anew.
        """
        if self._description is None or force_refresh:
            with translate_errors():
                client = self._session.sagemaker_client
                self._description = client.describe_hyper_parameter_tuning_job(
                    HyperParameterTuningJobName=self._name
                )
        return dict(self._description or {})

    def training_job_summaries(self, force_refresh: bool = False) -> list[dict[str, Any]]:
        """Return the API's summary of every training job, in the order of their launch.

        Args:
            force_refresh: Whether to read anew.
        """
        if self._summaries is None or force_refresh:
            self._summaries = self._list_summaries()
        return list(self._summaries)

    def _list_summaries(self) -> list[dict[str, Any]]:
        client = self._session.sagemaker_client
        page: dict[str, Any] = {"MaxResults": 100, "SortBy": "CreationTime"}
        page |= {"SortOrder": "Ascending", "HyperParameterTuningJobName": self._name}
        summaries: list[dict[str, Any]] = []
        with translate_errors():
            for _ in range(_MAX_PAGES):
                response = client.list_training_jobs_for_hyper_parameter_tuning_job(**page)
                summaries += response["TrainingJobSummaries"]
                if not response.get("NextToken"):
                    break
                page["NextToken"] = response["NextToken"]
        return summaries

    @property
    def tuning_ranges(self) -> dict[str, Any]:
        """The API's range of every tuned hyperparameter; by definition name if there are several.

        Values of a category are a list.
        """
        description = self.description()
        if "TrainingJobDefinitions" in description:
            return {
                definition["DefinitionName"]: _flatten(definition["HyperParameterRanges"])
                for definition in description["TrainingJobDefinitions"]
            }
        config = description["HyperParameterTuningJobConfig"]
        return _flatten(config.get("ParameterRanges", {}))

    def rows(self, force_refresh: bool = False) -> list[dict[str, Any]]:
        """Return one row a training job: tuned values (numbers where they are), then its result.

        Args:
            force_refresh: Whether to read anew.
        """
        return [_read_row(summary) for summary in self.training_job_summaries(force_refresh)]

    def dataframe(self, force_refresh: bool = False) -> pd.DataFrame:
        """Return :meth:`rows` as a DataFrame.

        Args:
            force_refresh: Whether to read anew.

        Raises:
            MissingDependencyError: If pandas is not installed.
        """
        try:
            import pandas as pd  # noqa: PLC0415  # an extra, loaded where it is used
        except ImportError as error:
            raise MissingDependencyError(
                "A DataFrame needs pandas. Install it: pip install 'sagemaker-sift[report]'."
            ) from error
        return pd.DataFrame(self.rows(force_refresh))

    def export_csv(self, filename: str | os.PathLike[str]) -> None:
        """Write :meth:`rows` to a CSV file, whole or not at all.

        Args:
            filename: Replaced if it is there.
        """
        rows = self.rows()
        names = list(dict.fromkeys(name for row in rows for name in row))
        text = io.StringIO()
        writer = csv.DictWriter(text, fieldnames=names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        save_text(filename, text.getvalue())

    def plot(
        self, path: str | os.PathLike[str] | None = None, force_refresh: bool = False
    ) -> TuningPlot:
        """Return a picture: the objective over the jobs, and against each tuned value.

        A notebook shows it. Axes of ranges that are searched by logarithm are drawn by logarithm.

        Args:
            path: Where to write it too, ending in ``.svg``.
            force_refresh: Whether to read anew.

        Raises:
            ValueError: If the path does not end in ``.svg``.
        """
        rows = self.rows(force_refresh)
        summaries = self.training_job_summaries()
        objectives = [
            summary["FinalHyperParameterTuningJobObjectiveMetric"]
            for summary in summaries
            if "FinalHyperParameterTuningJobObjectiveMetric" in summary
        ]
        metrics = sorted({one["MetricName"] for one in objectives})
        tuned = {name: None for summary in summaries for name in _read_tuned(summary)}
        plot = draw_tuning(
            self._name,
            ", ".join(metrics) or "objective",
            rows,
            tuned | self._read_known_ranges(),
            maximize=all(one.get("Type") != "Minimize" for one in objectives),
        )
        if path is not None:
            plot.save(path)
        return plot

    def _read_known_ranges(self) -> dict[str, Any]:
        """Return the range of every hyperparameter; the widest of those of several estimators."""
        if "TrainingJobDefinitions" not in self.description():
            return self.tuning_ranges
        ranges: dict[str, Any] = {}
        for of_definition in self.tuning_ranges.values():
            for name, entry in of_definition.items():
                ranges[name] = _widen(ranges[name], entry) if name in ranges else entry
        return ranges


def _flatten(ranges: Mapping[str, Any]) -> dict[str, Any]:
    return {
        entry["Name"]: entry.get("Values", entry)
        for kind in ("Continuous", "Integer", "Categorical")
        for entry in ranges.get(f"{kind}ParameterRanges", [])
    }


def _widen(first: Any, second: Any) -> Any:
    if not (isinstance(first, Mapping) and isinstance(second, Mapping)):
        return None  # words here, numbers there, or other words: what was tried tells
    low = min(first["MinValue"], second["MinValue"], key=float)
    return {**first, "MinValue": low} | {
        "MaxValue": max(first["MaxValue"], second["MaxValue"], key=float)
    }


def _read_row(summary: Mapping[str, Any]) -> dict[str, Any]:
    row: dict[str, Any] = {name: _read_number(text) for name, text in _read_tuned(summary).items()}
    objective = summary.get("FinalHyperParameterTuningJobObjectiveMetric", {})
    start, end = summary.get("TrainingStartTime"), summary.get("TrainingEndTime")
    elapsed = (end - start).total_seconds() if start and end else None
    values: tuple[Any, ...] = (
        summary["TrainingJobName"],
        summary["TrainingJobStatus"],
        objective.get("Value"),
        start,
        end,
        elapsed,
    )
    row |= dict(zip(_COLUMNS, values, strict=True))
    if "TrainingJobDefinitionName" in summary:
        row["TrainingJobDefinitionName"] = summary["TrainingJobDefinitionName"]
    return row


def _read_tuned(summary: Mapping[str, Any]) -> Mapping[str, str]:
    tuned: Mapping[str, str] = summary.get("TunedHyperParameters", {})
    return tuned


def _read_number(text: str) -> float | str:
    """Return the number that a tuned value is; SDK containers write text in quotes."""
    plain = text.strip('"')
    try:
        return plain if "_" in plain else float(plain)
    except ValueError:
        return plain
