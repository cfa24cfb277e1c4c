"""Channels in Pipe mode: what passes by, pass after pass, and what is wrong with it."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sagemaker_sift import AlgorithmEstimator, LocalSession, TrainingInput
from sagemaker_sift.backends.local.channel_data import ChannelData
from sagemaker_sift.backends.local.launcher import JobLauncher
from sagemaker_sift.backends.local.pipe_data import read_pass
from sagemaker_sift.backends.local.record_wrapper import wrap_record
from sagemaker_sift.backends.local.storage import LocalStorage
from tests.supports.local_job import read_log, run_job
from tests.supports.pipes import label_images, pack_records
from tests.supports.recordio import MAGIC_BYTES, write_record


@given(st.lists(st.sampled_from([MAGIC_BYTES, b"a", b"bc", b"wxyz", b""])).map(b"".join))
@example(MAGIC_BYTES * 3)
@example(b"a" + MAGIC_BYTES)
@example(b"a" + MAGIC_BYTES + b"abc" + MAGIC_BYTES)
def test_records_are_what_an_independent_writer_makes(payload: bytes) -> None:
    assert wrap_record(payload) == write_record(payload)


def build_channel(source: Path, shard: tuple[int, int] = (0, 1), **fields: Any) -> ChannelData:
    s3 = {"S3DataType": "S3Prefix"} | fields.pop("s3", {})
    channel = {"ChannelName": "train", "DataSource": {"S3DataSource": s3}, **fields}
    return ChannelData("train", channel, "Pipe", source, *shard)


def read(channel: ChannelData, pass_idx: int = 0) -> bytes:
    return b"".join(read_pass(channel, pass_idx, LocalStorage(channel.source).to_path))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, content in (("b/2", b"two"), ("a", b"one"), ("c", b"three"), ("d", b"four")):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "data"


def test_files_pass_by_one_after_the_other_in_the_order_of_their_keys(folder: Path) -> None:
    assert read(build_channel(folder)) == b"onetwothreefour"
    assert read(build_channel(folder / "c")) == b"three"
    assert read(build_channel(folder, (0, 2))) == b"onethree"
    assert read(build_channel(folder, (1, 2))) == b"twofour"


def test_files_are_shuffled_anew_for_every_pass_if_asked_for(folder: Path) -> None:
    channel = build_channel(folder, ShuffleConfig={"Seed": 3}, RecordWrapperType="RecordIO")
    passes = [read(channel, idx) for idx in range(6)]
    assert passes == [read(channel, idx) for idx in range(6)]
    assert len(set(passes)) > 2
    assert len({bytes(sorted(content)) for content in passes}) == 1


def test_packed_files_are_unpacked(folder: Path) -> None:
    (folder / "a").write_bytes(gzip.compress(b"unpacked"))
    assert read(build_channel(folder / "a", CompressionType="Gzip")) == b"unpacked"


def test_wrapped_files_are_records(folder: Path) -> None:
    channel = build_channel(folder, (0, 2), RecordWrapperType="RecordIO")
    assert read(channel) == write_record(b"one") + write_record(b"three")


def write_manifest(folder: Path, *lines: Any) -> ChannelData:
    path = folder / "train.manifest"
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_text("\n".join(texts) + "\n")
    s3 = {"S3DataType": "AugmentedManifestFile", "AttributeNames": ["source-ref", "class"]}
    return build_channel(path, s3=s3, RecordWrapperType="RecordIO")


def test_a_manifest_passes_by_as_its_attributes_in_their_order(folder: Path) -> None:
    uri = f"file://{folder}"
    channel = write_manifest(
        folder,
        {"class": 1, "source-ref": f"{uri}/a", "note": "left out"},
        "",
        {"source-ref": f"{uri}/c", "class": [0, 1]},
    )
    parts = (b"one", b"1", b"three", b"[0, 1]")
    assert read(channel) == b"".join(map(write_record, parts))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "line 2: is no JSON"),
        ("[1]", "line 2: is '[1]', but must be a JSON object"),
        ({"source-ref": "file:///x"}, "No such file"),
        ({"class": 1}, "line 2: has no attribute 'source-ref'"),
        ({"source-ref": "x.jpg", "class": 1}, "line 2: 'source-ref' 'x.jpg' is neither"),
    ],
    ids=["json", "object", "file", "attribute", "uri"],
)
def test_what_is_wrong_with_a_manifest_is_told_with_its_line(
    folder: Path, line: Any, words: str
) -> None:
    channel = write_manifest(folder, {"source-ref": f"file://{folder}/a", "class": 1}, line)
    with pytest.raises((ValueError, OSError)) as caught:
        read(channel)
    assert words in str(caught.value)


READ_TWICE = """
import os, pathlib, threading
data = pathlib.Path(os.environ["SAGEMAKER_BASE_DIR"]) / "input/data"
for idx in range(2):
    with open(data / f"train_{idx}", "rb") as pipe:
        print(pipe.read().decode())
with open(data / "train_2", "rb") as pipe:
    print(pipe.read(1).decode())
while not (data / "train_3").exists():  # the next pipe comes when this end is noticed
    threading.Event().wait(0.01)
with open(data / "train_3", "rb") as pipe:
    print(len(pipe.read()))
"""


def piped(source: Path, **fields: Any) -> dict[str, Any]:
    s3 = {"S3DataType": "S3Prefix", "S3Uri": f"file://{source}"} | fields.pop("s3", {})
    channel = {"ChannelName": "train", "DataSource": {"S3DataSource": s3}, "InputMode": "Pipe"}
    return {"InputDataConfig": [channel | fields]}


@pytest.fixture
def launcher(tmp_path: Path) -> JobLauncher:
    return JobLauncher(tmp_path, modules=())


def test_each_pass_has_a_pipe_of_its_own_also_after_one_that_was_closed_early(
    launcher: JobLauncher, tmp_path: Path, folder: Path
) -> None:
    (folder / "z").write_text("x" * (1 << 19))
    record = run_job(launcher, tmp_path, READ_TWICE, **piped(folder))
    assert record["TrainingJobStatus"] == "Completed"
    whole = "onetwothreefour" + "x" * (1 << 19)
    lines = read_log(tmp_path)
    assert [len(line) for line in lines] == [len(whole), len(whole), 1, 6]
    assert lines[:2] == [whole, whole]
    assert lines[2:] == ["o", str(len(whole))]


def test_data_that_cannot_be_read_fails_the_job_with_file_and_line(
    launcher: JobLauncher, tmp_path: Path, folder: Path
) -> None:
    channel = write_manifest(folder, {"source-ref": f"file://{folder}/a", "class": 1}, "{")
    s3 = {"S3Uri": f"file://{channel.source}", **channel.fields["DataSource"]["S3DataSource"]}
    record = run_job(
        launcher, tmp_path, READ_TWICE, **piped(folder, s3=s3, RecordWrapperType="RecordIO")
    )
    assert record["TrainingJobStatus"] == "Failed"
    reason = f"ClientError: Channel 'train': {channel.source}, line 2: is no JSON"
    assert record["FailureReason"].startswith(reason)


def test_the_bundled_trainer_reads_pipes(tmp_path: Path) -> None:
    for name, seed in (("train", 1), ("validation", 2)):
        images = label_images(16, seed=seed)
        (tmp_path / f"{name}.rec").write_bytes(pack_records(images))
    estimator = AlgorithmEstimator(
        "sift-image-classification",
        instance_type="ml.m5.large",
        input_mode="Pipe",
        sagemaker_session=LocalSession(tmp_path / "root"),
        hyperparameters={
            "num_classes": 2,
            "num_training_samples": 16,
            "num_layers": 20,
            "image_shape": "3,8,8",
            "mini_batch_size": 8,
            "epochs": 2,
        },
    )
    inputs = {
        name: TrainingInput(f"file://{tmp_path}/{name}.rec", content_type="application/x-recordio")
        for name in ("train", "validation")
    }
    estimator.fit(inputs, logs=False)
    names = {point.name for point in estimator.job().session.read_metrics(estimator.job().name)}
    assert {"train:accuracy", "validation:accuracy"} <= names
