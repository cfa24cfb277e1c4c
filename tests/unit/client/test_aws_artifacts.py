"""Archives that are fetched and unpacked, good ones and bad ones."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sagemaker_sift.backends.local.archive import pack_folder
from sagemaker_sift.exceptions import ArtifactError
from sagemaker_sift.results.download import download_artifact
from sagemaker_sift.results.unpacking import unpack_archive
from sagemaker_sift.session import LocalSession, Session
from tests.supports.aws import BUCKET, make_session, open_account

LINKS = {
    "symlink": tarfile.SYMTYPE,
    "hardlink": tarfile.LNKTYPE,
    "fifo": tarfile.FIFOTYPE,
    "device": tarfile.CHRTYPE,
    "sparse": tarfile.GNUTYPE_SPARSE,
}
OUTSIDE = ["../evil", "a/../../evil", "/evil", "a/..", "..\\evil", "C:\\evil", "\\evil", "C:evil"]


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """An archive with a folder, as a job leaves it."""
    folder = tmp_path / "model"
    (folder / "code").mkdir(parents=True)
    (folder / "empty").mkdir()
    (folder / "model.safetensors").write_bytes(bytes(range(256)) * 5000)
    (folder / "code" / "a.py").write_text("pass\n")
    pack_folder(folder, tmp_path / "store" / "model.tar.gz")
    return tmp_path / "store" / "model.tar.gz"


def write_tar(path: Path, *entries: tuple[str, bytes | bytes]) -> Path:
    """Write an archive of (name, content), or (name, kind of entry)."""
    with tarfile.open(path, "w:gz") as tar:
        for name, content in entries:
            entry = tarfile.TarInfo(name)
            if content in LINKS.values() or content == tarfile.DIRTYPE:
                entry.type = content
                entry.linkname = "/etc/passwd"
                tar.addfile(entry)
            else:
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
    return path


def find_all(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def refuse(path: Path, match: str, **limits: Any) -> None:
    """Check that an archive is refused and that nothing of it is left."""
    target = path.parent / "target" / "here"
    with pytest.raises(ArtifactError, match=match) as caught:
        unpack_archive(path, target, **limits)
    assert str(path) in str(caught.value)
    assert find_all(path.parent / "target") == []


def test_an_archive_becomes_a_folder_at_once(archive: Path, tmp_path: Path) -> None:
    target = tmp_path / "new" / "here"
    paths = unpack_archive(archive, target)
    assert paths == [target / "code" / "a.py", target / "model.safetensors"]
    assert paths[1].read_bytes() == bytes(range(256)) * 5000
    assert find_all(tmp_path / "new") == [
        "here",
        "here/code",
        "here/code/a.py",
        "here/empty",
        "here/model.safetensors",
    ]
    assert target.stat().st_mode & 0o777 == 0o755


def test_files_that_are_there_are_kept_unless_told_otherwise(
    archive: Path, tmp_path: Path
) -> None:
    target = tmp_path / "here"
    (target / "code").mkdir(parents=True)
    (target / "code" / "a.py").write_text("mine")
    (target / "notes").write_text("mine")
    with pytest.raises(FileExistsError, match=r"already has 'code/a.py'\. Give .*overwrite=True"):
        unpack_archive(archive, target)
    assert find_all(target) == ["code", "code/a.py", "notes"]
    assert (target / "code" / "a.py").read_text() == "mine"
    unpack_archive(archive, target, overwrite=True)
    assert (target / "code" / "a.py").read_text() == "pass\n"
    assert (target / "notes").read_text() == "mine"
    assert (target / "model.safetensors").stat().st_size == 1_280_000
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_files_go_beside_others(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "notes").write_text("mine")
    unpack_archive(archive, tmp_path / "here")
    assert "model.safetensors" in find_all(tmp_path / "here")


def test_a_file_in_the_way_is_an_error(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "here").write_text("a file")
    with pytest.raises(NotADirectoryError, match="is a file"):
        unpack_archive(archive, tmp_path / "here")
    assert (tmp_path / "here").read_text() == "a file"


def test_a_file_where_a_folder_goes_leaves_everything_as_it_was(
    archive: Path, tmp_path: Path
) -> None:
    for overwrite in (False, True):
        folder = tmp_path / f"here-{overwrite}"
        folder.mkdir()
        (folder / "code").write_text("a file")
        with pytest.raises(FileExistsError, match="needs a folder"):
            unpack_archive(archive, folder, overwrite=overwrite)
        assert find_all(folder) == ["code"]


def test_an_empty_folder_stays_the_one_that_it_is(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir(mode=0o700)
    before = (tmp_path / "here").stat()
    monkeypatch.chdir(tmp_path / "here")
    assert unpack_archive(archive, Path()) != []
    after = (tmp_path / "here").stat()
    assert (after.st_ino, after.st_mode) == (before.st_ino, before.st_mode)
    assert "model.safetensors" in find_all(Path())


@pytest.mark.parametrize("name", OUTSIDE)
def test_names_that_lead_out_are_refused(name: str, tmp_path: Path) -> None:
    path = write_tar(tmp_path / "x.tar.gz", ("good", b"x"), (name, b"evil"))
    refuse(path, "would leave the folder")
    assert find_all(tmp_path) == ["target", "x.tar.gz"]


@pytest.mark.parametrize("kind", LINKS)
def test_links_and_devices_are_refused(kind: str, tmp_path: Path) -> None:
    path = write_tar(tmp_path / "x.tar.gz", ("good", b"x"), ("bad", LINKS[kind]))
    refuse(path, "'bad' is a link, a device or the like")


def test_a_sparse_file_in_the_newer_form_is_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar.gz", "w:gz", format=tarfile.PAX_FORMAT) as tar:
        entry = tarfile.TarInfo("big")
        entry.pax_headers = {"GNU.sparse.map": "0,0", "GNU.sparse.size": str(1 << 50)}
        tar.addfile(entry)
    refuse(tmp_path / "x.tar.gz", "a link, a device or the like")


@pytest.mark.parametrize(
    "entries",
    [
        [("a", b"x"), ("a/b", b"y")],
        [("a/b", b"x"), ("a", b"y")],
        [("a", b"x"), ("a", tarfile.DIRTYPE)],
    ],
    ids=["below-a-file", "over-a-folder", "folder-over-a-file"],
)
def test_a_name_is_a_file_or_a_folder(entries: list[tuple[str, bytes]], tmp_path: Path) -> None:
    refuse(write_tar(tmp_path / "x.tar.gz", *entries), "both a file and a folder")


def test_the_last_of_two_files_of_one_name_counts(tmp_path: Path) -> None:
    path = write_tar(
        tmp_path / "x.tar.gz", ("./a", b"older"), ("a", b"new"), (".", tarfile.DIRTYPE)
    )
    assert unpack_archive(path, tmp_path / "here") == [tmp_path / "here" / "a"]
    assert (tmp_path / "here" / "a").read_bytes() == b"new"


def test_entries_and_bytes_are_bounded(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "x.tar.gz", ("a", b"1234"), ("b", b"12"))
    refuse(path, "more than 1 entries", max_entries=1)
    refuse(path, "more bytes, unpacked, than may be", max_bytes=5)
    assert len(unpack_archive(path, tmp_path / "here", max_entries=2, max_bytes=6)) == 2


def test_a_bomb_is_not_unpacked_to_its_end(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "x.tar.gz", "wb", compresslevel=1) as file:
        entry = tarfile.TarInfo("a")
        file.write(entry.tobuf())
        file.write(bytes(1024))
        for _ in range(8):
            file.write(bytes(1 << 20))  # behind the end of the archive
    refuse(tmp_path / "x.tar.gz", "more bytes, unpacked", max_bytes=10, max_entries=1)


def test_a_header_of_any_size_is_not_believed(tmp_path: Path) -> None:
    header = tarfile.TarInfo("pax")
    header.type, header.size = tarfile.XHDTYPE, 40 << 30
    with gzip.open(tmp_path / "x.tar.gz", "wb") as file:
        file.write(header.tobuf(tarfile.GNU_FORMAT))
        file.write(bytes(1024))
    refuse(tmp_path / "x.tar.gz", "a header of more than 1048576 bytes")


def test_damage_anywhere_is_found(archive: Path, tmp_path: Path) -> None:
    content = archive.read_bytes()
    plain = gzip.decompress(content)
    damaged = {
        "cut": content[: len(content) // 2],
        "cut-at-the-end": content[:-9],
        "checksum": content[:-8] + bytes(4) + content[-4:],
        "no-gzip": b"no archive",
        "no-tar": gzip.compress(b"no archive" * 100),
        "empty": b"",
        "no-end-mark": gzip.compress(plain[: 512 * 3]),
        "header": gzip.compress(plain[:512] + b"x" * 512 + plain[1024:]),
        "content-cut": gzip.compress(plain[:4096]),
    }
    for name, bad in damaged.items():
        folder = tmp_path / name
        folder.mkdir()
        (folder / "x.tar.gz").write_bytes(bad)
        refuse(folder / "x.tar.gz", "cannot be read as a .tar.gz|is damaged")


def test_a_missing_archive_is_named(tmp_path: Path) -> None:
    refuse(tmp_path / "none.tar.gz", "No such file or directory")


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Session]:
    with open_account(monkeypatch, tmp_path):
        yield Session(make_session(), default_bucket=BUCKET)


def test_an_artifact_comes_from_s3(account: Session, archive: Path, tmp_path: Path) -> None:
    uri = account.upload_data(str(archive), key_prefix="out")
    paths = download_artifact(account, uri, str(tmp_path / "here"))
    assert [path.name for path in paths] == ["a.py", "model.safetensors"]
    with pytest.raises(FileExistsError):
        download_artifact(account, uri, tmp_path / "here")
    assert download_artifact(account, uri, tmp_path / "here", overwrite=True) == paths
    with pytest.raises(ArtifactError, match="refused"):
        download_artifact(account, uri, tmp_path / "there", max_bytes=1000)


def test_an_artifact_that_is_not_there_is_named(account: Session, tmp_path: Path) -> None:
    for session, uri in (
        (account, f"s3://{BUCKET}/none.tar.gz"),
        (LocalSession(tmp_path / "local"), (tmp_path / "none.tar.gz").as_uri()),
    ):
        with pytest.raises(ArtifactError, match=r"none.tar.gz' does not exist. The job has left"):
            download_artifact(session, uri, tmp_path / "here")
    assert not (tmp_path / "here").exists()
