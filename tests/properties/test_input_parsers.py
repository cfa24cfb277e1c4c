"""Whatever bytes come in, every parser of input gives images or one clear error."""

import io
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sagemaker_sift.contract.container import ContainerPaths
from sagemaker_sift.trainer.data.image_list import read_image_list
from sagemaker_sift.trainer.data.image_record import split_record
from sagemaker_sift.trainer.data.image_stream import ManifestStream, RecordIOStream
from sagemaker_sift.trainer.data.label import LABEL_FORMATS, LabelRule
from sagemaker_sift.trainer.data.record_file import read_record_files
from sagemaker_sift.trainer.data.recordio import join_parts, read_records
from sagemaker_sift.trainer.errors import TrainingError
from sagemaker_sift.trainer.inputs import read_job_input
from sagemaker_sift.trainer.mxnet_network import (
    describe_network,
    read_image_shape,
    read_symbol_kind,
)
from sagemaker_sift.trainer.mxnet_params import parse_params
from tests.supports.mxnet_writer import mxnet_arrays, write_params
from tests.supports.recordio import MAGIC_BYTES, image_payload, write_record

RULES = st.builds(LabelRule, st.integers(1, 4), st.booleans())
PIECES = st.sampled_from([MAGIC_BYTES, b"a", b"bcd", b"\0\0\0\0", MAGIC_BYTES[:3], b"0123" * 5])
PAYLOADS = st.lists(PIECES, max_size=6).map(b"".join)
SMALL_LABELS = st.integers(0, 4).map(float)
IMAGE_PAYLOADS = st.builds(
    image_payload,
    SMALL_LABELS | st.lists(SMALL_LABELS, max_size=4),
    PAYLOADS,
    st.sampled_from([0, int.from_bytes(MAGIC_BYTES, "little"), 2**64 - 1]),
)


@st.composite
def mutated(draw: st.DrawFn, valid: st.SearchStrategy[bytes]) -> bytes:
    """Return valid bytes with some of them changed, dropped, repeated or cut off."""
    data = bytearray(draw(valid))
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(data)))
        stop = min(len(data), start + draw(st.integers(0, 8)))
        data[start:stop] = draw(
            st.sampled_from([b"", bytes(data[start:stop]) * 2, b"\xff" * 4, MAGIC_BYTES])
            | st.binary(max_size=8)
        )
    return bytes(data)


RECORD_FILES = mutated(
    st.lists((PAYLOADS | IMAGE_PAYLOADS).map(write_record), max_size=4).map(b"".join)
) | st.binary(max_size=200)


def attempt(call: Callable[[], Any], kind: type[Exception]) -> tuple[Any, str]:
    """Return what ``call`` returns, or ``None`` and the text of its error of this kind."""
    try:
        return call(), ""
    except kind as error:
        return None, str(error)


def assert_one_clear_error(call: Callable[[], Any]) -> Any:
    """Return what ``call`` returns, or ``None`` after an error for the job's owner."""
    found, text = attempt(call, TrainingError)
    assert text.startswith("Channel 'train") or not text
    assert len(text) < 1024
    return found


@given(payloads=st.lists(PAYLOADS, max_size=5))
def test_records_survive_the_round_trip(payloads: list[bytes]) -> None:
    framed = [write_record(payload) for payload in payloads]
    assert [bytes(p) for p in read_records(io.BytesIO(b"".join(framed)), "x")] == payloads
    assert [bytes(join_parts(record)) for record in framed] == payloads


@given(labels=SMALL_LABELS | st.lists(SMALL_LABELS, min_size=1, max_size=9), image=PAYLOADS)
def test_image_records_survive_the_round_trip(labels: float | list[float], image: bytes) -> None:
    found = split_record(image_payload(labels, image))
    assert found.labels.tolist() == (labels if isinstance(labels, list) else [labels])
    assert found.data.tobytes() == image


@settings(max_examples=300)
@given(data=RECORD_FILES, rule=RULES)
def test_a_file_and_a_pipe_agree_on_any_bytes(data: bytes, rule: LabelRule) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "train_0"
        path.write_bytes(data)
        stream = RecordIOStream("train", data=path.parent, rule=rule, is_stopping=lambda: False)
        passed = assert_one_clear_error(lambda: list(stream.records(0)))
        found = assert_one_clear_error(
            lambda: read_record_files([path], channel="train", rule=rule)
        )
        assert (passed is None) == (found is None)
        if found is not None:
            images = [found.reader.read(idx).tobytes() for idx in range(len(found))]
            assert images == [record.data.tobytes() for record in passed]
            assert np.array_equal(found.labels, [record.label for record in passed])
            assert found.labels.max(initial=0) < max(2, rule.num_classes)


@settings(max_examples=300)
@given(
    data=RECORD_FILES
    | st.lists(
        PAYLOADS | st.sampled_from([b"1", b"[0]", b"[0, 1]", b"[", b"1e9"]), max_size=6
    ).map(lambda payloads: b"".join(map(write_record, payloads))),
    rule=RULES,
    label_format=st.sampled_from(LABEL_FORMATS),
)
def test_any_manifest_gives_records_or_an_error(
    data: bytes, rule: LabelRule, label_format: str
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "train_0").write_bytes(data)
        stream = ManifestStream(
            "train",
            data=Path(folder),
            rule=rule,
            label_format=label_format,
            is_stopping=lambda: False,
        )
        for record in assert_one_clear_error(lambda: list(stream.records(0))) or []:
            assert isinstance(record.label, int) != rule.is_multi_label


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@settings(max_examples=300)
@given(
    text=st.text(max_size=20) | JSON.map(json.dumps),
    rule=RULES,
    label_format=st.sampled_from(LABEL_FORMATS),
)
def test_any_label_text_is_a_label_or_a_value_error(
    text: str, rule: LabelRule, label_format: str
) -> None:
    label, error = attempt(lambda: rule.read_text(text, label_format), ValueError)
    if error:
        assert len(error) < 300
    elif isinstance(label, int):
        assert 0 <= label < rule.num_classes
    else:
        assert label.shape == (rule.num_classes,)
        assert label.max() <= 1


COLUMNS = st.sampled_from(
    ["0", "1", "1.0", "a.jpg", "sub/b.jpg", "../c", "/etc/passwd", "", ".", "nan", "\r", "\0"]
) | st.text(max_size=4)
LINES = st.lists(COLUMNS, max_size=5).map("\t".join)
GOOD_LINES = st.sampled_from(["0\t1\ta.jpg", "7\t0\tsub/b.jpg", "3\t0\t1\ta.jpg"])


@settings(max_examples=300)
@given(
    data=mutated(st.lists(GOOD_LINES, max_size=4).map(lambda lines: "\n".join(lines).encode()))
    | st.lists(LINES, max_size=4).map(lambda lines: "\n".join(lines).encode("utf-8", "replace"))
    | st.binary(max_size=60),
    rule=RULES,
)
def test_any_list_gives_files_of_the_channel_or_an_error(data: bytes, rule: LabelRule) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "train"
        (root / "sub").mkdir(parents=True)
        (root / "a.jpg").write_bytes(b"a")
        (root / "sub/b.jpg").write_bytes(b"b")
        path = Path(folder) / "x.lst"
        path.write_bytes(data)
        found = assert_one_clear_error(
            lambda: read_image_list(
                path, channel="train", list_channel="train_lst", root=root, rule=rule
            )
        )
        if found is not None:
            assert len(found.labels) == len(found) > 0
            assert {found.reader.read(i).tobytes() for i in range(len(found))} <= {b"a", b"b"}


ARRAYS = mxnet_arrays(20, (3, 8, 8), 2)
HEAD = dict(list(ARRAYS.items())[:4])


@settings(max_examples=300)
@given(
    data=mutated(st.integers(0, 3).map(lambda version: write_params(HEAD, version)))
    | st.binary(max_size=80)
)
def test_any_parameters_are_arrays_or_a_value_error_with_a_byte(data: bytes) -> None:
    arrays, error = attempt(lambda: parse_params(data), ValueError)
    if arrays is None:
        assert error.startswith("At byte ")
        return
    assert sum(values.nbytes for values in arrays.values()) <= len(data)
    shapes = '[{"name": "data", "shape": [1, 3, 8, 8]}]'
    _, error = attempt(lambda: describe_network(arrays, shapes), ValueError)
    assert 0 < len(error) < 1024


@given(value=JSON)
def test_any_json_is_read_or_refused(value: Any) -> None:
    text = json.dumps(value)
    read_symbol_kind(text)
    for wrapped in (text, json.dumps([{"name": "data", "shape": value}])):
        shape, error = attempt(lambda text=wrapped: read_image_shape(text), ValueError)
        assert min(shape) > 0 if shape else "model-shapes.json" in error


@given(
    given=st.dictionaries(
        st.sampled_from(["train", "validation", "train_lst", "model", "x", ""]),
        JSON
        | st.fixed_dictionaries(
            {},
            optional={
                "ContentType": st.sampled_from(["application/x-recordio", "a;b=c;=", ";"]) | JSON,
                "TrainingInputMode": st.sampled_from(["File", "Pipe", "FastFile"]) | JSON,
                "RecordWrapperType": st.sampled_from(["None", "RecordIO"]) | JSON,
                "S3DistributionType": JSON,
            },
        ),
    )
)
def test_any_configuration_is_understood_or_refused(given: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "input/data/train/a").mkdir(parents=True)
        paths = ContainerPaths(Path(folder))
        _, error = attempt(lambda: read_job_input(given, paths), TrainingError)
        assert "\n" not in error
