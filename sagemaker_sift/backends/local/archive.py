"""Pack a folder into a ``.tar.gz``, whole or not at all."""

from __future__ import annotations

import os
import tarfile
import tempfile
from pathlib import Path


def pack_folder(folder: Path, archive: Path) -> None:
    """Write the content of ``folder`` to ``archive``.

    The archive appears under its name only when it is complete and on disk. Names inside are
    relative to the folder, owners and times are dropped, links are left out.

    Args:
        folder: What to pack; if it does not exist, the archive is empty.
        archive: Path of the ``.tar.gz``; its folders are made.

    Raises:
        OSError: If it cannot be written; then there is no new archive.
    """
    archive.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(prefix=f".{archive.name}.", dir=archive.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            with tarfile.open(fileobj=file, mode="w:gz", compresslevel=1) as tar:
                for path in sorted(folder.rglob("*")):
                    if not path.is_symlink() and (path.is_file() or path.is_dir()):
                        name = path.relative_to(folder).as_posix()
                        tar.add(path, arcname=name, recursive=False, filter=_forget_owner)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, archive)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _forget_owner(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.mtime = 0
    return entry
