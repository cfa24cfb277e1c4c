from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.response import StreamingBody
from botocore.stub import Stubber

from sagemaker_sift.exceptions import (
    AccessDeniedError,
    ArtifactError,
    ConflictError,
    NotFoundError,
    UnreachableError,
)
from sagemaker_sift.session import Session
from tests.supports.aws import BUCKET, make_client, make_session, open_account


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Session]:
    with open_account(monkeypatch, tmp_path):
        yield Session(make_session(), default_bucket=BUCKET)


def put(key: str, content: bytes) -> str:
    make_client("s3").put_object(Bucket=BUCKET, Key=key, Body=content)
    return f"s3://{BUCKET}/{key}"


def count_gets(session: Session) -> list[Any]:
    """Return a list that gets longer with every object that is fetched from now on."""
    calls: list[Any] = []
    events = session._clients.get("s3").meta.events
    events.register("before-call.s3.GetObject", lambda **_: calls.append(1))
    return calls


def find_files(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def test_an_object_is_fetched_once_and_again_when_it_changes(session: Session) -> None:
    uri = put("out/model.tar.gz", b"first")
    gets = count_gets(session)
    path = session.to_local_path(uri)
    assert path.name == "model.tar.gz"
    assert path.read_bytes() == b"first"
    assert session.to_local_path(uri) == path
    assert len(gets) == 1
    put("out/model.tar.gz", b"other")
    assert session.to_local_path(uri).read_bytes() == b"other"
    assert path.read_bytes() == b"first"
    assert len(gets) == 2


def test_the_cache_is_where_it_is_told_to_be(session: Session, tmp_path: Path) -> None:
    uri = put("a", b"x")
    assert session.to_local_path(uri).is_relative_to(tmp_path / "cache" / "sagemaker-sift")
    mine = Session(session.boto_session, cache_folder=tmp_path / "mine")
    assert mine.to_local_path(uri).is_relative_to(tmp_path / "mine" / "s3" / BUCKET)


def test_a_cached_file_of_another_size_is_fetched_again(session: Session) -> None:
    uri = put("a", b"whole")
    path = session.to_local_path(uri)
    path.write_bytes(b"cut")
    assert session.to_local_path(uri).read_bytes() == b"whole"


def test_what_is_on_this_machine_stays(session: Session, tmp_path: Path) -> None:
    assert session.to_local_path("file:///a/my%20set") == Path("/a/my set")
    assert session.to_local_path(str(tmp_path)) == tmp_path


@pytest.mark.parametrize("name", ["..", "a\nb", "n" * 300, "a:b"])
def test_odd_names_of_objects_are_no_names_of_files(name: str, session: Session) -> None:
    path = session.to_local_path(put(f"out/{name}", b"x"))
    assert path.name == "object"
    assert path.read_bytes() == b"x"


def test_objects_that_are_not_there_are_named(session: Session) -> None:
    with pytest.raises(NotFoundError, match=rf"s3://{BUCKET}/none: Not Found"):
        session.to_local_path(f"s3://{BUCKET}/none")
    with pytest.raises(ValueError, match="is a folder"):
        session.to_local_path(f"s3://{BUCKET}/")
    with pytest.raises(ValueError, match="is not an S3 URI"):
        session.to_local_path("s3://")


def stub_object(session: Session, answers: list[Any]) -> Stubber:
    """Answer one HeadObject, and then GetObject as told: content, or an error's code."""
    stubber = Stubber(session._clients.get("s3"))
    stubber.add_response("head_object", {"ETag": '"tag"', "ContentLength": 5})
    for answer in answers:
        if isinstance(answer, str):
            stubber.add_client_error("get_object", answer)
            continue
        length, content = answer
        body = StreamingBody(io.BytesIO(content), None)  # which would count, too
        expected = {
            "Bucket": BUCKET,
            "Key": "a",
            "IfMatch": '"tag"',
            "ChecksumMode": "ENABLED",
        }
        stubber.add_response("get_object", {"Body": body, "ContentLength": length}, expected)
    stubber.activate()
    return stubber


def test_a_transfer_that_breaks_off_is_tried_again(session: Session) -> None:
    stubber = stub_object(session, [(5, b"who"), (5, b"w"), (5, b"whole")])
    assert session.to_local_path(f"s3://{BUCKET}/a").read_bytes() == b"whole"
    stubber.assert_no_pending_responses()


@pytest.mark.parametrize(
    ("answers", "cls"),
    [
        ([(5, b"w")] * 3, UnreachableError),
        (["AccessDenied"], AccessDeniedError),
        (["PreconditionFailed"], ConflictError),
    ],
)
def test_what_is_not_complete_leaves_nothing(
    answers: list[Any], cls: type[Exception], session: Session, tmp_path: Path
) -> None:
    stub_object(session, answers)
    with pytest.raises(cls, match=rf"s3://{BUCKET}/a: "):
        session.to_local_path(f"s3://{BUCKET}/a")
    assert find_files(tmp_path / "cache") == []


def test_a_damaged_transfer_is_found_by_its_checksum(session: Session, tmp_path: Path) -> None:
    uri = put("a", b"right")
    calls = []

    def damage(http_response: Any = None, parsed: Any = None, **_: Any) -> None:
        calls.append(1)
        body = parsed["Body"]
        body._raw_stream = io.BytesIO(b"wrong")

    session._clients.get("s3").meta.events.register("after-call.s3.GetObject", damage)
    with pytest.raises(UnreachableError, match="What arrived was damaged"):
        session.to_local_path(uri)
    assert len(calls) == 3
    assert find_files(tmp_path / "cache") == []


def test_a_prefix_is_fetched_with_its_folders(session: Session, tmp_path: Path) -> None:
    put("data/train/1.jpg", b"1")
    put("data/train/cat/2.jpg", b"2")
    put("data/train/empty/", b"")
    put("data/train-other/3.jpg", b"3")
    target = tmp_path / "here"
    (target / "cat").mkdir(parents=True)
    (target / "cat" / "2.jpg").write_bytes(b"old")
    paths = session.download_data(str(target), BUCKET, "data/train")
    assert paths == [str(target / "1.jpg"), str(target / "cat" / "2.jpg")]
    assert [Path(path).read_bytes() for path in paths] == [b"1", b"2"]
    assert (target / "empty").is_dir()
    assert find_files(target) == ["1.jpg", "cat/2.jpg"]
    assert session.download_data(str(target), BUCKET, "data/train/") == paths


def test_one_object_and_everything_and_nothing(session: Session, tmp_path: Path) -> None:
    put("data/a.txt", b"a")
    put("b", b"b")
    one = session.download_data(tmp_path / "one", BUCKET, "data/a.txt")
    assert one == [str(tmp_path / "one" / "a.txt")]
    session.download_data(str(tmp_path / "all"), BUCKET)
    assert find_files(tmp_path / "all") == ["b", "data/a.txt"]
    assert session.download_data(str(tmp_path / "none"), BUCKET, "nothing") == []


@pytest.mark.parametrize("key", ["x/../../evil", "x//evil", "x/./evil", "x/.."])
def test_keys_that_lead_out_of_the_folder_are_refused(
    key: str, session: Session, tmp_path: Path
) -> None:
    put("x/good", b"good")
    put(key, b"evil")
    with pytest.raises(ArtifactError, match="Nothing was written") as caught:
        session.download_data(str(tmp_path / "here"), BUCKET, "x")
    assert repr(key) in str(caught.value)
    assert not (tmp_path / "here").exists()


def test_a_bucket_that_is_not_there_is_named(session: Session, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="bucket 'nowhere'"):
        session.download_data(str(tmp_path), "nowhere")


@pytest.mark.parametrize("keys", [("p/m", "p/m/m"), ("p/x/m", "p/x/m/n")])
def test_keys_without_a_place_of_their_own_are_refused(
    keys: tuple[str, str], session: Session, tmp_path: Path
) -> None:
    for key in keys:
        put(key, b"x")
    with pytest.raises(ArtifactError, match="the same file, or a file and a folder"):
        session.download_data(tmp_path / "here", BUCKET, keys[0].rpartition("/m")[0])
    assert find_files(tmp_path / "here") == []


def test_a_folder_in_the_place_of_a_file_is_refused(session: Session, tmp_path: Path) -> None:
    put("p/a", b"1")
    put("p/m", b"2")
    (tmp_path / "here" / "m").mkdir(parents=True)
    with pytest.raises(ArtifactError, match="'p/m'"):
        session.download_data(tmp_path / "here", BUCKET, "p")
    assert find_files(tmp_path / "here") == []
