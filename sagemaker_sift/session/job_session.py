"""What every session can do: the seam between estimators and the place where jobs run."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sagemaker_sift.contract.metrics import MetricPoint
from sagemaker_sift.contract.problem import Problem
from sagemaker_sift.defaults import Defaults
from sagemaker_sift.session.explanation import Explanation


class JobSession(ABC):
    """What an estimator needs of the place where its jobs run.

    **Ownership**: the session owns the client; estimators only borrow it.

    Attributes:
        sagemaker_client: Has the methods of boto3's SageMaker client.
        stops_on_interrupt: Whether Ctrl-C while following a job stops the job too.
        allows_file_uris: Whether ``file://`` may stand where SageMaker wants ``s3://``.
        log_lag_s: Seconds after the end of a job until the last lines of its log are there.
        poll_s: Seconds between two looks at a job that somebody waits for.
        defaults: Values of the SageMaker config files, for whatever a job does not say itself.
    """

    sagemaker_client: Any
    stops_on_interrupt: bool
    allows_file_uris: bool
    log_lag_s: float
    poll_s: float
    defaults: Defaults

    @property
    @abstractmethod
    def place(self) -> str:
        """Where jobs run, for people: a region or a folder. Equal for sessions of one place."""

    @abstractmethod
    def default_role(self) -> str:
        """Return the role of jobs that name none."""

    @abstractmethod
    def expand_role(self, role: str) -> str:
        """Return the ARN of a role that a user named by name or ARN."""

    @abstractmethod
    def default_output_path(self) -> str:
        """Return the URI under which the artifacts of jobs go that name none."""

    @abstractmethod
    def to_input_uri(self, location: str) -> str:
        """Return the URI of input data that a user named by URI or path."""

    @abstractmethod
    def find_storage_problems(self, request: Mapping[str, Any]) -> list[Problem]:
        """Return what is wrong with the places that a request reads from and writes to."""

    @abstractmethod
    def upload_data(
        self,
        path: str | os.PathLike[str],
        bucket: str | None = None,
        key_prefix: str = "data",
        callback: Callable[[int], None] | None = None,
        extra_args: Mapping[str, Any] | None = None,
    ) -> str:
        """Put a file or folder where jobs can read it and return its URI.

        Args:
            path: Of the file or folder.
            bucket: Where; the default bucket by default.
            key_prefix: What keys begin with.
            callback: Called with each number of bytes that were sent.
            extra_args: boto3's ``ExtraArgs``, such as a KMS key.
        """

    @abstractmethod
    def prepare_output(self, uri: str) -> None:
        """Make the place that artifacts go to, where this session is to make it."""

    @abstractmethod
    def read_log(self, job_name: str, position: Any = None) -> tuple[list[str], Any]:
        """Return complete log lines from a position on, and the position after them.

        Args:
            job_name: The training job.
            position: What an earlier call returned; ``None`` for the beginning. Its content is
                the session's own affair.
        """

    def read_last_lines(self, job_name: str, num_lines: int) -> list[str]:
        """Return the last complete lines of a job's log.

        Args:
            job_name: The training job.
            num_lines: How many at most.
        """
        lines = self.read_log(job_name)[0]
        return lines[len(lines) - min(num_lines, len(lines)) :]

    @abstractmethod
    def read_metrics(self, job_name: str) -> list[MetricPoint]:
        """Return every metric value that the job has reported, in order."""

    @abstractmethod
    def describe_log(self, job_name: str) -> str:
        """Return where a person finds the log of a job."""

    @abstractmethod
    def describe_metrics(self, job_name: str) -> str:
        """Return where a person finds the metrics of a job."""

    @abstractmethod
    def to_local_path(self, uri: str) -> Path:
        """Return a path on this machine with the content of ``uri``."""

    @abstractmethod
    def explain(self) -> Explanation:
        """Return the settings of this session and of its jobs, with their sources."""
