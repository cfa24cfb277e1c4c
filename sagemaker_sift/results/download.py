"""What a job left in its archives, as files on this machine."""

from __future__ import annotations

import os
from pathlib import Path

from sagemaker_sift.exceptions import ArtifactError, NotFoundError
from sagemaker_sift.results.unpacking import MAX_BYTES, unpack_archive
from sagemaker_sift.session import JobSession


def download_artifact(
    session: JobSession,
    uri: str,
    folder: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    max_bytes: int = MAX_BYTES,
) -> list[Path]:
    """Fetch a ``.tar.gz`` of a job, unpack it into a folder and return the files, sorted.

    Args:
        session: Where the job runs.
        uri: Of the archive, such as ``TrainingJob.model_data``.
        folder: Where its content goes; it is made if it is not there.
        overwrite: Whether files that are there may be replaced.
        max_bytes: Most bytes, unpacked; 64 GiB unless told otherwise.

    Raises:
        ArtifactError: If there is no such archive, or it is damaged or unsafe. Nothing is left.
        FileExistsError: If a file is there already and ``overwrite`` is not set.
        BackendError: If it cannot be fetched.
        OSError: If the folder cannot be written.
    """
    if uri.endswith("/"):
        raise ArtifactError(
            f"{uri!r} is a folder: the job left its model unpacked (disable_output_compression). "
            "Fetch it with session.download_data(path, bucket, key_prefix)."
        )
    try:
        archive = session.to_local_path(uri)
    except NotFoundError as error:
        raise ArtifactError(
            f"{uri!r} does not exist. The job has left none, or none yet."
        ) from error
    if not archive.is_file():
        raise ArtifactError(f"{uri!r} does not exist. The job has left none, or none yet.")
    return unpack_archive(
        archive, Path(folder).expanduser(), overwrite=overwrite, max_bytes=max_bytes
    )
