from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.stub import Stubber

from sagemaker_sift import exceptions
from sagemaker_sift.backends.aws import upload
from sagemaker_sift.backends.local_files import LocalFile, find_files
from sagemaker_sift.session import Session
from tests.supports.aws import (
    ACCOUNT,
    BUCKET,
    OTHER_REGION,
    REGION,
    list_keys,
    make_bucket,
    make_client,
    make_session,
    open_account,
    read_object,
)


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Session]:
    with open_account(monkeypatch, tmp_path):
        yield Session(make_session(), default_bucket=BUCKET)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with three files."""
    root = tmp_path / "images"
    (root / "cat").mkdir(parents=True)
    (root / "cat" / "1.jpg").write_bytes(b"cat one")
    (root / "cat" / "2 \u00e9.jpg").write_bytes(b"cat two")
    (root / "all.lst").write_bytes(b"0\t0\tcat/1.jpg\n")
    return root


def count_puts(session: Session) -> list[str]:
    """Return a list that fills with the key of every object that is sent from now on."""
    keys: list[str] = []
    events = session._clients.get("s3").meta.events
    events.register(
        "before-call.s3.PutObject", lambda params, **_: keys.append(params["url_path"])
    )
    return keys


def test_a_file_goes_below_its_prefix_under_its_name(session: Session, folder: Path) -> None:
    uri = session.upload_data(str(folder / "all.lst"), key_prefix="/my/lists/")
    assert uri == f"s3://{BUCKET}/my/lists/all.lst"
    assert read_object("my/lists/all.lst") == b"0\t0\tcat/1.jpg\n"


def test_a_folder_goes_below_its_prefix_with_its_folders(session: Session, folder: Path) -> None:
    assert session.upload_data(str(folder)) == f"s3://{BUCKET}/data"
    assert list_keys() == ["data/all.lst", "data/cat/1.jpg", "data/cat/2 \u00e9.jpg"]
    assert read_object("data/cat/2 \u00e9.jpg") == b"cat two"


def test_the_sessions_prefix_goes_before_where_the_bucket_is_its_own(
    session: Session, folder: Path
) -> None:
    mine = Session(session.boto_session, default_bucket=BUCKET, default_bucket_prefix="team/a")
    assert mine.upload_data(str(folder), key_prefix="x") == f"s3://{BUCKET}/team/a/x"
    assert mine.upload_data(str(folder), BUCKET, "x") == f"s3://{BUCKET}/x"
    assert mine.upload_data(str(folder), BUCKET, "") == f"s3://{BUCKET}"
    assert "all.lst" in list_keys()
    assert "team/a/x/all.lst" in list_keys()


def test_only_what_changed_is_sent_again(session: Session, folder: Path) -> None:
    puts = count_puts(session)
    session.upload_data(str(folder))
    assert len(puts) == 3
    session.upload_data(str(folder))
    assert len(puts) == 3
    (folder / "cat" / "1.jpg").write_bytes(b"cat 111")  # of the same size
    (folder / "new.lst").write_bytes(b"")
    session.upload_data(str(folder))
    assert sorted(path.rpartition("/")[2] for path in puts[3:]) == ["1.jpg", "new.lst"]
    assert read_object("data/cat/1.jpg") == b"cat 111"
    assert read_object("data/new.lst") == b""


def test_an_object_of_another_maker_is_not_taken_for_ours(session: Session, folder: Path) -> None:
    make_client("s3").put_object(Bucket=BUCKET, Key="data/all.lst", Body=b"0\t0\tcat/9.jpg\n")
    session.upload_data(str(folder / "all.lst"))
    assert read_object("data/all.lst") == b"0\t0\tcat/1.jpg\n"


def test_other_settings_are_a_reason_to_send_again(session: Session, folder: Path) -> None:
    key = make_client("kms").create_key()["KeyMetadata"]["Arn"]
    puts = count_puts(session)
    path = str(folder / "all.lst")
    secret = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": key, "Metadata": {"team": "a"}}
    session.upload_data(path)
    session.upload_data(path, extra_args=secret)
    session.upload_data(path, extra_args=secret)
    assert len(puts) == 2
    head = make_client("s3").head_object(Bucket=BUCKET, Key="data/all.lst")
    assert head["SSEKMSKeyId"] == key
    assert head["Metadata"]["team"] == "a"
    assert len(head["Metadata"]["sha256"]) == 64
    session.upload_data(path, extra_args=secret | {"Metadata": {"team": "b"}})
    assert len(puts) == 3


def test_with_a_key_of_ones_own_everything_is_sent(session: Session, folder: Path) -> None:
    puts = count_puts(session)
    own = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": "0" * 32}
    for _ in range(2):
        session.upload_data(str(folder / "all.lst"), extra_args=own)
    assert len(puts) == 2


def test_a_large_file_is_sent_in_parts_and_known_again(session: Session, tmp_path: Path) -> None:
    content = bytes(range(256)) * (9 << 12)  # 9 MiB: more than boto3 sends in one piece
    (tmp_path / "train.rec").write_bytes(content)
    seen: list[int] = []
    session.upload_data(str(tmp_path / "train.rec"), callback=seen.append)
    assert sum(seen) == len(content)
    assert len(seen) > 1
    assert read_object("data/train.rec") == content
    session.upload_data(str(tmp_path / "train.rec"), callback=seen.append)
    assert sum(seen) == len(content)


def test_a_bar_is_shown_on_a_terminal(
    session: Session, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("TERM", "dumb")
    session.upload_data(str(folder))
    assert "upload" in capsys.readouterr().out
    monkeypatch.setattr("sys.stdout.isatty", lambda: False)
    session.upload_data(str(folder))
    assert capsys.readouterr().out == ""


def test_links_are_followed_but_never_in_a_circle(folder: Path) -> None:
    (folder / "cat" / "up").symlink_to(folder)
    (folder / "cats").symlink_to(folder / "cat")
    (folder / "one.jpg").symlink_to(folder / "cat" / "1.jpg")
    assert [file.name for file in find_files(folder)] == [
        "all.lst",
        "cat/1.jpg",
        "cat/2 \u00e9.jpg",
        "cats/1.jpg",
        "cats/2 \u00e9.jpg",
        "one.jpg",
    ]


def test_what_cannot_be_uploaded_is_said_all_at_once(session: Session, folder: Path) -> None:
    (folder / "gone").symlink_to(folder / "nothing")
    os.mkfifo(folder / "pipe")
    (Path(os.fsdecode(os.fsencode(folder) + b"/\xff.jpg"))).write_bytes(b"x")
    with pytest.raises(exceptions.InvalidRequestError) as caught:
        session.upload_data(str(folder))
    assert [problem.message for problem in caught.value.problems] == [
        "has 'gone', which cannot be read (No such file or directory).",
        "has 'pipe', which is no regular file. Take it out.",
        "has '\\udcff.jpg', a name that is not UTF-8. Rename it.",
    ]
    assert list_keys() == []


def test_nothing_to_upload_is_an_error(session: Session, tmp_path: Path) -> None:
    (tmp_path / "empty" / "below").mkdir(parents=True)
    with pytest.raises(exceptions.InvalidRequestError, match="a folder without files"):
        session.upload_data(str(tmp_path / "empty"))
    with pytest.raises(FileNotFoundError, match="missing' does not exist"):
        session.upload_data(str(tmp_path / "missing"))


def test_arguments_that_boto3_does_not_know_are_refused_first(
    session: Session, folder: Path
) -> None:
    extra = {"KmsKeyId": "x", "Metadata": {"SHA256": "mine"}}
    with pytest.raises(exceptions.InvalidRequestError) as caught:
        session.upload_data(str(folder), key_prefix="p" * 1018, extra_args=extra)
    assert [str(problem) for problem in caught.value.problems] == [
        "`extra_args` has 'KmsKeyId', which boto3 does not know. Did you mean 'SSEKMSKeyId'?",
        "`extra_args` has the metadata 'SHA256', which is set here. Name it otherwise.",
        "`path` has 'all.lst', whose key has 1026 bytes; S3 takes 1024.",
        "`path` has 'cat/1.jpg', whose key has 1028 bytes; S3 takes 1024.",
        "`path` has 'cat/2 \u00e9.jpg', whose key has 1031 bytes; S3 takes 1024.",
    ]


def test_a_bucket_elsewhere_or_nowhere_is_refused(session: Session, folder: Path) -> None:
    make_bucket("far-away", OTHER_REGION)
    with pytest.raises(exceptions.InvalidRequestError, match=f"{OTHER_REGION}.*{REGION}"):
        session.upload_data(str(folder), "far-away")
    with pytest.raises(exceptions.NotFoundError, match="bucket 'nowhere'"):
        session.upload_data(str(folder), "nowhere")
    assert list_keys("far-away") == []


def test_a_refusal_names_the_file(session: Session, folder: Path) -> None:
    stubber = Stubber(session._clients.get("s3"))
    stubber.add_response("head_bucket", {"BucketRegion": REGION})
    stubber.add_response("list_objects_v2", {})
    stubber.add_client_error("put_object", "AccessDenied", "Access Denied")
    with stubber, pytest.raises(exceptions.AccessDeniedError) as caught:
        session.upload_data(str(folder / "all.lst"))
    assert str(caught.value).startswith(f"{folder / 'all.lst'}: Access Denied.")
    assert caught.value.action == "s3:PutObject"


def test_without_permission_to_list_everything_is_sent(session: Session, folder: Path) -> None:
    stubber = Stubber(session._clients.get("s3"))
    stubber.add_response("head_bucket", {"BucketRegion": REGION})
    stubber.add_client_error("list_objects_v2", "AccessDenied")
    stubber.add_response("put_object", {})
    with stubber:
        assert session.upload_data(str(folder / "all.lst")) == f"s3://{BUCKET}/data/all.lst"
    stubber.assert_no_pending_responses()


def test_an_object_that_cannot_be_looked_at_is_sent_again(session: Session, folder: Path) -> None:
    stubber = Stubber(session._clients.get("s3"))
    stubber.add_response("head_bucket", {"BucketRegion": REGION})
    stubber.add_response("list_objects_v2", {"Contents": [{"Key": "data/all.lst", "Size": 14}]})
    stubber.add_client_error("head_object", "403")
    stubber.add_response("put_object", {})
    with stubber:
        session.upload_data(str(folder / "all.lst"))
    stubber.assert_no_pending_responses()


def test_the_default_bucket_is_written_only_if_it_is_our_own(
    session: Session, folder: Path
) -> None:
    mine = Session(session.boto_session)
    owners: list[Any] = []
    events = mine._clients.get("s3").meta.events
    for operation in ("PutObject", "ListObjectsV2"):
        events.register(
            f"before-call.s3.{operation}",
            lambda params, **_: owners.append(params["headers"]["x-amz-expected-bucket-owner"]),
        )
    assert mine.upload_data(str(folder / "all.lst")).startswith(f"s3://sagemaker-{REGION}-")
    assert owners == [ACCOUNT, ACCOUNT]


@pytest.mark.parametrize("moment", ["while it is hashed", "while it is sent"])
def test_a_file_that_changes_meanwhile_is_an_error(
    moment: str, session: Session, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folder / "all.lst"
    original = LocalFile.hash

    def change(*_: Any, **__: Any) -> None:
        path.write_bytes(b"changed")

    if moment == "while it is hashed":
        monkeypatch.setattr(LocalFile, "hash", lambda file: (original(file), change())[0])
    else:
        session._clients.get("s3").meta.events.register("after-call.s3.PutObject", change)
    with pytest.raises(exceptions.InvalidRequestError, match=r"all.lst', which changed while"):
        session.upload_data(str(path))


def test_files_are_sent_by_several_threads_and_counted_once(
    session: Session, tmp_path: Path
) -> None:
    root = tmp_path / "many"
    root.mkdir()
    for idx in range(40):
        (root / f"{idx:02}.jpg").write_bytes(bytes([idx]) * idx)
    seen, lock = [], threading.Lock()

    def count(num_bytes: int) -> None:
        with lock:
            seen.append(num_bytes)

    session.upload_data(str(root), callback=count)
    assert sum(seen) == sum(range(40))
    assert [read_object(f"data/{idx:02}.jpg") for idx in (0, 39)] == [b"", bytes([39]) * 39]
    assert upload.CONTENT_HASH == "sha256"
