import logging
import os
from pathlib import Path

import numpy as np
import pytest

from sagemaker_sift.trainer.data.image_list import MAX_LINE_BYTES, read_image_list
from sagemaker_sift.trainer.data.image_set import ImageSet
from sagemaker_sift.trainer.data.label import LabelRule
from sagemaker_sift.trainer.errors import TrainingError

SINGLE = LabelRule(3, False)
MULTI = LabelRule(3, True)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "train"
    for name in ("a.jpg", "b.jpg", "sub/with blank.png", "c.jpg"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    return folder


def read(root: Path, text: str | bytes, rule: LabelRule = SINGLE) -> ImageSet:
    path = root.parent / "x.lst"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_image_list(path, channel="train", list_channel="train_lst", root=root, rule=rule)


def test_the_documented_form_is_read(root: Path) -> None:
    text = "5\t1\ta.jpg\n1000\t0.000000\tsub/with blank.png\n7\t2\tb.jpg\n"
    found = read(root, text)
    assert (found.channel, found.classes) == ("train", ("0", "1", "2"))
    assert found.labels.dtype == np.int64
    assert found.labels.tolist() == [1, 0, 2]
    assert [found.reader.read(idx).tobytes() for idx in range(3)] == [
        b"a.jpg",
        b"sub/with blank.png",
        b"b.jpg",
    ]
    assert found.reader.name(1) == f"{root}/sub/with blank.png"


def test_several_label_columns_are_zeros_and_ones(root: Path) -> None:
    found = read(root, "0\t1\t0\t1\ta.jpg\n1\t0\t0\t0.0\tb.jpg", MULTI)
    assert found.labels.dtype == np.uint8
    assert found.labels.tolist() == [[1, 0, 1], [0, 0, 0]]
    found = read(root, "0\t1\ta.jpg\n1\t0\tb.jpg", LabelRule(1, True))
    assert found.labels.tolist() == [[1], [0]]


@pytest.mark.parametrize(
    "text",
    [
        "0\t1\ta.jpg\r\n1\t2\tb.jpg\r\n",
        b"\xef\xbb\xbf0\t1\ta.jpg\n1\t2\tb.jpg",
        "\n\n0\t1\ta.jpg\n \t\n1\t2\tb.jpg\n\n",
        " 0 \t 1\t a.jpg \n1\t2\t./b.jpg",
    ],
    ids=["CRLF", "byte order mark", "blank lines", "blanks around columns"],
)
def test_what_editors_do_to_a_list_is_tolerated(root: Path, text: str | bytes) -> None:
    found = read(root, text)
    assert found.labels.tolist() == [1, 2]
    assert [found.reader.read(idx).tobytes() for idx in range(2)] == [b"a.jpg", b"b.jpg"]


def test_an_index_that_occurs_twice_is_logged(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert len(read(root, "0\t1\ta.jpg\n0\t1\tb.jpg\n0\t1\tc.jpg")) == 3
    assert "uses 2 indices again" in caplog.text


WRONG = {
    "0 1 a.jpg": "1 column instead of index, label and path, separated by tabs",
    "0\ta.jpg": "2 columns instead of",
    "zero\t1\ta.jpg": "the index 'zero' is not a number",
    "nan\t1\ta.jpg": "the index 'nan' is not a number",
    "0\tcat\ta.jpg": "the label 'cat' is not a number",
    "0\t\ta.jpg": "the label '' is not a number",
    "0\t1_0\ta.jpg": "the label '1_0' is not a number",
    "0\t\u0661\ta.jpg": "the label '.*' is not a number",
    "0\t3\ta.jpg": "label 3 is no class index: with num_classes=3 it .* from 0 to 2",
    "0\t-1\ta.jpg": "label -1 is no class index",
    "0\t0.5\ta.jpg": "label 0.5 is no class index",
    "0\t1e999\ta.jpg": "label inf is no class index",
    "0\t1\t0\t0\ta.jpg": "3 labels, but without multi_label .*; set multi_label=1",
    "0\t1\tmissing.jpg": r"the image 'missing.jpg' cannot be found \(No such file",
    "0\t1\ta.jpg/b": r"the image 'a.jpg/b' cannot be found \(Not a directory",
    "0\t1\tsub": "the path 'sub' is no file",
    "0\t1\t.": "the path '.' is no file",
    "0\t1\t/etc/passwd": "'/etc/passwd' must be relative to the images' channel",
    "0\t1\t../x.lst": r"'../x.lst' must be relative .* without '\.\.'",
    "0\t1\tsub/../a.jpg": r"must be relative .* without '\.\.'",
    "0\t1\ta\0b.jpg": "has a zero byte",
    "0\t1\t" + "a" * 5000: r"the image 'a+'\.\.\. cannot be found \(File name too long",
}


@pytest.mark.parametrize(("line", "message"), WRONG.items(), ids=range(len(WRONG)))
def test_a_wrong_line_is_named_with_its_number(root: Path, line: str, message: str) -> None:
    with pytest.raises(TrainingError, match=f"has 1 wrong line: line 3: .*{message}") as caught:
        read(root, f"0\t1\ta.jpg\n\n{line}\n9\t1\tb.jpg\n")
    assert str(caught.value).startswith(f"Channel 'train_lst': {root.parent}/x.lst has")
    assert str(caught.value).endswith("Correct the list, or the images in channel 'train'.")
    assert len(str(caught.value)) < 1024


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0\t1\ta.jpg", "1 label, but multi_label=1 needs a 0 or 1 for each of the num_classes=3"),
        ("0\t1\t0\t2\ta.jpg", "label 2 of class 2 is neither 0 nor 1"),
    ],
)
def test_a_wrong_multi_label_line_is_named(root: Path, line: str, message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        read(root, line, MULTI)


def test_links_may_stay_inside_but_not_leave(root: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "x.jpg").write_bytes(b"x")
    (root / "file-out.jpg").symlink_to(tmp_path / "secret.jpg")
    (root / "folder-out").symlink_to(tmp_path / "outside")
    (root / "inside.jpg").symlink_to(root / "a.jpg")
    (root / "loop.jpg").symlink_to(root / "loop.jpg")
    assert read(root, "0\t1\tinside.jpg").reader.read(0).tobytes() == b"a.jpg"
    for name in ("file-out.jpg", "folder-out/x.jpg"):
        with pytest.raises(TrainingError, match=f"'{name}' leaves the images' channel by a link"):
            read(root, f"0\t1\t{name}")
    with pytest.raises(TrainingError, match=r"'loop.jpg' cannot be found \(Too many levels"):
        read(root, "0\t1\tloop.jpg")


def test_a_channel_that_is_itself_a_link_is_fine(root: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(root)
    found = read(tmp_path / "link", "0\t1\ta.jpg")
    assert found.reader.name(0) == f"{tmp_path}/link/a.jpg"


def test_a_pipe_among_the_images_does_not_hang(root: Path) -> None:
    os.mkfifo(root / "pipe.jpg")
    with pytest.raises(TrainingError, match=r"'pipe\.jpg' is no file"):
        read(root, "0\t1\tpipe.jpg")


def test_many_wrong_lines_fit_into_the_reason_of_a_failure(root: Path) -> None:
    text = "".join(f"{idx}\t{idx}\ta.jpg\n" for idx in range(20))
    with pytest.raises(
        TrainingError, match=r"17 wrong lines: line 4: .*line 7: .*and 13 more"
    ) as e:
        read(root, text)
    assert len(str(e.value)) < 1024


@pytest.mark.parametrize("text", ["", "\n\r\n  \n", b"\xef\xbb\xbf"])
def test_a_list_without_lines_is_refused(root: Path, text: str | bytes) -> None:
    with pytest.raises(TrainingError, match=r"x\.lst names no images. Write one line for each"):
        read(root, text)


def test_something_else_than_a_list_is_refused(root: Path) -> None:
    with pytest.raises(TrainingError, match="has in line 2 the byte 0xe9, which is no UTF-8"):
        read(root, "0\t1\ta.jpg\n1\t1\té.jpg".encode("latin-1"))
    with pytest.raises(TrainingError, match="has in line 1 the byte 0xff, which is no UTF-8"):
        read(root, "0\t1\ta.jpg".encode("utf-16"))
    with pytest.raises(TrainingError, match=f"more than {MAX_LINE_BYTES} bytes in line 1, so it"):
        read(root, b"0" * (MAX_LINE_BYTES + 1))


def test_a_list_that_cannot_be_read_is_refused(root: Path) -> None:
    with pytest.raises(TrainingError, match=r"train_lst.*cannot be read \(Is a directory\)"):
        read_image_list(root, channel="train", list_channel="train_lst", root=root, rule=SINGLE)
