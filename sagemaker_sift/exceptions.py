"""The errors that the client raises.

::

    * SiftError
      x InvalidRequestError      before any call: an argument is wrong (also ValueError)
      x ConfigurationError       a SageMaker config file is broken; .file, .line (also ValueError)
      x MissingDependencyError   an extra is not installed (also ImportError)
      x BackendError             the backend refused or broke; .operation, .code
        + NotFoundError          there is no such job or algorithm
        + ConflictError          the name is taken, or the job is in the wrong state
        + AccessDeniedError      the identity may not do it; .action
        + CredentialsError       there are no credentials, or they are expired or wrong
        + ThrottledError         too many calls, even after waiting and trying again
        + AlgorithmFailedError   AWS refused an algorithm that was registered; .reasons
        + UnreachableError       no answer: the network, the endpoint or the region
      x JobError                 the job ended without completing; .job_name, .reason, .log_tail
        + JobFailedError
          - TuningJobFailedError
        + JobStoppedError
          - TuningJobStoppedError
      x ArtifactError            an archive is missing, damaged or unsafe to read
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from sagemaker_sift.contract.problem import Problem


class SiftError(Exception):
    """Base of every error of this package; errors can be pickled, so process pools pass them."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), self.args, self.__dict__)


def _restore(cls: type[SiftError], args: tuple[Any, ...], state: dict[str, Any]) -> SiftError:
    error = cls.__new__(cls)
    error.args = args
    error.__dict__.update(state)
    return error


class InvalidRequestError(SiftError, ValueError):
    """What was asked for breaks a rule; nothing was sent.

    Attributes:
        problems: Every broken rule.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: tuple[Problem, ...] = tuple(problems)
        lines = [str(problem) for problem in self.problems]
        if len(lines) > 1:
            lines = [f"{len(lines)} things are wrong:", *(f"  {line}" for line in lines)]
        super().__init__("\n".join(lines))


class ConfigurationError(SiftError, ValueError):
    """A SageMaker config file is broken.

    Attributes:
        file: Path or S3 URI.
        line: Counted from 1; ``None`` if the file as a whole is meant.
    """

    def __init__(self, message: str, *, file: str, line: int | None = None) -> None:
        self.file = file
        self.line = line
        super().__init__(f"{file}:{line}: {message}" if line else f"{file}: {message}")


class MissingDependencyError(SiftError, ImportError):
    """An optional dependency is not installed; the message says which extra brings it."""


class BackendError(SiftError):
    """The backend refused a call or broke.

    Attributes:
        operation: The API operation, such as ``CreateTrainingJob``.
        code: The API's error code, such as ``ResourceInUse``.
    """

    def __init__(self, message: str, *, operation: str, code: str) -> None:
        super().__init__(message)
        self.operation = operation
        self.code = code


class NotFoundError(BackendError):
    """There is no such job or algorithm."""


class ConflictError(BackendError):
    """The name is taken, or the job is in a state that does not allow the call."""


class AccessDeniedError(BackendError):
    """The identity may not do what was asked.

    Attributes:
        action: The permission that is missing, such as ``sagemaker:CreateTrainingJob``; empty if
            the service did not say.
    """

    def __init__(self, message: str, *, operation: str, code: str, action: str = "") -> None:
        super().__init__(message, operation=operation, code=code)
        self.action = action


class CredentialsError(BackendError):
    """There are no credentials, or they are expired or wrong."""


class ThrottledError(BackendError):
    """Too many calls, even after waiting and trying again."""


class UnreachableError(BackendError):
    """No answer: the network, the endpoint or the region."""


class AlgorithmFailedError(BackendError):
    """SageMaker could not make the algorithm ready: a validation or a scan of an image failed.

    Attributes:
        reasons: What failed, and why, in SageMaker's own words.
    """

    def __init__(self, name: str, reasons: Sequence[str]) -> None:
        self.reasons = tuple(reasons)
        lines = [f"  {reason}" for reason in self.reasons] or ["  SageMaker gave no reason."]
        text = "\n".join([f"Algorithm {name!r} failed:", *lines])
        super().__init__(text, operation="CreateAlgorithm", code="Failed")


class JobError(SiftError):
    """A job ended without completing.

    Attributes:
        job_name: The training or tuning job.
        reason: The API's ``FailureReason``, or why it stopped.
        log_tail: The last lines of its log.
    """

    _kind: ClassVar[str] = "Training job"

    def __init__(self, job_name: str, reason: str, log_tail: Sequence[str] = ()) -> None:
        self.job_name = job_name
        self.reason = reason
        self.log_tail = tuple(log_tail)
        text = f"{self._kind} {job_name!r}: {reason}"
        if self.log_tail:
            text += "\nThe end of its log:\n" + "\n".join(f"  {line}" for line in self.log_tail)
        super().__init__(text)


class JobFailedError(JobError):
    """The job failed; the reason is the container's own sentence."""


class JobStoppedError(JobError):
    """The job was stopped before it completed."""


class TuningJobFailedError(JobFailedError):
    """The tuning job failed; the reason is the service's own sentence."""

    _kind = "Tuning job"


class TuningJobStoppedError(JobStoppedError):
    """The tuning job was stopped before it completed."""

    _kind = "Tuning job"


class ArtifactError(SiftError):
    """An archive is missing, damaged or unsafe to read."""
