"""What every handle on a job has."""

from __future__ import annotations

from sagemaker_sift.session import JobSession


class JobHandle:
    """A handle on one job; it holds no state of its own beyond the name.

    Args:
        name: Name of the job.
        session: Where it runs.
    """

    def __init__(self, name: str, session: JobSession) -> None:
        self.name = name
        self.session = session

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    @property
    def job_name(self) -> str:
        """Name of the job, under the word that the SageMaker SDK v2 uses."""
        return self.name
