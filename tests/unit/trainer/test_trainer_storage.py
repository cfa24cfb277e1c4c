import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from sagemaker_sift.trainer.errors import TrainingError
from sagemaker_sift.trainer.storage import (
    build_storage_error,
    check_writable,
    hash_file,
    write_atomically,
    write_json,
)


def break_after(first: bytes, error: BaseException) -> Iterator[bytes]:
    yield first
    raise error


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "made" / "x.bin"
    write_atomically(path, [b"old"])
    write_atomically(path, [b"ne", b"w"])
    assert path.read_bytes() == b"new"
    assert os.listdir(path.parent) == ["x.bin"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path: Path, code: int) -> None:
    path = tmp_path / "x.bin"
    path.write_bytes(b"old")
    error = OSError(code, os.strerror(code))
    with pytest.raises(TrainingError, match=rf"The disk of {tmp_path} is full, so x\.bin was not"):
        write_atomically(path, break_after(b"half of the new", error))
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["x.bin"]


def test_an_interruption_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    path.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, break_after(b"half", KeyboardInterrupt()))
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["x.bin"]


def test_a_device_that_is_really_full_is_told_apart() -> None:
    with (
        pytest.raises(OSError, match="No space left") as caught,
        open("/dev/full", "wb", buffering=0) as full,
    ):
        full.write(b"x")
    assert "is full" in str(build_storage_error(Path("/m/x.json"), caught.value))


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(TrainingError, match=r"file/folder cannot be written \(Not a directory\)"):
        check_writable(tmp_path / "file" / "folder")


def test_the_probe_leaves_nothing_behind(tmp_path: Path) -> None:
    check_writable(tmp_path / "a" / "b")
    assert os.listdir(tmp_path / "a" / "b") == []


def test_json_ends_with_a_line_break_and_hashes_differ(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": 1})
    write_json(tmp_path / "c.json", {"b": 2})
    assert (tmp_path / "a.json").read_text() == '{\n  "b": 1\n}\n'
    assert hash_file(tmp_path / "a.json") != hash_file(tmp_path / "c.json")
