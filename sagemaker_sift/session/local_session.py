"""The session whose jobs run on this machine. With it no code path can reach AWS."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sagemaker_sift.backends.local.client import LocalSageMaker
from sagemaker_sift.backends.local.metric_log import METRICS_NAME, read_points
from sagemaker_sift.backends.local.storage import to_file_uri
from sagemaker_sift.backends.local.supervisor import LOG_NAME
from sagemaker_sift.backends.local_files import find_files
from sagemaker_sift.contract.metrics import MetricPoint
from sagemaker_sift.contract.problem import Problem
from sagemaker_sift.defaults import Defaults, Setting
from sagemaker_sift.limits import TuningLimits
from sagemaker_sift.session.explanation import Explanation, explain_defaults
from sagemaker_sift.session.job_session import JobSession

DEFAULT_LOCAL_ROOT = Path("~/.sagemaker-sift/local")
"""Where a :class:`LocalSession` keeps its jobs unless told otherwise."""

_TAIL_BYTES = 1 << 16
_LOCAL_ROLE = "arn:aws:iam::000000000000:role/sagemaker-sift-local"


class LocalSession(JobSession):
    """Jobs run on this machine, as real processes: no Docker, no account, no network.

    Args:
        root: Folder for jobs, logs and artifacts; by default ``~/.sagemaker-sift/local``. A new
            process that names the same root sees the same jobs.

        defaults: Default values of jobs; none unless given. The files that an AWS session reads
            are not read here, as they may lie on S3.
        limits: What tuning jobs are held to when they are launched; the documented ones unless
            given.

    Raises:
        OSError: If the root cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     LocalSession(folder).sagemaker_client.list_training_jobs()
        {'TrainingJobSummaries': []}
    """

    stops_on_interrupt = True
    allows_file_uris = True
    log_lag_s = 0.0
    poll_s = 0.3

    def __init__(
        self,
        root: str | os.PathLike[str] | None = None,
        *,
        defaults: Defaults | None = None,
        limits: TuningLimits | None = None,
    ) -> None:
        self.defaults = defaults or Defaults()
        self.root = Path(root if root is not None else DEFAULT_LOCAL_ROOT).expanduser().absolute()
        client = LocalSageMaker(self.root, limits=limits)
        self.sagemaker_client = client
        self._storage = client.storage

    def __repr__(self) -> str:
        return f"LocalSession({str(self.root)!r})"

    @property
    def place(self) -> str:
        """The root folder."""
        return str(self.root)

    def default_role(self) -> str:
        """Return a role that is recorded and not used."""
        return _LOCAL_ROLE

    def expand_role(self, role: str) -> str:
        """Return the role as an ARN; a bare name gets the account 000000000000."""
        return role if role.startswith("arn:") else f"{_LOCAL_ROLE.rpartition('/')[0]}/{role}"

    def default_output_path(self) -> str:
        """Return the ``file://`` URI of the jobs' own folders."""
        return self._storage.default_output_uri

    def default_bucket(self) -> str:
        """Return the bucket that :meth:`upload_data` writes to."""
        return "sagemaker-sift-local"

    def to_input_uri(self, location: str) -> str:
        """Return ``location`` itself if it is a URI, else the ``file://`` URI of the path."""
        return location if "://" in location else to_file_uri(Path(location).expanduser())

    def find_storage_problems(self, request: Mapping[str, Any]) -> list[Problem]:
        """Return which folders do not exist or cannot be written."""
        client: LocalSageMaker = self.sagemaker_client
        return client.find_storage_problems(request)

    def prepare_output(self, uri: str) -> None:
        """Do nothing: the local client makes the folders of a job."""

    def upload_data(
        self,
        path: str | os.PathLike[str],
        bucket: str | None = None,
        key_prefix: str = "data",
        callback: Callable[[int], None] | None = None,
        extra_args: Mapping[str, Any] | None = None,
    ) -> str:
        """Copy a file or folder into a bucket of this session and return its ``s3://`` URI.

        Args:
            path: Of the file or folder; links in it are followed.
            bucket: Any name; the session's own by default.
            key_prefix: What keys begin with.
            callback: Called with the size of each file that was copied, bytes.
            extra_args: Taken for the sake of code that runs on AWS too; without effect here.

        Raises:
            FileNotFoundError: If there is nothing at ``path``.
            InvalidRequestError: If there is nothing in the folder, or something that is no file.
        """
        source = Path(os.path.expanduser(path))
        files = find_files(source)
        uri = f"s3://{bucket or self.default_bucket()}/{key_prefix.strip('/')}"
        target = self._storage.to_path(uri)
        for file in files:
            copy = target / file.name
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(file.path, copy)
            if callback is not None:
                callback(copy.stat().st_size)
        return uri if source.is_dir() else f"{uri}/{source.name}"

    def read_log(self, job_name: str, position: Any = None) -> tuple[list[str], Any]:
        """Return the complete log lines from a byte position on, and the position after them."""
        position = position or 0
        path = self._log_path(job_name)
        if not path.exists():
            return [], position
        with path.open("rb") as file:
            file.seek(position)
            content = file.read()
        complete = content[: content.rfind(b"\n") + 1]
        return complete.decode("utf-8", "replace").splitlines(), position + len(complete)

    def read_last_lines(self, job_name: str, num_lines: int, end: int | None = None) -> list[str]:
        """Return the last complete lines of a job's log, read from its end: it may be long.

        Args:
            job_name: The training job.
            num_lines: How many at most.
            end: What :meth:`find_log_end` returned, to leave out what came after.
        """
        path = self._log_path(job_name)
        if not path.exists():
            return []
        with path.open("rb") as file:
            end = file.seek(0, os.SEEK_END) if end is None else end
            size = _TAIL_BYTES
            while True:
                start = max(0, end - size)
                file.seek(start)
                content = file.read(end - start)
                complete = content[: content.rfind(b"\n") + 1]
                lines = complete.decode("utf-8", "replace").splitlines()
                # the first line may have lost its beginning, so one more is wanted
                if start == 0 or len(lines) > num_lines:
                    return lines[len(lines) - min(num_lines, len(lines)) :]
                size *= 4

    def find_log_end(self, job_name: str) -> int:
        """Return the position after the last complete line of a log, for :meth:`read_log`."""
        path = self._log_path(job_name)
        if not path.exists():
            return 0
        with path.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            while end > 0:
                start = max(0, end - _TAIL_BYTES)
                file.seek(start)
                last = file.read(end - start).rfind(b"\n")
                if last >= 0:
                    return start + last + 1
                end = start
        return 0

    def read_metrics(self, job_name: str) -> list[MetricPoint]:
        """Return every metric value that the job has reported, in order."""
        return read_points(self._storage.job_folder(job_name))

    def to_local_path(self, uri: str) -> Path:
        """Return where a ``file://`` or ``s3://`` URI lies on this machine."""
        return self._storage.to_path(uri)

    def describe_log(self, job_name: str) -> str:
        """Return the path of a job's log."""
        return str(self._log_path(job_name))

    def describe_metrics(self, job_name: str) -> str:
        """Return the path of a job's metrics, one JSON object a line."""
        return str(self._storage.job_folder(job_name) / METRICS_NAME)

    def explain(self) -> Explanation:
        """Return the settings of this session and of its jobs, with their sources."""
        return Explanation(
            [
                Setting("root", str(self.root), "LocalSession"),
                Setting("account", _LOCAL_ROLE.split(":")[4], "LocalSession"),
                Setting("default_bucket", self.default_bucket(), "LocalSession"),
                *explain_defaults(self.defaults),
            ]
        )

    def _log_path(self, job_name: str) -> Path:
        return self._storage.job_folder(job_name) / LOG_NAME
