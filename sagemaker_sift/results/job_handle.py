"""What every handle on a job has."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

from sagemaker_sift.exceptions import ThrottledError, UnreachableError
from sagemaker_sift.session import JobSession

_PATIENCE = 5


class JobHandle(ABC):
    """A handle on one job; it holds no state of its own beyond the name.

    Args:
        name: Name of the job.
        session: Where it runs.
    """

    _kind: ClassVar[str]
    _attach: ClassVar[str]

    def __init__(self, name: str, session: JobSession) -> None:
        self.name = name
        self.session = session

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    @property
    def job_name(self) -> str:
        """Name of the job, under the word that the SageMaker SDK v2 uses."""
        return self.name

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Return the API's description of the job, read anew."""

    def describe_patiently(self, sleep: Callable[[float], None]) -> dict[str, Any]:
        """Return :meth:`describe`; a network or service that fails for a while is waited for.

        Args:
            sleep: Waits between two tries.
        """
        for _ in range(_PATIENCE - 1):
            try:
                return self.describe()
            except (ThrottledError, UnreachableError):
                sleep(self.session.poll_s)
        return self.describe()

    def tell_that_it_runs_on(self) -> None:
        """Write to stderr how to come back to a job that nobody waits for any more."""
        sys.stderr.write(
            f"\n{self._kind} {self.name} runs on. Come back to it with "
            f"{self._attach}.attach({self.name!r}), stop it with "
            f"{type(self).__name__}({self.name!r}, session).stop().\n"
        )
