"""What sifting did in one job: a JSON file in the job's output data."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, computed_field

SIFTING_REPORT_NAME = "sifting.json"
"""Name of the file in ``/opt/ml/output/data``."""


class SiftingReport(BaseModel):
    """Totals over all epochs.

    Attributes:
        beta_value: The beta in force.
        status: Whether samples were still sifted out at the end, and if not, why.
        samples_seen: Samples that the loader presented.
        samples_kept: Samples that were trained on.
        samples_scored: Samples presented while sifting was active, so not in the delay.
        samples_scored_kept: Those of them that were kept.
        batches_presented: Batches of the training data.
        batches_trained: Batches after sifting.
        seconds: Time by stage of sifting, ``load`` and ``calculate_relevance_values`` (scoring)
            among them.

    Example:
        >>> report = SiftingReport(beta_value=1.0, samples_seen=300, samples_kept=200,
        ...     samples_scored=200, samples_scored_kept=100)
        >>> report.expected_fraction, report.scored_kept_fraction
        (0.5, 0.5)
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    beta_value: float
    status: str = ""
    samples_seen: int
    samples_kept: int
    samples_scored: int
    samples_scored_kept: int
    batches_presented: int = 0
    batches_trained: int = 0
    seconds: dict[str, float] = Field(default_factory=dict)

    @computed_field  # type: ignore[prop-decorator]  # mypy knows no decorated properties
    @property
    def expected_fraction(self) -> float:
        """Expected kept fraction of scored samples, ``1 / (1 + beta_value)``.

        Source: it is the mean of ``U ** beta`` for U uniform on [0, 1], and each row of the
        table for ``beta_value`` in the SageMaker smart sifting Python SDK reference.
        """
        return 1.0 / (1.0 + self.beta_value)

    @computed_field  # type: ignore[prop-decorator]  # mypy knows no decorated properties
    @property
    def kept_fraction(self) -> float:
        """Kept over seen samples."""
        return self.samples_kept / self.samples_seen if self.samples_seen else 1.0

    @computed_field  # type: ignore[prop-decorator]  # mypy knows no decorated properties
    @property
    def scored_kept_fraction(self) -> float:
        """Kept over scored samples."""
        return self.samples_scored_kept / self.samples_scored if self.samples_scored else 1.0
