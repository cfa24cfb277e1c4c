"""What a job left in its archives, read without unpacking them."""

from __future__ import annotations

import tarfile
from pathlib import Path

from sagemaker_sift.exceptions import ArtifactError

_LARGEST_MEMBER_BYTES = 16 << 20


def read_member(archive: Path, name: str) -> bytes | None:
    """Return the content of a file in a ``.tar.gz``, or ``None`` if it is not in there.

    Nothing is unpacked to disk; links are not followed.

    Args:
        archive: The archive.
        name: Name of the file inside, without a leading ``./``.

    Raises:
        ArtifactError: If the archive is missing or damaged, or the file is over 16 MiB.
    """
    try:
        with tarfile.open(archive, mode="r:gz") as tar:
            for entry in tar:
                if entry.name.removeprefix("./") != name or not entry.isfile():
                    continue
                if entry.size > _LARGEST_MEMBER_BYTES:
                    raise ArtifactError(f"{name!r} in {str(archive)!r} has {entry.size} bytes.")
                file = tar.extractfile(entry)
                return file.read() if file else None
    except (OSError, tarfile.TarError, EOFError) as error:
        raise ArtifactError(f"{str(archive)!r} cannot be read: {error}") from error
    return None
