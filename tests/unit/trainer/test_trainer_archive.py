"""Files of a model, from folders and from archives that may mean harm."""

import gzip
import io
import os
import tarfile
from pathlib import Path
from typing import Literal

import pytest

from sagemaker_sift.trainer import tar as tar_module
from sagemaker_sift.trainer.archive import open_model_source
from sagemaker_sift.trainer.tar import RefusedArchiveError, list_tar_files

Mode = Literal["w", "w:gz"]
CONTENTS = {"a.json": b"{}", "weights.bin": bytes(range(256)) * 99, "empty": b""}
LONG = "x" * 120 + "/" + "y" * 160


def add(tar: tarfile.TarFile, name: str, content: bytes = b"", **attributes: object) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    for attribute, value in attributes.items():
        setattr(member, attribute, value)
    tar.addfile(member, io.BytesIO(content))


def write_tar(path: Path, mode: Mode = "w:gz", tar_format: int = tarfile.PAX_FORMAT) -> Path:
    with tarfile.open(path, mode, format=tar_format) as tar:
        add(tar, "./", type=tarfile.DIRTYPE, mode=0o755)
        for name, content in CONTENTS.items():
            add(tar, f"./{name}", content, mtime=1.5 if tar_format == tarfile.PAX_FORMAT else 1)
        add(tar, "._a.json", b"what macOS adds")
        add(tar, "folder/inner", b"inner")
        if tar_format != tarfile.USTAR_FORMAT:
            add(tar, LONG, b"long")
            add(tar, "\u00e4" * 90, b"umlauts")
    return path


@pytest.mark.parametrize("mode", ["w", "w:gz"])
@pytest.mark.parametrize(
    "tar_format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]
)
def test_every_form_of_archive_gives_its_files(
    tmp_path: Path, mode: Mode, tar_format: int
) -> None:
    path = write_tar(tmp_path / "model.tar.gz", mode, tar_format)
    umlauts = [] if tar_format == tarfile.USTAR_FORMAT else ["\u00e4" * 90]
    with open_model_source(path) as source:
        assert list(source.names) == sorted([*CONTENTS, *umlauts])
        for name, content in reversed(CONTENTS.items()):
            assert source.read(name, max_bytes=1 << 20) == content
    with tarfile.open(path) as tar:
        expected = [
            (str(Path(member.name)), member.size, member.offset_data)
            for member in tar
            if member.isfile()
        ]
    data = path.read_bytes()
    file = io.BytesIO(gzip.decompress(data) if mode == "w:gz" else data)
    found = [(entry.path, entry.size_bytes, entry.offset) for entry in list_tar_files(file)]
    assert found == expected


def test_a_folder_gives_its_files_and_neither_folders_nor_hidden_ones(tmp_path: Path) -> None:
    for name, content in CONTENTS.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / ".hidden").touch()
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    with open_model_source(tmp_path) as source:
        assert source.names == tuple(sorted(CONTENTS))
        assert source.read("weights.bin", max_bytes=1 << 20) == CONTENTS["weights.bin"]
        with pytest.raises(ValueError, match=r"its entry 'a\.json' has 2 bytes, but can have 1"):
            source.read("a.json", max_bytes=1)
        with pytest.raises(ValueError, match=r"holds no b\.json.*; it has 'a\.json', 'empty'"):
            source.read("b.json", max_bytes=1)


def test_what_is_neither_folder_nor_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "model.tar.gz")
    with (
        pytest.raises(ValueError, match="is neither a folder nor a file"),
        open_model_source(tmp_path / "model.tar.gz"),
    ):
        pass


def check_refused(path: Path, message: str) -> None:
    with pytest.raises(ValueError, match=message), open_model_source(path):
        pass


def test_a_changed_byte_is_found_by_the_checksum(tmp_path: Path) -> None:
    path = tmp_path / "model.tar.gz"
    content = os.urandom(100_000)
    with tarfile.open(path, "w:gz", compresslevel=0) as tar:
        add(tar, "weights", content)
    data = bytearray(path.read_bytes())
    data[50_000] ^= 1
    path.write_bytes(data)
    check_refused(path, r"cannot be read as a tar archive \(CRC check failed")


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_an_archive_cut_off_anywhere_is_refused(tmp_path: Path, mode: Mode) -> None:
    data = write_tar(tmp_path / "whole", mode).read_bytes()
    end = len(data.rstrip(b"\0")) if mode == "w" else len(data) - 1
    for length in (0, 1, 2, 100, 511, 512, 513, end // 2, end - 9, end):
        assert length < len(data)
        (tmp_path / "cut").write_bytes(data[:length])
        check_refused(tmp_path / "cut", "cannot be read as a tar archive")


def test_a_small_archive_that_unpacks_to_much_is_refused_unread(tmp_path: Path) -> None:
    member = tarfile.TarInfo("model.json")
    member.size = 3 << 30
    path = tmp_path / "model.tar.gz"
    path.write_bytes(gzip.compress(member.tobuf()))
    check_refused(path, r"is refused: it has more than \d+ bytes unpacked, which no model of its")


def test_too_many_entries_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tar_module, "MAX_ENTRIES", 3)
    check_refused(write_tar(tmp_path / "x.tar"), "is refused: it has more than 3 entries")


def make_header(kind: bytes, content: bytes) -> bytes:
    member = tarfile.TarInfo("header")
    member.type = kind
    member.size = len(content)
    return member.tobuf() + content + bytes(-len(content) % 512)


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_huge_header_is_not_read(kind: bytes) -> None:
    member = tarfile.TarInfo("header")
    member.type = kind
    member.size = 1 << 40
    data = member.tobuf(tarfile.GNU_FORMAT)
    with pytest.raises(RefusedArchiveError, match=r"has 1099511627776 bytes, but can have 1048"):
        list(list_tar_files(io.BytesIO(data)))


def test_thousands_of_headers_in_a_row_are_no_recursion() -> None:
    data = make_header(tarfile.XHDTYPE, b"12 path=abc\n") * 5000 + tarfile.TarInfo("x").tobuf()
    [file] = list_tar_files(io.BytesIO(data + bytes(1024)))
    assert (file.path, file.size_bytes) == ("abc", 0)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (b"20 path=../etc/pass\n", "would leave the folder"),
        (b"14 path=/e/pw\n", "would leave the folder"),
        (b"22 GNU.sparse.major=1\n", "a sparse file"),
        (b"11 size=-9\n", "a pax header has the size '-9'"),
        (b"29 size=99999999999999999999\n", "has 99999999999999999999 bytes"),
        (b"99 path=abc\n", "a pax header is damaged"),
        (b"path=abc\n", "a pax header is damaged"),
        (b"12 path=abc ", "a pax header is damaged"),
        (b"0 =\n", "a pax header is damaged"),
    ],
)
def test_a_header_that_lies_is_refused(record: bytes, message: str) -> None:
    data = make_header(tarfile.XHDTYPE, record) + tarfile.TarInfo("x").tobuf() + bytes(1024)
    with pytest.raises((RefusedArchiveError, tarfile.ReadError), match=message):
        list(list_tar_files(io.BytesIO(data)))


def test_a_size_below_zero_is_refused() -> None:
    header = bytearray(tarfile.TarInfo("x").tobuf())
    header[124:136] = b"\xff" * 12
    header[148:156] = b"%06o\0 " % (256 + sum(header[:148]) + sum(header[156:]))
    with pytest.raises(tarfile.ReadError, match="has a size below 0"):
        list(list_tar_files(io.BytesIO(header + bytes(1024))))


def test_much_behind_the_end_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.tar.gz"
    path.write_bytes(gzip.compress(bytes(1024) + bytes(17 << 20)))
    check_refused(path, "there is more behind its end")
